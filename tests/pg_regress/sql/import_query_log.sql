--
-- IMPORT_QUERY_LOG: past load of each partition from the server's query log
--
SET client_min_messages = warning;
CREATE EXTENSION pss;
CREATE TABLE t (gone int, note text, k bigint NOT NULL, d date);
ALTER TABLE t DROP COLUMN gone;
CREATE INDEX ON t (k);
SELECT count(*) FROM pss_distribute_table('t', 'k', 3);
INSERT INTO t (k) SELECT generate_series(1, 300);
SELECT min(k) AS k0 FROM t WHERE pss_partition = 0 \gset
SELECT min(k) AS k1 FROM t WHERE pss_partition = 1 \gset
SELECT min(k) AS k2 FROM t WHERE pss_partition = 2 \gset
SELECT leaf AS leaf2 FROM pss.partition WHERE relation = 't'::regclass AND partition = 2 \gset
-- Columns of a csvlog from PostgreSQL 14 on.
CREATE TABLE log (
    log_time text, user_name text DEFAULT 'ann', database_name text DEFAULT current_database(),
    process_id int, connection_from text, session_id text, session_line_num bigint, command_tag text,
    session_start_time text, virtual_transaction_id text, transaction_id bigint,
    error_severity text DEFAULT 'LOG', sql_state_code text DEFAULT '00000', message text,
    detail text, hint text, internal_query text, internal_query_pos int, context text, query text,
    query_pos int, location text, application_name text, backend_type text, leader_pid int, query_id bigint);
SELECT date_bin('5 min', now(), '2000-01-01 00:00+00') - interval '1 day' AS base \gset
-- A record "at" seconds after the base, which is a day ago and the start of a bucket.
CREATE FUNCTION logged(at float8, message text, detail text DEFAULT NULL, db text DEFAULT current_database())
RETURNS void LANGUAGE sql AS $$
    INSERT INTO log (log_time, message, detail, database_name)
    SELECT to_char(b AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS') || ' UTC', $2, $3, $4
    FROM CAST(current_setting('test.base')::timestamptz + make_interval(secs => $1) AS timestamptz) AS b $$;
SELECT set_config('test.base', :'base', false) IS NOT NULL AS based;
SELECT current_setting('data_directory') || '/pss_regress.csv' AS csv,
       current_setting('data_directory') || '/pss_regress.json' AS json \gset
-- What a bucket's means add up to: cost units.
CREATE VIEW learnt AS
SELECT (extract(epoch FROM bucket - current_setting('test.base')::timestamptz) / 300)::int AS bucket,
       partition, round((foreign_load * seconds)::numeric, 2) AS foreign_cost,
       round((own_load * seconds)::numeric, 2) AS own_cost, seconds, source
FROM pss.history WHERE relation = 't'::regclass ORDER BY 1, 2;
RESET client_min_messages;

-- Each way to name a partition: 1 in bucket 0, 10 in bucket 1 and so on.
\o /dev/null
SELECT logged(0, 'connection authorized: user=ann');
SELECT logged(1, format('statement: SELECT * FROM t WHERE k = %s', :k0));
SELECT logged(2, format('statement: SELECT * FROM public.t AS x WHERE x.d > now() AND %s = x.k', :k1));
SELECT logged(3, format(E'statement: UPDATE "t"\nSET note = ''a,"b"''\nWHERE k = %s::bigint', :k2));
SELECT logged(301, 'execute q: DELETE FROM t WHERE k = $2', format('parameters: $1 = NULL, $2 = ''%s''', :k0));
SELECT logged(302, 'execute <unnamed>: SELECT FROM t WHERE pss_partition = $1', 'Parameters: $1 = ''1''');
SELECT logged(303, format('statement: SELECT count(*) FROM %s', :'leaf2'));
SELECT logged(601, format('statement: SELECT FROM t WHERE k IN (%s, %s)', :k0, :k1));
SELECT logged(602, format('statement: SELECT FROM t JOIN o ON o.k = 5 AND t.k = o.k WHERE t.k = ANY (ARRAY[%s, %s])', :k1, :k2));
SELECT logged(901, 'statement: SELECT sum(k) FROM t');
SELECT logged(902, format('statement: SELECT FROM t WHERE k = %s OR d IS NULL', :k0));
SELECT logged(903, format('statement: SELECT FROM t WHERE NOT k = %s', :k0));
-- Rows that pss places are own load.
SELECT logged(1201, format('statement: INSERT INTO t VALUES (''a'', %s, NULL), (''b'', %s)', :k0, :k1));
SELECT logged(1202, 'execute q: INSERT INTO t (k) VALUES ($1)', format('parameters: $1 = ''%s''', :k2));
SELECT logged(1203, 'statement: INSERT INTO t (k) SELECT x FROM o');
SELECT logged(1204, 'statement: COPY t (k) FROM STDIN');
SELECT logged(1205, format('statement: INSERT INTO %s (k) VALUES (1)', :'leaf2'));
-- By duration, where it is known, and over the time that it took.
SELECT logged(1800, format('duration: 1000.000 ms  statement: SELECT FROM t WHERE k = %s', :k0));
SELECT logged(2130, format('duration: 60000.000 ms  statement: SELECT FROM t WHERE k = %s', :k1));
-- What does not count.
SELECT logged(2400, format('statement: SELECT FROM t WHERE k = %s', :k0), db => 'elsewhere');
SELECT logged(2401, 'duration: 3.000 ms');
SELECT logged(2402, 'duration: 3.000 ms  bind q: SELECT FROM t');
SELECT logged(2403, 'statement: SELECT FROM other.t');
SELECT logged(2404, 'statement: SELECT FROM t WHERE WHERE');
SELECT logged(2405, 'statement: EXPLAIN SELECT FROM t');
SELECT logged(2406, 'statement: SELECT $$t$$, ''unterminated');
SELECT logged(2407, 'statement: SELECT ' || repeat('(', 20000) || ' SELECT 1 FROM t ' || repeat(')', 20000));
SELECT logged(2408, 'statement: SELECT FROM t WHERE k = 1' || repeat(' + 1', 50000));
SELECT logged(2409, 'statement: WITH t AS MATERIALIZED (SELECT 1) UPDATE o SET note = ''t'' FROM u');
-- A key that is none falls on all alike.
SELECT logged(2700, 'statement: SELECT FROM t WHERE k = ''x''');
SELECT logged(2701, 'statement: SELECT FROM t WHERE k = 99999999999999999999');
SELECT logged(2702, 'statement: SELECT FROM t WHERE k = -1');
SELECT logged(3000, 'checkpoint starting: time');
SELECT logged(40 * -86400, 'statement: SELECT FROM t');
INSERT INTO log (log_time, message) VALUES ('yesterday', 'statement: SELECT FROM t');
INSERT INTO log (log_time, message) VALUES ('2026-01-01 00:00:00 NOZONE', 'statement: SELECT FROM t');
\o
COPY log TO :'csv' (FORMAT csv);
SELECT logs, entries, used, skipped, buckets, extract(epoch FROM earliest - :'base') AS earliest,
       extract(epoch FROM latest - :'base') AS latest, scale
FROM pss_import_query_log('t', 'pss_regress.csv', cost_per_statement => 3, cost_per_ms => 0.01);
SELECT * FROM learnt;

-- Once more changes nothing; the same log as JSON, and with another cost.
CREATE TABLE before AS SELECT * FROM learnt;
SELECT buckets FROM pss_import_query_log('t', 'pss_regress.csv', cost_per_statement => 3, cost_per_ms => 0.01);
SELECT count(*) AS differences FROM (TABLE learnt EXCEPT TABLE before) AS d;
COPY (SELECT json_build_object('timestamp', log_time, 'user', user_name, 'dbname', database_name,
                               'message', message, 'detail', coalesce(detail, ''), 'pid', 7)
      FROM log) TO :'json' (FORMAT csv, QUOTE E'\b', DELIMITER E'\t');
SELECT entries, used, skipped, buckets
FROM pss_import_query_log('t', 'pss_regress.json', cost_per_statement => 6, cost_per_ms => 0.02);
SELECT count(*) AS rows, count(*) FILTER (WHERE abs(l.foreign_cost - 2 * b.foreign_cost) > 0.02
                                             OR abs(l.own_cost - 2 * b.own_cost) > 0.02) AS not_doubled
FROM learnt l JOIN before b USING (bucket, partition);
SELECT kind, message FROM pss.events WHERE kind = 'import_query_log' ORDER BY at DESC LIMIT 1;

-- What was measured stays, and gives imported loads their scale: 6 units/s in bucket 3, where
-- three statements are logged.
UPDATE pss.history SET source = 'sample', foreign_load = 2, own_load = 7 WHERE bucket = :'base'::timestamptz + interval '15 min';
SELECT round(scale::numeric, 3) AS scale FROM pss_import_query_log('t', 'pss_regress.csv');
SELECT bucket, partition, foreign_cost, own_cost, source FROM learnt WHERE bucket IN (0, 3);

-- Without durations a statement is a unit; by default one of mean duration costs the same.
DELETE FROM pss.history;
DELETE FROM log;
\o /dev/null
SELECT logged(0, 'connection received: host=[local]');
SELECT logged(1, format('duration: 10.000 ms  statement: SELECT FROM t WHERE k = %s', :k0));
SELECT logged(10, format('duration: 30.000 ms  statement: SELECT FROM t WHERE k = %s', :k1));
SELECT logged(299, format('statement: SELECT FROM t WHERE k = %s', :k2));
\o
COPY log TO :'csv' (FORMAT csv);
SELECT scale FROM pss_import_query_log('t', 'pss_regress.csv');
SELECT * FROM learnt;

-- Damage costs what it hit.
COPY (SELECT E'2026-01-01 00:00:00.000 UTC,"ann","d' || E'\n' || '{"timestamp":5}' || E'\n' || repeat('x', 100)
      UNION ALL SELECT '{"timestamp":"' || log_time || '","dbname":"' || database_name || '","message":"' || message || '"}'
      FROM log) TO :'json' (FORMAT csv, QUOTE E'\b', DELIMITER E'\t');
SELECT entries, used, skipped FROM pss_import_query_log('t', 'pss_regress.json');

-- Nothing to learn from
COPY (SELECT 'no log' AS line) TO :'json' (FORMAT csv);
SELECT * FROM pss_import_query_log('t', 'pss_regress.json');
UPDATE log SET database_name = 'elsewhere';
COPY log TO :'csv' (FORMAT csv);
SELECT * FROM pss_import_query_log('t', 'pss_regress.csv');
-- Arguments
SELECT * FROM pss_import_query_log(NULL);
SELECT * FROM pss_import_query_log('log');
SELECT * FROM pss_import_query_log('t', 'pss_no_such.csv');
SELECT * FROM pss_import_query_log('t', 'postgresql.log');
SELECT * FROM pss_import_query_log('t', 'pss_regress.csv', 'stderr');
SELECT * FROM pss_import_query_log('t', 'pss_regress.csv', cost_per_statement => 0);
SELECT * FROM pss_import_query_log('t', 'pss_regress.csv', cost_per_ms => 'NaN');

-- Rights: of the function, of the table, and of the file
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_pss_log_owner, regress_pss_log_other;
CREATE ROLE regress_pss_log_owner;
CREATE ROLE regress_pss_log_other;
RESET client_min_messages;
SET ROLE regress_pss_log_owner;
SELECT * FROM pss_import_query_log('t', 'pss_regress.csv');
RESET ROLE;
GRANT EXECUTE ON FUNCTION pss_import_query_log TO regress_pss_log_owner, regress_pss_log_other;
GRANT CREATE ON SCHEMA public TO regress_pss_log_owner;
ALTER TABLE t OWNER TO regress_pss_log_owner;
SET ROLE regress_pss_log_other;
SELECT * FROM pss_import_query_log('t', 'pss_regress.csv');
SET ROLE regress_pss_log_owner;
SELECT * FROM pss_import_query_log('t', 'pss_regress.csv');
SELECT * FROM pss_import_query_log('t');
RESET ROLE;
GRANT EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint) TO regress_pss_log_owner;
UPDATE log SET database_name = current_database();
COPY log TO :'csv' (FORMAT csv);
SET ROLE regress_pss_log_owner;
SELECT used, buckets FROM pss_import_query_log('t', 'pss_regress.csv');
SELECT used FROM pss_import_query_log('t', '/etc/pss_no_such.csv');
RESET ROLE;
-- Undistributed, nothing is left of it.
DROP VIEW learnt;
SELECT pss_undistribute_table('t');
SELECT (SELECT count(*) FROM pss.history) + (SELECT count(*) FROM pss.query_log_import) AS left_over;
DROP OWNED BY regress_pss_log_owner, regress_pss_log_other;
DROP ROLE regress_pss_log_owner, regress_pss_log_other;
