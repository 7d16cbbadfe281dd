--
-- BAD INPUT: one clear error each, with its SQLSTATE and a hint
--
SET client_min_messages = warning;
CREATE EXTENSION pss;
CREATE TABLE t (k int NOT NULL, v text);
CREATE INDEX ON t (k);
SELECT count(*) FROM pss_distribute_table('t', 'k', 2);
INSERT INTO t (k, pss_partition) VALUES (1, 0), (2, 1);
RESET client_min_messages;
CREATE FUNCTION try(command text, OUT code text, OUT message text, OUT hinted bool) LANGUAGE plpgsql AS $$
DECLARE hint text;
BEGIN
    EXECUTE command;
    message := 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
    hinted := hint <> '';
END $$;
SELECT t.* FROM (VALUES
    (1, 'SELECT pss_get_partition(''t'', NULL::int)'),
    (2, 'SELECT pss_get_partition(NULL::regclass, 1)'),
    (3, 'SELECT pss_get_partition(''t'', 1, -1)'),
    (4, 'SELECT pss_get_partition(''t'', ''one'')'),
    (5, 'SELECT pss_get_partition(''t'', ''1'', ''many'')'),
    (6, 'SELECT pss_get_partition(''t'', 1.5)'),
    (7, 'SELECT pss_get_partition(''t'', 99999999999)'),
    (8, 'SELECT pss_get_partition(''pg_class'', 1)'),
    (9, 'SELECT pss_get_partition(''nowhere'', 1)'),
    (10, 'SELECT pss_get_partition(12345678::oid::regclass, 1)'),
    (11, 'SELECT pss_get_partition(''1'', 1, ''{"table": "nowhere"}'')'),
    (12, 'SELECT pss_get_partition(''1'', 1, ''{"tables": "t"}'')'),
    (13, 'SELECT pss_get_partition(''1'', NULL, ''{"table": "t", "columns": {"k": {"type": "no_such_type"}}}'')'),
    (14, 'SELECT pss_get_partition(''1'', 1, ''nonsense'')'),
    (15, 'SELECT pss_get_partition(''1'', NULL, ''nonsense'')'),
    (16, 'SELECT pss_get_partitions(''t'', NULL)'),
    (17, 'SELECT pss_get_partitions(''t'', ''{1,NULL}'')'),
    (18, 'SELECT pss_get_partitions(''t'', ''{1,2}'', ''{1}'')'),
    (19, 'SELECT pss_locate(''pg_class'', 1)'),
    (20, 'SELECT pss_locate(''t'', ''x'')'),
    (21, 'SELECT * FROM pss_explain_route(''t'', NULL::int)'),
    (22, 'SELECT pss_route_row()'),
    (23, 'INSERT INTO t VALUES (NULL, ''x'')'),
    (24, 'INSERT INTO t (v) VALUES (''x'')'),
    (25, 'INSERT INTO t (k, pss_partition) VALUES (1, 1)'),
    (26, 'INSERT INTO t (k, pss_partition) VALUES (1, 2)'),
    (27, 'INSERT INTO t (k, pss_partition) VALUES (1, -2)'),
    (28, 'INSERT INTO t (k, pss_partition) VALUES (1, 2147483647)'),
    (29, 'UPDATE t SET k = NULL WHERE k = 1'),
    (30, 'UPDATE t SET pss_partition = 1 WHERE k = 1'),
    (33, 'MERGE INTO t USING (SELECT 9 AS k) AS s ON t.k = s.k WHEN NOT MATCHED THEN INSERT VALUES (s.k + floor(random()))'),
    (34, 'SET pss.routing = ''none'''),
    (35, 'SET pss.no_such_setting = 1'),
    (36, 'SET LOCAL pss.routing = off; INSERT INTO t VALUES (1)'),
    (37, 'SET LOCAL pss.routing = trigger; INSERT INTO t VALUES (1) RETURNING *'),
    (38, 'SET LOCAL pss.routing = trigger; INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING'),
    (39, 'SET LOCAL transaction_read_only = on; SELECT pss_get_partition(''t'', 1)')
) AS c (n, command), try(c.command) AS t ORDER BY n;
SELECT k, v, pss_partition FROM t ORDER BY k;

-- a catalog that was tampered with (ALTER TABLE makes the session read it again): errors, no crash, no row lost
INSERT INTO t SELECT g, 'row' FROM generate_series(10, 50) AS g;
BEGIN;
UPDATE pss.map_state SET complete = false;
ALTER TABLE t FORCE ROW LEVEL SECURITY;
INSERT INTO t VALUES (10, 'map incomplete'), (1000, 'new') RETURNING k, pss_partition BETWEEN 0 AND 1 AS routed;
SELECT count(*) FROM (SELECT FROM t GROUP BY k HAVING count(DISTINCT pss_partition) > 1) AS split;
ROLLBACK;
BEGIN;
DELETE FROM pss.partition WHERE partition = 1;
ALTER TABLE t FORCE ROW LEVEL SECURITY;
SELECT try('INSERT INTO t VALUES (2, ''its partition is unknown'')');
INSERT INTO t VALUES (2000, 'new') RETURNING pss_partition;
ROLLBACK;
BEGIN;
DELETE FROM pss.partition;
ALTER TABLE t FORCE ROW LEVEL SECURITY;
SELECT try('INSERT INTO t VALUES (3000, ''no partition at all'')');
SELECT try('SELECT pss_get_partition(''t'', 3000)');
SELECT try('SELECT pss_locate(''t'', 3000)');
ROLLBACK;
SELECT try('ALTER TABLE t DROP COLUMN k');
-- what may be changed
ALTER TABLE t RENAME COLUMN k TO key;
SELECT distribution_column FROM pss.sharded_table;
INSERT INTO t VALUES (1, 'renamed') RETURNING key, pss_partition;
SELECT pss_get_partition('t', 1), pss_locate('t', 1);
ALTER TABLE t RENAME COLUMN key TO k;
ALTER TABLE t RENAME TO renamed;
INSERT INTO renamed VALUES (1, 'renamed') RETURNING pss_partition;
ALTER TABLE renamed RENAME TO t;
SELECT try('ALTER TABLE t DROP COLUMN pss_partition');
SELECT try('ALTER TABLE t ALTER COLUMN k TYPE bigint');
CREATE TABLE above (k int NOT NULL, v text, pss_partition int NOT NULL DEFAULT -1) PARTITION BY RANGE (k);
SELECT try('ALTER TABLE above ATTACH PARTITION t DEFAULT');
INSERT INTO t VALUES (1, 'still here') RETURNING pss_partition;
SELECT count(*) AS misplaced FROM t WHERE pss_locate('t', k) IS DISTINCT FROM pss_partition;
