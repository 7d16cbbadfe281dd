-- Query patterns: which partitions the executor opened, by statement; how it changes the weights.
CREATE EXTENSION pss;
SET compute_query_id = off;
CREATE TABLE t (k bigint, note text);
SELECT count(*) FROM pss_distribute_table('t', 'k', 4);
CREATE TABLE plain (k bigint PRIMARY KEY, note text);

-- What was counted since the last look.
CREATE TEMP TABLE before AS SELECT partition, reads, writes FROM pss.query_patterns;
CREATE PROCEDURE look(title text) LANGUAGE plpgsql AS $$
DECLARE r text;
BEGIN
    SELECT string_agg(format('%s: %sr %sw', n.partition, n.reads - b.reads, n.writes - b.writes), ', ' ORDER BY partition)
    INTO r FROM pss.query_patterns n JOIN before b USING (partition)
    WHERE n.relation = 't'::regclass AND (n.reads, n.writes) <> (b.reads, b.writes);
    RAISE NOTICE '%: %', title, COALESCE(r, 'nothing');
    DELETE FROM before;
    INSERT INTO before SELECT partition, reads, writes FROM pss.query_patterns WHERE relation = 't'::regclass;
END $$;

-- A partition without any shows zeros.
SELECT * FROM pss.query_patterns;

INSERT INTO t (k, note, pss_partition) VALUES (1, 'a', 0);
CALL look('INSERT that names a partition');
INSERT INTO t (k, note, pss_partition) VALUES (2, 'b', 1), (3, 'c', 2), (4, 'd', 3);
CALL look('INSERT into three');
INSERT INTO t_p1 (k, note, pss_partition) VALUES (2, 'b2', 1);
CALL look('INSERT into a leaf');
INSERT INTO t (k, note) VALUES (2, 'b3');
CALL look('INSERT of a known key');
SELECT note FROM t_p2;
CALL look('SELECT from a leaf');
SELECT note FROM t WHERE pss_partition = 3;
CALL look('SELECT, pruned when planned');
SELECT count(*) FROM t;
CALL look('SELECT of all');
SELECT count(*) FROM t a JOIN t b ON a.k = b.k WHERE a.pss_partition IN (1, 2) AND b.pss_partition = 1;
CALL look('a join with itself is one statement');
UPDATE t SET note = 'x' WHERE pss_partition = 1;
CALL look('UPDATE');
UPDATE t_p2 SET note = 'y';
CALL look('UPDATE of a leaf');
DELETE FROM t WHERE pss_partition IN (0, 3) AND note = 'none';
CALL look('DELETE');
INSERT INTO t (k, note, pss_partition) SELECT k, note, 2 FROM t WHERE pss_partition = 2;
CALL look('INSERT ... SELECT');
WITH gone AS (DELETE FROM t WHERE pss_partition = 2 AND note = 'none' RETURNING k)
SELECT count(*) FROM gone;
CALL look('DELETE in a WITH');
SELECT count(*) FROM plain;
CALL look('another table');

-- Prepared: a generic plan names all partitions, the executor opens those it needs.
SET plan_cache_mode = force_generic_plan;
PREPARE one (int) AS SELECT count(*) FROM t WHERE pss_partition = $1;
EXECUTE one(0);
EXECUTE one(0);
CALL look('two of a generic plan');
PREPARE change (int) AS UPDATE t SET note = 'z' WHERE pss_partition = $1;
EXECUTE change(2);
CALL look('a generic UPDATE');
RESET plan_cache_mode;

-- Nested statements count, and not the call around them.
CREATE FUNCTION read_it(p int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
    FOR i IN 1..3 LOOP
        SELECT count(*) INTO n FROM t WHERE pss_partition = p;
    END LOOP;
    RETURN n;
END $$;
SELECT read_it(1);
CALL look('three in a function');
SELECT read_it(1) FROM t_p0;
CALL look('three in a function, in a statement');

-- EXPLAIN runs nothing without ANALYZE.
EXPLAIN (COSTS off) SELECT * FROM t WHERE pss_partition = 0;
CALL look('EXPLAIN');
-- Majors differ in what they say of rows.
\o /dev/null
EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, BUFFERS off) SELECT * FROM t_p3 WHERE k < 0;
\o
CALL look('EXPLAIN ANALYZE');

-- Cursors: once each, when they end.
BEGIN;
DECLARE whole CURSOR FOR SELECT k FROM t_p1;
DECLARE part CURSOR FOR SELECT k FROM t_p2;
DECLARE unused CURSOR FOR SELECT k FROM t_p3;
FETCH ALL whole;
FETCH 1 part;
CALL look('open cursors');
CLOSE whole;
CALL look('a cursor closed');
SAVEPOINT s;
DECLARE inner_kept CURSOR FOR SELECT k FROM t_p0;
FETCH 1 inner_kept;
RELEASE s;
SAVEPOINT s;
DECLARE inner_gone CURSOR FOR SELECT k FROM t_p3;
FETCH 1 inner_gone;
ROLLBACK TO s;
COMMIT;
CALL look('cursors at commit');

-- What fails does not count; what ran in a transaction that is then rolled back did run.
SELECT 1 / (k - k) FROM t_p1;
CALL look('a failed statement');
DO $$
BEGIN
    FOR i IN 1..3 LOOP
        BEGIN
            PERFORM 1 / (k - k) FROM t_p1;
        EXCEPTION WHEN division_by_zero THEN NULL;
        END;
    END LOOP;
    PERFORM k FROM t_p0;
END $$;
CALL look('three that failed and one that did not');
BEGIN;
SELECT count(*) FROM t_p2;
ROLLBACK;
CALL look('rolled back');
-- A trigger's statements count where they go.
CREATE FUNCTION count_them() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM count(*) FROM t_p3;
    RETURN NULL;
END $$;
CREATE TRIGGER after_insert AFTER INSERT ON plain FOR EACH ROW EXECUTE FUNCTION count_them();
INSERT INTO plain VALUES (1), (2);
CALL look('two of a trigger');
DROP TRIGGER after_insert ON plain;

-- Parallel workers' share is their leader's.
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
SELECT count(*) > 0 AS some FROM t_p1;
CALL look('a parallel scan');
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size;
RESET max_parallel_workers_per_gather;

-- COPY into the table and the trigger door run no statement on a partition.
SET pss.routing = trigger;
INSERT INTO t (k, note) VALUES (5, 'e');
RESET pss.routing;
CALL look('by the inbox');
-- Switched off, nothing is.
SET pss.track_statements = off;
SELECT count(*) FROM t;
RESET pss.track_statements;
CALL look('switched off');

-- The session learns that a table became a sharded table, and ceased to be one.
SELECT count(*) FROM plain;
SELECT count(*) FROM pss_distribute_table('plain', 'k', 2);
SELECT count(*) FROM plain;
SELECT partition, reads FROM pss.query_patterns WHERE relation = 'plain'::regclass;
SELECT pss_undistribute_table('plain');
SELECT count(*) FROM plain;
SELECT count(*) FROM pss.query_patterns WHERE relation = 'plain'::regclass;

-- Which queries it was: known by their ids where the server computes those; without
-- pg_stat_statements in this database there are no texts.
SELECT count(*) > 0 AS listed FROM pss.query_statements WHERE query IS NOT NULL;
SET compute_query_id = on;
SELECT count(*) FROM t_p0 WHERE note = 'one';
SELECT count(*) FROM t_p0 WHERE note = 'two';
SET compute_query_id = off;
SELECT relation, calls, mean_ms > 0 AS took, query FROM pss.query_statements WHERE calls = 2;

-- Others see the tables that they may read, and nobody's queries.
CREATE ROLE regress_pss_reader;
CREATE TABLE open_to_all (k bigint);
SELECT count(*) FROM pss_distribute_table('open_to_all', 'k', 2);
GRANT SELECT ON open_to_all TO regress_pss_reader;
SET ROLE regress_pss_reader;
SELECT count(*) FROM open_to_all;
SELECT relation, partition, reads FROM pss.query_patterns;
SELECT DISTINCT relation FROM pss_stat_patterns();
SELECT * FROM pss.query_statements;
SELECT * FROM pss_stat_queries('t', '{}');
SET pss.track_statements = off;
RESET ROLE;
GRANT pg_read_all_stats TO regress_pss_reader;
SET ROLE regress_pss_reader;
-- (Of tables that it may read.)
SELECT relation, calls FROM pss.query_statements WHERE calls = 2;
RESET ROLE;
GRANT SELECT ON t TO regress_pss_reader;
SET ROLE regress_pss_reader;
SELECT relation, calls FROM pss.query_statements WHERE calls = 2;
RESET ROLE;
DROP TABLE open_to_all;

-- Rates are those of the last ten minutes of samples (here of an hour ahead, where the worker has
-- none). The server was restarted on the way: its counters began anew.
INSERT INTO pss.sample (relation, partition, sampled_at, tup_inserted, tup_updated, tup_deleted,
    idx_tup_fetch, seq_tup_read, blks_read, blks_hit, own_rows, own_keys,
    reads, writes, read_us, write_us, insert_us)
SELECT 't', p, now() + interval '1 h' + i * interval '10 s', 0, 0, 0, 0, 0, 0, 0, 0, 0,
    n * 10, n * p, n * 5000000 / (p + 1), n * p * 2000, 0
FROM generate_series(0, 100) i, generate_series(0, 2) p,
    LATERAL (SELECT CASE WHEN i < 70 THEN i ELSE i - 69 END) AS since (n);
SELECT relation, partition, reads_s, writes_s, read_ms, write_ms, share, busy
FROM pss.query_patterns WHERE relation = 't'::regclass;
DELETE FROM pss.sample;

-- The effect: queries that take much time on partition 0 and touch one row of it. By default load
-- is what is done to rows and blocks; with a cost, their time is load that is expected to go on,
-- and new keys go elsewhere. The time of INSERTs is not: it is the same everywhere, here long.
CREATE TABLE slow (k bigint, note text);
SELECT count(*) FROM pss_distribute_table('slow', 'k', 4);
CREATE FUNCTION delay() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.001); RETURN NEW; END';
CREATE TRIGGER delay BEFORE INSERT ON slow_p1 FOR EACH ROW EXECUTE FUNCTION delay();
INSERT INTO slow (k, pss_partition) VALUES (0, 0);
CREATE PROCEDURE observe(first bigint, steps int) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..steps LOOP
        INSERT INTO slow SELECT first + i * 40 + g FROM generate_series(0, 39) g;
        PERFORM pg_sleep(0.05) FROM slow_p0 LIMIT 1;
        PERFORM pss_refresh();
        PERFORM pg_sleep(0.15 - extract(epoch FROM clock_timestamp() - max(sampled_at)))
        FROM pss.sample WHERE relation = 'slow'::regclass;
    END LOOP;
END $$;
ALTER SYSTEM SET pss.sample_interval = '150ms';
SELECT pg_reload_conf();
CALL observe(1000, 5);
-- (What is not yet committed is not yet in the server's statistics, but is in ours.)
SELECT partition, max(foreign_load) FROM pss.sample
WHERE relation = 'slow'::regclass GROUP BY partition ORDER BY partition;
ALTER SYSTEM SET pss.statement_cost = 2;
SELECT pg_reload_conf();
\set wait 'DO $$ BEGIN IF current_setting(''pss.statement_cost'') = ''0'' THEN PERFORM pg_sleep(0.3); END IF; END $$;'
:wait :wait :wait :wait :wait :wait :wait :wait
CALL observe(1000000, 28);
SELECT foreign_load[1] > 100 AS foreseen, foreign_load[2:4] AS others
FROM pss.outlook WHERE relation = 'slow'::regclass;
SELECT DISTINCT partition, value > 100 AS forecast FROM pss.forecasts
WHERE relation = 'slow'::regclass ORDER BY partition;
SELECT weights[1] < 0.1 AS avoided FROM pss.epoch
WHERE relation = 'slow'::regclass ORDER BY epoch DESC LIMIT 1;
ALTER SYSTEM RESET pss.statement_cost;
ALTER SYSTEM RESET pss.sample_interval;
SELECT pg_reload_conf();
DROP TABLE t, plain, slow;
DROP EXTENSION pss;
DROP ROLE regress_pss_reader;
