-- Forecasts as users see them: the path ahead, the choice of method, and how models did.
CREATE EXTENSION pss;
SET timezone = 'UTC';
SET client_min_messages = warning;
CREATE TABLE t (k bigint);
SELECT count(*) FROM pss_distribute_table('t', 'k', 2);
CREATE TABLE plain (k bigint);

-- Cumulative counters of made-up samples: partition 0 gets load(i), partition 1 nothing.
CREATE FUNCTION make_samples(table_name regclass, first timestamptz, n int, load text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'INSERT INTO pss.sample (relation, partition, sampled_at, tup_inserted, tup_updated, tup_deleted,
             idx_tup_fetch, seq_tup_read, blks_read, blks_hit, own_rows, own_keys, own_load, foreign_load)
         SELECT $1, p, $2 + i * interval ''10 s'',
                CASE WHEN p = 0 THEN sum((%1$s) * 10) OVER (PARTITION BY p ORDER BY i) ELSE 0 END,
                0, 0, 0, 0, 0, 0, 0, 0, CASE WHEN i > 0 THEN 0 END,
                CASE WHEN i > 0 THEN CASE WHEN p = 0 THEN (%1$s) ELSE 0 END END
         FROM generate_series(0, $3 - 1) AS i, generate_series(0, 1) AS p', load)
    USING table_name, first, n;
END $$;

-- The worker keeps out while this transaction holds the samples.
BEGIN;
LOCK TABLE pss.sample IN EXCLUSIVE MODE;
DELETE FROM pss.sample;
-- No samples: nothing to say.
SELECT * FROM pss_forecast('t');
SELECT make_samples('t', '2024-03-04 08:00+00', 61, '20 + i % 7');
-- Fifteen minutes ahead, a row a sampling interval, from the newest sample on.
SELECT partition, count(*), min(at), max(at), bool_and(lo <= value AND value <= hi) AS ordered
FROM pss_forecast('t') GROUP BY partition ORDER BY partition;
SELECT count(*) FROM pss_forecast('t', '1 min');
SELECT count(*) FROM pss_forecast('t', horizon => '3 s');

-- Each method by name; naive is the last value (60 % 7 = 4), at every horizon.
SELECT pss_alter_table('t', forecast_method => 'naive');
SELECT forecast_method FROM pss.sharded_table;
SELECT partition, value, model, count(*) FROM pss_forecast('t') GROUP BY 1, 2, 3 ORDER BY 1;
-- A surplus sample (a cycle by hand) is part of the step that the next one ends: 3 s at 100 and
-- 7 s at 30 are 51.
CREATE FUNCTION one_more(at timestamptz, more bigint) RETURNS void LANGUAGE sql AS $$
    INSERT INTO pss.sample (relation, partition, sampled_at, tup_inserted, tup_updated, tup_deleted,
        idx_tup_fetch, seq_tup_read, blks_read, blks_hit, own_rows, own_keys)
    SELECT 't', 0, at, max(tup_inserted) + more, 0, 0, 0, 0, 0, 0, 0, 0 FROM pss.sample
$$;
SELECT one_more('2024-03-04 08:10:03+00', 300);
SELECT at, value FROM pss_forecast('t', '10 s') WHERE partition = 0;
SELECT one_more('2024-03-04 08:10:10+00', 210);
SELECT at, value FROM pss_forecast('t', '10 s') WHERE partition = 0;
-- Two seconds late is in time; a step that was missed is none.
SELECT one_more('2024-03-04 08:10:22+00', 480);
SELECT at, value FROM pss_forecast('t', '10 s') WHERE partition = 0;
SELECT one_more('2024-03-04 08:10:41+00', 190);
SELECT at, value FROM pss_forecast('t', '10 s') WHERE partition = 0;

SELECT pss_alter_table('t');
SELECT forecast_method FROM pss.sharded_table;
SELECT pss_alter_table('t', 'auto');
SELECT count(*) FROM pss_forecast('t') WHERE value NOT BETWEEN 0 AND 100;
SELECT kind, message FROM pss.events WHERE kind = 'alter';

-- A time of which nothing is known is missing, not zero: an hour's gap, and then a few samples.
SELECT make_samples('t', '2024-03-04 09:10+00', 12, '20 + i % 7');
SELECT pss_alter_table('t', 'median');
SELECT partition, min(value) >= 20 AND max(value) <= 26 AS usual, model
FROM pss_forecast('t', '5 min') WHERE partition = 0 GROUP BY partition, model;
ROLLBACK;

-- The model in use is noted with the time since when, which stays until another one is.
BEGIN;
LOCK TABLE pss.sample, pss.forecast_model IN EXCLUSIVE MODE;
DELETE FROM pss.sample;
DELETE FROM pss.forecast_model;
SELECT make_samples('t', now() - interval '11 min', 61, '20 + i % 7');
SELECT pss_alter_table('t', 'naive');
SELECT relation FROM pss_refresh();
SELECT DISTINCT model, since = scored_at AS just_now FROM pss.forecast_model;
SELECT DISTINCT model FROM pss.stat_forecast WHERE in_use AND since IS NOT NULL;
SELECT count(*) > 0 AS others FROM pss.stat_forecast WHERE NOT in_use AND since IS NULL AND relative > 0;
DO $$ BEGIN FOR i IN 1..6 LOOP PERFORM pss_refresh(); END LOOP; END $$;
SELECT DISTINCT model, since = scored_at AS just_now FROM pss.forecast_model;
SELECT pss_alter_table('t', 'median');
SELECT relation FROM pss_refresh();
SELECT DISTINCT model, since = scored_at AS just_now FROM pss.forecast_model;
ROLLBACK;

-- All that the hint lists can be set, and is what the catalog allows.
DO $$
DECLARE
    hint text;
    name text;
BEGIN
    PERFORM pss_alter_table('t', 'crystal ball');
EXCEPTION WHEN invalid_parameter_value THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    FOREACH name IN ARRAY string_to_array(substring(hint FROM 'one of (.*)\.'), ', ') LOOP
        PERFORM pss_alter_table('t', name);
        ASSERT (SELECT forecast_method = name FROM pss.sharded_table), name;
    END LOOP;
    PERFORM pss_alter_table('t', 'auto');
END $$;
SELECT pss_alter_table('t', 'crystal ball');
SELECT pss_alter_table('plain', 'naive');
SELECT pss_alter_table(NULL, 'naive');

-- Horizons that make no sense.
SELECT * FROM pss_forecast('t', '0');
SELECT * FROM pss_forecast('t', '-5 min');
SELECT * FROM pss_forecast('t', '16 min');
SELECT * FROM pss_forecast('t', '10 years');
SELECT * FROM pss_forecast('t', NULL);
SELECT * FROM pss_forecast('plain');
SELECT * FROM pss_forecast(NULL);
SELECT * FROM pss_forecast(12345);
CREATE VIEW view_of_t AS SELECT * FROM t;
SELECT * FROM pss_forecast('view_of_t');
SELECT pss_alter_table('view_of_t', 'naive');
SELECT pss_alter_table('t_p0', 'naive');
SELECT pss_alter_table(12345, 'naive');
BEGIN READ ONLY;
SELECT count(*) >= 0 AS readable FROM pss_forecast('t');
SELECT pss_alter_table('t', 'naive');
ROLLBACK;
DROP VIEW view_of_t;

-- Whoever may read the table may see what is expected of it; only its owner may change it.
CREATE ROLE regress_pss_watcher;
SET ROLE regress_pss_watcher;
SELECT * FROM pss_forecast('t');
SELECT pss_alter_table('t', 'naive');
RESET ROLE;
GRANT SELECT ON t TO regress_pss_watcher;
GRANT EXECUTE ON FUNCTION pss_alter_table(regclass, text, text, text) TO regress_pss_watcher;
SET ROLE regress_pss_watcher;
SELECT bool_and(partition IN (0, 1)) IS NOT FALSE AS allowed FROM pss_forecast('t');
SELECT pss_alter_table('t', 'naive');
SELECT count(*) FROM pss.stat_forecast WHERE relation = 't'::regclass AND n < 0;
RESET ROLE;

-- Scores: of what was forecast and came, beside the models that were not in use.
BEGIN;
LOCK TABLE pss.sample, pss.forecast IN EXCLUSIVE MODE;
DELETE FROM pss.forecast;
DELETE FROM pss.forecast_model;
INSERT INTO pss.forecast (relation, partition, made_at, horizon, model, value, lo, hi, last_value, actual)
SELECT 't', 0, '2024-03-04 08:00+00'::timestamptz + i * interval '1 min', '5 min', 'ses',
       20, 15, 25, 30, 20 + 10 * (i % 2)
FROM generate_series(1, 10) i;
INSERT INTO pss.forecast_model
VALUES ('t', 0, '5 min', 'ses', '2024-03-04 07:59:00.5+00', now(), '{naive,ses,holt}', '{1,0.7,1.25}'),
       ('t', 0, '10 min', 'naive', '2024-03-04 07:00+00', now(), '{}', '{}');
SELECT * FROM pss.stat_forecast;
ROLLBACK;
DROP TABLE t, plain;
DROP EXTENSION pss;
DROP ROLE regress_pss_watcher;
