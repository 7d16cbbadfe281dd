-- Cycles by hand: the same code as the worker's.
CREATE EXTENSION pss;
-- Nothing is sharded: nothing to do.
SELECT * FROM pss_refresh();

CREATE TABLE t (k bigint, note text);
SELECT count(*) FROM pss_distribute_table('t', 'k', 4);
-- The background worker has had its first turn: the next is 10 s away, and will not mix in.
DO $$
BEGIN
    FOR i IN 1..600 LOOP
        EXIT WHEN (SELECT cycles > 0 FROM pss.stat_worker WHERE process = 'worker');
        PERFORM pg_sleep(0.05);
    END LOOP;
END $$;
SELECT state, cycles > 0 AS has_run, errors FROM pss.stat_worker WHERE process = 'worker';
SELECT epoch, reason IS NOT NULL AS has_reason, weights FROM pss.epoch;
SELECT relation, changed FROM pss_refresh();
-- One sample a cycle, of every partition.
SELECT count(*) >= 8 AS sampled, count(*) % 4 AS odd FROM pss.sample;

-- A partition out of service gets no share any more, at once.
UPDATE pss.partition SET state = 'disabled' WHERE relation = 't'::regclass AND partition = 2;
SELECT relation, changed FROM pss_refresh();
SELECT weights FROM pss.epoch ORDER BY epoch DESC LIMIT 1;
SELECT weight FROM pss.partitions ORDER BY partition;
SELECT relation, kind FROM pss.events WHERE kind = 'epoch';
-- The same again changes nothing.
SELECT relation, changed FROM pss_refresh();

-- A cycle that is rolled back has not been: neither the epoch nor the memory of it.
UPDATE pss.partition SET state = 'active';
BEGIN;
SELECT relation, changed FROM pss_refresh();
ROLLBACK;
SELECT weights FROM pss.epoch ORDER BY epoch DESC LIMIT 1;
BEGIN;
SAVEPOINT s;
SELECT relation, changed FROM pss_refresh();
ROLLBACK TO s;
COMMIT;
SELECT weights FROM pss.epoch ORDER BY epoch DESC LIMIT 1;
SELECT relation, changed FROM pss_refresh();
SELECT weights FROM pss.epoch ORDER BY epoch DESC LIMIT 1;
-- The epoch in force is the newest one.
SELECT r.epoch = e.epoch AS in_force
FROM pss_stat_routing() r, (SELECT max(epoch) AS epoch FROM pss.epoch) e;

-- All out of service: inserts must not stop.
UPDATE pss.partition SET state = 'disabled';
SELECT relation, changed FROM pss_refresh();
INSERT INTO t SELECT g, 'x' FROM generate_series(1, 100) g;
SELECT count(*) FROM t WHERE pss_partition >= 0;

-- It survives any data.
UPDATE pss.sample SET tup_inserted = 9223372036854775807, own_rows = -1;
UPDATE pss.partition SET state = 'active', capacity = 1e300 WHERE partition = 1;
SELECT relation FROM pss_refresh();
TRUNCATE pss.epoch, pss.sample, pss.outlook;
SELECT relation, epoch FROM pss_refresh();
DROP TABLE t;
SELECT * FROM pss_refresh();
-- Not where nothing may be written.
BEGIN READ ONLY;
SELECT * FROM pss_refresh();
ROLLBACK;
