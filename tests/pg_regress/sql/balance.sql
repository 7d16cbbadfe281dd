-- What the placement was worth, by time window; and what pss changed of its own accord, as events.
CREATE EXTENSION pss;
SET timezone = 'UTC';
SET client_min_messages = warning;
CREATE TABLE t (k bigint);
SELECT count(*) FROM pss_distribute_table('t', 'k', 4);
CREATE TABLE idle (k bigint);
SELECT count(*) FROM pss_distribute_table('idle', 'k', 2);

-- A first decision of each, so that there is one to change below.
SELECT count(*) FROM pss_refresh();

-- Means by load over windows, of made-up scores: a cycle of load 30 counts three times one of 10. Of the
-- newest cycle hindsight knows nothing yet: it has no part in the gain.
BEGIN;
LOCK TABLE pss.score IN EXCLUSIVE MODE;
DELETE FROM pss.score;
INSERT INTO pss.score (relation, scored_at, load, achieved, static, fewest, reactive, forecast, planned, oracle, policy, floor, authority)
VALUES ('t', now() - interval '1 min', 10, 0.4, 1.0, 1.0, 0.6, 0.4, 0.3, 0.2, 'forecast', 0.1, 0.5),
       ('t', now() - interval '2 min', 30, 0.2, 0.6, 0.8, 0.6, 0.2, 0.3, 0.2, 'forecast', 0.1, 0.5),
       ('t', now() - interval '10 s', 40, 0.9, 0.9, 0.9, 0.9, 0.9, 0.7, NULL, 'planned', 0.1, 0.5),
       ('t', now() - interval '30 min', 40, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.49, 'capacity', 0.3, 0.3),
       ('t', now() - interval '2 h', 80, 0.9, 0.7, 0.7, 0.7, 0.7, 0.7, 0.2, 'reactive', 0, 1),
       ('t', now() - interval '3 days', 160, 0, 0, 0, 0, 0, 0, 0, 'capacity', 0, 0);
SELECT * FROM pss.stat_balance;
UPDATE pss.outlook SET policy = 'reactive';
SELECT relation, policy, recent, mean, used, in_use, n, now() - since > interval '2 days' AS old FROM pss.stat_policy;
-- As psql prints it, it fits a screen.
SET LOCAL intervalstyle = postgres;
SELECT sum(width) + 3 * count(*) - 1 <= 120 AS fits
FROM (SELECT greatest(length(key), max(length(value))) AS width
      FROM pss.stat_balance b, jsonb_each_text(to_jsonb(b)) GROUP BY key) AS c;
-- Nothing to gain is no gain.
DELETE FROM pss.score WHERE scored_at > now() - interval '9 min' OR scored_at < now() - interval '1 h';
SELECT span, achieved, gain, n FROM pss.stat_balance WHERE relation = 't'::regclass;
ROLLBACK;

-- A workload in made-up time: 10 rows with new keys a second, and a job of 40 s every 2 minutes on
-- partition 0. Own counters are those of rows that are really there, spread over 40 minutes and the cycle
-- that a refresh then ends.
INSERT INTO t SELECT generate_series(1, 24000);
SELECT pg_stat_force_next_flush() IS NOT NULL AS flushed;
SELECT count(*) FROM pss_refresh();
CREATE TEMP TABLE placed AS
SELECT DISTINCT ON (partition) * FROM pss.sample WHERE relation = 't'::regclass ORDER BY partition, sampled_at DESC;
CREATE FUNCTION play(job float8) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first timestamptz := clock_timestamp() - interval '2410 s';
BEGIN
    DELETE FROM pss.sample WHERE relation = 't'::regclass;
    INSERT INTO pss.sample (relation, partition, sampled_at, tup_inserted, tup_updated, tup_deleted, idx_tup_fetch,
                            seq_tup_read, blks_read, blks_hit, own_rows, own_keys, own_keys_by_size, metric_load)
    SELECT 't', partition, first + i * interval '10 s', own_rows * i / 241, 0, 0, 0, 0, 0, 0,
           own_rows * i / 241, own_keys * i / 241, ARRAY[own_keys * i / 241],
           CASE WHEN partition = 0 AND i % 12 < 4 THEN job ELSE 1 END
    FROM placed CROSS JOIN generate_series(1, 240) AS i;
END $$;

-- The worker keeps out while it cannot read which tables there are.
BEGIN;
LOCK TABLE pss.sharded_table IN ACCESS EXCLUSIVE MODE;
DELETE FROM pss.event;
DELETE FROM pss.outlook WHERE relation = 't'::regclass;
DELETE FROM pss.score;
-- Nobody foresees what does not change.
SELECT play(1);
SELECT reason FROM pss_refresh() WHERE relation = 't'::regclass;
-- The job comes and goes: now forecasts pay, and it is told once why they are used.
SELECT play(30);
SELECT reason FROM pss_refresh() WHERE relation = 't'::regclass;
DO $$ BEGIN FOR i IN 1..3 LOOP PERFORM pss_refresh(); END LOOP; END $$;
SELECT kind, regexp_replace(message, '\d+\.?\d*', 'N', 'g') AS message FROM pss.event
WHERE relation = 't'::regclass AND kind = 'policy' ORDER BY event_id;
SELECT detail->>'from' AS "from", detail->>'to' AS "to" FROM pss.event
WHERE relation = 't'::regclass AND kind = 'policy' ORDER BY event_id;
SELECT policy, adjusted->>'policy' AS told FROM pss.outlook WHERE relation = 't'::regclass;
-- The cycles that were measured are scored, each once, under the decision that was in force.
SELECT count(*), bool_and(load > 0 AND achieved >= 0 AND static >= 0) AS sound, max(policy) AS policy FROM pss.score;
SELECT relation, span, n FROM pss.stat_balance WHERE span = '10 min';
-- Hindsight knows an earlier one only now.
DELETE FROM pss.score;
SELECT play(30);
INSERT INTO pss.score (relation, scored_at, load, achieved, static, fewest, reactive, forecast, planned, policy, floor, authority)
SELECT DISTINCT relation, sampled_at, 1, 1, 1, 1, 1, 1, 1, 'capacity', 0, 1 FROM pss.sample
WHERE relation = 't'::regclass AND sampled_at > clock_timestamp() - interval '11 min';
SELECT count(*) FROM pss_refresh();
SELECT count(*), bool_and(oracle >= 0) AS sound FROM pss.score WHERE oracle IS NOT NULL;
-- Another model of forecasting is told likewise.
SELECT pss_alter_table('t', forecast_method => 'naive');
SELECT play(30);
DO $$ BEGIN FOR i IN 1..7 LOOP PERFORM pss_refresh(); END LOOP; END $$;
SELECT count(*) FROM pss.event WHERE relation = 't'::regclass AND kind = 'model'
   AND message LIKE 'forecast model, as pss_alter_table says: partition %, % s ahead: naive in place of %';
ROLLBACK;
DROP TABLE t, idle;
