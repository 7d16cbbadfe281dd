-- What events cost: what calibration learns from samples, what an owner sets, and what both change.
CREATE EXTENSION pss;
CREATE TABLE t (k bigint);
SELECT count(*) FROM pss_distribute_table('t', 'k', 4);
CREATE TABLE plain (k bigint);

-- Nothing learnt, nothing set.
SELECT * FROM pss_default_costs();
SELECT event, default_cost, calibrated, error, override, in_use FROM pss.costs;

--
-- Made-up samples, every ten seconds for an hour: events of each kind in a mix that differs by
-- partition, and statements that take 20 us an insert, 80 an update, 10 a delete, 2 a fetched row,
-- 1 a row read, 20 a block read, and up to a tenth more or less.
--
CREATE FUNCTION make_samples(first timestamptz, n int) RETURNS void LANGUAGE sql AS $$
    INSERT INTO pss.sample (relation, partition, sampled_at, tup_inserted, tup_updated, tup_deleted,
        idx_tup_fetch, seq_tup_read, blks_read, blks_hit, own_rows, own_keys, own_load, foreign_load,
        reads, writes, read_us, write_us, insert_us)
    SELECT 't', p, first + i * interval '10 s',
           sum(ins) OVER w, sum(upd) OVER w, sum(del) OVER w, sum(fetched) OVER w, sum(sread) OVER w,
           sum(blk) OVER w, 0, sum(ins) OVER w, sum(ins) OVER w,
           CASE WHEN i > 0 THEN ins / 10.0 END,
           CASE WHEN i > 0 THEN (1.5 * upd + 0.8 * del + 0.2 * fetched + 0.02 * sread + blk) / 10.0 END,
           0, 0, sum((2 * fetched + sread + 20 * blk) * noise) OVER w,
           sum((20 * ins + 80 * upd + 10 * del) * noise) OVER w, sum(20 * ins * noise) OVER w
    FROM (SELECT i, p, (hashint4(i * 7 + p) & 1023) AS ins, (hashint4(i * 11 + p * 3) & 511) AS upd,
                 (hashint4(i * 13 + p) & 1023) AS del, (hashint4(i * 17 + p) & 4095) * p AS fetched,
                 (hashint4(i * 19 + p) & 16383) AS sread, (hashint4(i * 23 + p) & 255) * (4 - p) AS blk,
                 0.9 + (hashint4(i * 29 + p) & 1023) / 5120.0 AS noise
          FROM generate_series(0, n - 1) i, generate_series(0, 3) p) AS e
    WINDOW w AS (PARTITION BY p ORDER BY i)
$$;

-- (In one transaction that has run a cycle, which keeps the worker out.)
-- Without pss.calibrate_costs they are learnt and shown; the defaults stay in use.
BEGIN;
SELECT relation FROM pss_refresh();
DELETE FROM pss.sample;
SELECT make_samples(now() - interval '1 h', 360);
SELECT relation FROM pss_refresh();
SELECT event, default_cost, round(calibrated, 2) AS calibrated,
       CASE event WHEN 'update' THEN 4 WHEN 'delete' THEN 0.5 WHEN 'index_fetch' THEN 0.1
                  WHEN 'sequential_read' THEN 0.05 ELSE 1 END - calibrated BETWEEN -4 * error AND 4 * error AS found,
       override, in_use
FROM pss.costs;
SELECT DISTINCT minutes > 100 AS enough, explained > 0.9 AS explained, residual < 0.5 AS better FROM pss.costs;
SELECT count(*) FROM pss.cost_change;
ROLLBACK;

-- With it they are used from the next cycle on: an event says so. The load forecast is what the
-- same counters come to by the new costs.
ALTER SYSTEM SET pss.calibrate_costs = on;
SELECT pg_reload_conf();
\set wait 'DO $$ BEGIN IF current_setting(''pss.calibrate_costs'') = ''off'' THEN PERFORM pg_sleep(0.3); END IF; END $$;'
:wait :wait :wait :wait :wait :wait :wait :wait
CREATE VIEW foreseen AS
SELECT partition, round(value::numeric) AS value FROM pss_forecast('t', '10 s') ORDER BY partition;
BEGIN;
SELECT relation FROM pss_refresh();
DELETE FROM pss.sample;
SELECT pss_alter_table('t', 'naive');
SELECT make_samples(now() - interval '1 h', 360);
SELECT * FROM foreseen;
SELECT relation FROM pss_refresh();
SELECT relation FROM pss_refresh();
SELECT event, in_use = calibrated AS in_use FROM pss.costs;
SELECT relation, regexp_replace(message, '-> [0-9.]+', '-> x', 'g') AS message FROM pss.events WHERE kind = 'costs';
SELECT * FROM foreseen;
-- Nothing new is learnt within an hour; what is set counts at once, and in the place of it.
SELECT pss_set_cost('t', 'update', 3);
SELECT relation FROM pss_refresh();
SELECT event, override, in_use = calibrated AS calibrated FROM pss.costs;
SELECT count(*) FROM pss.cost_change;
ROLLBACK;
ALTER SYSTEM RESET pss.calibrate_costs;
SELECT pg_reload_conf();
\set wait 'DO $$ BEGIN IF current_setting(''pss.calibrate_costs'') = ''on'' THEN PERFORM pg_sleep(0.3); END IF; END $$;'
:wait :wait :wait :wait :wait :wait :wait :wait

--
-- What is set. Of forecasts of another unit none is kept that still waits for what comes.
--
BEGIN;
SELECT relation FROM pss_refresh();
DELETE FROM pss.sample;
SELECT pss_alter_table('t', 'naive');
SELECT make_samples(now() - interval '10 min', 60);
SELECT relation FROM pss_refresh();
INSERT INTO pss.forecast (relation, partition, made_at, horizon, model, value)
VALUES ('t', 0, now() - interval '1 min', '5 min', 'naive', 7);
SELECT pss_set_cost('t', 'update', 6);
SELECT pss_set_cost('t', 'delete', 0);
SELECT event, default_cost, override, in_use FROM pss.costs WHERE override IS NOT NULL;
-- The raw counters of the last ten seconds, by both.
SELECT n.partition,
       round((1.5 * (n.tup_updated - b.tup_updated) + 0.8 * (n.tup_deleted - b.tup_deleted)
              + 0.2 * (n.idx_tup_fetch - b.idx_tup_fetch) + 0.02 * (n.seq_tup_read - b.seq_tup_read)
              + n.blks_read - b.blks_read) / 10) AS by_default,
       round((6 * (n.tup_updated - b.tup_updated)
              + 0.2 * (n.idx_tup_fetch - b.idx_tup_fetch) + 0.02 * (n.seq_tup_read - b.seq_tup_read)
              + n.blks_read - b.blks_read) / 10) AS by_set
FROM pss.sample n JOIN pss.sample b USING (relation, partition)
WHERE n.sampled_at = now() - interval '10 s' AND b.sampled_at = now() - interval '20 s' ORDER BY 1;
SELECT * FROM foreseen;
SELECT relation FROM pss_refresh();
SELECT event, default_cost, override, in_use FROM pss.costs WHERE override IS NOT NULL;
SELECT * FROM foreseen;
SELECT relation, message FROM pss.events WHERE kind = 'costs';
-- What was measured before is computed again.
SELECT partition, round(foreign_load) AS foreign_load FROM pss.sample
WHERE sampled_at = now() - interval '10 s' ORDER BY 1;
SELECT count(*) FROM pss.forecast WHERE value = 7;
-- What is measured is in another unit from now on: by this much, for what has no counters any more.
SELECT partitions, ARRAY(SELECT round(f::numeric, 2) FROM unnest(factors) f) AS factors FROM pss.cost_change;
-- Back to the defaults.
SELECT pss_set_cost('t', 'update', NULL);
SELECT pss_set_cost('t', 'delete', NULL);
SELECT pss_set_cost('t', 'delete', NULL);
SELECT relation FROM pss_refresh();
SELECT event, override, in_use FROM pss.costs WHERE in_use <> default_cost OR override IS NOT NULL;
ROLLBACK;

--
-- Errors and rights.
--
SELECT pss_set_cost(NULL, 'update', 1);
SELECT pss_set_cost('t', NULL, 1);
SELECT pss_set_cost('t', 'truncate', 1);
SELECT pss_set_cost('t', 'insert', 2);
SELECT pss_set_cost('t', 'update', -1);
SELECT pss_set_cost('t', 'update', 'NaN');
SELECT pss_set_cost('t', 'update', 1e7);
SELECT pss_set_cost('plain', 'update', 1);
SELECT pss_set_cost(1, 'update', 1);
SELECT pss_set_cost('t', $$update', 'x'); DROP TABLE t; --$$, 1);
BEGIN READ ONLY;
SELECT pss_set_cost('t', 'update', 2);
ROLLBACK;
CREATE ROLE regress_pss_reader;
SET ROLE regress_pss_reader;
SELECT pss_set_cost('t', 'update', 2);
SELECT count(*) FROM pss.costs;
SELECT count(*) FROM pss.stat_load;
SELECT count(*) FROM pss.cost;
RESET ROLE;
GRANT EXECUTE ON FUNCTION pss_set_cost(regclass, text, double precision) TO regress_pss_reader;
GRANT SELECT ON t TO regress_pss_reader;
SET ROLE regress_pss_reader;
SELECT pss_set_cost('t', 'update', 2);
SELECT count(*) FROM pss.costs;
RESET ROLE;
-- What was set goes with the table.
DROP VIEW foreseen;
SELECT pss_set_cost('t', 'update', 2);
SELECT pss_undistribute_table('t');
SELECT count(*) FROM pss.cost;
DROP TABLE t, plain;
DROP EXTENSION pss;
DROP OWNED BY regress_pss_reader;
DROP ROLE regress_pss_reader;
