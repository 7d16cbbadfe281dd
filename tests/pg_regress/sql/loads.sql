-- Load as a vector: each resource moves when it should, and only where it should.
CREATE EXTENSION pss;
CREATE TABLE t (k bigint, note text);
ALTER TABLE t ALTER note SET STORAGE PLAIN;
CREATE TABLE plain (k bigint);
SELECT count(*) FROM pss_distribute_table('t', 'k', 4);
CREATE INDEX ON t (k);
-- Nobody else shall read it meanwhile. (Our worker analyzes tables from 100 rows on.)
ALTER TABLE t_p1 SET (autovacuum_enabled = off);

-- What happened since the last look, as if in ten seconds: what was known then is all that is
-- known, ten seconds ago, and the worker's own code runs. In a transaction that begins with a
-- cycle, which keeps the worker out; the statistics of this session are flushed before.
CREATE TABLE looked AS SELECT now() AS at;
CREATE FUNCTION look() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pss_refresh();
    UPDATE pss.sample SET sampled_at = now() - interval '10 s' WHERE sampled_at = (SELECT at FROM looked);
    DELETE FROM pss.sample WHERE sampled_at <> now() - interval '10 s';
    PERFORM pss_refresh();
    UPDATE looked SET at = (SELECT max(sampled_at) FROM pss.sample);
END $$;
\set flush 'DO $$ BEGIN PERFORM pg_stat_force_next_flush(); END $$;'
CREATE VIEW moved AS
SELECT partition, cpu > 0 AS cpu, read > 0 AS read, write > 0 AS write, bytes > 0 AS bytes,
       memory > 0 AS memory, storage > 0 AS storage
FROM pss.stat_load ORDER BY partition;

-- The first look has nothing to compare with, but for what is on disk.
BEGIN; SELECT look(); SELECT * FROM moved; COMMIT;

-- Rows inserted by statements take time, bytes and writes, where they are inserted.
INSERT INTO t (k, note, pss_partition) SELECT g, repeat('x', 1500), 1 FROM generate_series(1, 90) g;
:flush
BEGIN;
SELECT look();
SELECT * FROM moved;
-- 90 rows of some 1600 bytes in ten seconds.
SELECT bytes BETWEEN 13000 AND 17000 AS bytes, write >= bytes / 8192 AS write, storage >= 147456 AS storage,
       memory <= storage AS memory
FROM pss.stat_load WHERE partition = 1;
COMMIT;

-- Statements that only burn processor time.
CREATE FUNCTION burn(ms int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE until timestamptz := clock_timestamp() + ms * interval '1 ms';
BEGIN
    WHILE clock_timestamp() < until LOOP END LOOP;
    RETURN ms;
END $$;
SELECT pss_set_node_capacity('local', cpu => 1, memory => 1e9, storage => 1e12);
SELECT burn(200) FROM t_p1 LIMIT 1;
:flush
BEGIN;
SELECT look();
SELECT partition, cpu >= 10000 AS cpu, bytes, write, utilization BETWEEN 0.01 AND 0.5 AS utilized,
       CASE WHEN partition = 1 THEN scarcest END AS scarcest
FROM pss.stat_load ORDER BY partition;
COMMIT;

-- What the partition itself has may be less.
SELECT pss_set_capacity('t', 1, storage => 300000);
:flush
BEGIN;
SELECT look();
SELECT partition, utilization > 0.4 AS utilized, scarcest FROM pss.stat_load WHERE partition = 1;
COMMIT;

-- A sequential read finds nothing in memory after its table was copied to another place.
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE regress_pss_elsewhere LOCATION '';
ALTER TABLE t_p1 SET TABLESPACE regress_pss_elsewhere;
:flush
BEGIN; SELECT look(); COMMIT;
SELECT count(*) FROM t_p1 WHERE note = 'none';
:flush
BEGIN;
SELECT look();
SELECT partition, cpu > 0 AS cpu, read > 1 AS read, memory > 0 AS memory, bytes, write FROM pss.stat_load ORDER BY partition;
COMMIT;

-- Updates and deletes are written, too.
UPDATE t SET note = 'short' WHERE k <= 20;
DELETE FROM t WHERE k > 80;
:flush
BEGIN;
SELECT look();
SELECT partition, write > 0 AS write, bytes > 0 AS bytes FROM pss.stat_load ORDER BY partition;
COMMIT;

-- Nothing happens: nothing is used but the disk.
:flush
BEGIN;
SELECT look();
SELECT partition, cpu, read, write, bytes, storage > 0 AS storage
FROM pss.stat_load ORDER BY partition;
COMMIT;

-- Counters that were reset are no load, and none of before.
SELECT pg_stat_reset();
:flush
BEGIN;
SELECT look();
SELECT partition, cpu, read, write, bytes FROM pss.stat_load ORDER BY partition;
COMMIT;

-- Who may not read the table sees nothing of it.
CREATE ROLE regress_pss_reader;
SET ROLE regress_pss_reader;
SELECT count(*) FROM pss.stat_load;
SELECT count(*) FROM pss.load_vector;
RESET ROLE;
GRANT SELECT ON t TO regress_pss_reader;
SET ROLE regress_pss_reader;
SELECT count(*) FROM pss.stat_load;
RESET ROLE;
SELECT pss_undistribute_table('t');
SELECT count(*) FROM pss.load_vector;
DROP VIEW moved;
DROP TABLE t, plain;
DROP TABLESPACE regress_pss_elsewhere;
DROP EXTENSION pss;
DROP OWNED BY regress_pss_reader;
DROP ROLE regress_pss_reader;
