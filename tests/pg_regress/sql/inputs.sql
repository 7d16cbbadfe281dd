-- What applications and administrators tell: metrics and declared loads. Each changes a forecast,
-- and then a weight.
CREATE EXTENSION pss;
CREATE TABLE t (k bigint);
SELECT count(*) FROM pss_distribute_table('t', 'k', 4);
CREATE TABLE plain (k bigint);

--
-- Effect. A cycle of ten seconds, in no time: what is known moves ten seconds back, an
-- application records, 100 new keys come, and the worker's own code runs. In one transaction,
-- which keeps the worker out.
--
CREATE SEQUENCE keys;
CREATE FUNCTION cycle(cycles int, busy int DEFAULT NULL, value float8 DEFAULT 0) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..cycles LOOP
        UPDATE pss.sample SET sampled_at = sampled_at - interval '10 s';
        UPDATE pss.metric SET at = at - interval '10 s';
        UPDATE pss.expectation SET begins_at = begins_at - interval '10 s', ends_at = ends_at - interval '10 s';
        IF busy IS NOT NULL THEN
            PERFORM pss_record_metric('t', busy, 'queue', value, clock_timestamp() - interval '10 s');
        END IF;
        INSERT INTO t SELECT nextval('keys') FROM generate_series(1, 100);
        PERFORM pss_refresh();
    END LOOP;
END $$;
CREATE VIEW now_expected AS
SELECT reason,
       ARRAY(SELECT round(x::numeric) FROM unnest(foreign_load) WITH ORDINALITY AS u (x, i) ORDER BY i) AS foreign_load,
       ARRAY(SELECT round(x::numeric, 2) FROM unnest(weights) WITH ORDINALITY AS u (x, i) ORDER BY i) AS weights
FROM pss.outlook, (SELECT weights FROM pss.epoch ORDER BY epoch DESC LIMIT 1) AS epoch;

-- A metric stays where it is: it is expected to, and new keys go elsewhere.
BEGIN;
SELECT relation FROM pss_refresh();
DELETE FROM pss.sample;
SELECT cycle(20);
SELECT foreign_load, weights FROM now_expected;
SELECT cycle(25, 1, 20);
SELECT foreign_load, weights[2] < 0.1 AS avoided FROM now_expected;
ROLLBACK;

-- What of it counts as load of an interval.
BEGIN;
SELECT relation FROM pss_refresh();
DELETE FROM pss.sample;
SELECT cycle(1);
SELECT cycle(7, 1, 20);
SELECT foreign_load FROM now_expected;
SELECT round(metric_load::numeric) AS metric_load, round(foreign_load::numeric) AS foreign_load
FROM pss.sample WHERE partition = 1 ORDER BY sampled_at DESC LIMIT 1;
SELECT relation, partition, metric, value, cost, load FROM pss.metrics;
-- At half the cost it is half the load; at none, none.
SELECT pss_set_metric_cost('t', 'queue', 0.5);
SELECT cycle(1, 1, 20);
SELECT round(metric_load::numeric) AS metric_load FROM pss.sample WHERE partition = 1 ORDER BY sampled_at DESC LIMIT 1;
SELECT cost, load FROM pss.metrics;
SELECT pss_set_metric_cost('t', 'queue', 0);
SELECT cycle(1, 1, 20);
SELECT metric_load FROM pss.sample WHERE partition = 1 ORDER BY sampled_at DESC LIMIT 1;
SELECT pss_set_metric_cost('t', 'queue', NULL);
SELECT count(*) FROM pss.metric_cost;
-- It holds until the next value; without one, for pss.metric_ttl.
SELECT cycle(3);
SELECT round(metric_load::numeric) AS metric_load FROM pss.sample WHERE partition = 1 ORDER BY sampled_at DESC LIMIT 1;
SELECT cycle(5);
SELECT metric_load FROM pss.sample WHERE partition = 1 ORDER BY sampled_at DESC LIMIT 1;
-- The mean over the interval counts; a value at the same time replaces the one before.
SELECT cycle(1, 2, 10);
UPDATE pss.sample SET sampled_at = sampled_at - interval '10 s';
SELECT pss_record_metric('t', 2, 'queue', 4, now() - interval '1 hour');
SELECT pss_record_metric('t', 2, 'queue', 8, now() - interval '1 hour');
SELECT value FROM pss.metric WHERE at < now() - interval '50 min';
DELETE FROM pss.metric;
SELECT pss_record_metric('t', 2, 'queue', 30, clock_timestamp() - interval '20 s');
SELECT pss_record_metric('t', 2, 'queue', 10, clock_timestamp() - interval '5 s');
SELECT relation FROM pss_refresh();
SELECT round(metric_load::numeric) AS metric_load FROM pss.sample WHERE partition = 2 ORDER BY sampled_at DESC LIMIT 1;
ROLLBACK;

-- A declared load: before it begins it is expected, and its partition gets fewer keys.
BEGIN;
SELECT relation FROM pss_refresh();
DELETE FROM pss.sample;
SELECT cycle(20);
SELECT foreign_load, weights FROM now_expected;
SELECT pss_expect('t', 3, 40, clock_timestamp() + interval '15 s', clock_timestamp() + interval '30 s');
SELECT cycle(1);
SELECT begins_at > clock_timestamp() AS to_come FROM pss.expectation;
SELECT foreign_load[4] BETWEEN 5 AND 40 AS expected, foreign_load[1:3] AS others, weights[4] < 0.1 AS avoided
FROM now_expected;
SELECT round(avg(value)::numeric) BETWEEN 10 AND 40 AS forecast FROM pss.forecast
WHERE partition = 3 AND horizon = '10 s' AND made_at = (SELECT max(made_at) FROM pss.forecast);
SELECT array_agg(value > 15 ORDER BY at) AS path
FROM (SELECT * FROM pss_forecast('t') WHERE partition = 3 ORDER BY at LIMIT 4) AS next;
-- It comes as declared: it is foreign load, and teaches the forecaster nothing.
SELECT cycle(2, 3, 40);
SELECT declared_load BETWEEN 35 AND 40 AS declared, round(foreign_load::numeric) AS measured
FROM pss.sample WHERE partition = 3 ORDER BY sampled_at DESC LIMIT 1;
-- Where the server was slow, a part of the next sample still lies in its time.
SELECT cycle(4, 3, 0);
SELECT foreign_load, weights[4] > 0.2 AS back FROM now_expected;
SELECT id > 0 AS numbered, relation, partition, load, state, declared_by = current_user AS mine FROM pss.expectations;
ROLLBACK;

-- By key; taken back.
INSERT INTO t VALUES (1000001);
BEGIN;
SELECT pss_expect_key('t', 1000001, 5, now() + interval '1 h', now() + interval '2 h') > 0 AS ok;
SELECT pss_expect_key('t', '1000001', 5, 'tomorrow', 'tomorrow'::timestamptz + interval '1 h') > 0 AS ok;
SELECT pss_expect_key(relation => 't', data_key => 1000001::bigint, load => 5, "from" => now(), until => now() + interval '1 h') AS id \gset
SELECT DISTINCT e.partition = t.pss_partition AS home FROM pss.expectations e, t WHERE k = 1000001;
SELECT state, count(*) FROM pss.expectations GROUP BY 1 ORDER BY 1;
SELECT pss_unexpect(:id);
SELECT state, count(*) FROM pss.expectations GROUP BY 1 ORDER BY 1;
ROLLBACK;

--
-- Errors
--
SELECT pss_record_metric('t', 4, 'm', 1);
SELECT pss_record_metric('t', -1, 'm', 1);
SELECT pss_record_metric('t', 0, 'm', -1);
SELECT pss_record_metric('t', 0, 'm', 'NaN');
SELECT pss_record_metric('t', 0, 'm', 'Infinity');
SELECT pss_record_metric('t', 0, 'm', 1, now() + interval '2 min');
SELECT pss_record_metric('t', 0, 'm', 1, '-infinity');
SELECT pss_record_metric('t', 0, '', 1);
SELECT pss_record_metric('t', 0, repeat('m', 129), 1);
SELECT pss_record_metric(NULL, 0, 'm', 1);
SELECT pss_record_metric('t', 0, NULL, 1);
SELECT pss_record_metric('t', 0, 'm', NULL);
SELECT pss_record_metric('t', 0, 'm', 1, NULL);
SELECT pss_record_metric('plain', 0, 'm', 1);
SELECT pss_record_metric(4000000000, 0, 'm', 1);
BEGIN READ ONLY;
SELECT pss_record_metric('t', 0, 'm', 1);
ROLLBACK;
BEGIN READ ONLY;
SELECT pss_expect('t', 0, 1, now(), now() + interval '1 h');
ROLLBACK;
SELECT pss_set_metric_cost('t', 'm', -1);
SELECT pss_set_metric_cost('plain', 'm', 1);
SELECT pss_expect('t', 9, 1, now(), now() + interval '1 h');
SELECT pss_expect('t', 0, 0, now(), now() + interval '1 h');
SELECT pss_expect('t', 0, 'NaN', now(), now() + interval '1 h');
SELECT pss_expect('t', 0, 1, now(), now());
SELECT pss_expect('t', 0, 1, now() - interval '2 h', now() - interval '1 h');
SELECT pss_expect('t', 0, 1, now(), 'infinity');
SELECT pss_expect('t', 0, 1, NULL, now());
SELECT pss_expect_key('t', 4711, 1, now(), now() + interval '1 h');
SELECT pss_expect_key('t', 'no number', 1, now(), now() + interval '1 h');
SELECT pss_expect_key('t', NULL, 1, now(), now() + interval '1 h');
SELECT pss_unexpect(0);
SELECT pss_unexpect(NULL);
SELECT count(*) FROM pss.metric;
SELECT count(*) FROM pss.expectation;

--
-- Rights: recording needs what writing needs, declaring needs ownership.
--
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_pss_app, regress_pss_other;
CREATE ROLE regress_pss_app;
CREATE ROLE regress_pss_other;
GRANT INSERT ON t TO regress_pss_app;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO regress_pss_app;
RESET client_min_messages;
SELECT pss_expect('t', 0, 1, now(), now() + interval '1 h') AS id \gset
SET ROLE regress_pss_app;
SELECT pss_record_metric('t', 0, 'm', 1);
SELECT pss_set_metric_cost('t', 'm', 1);
SELECT pss_expect('t', 0, 1, now(), now() + interval '1 h');
SELECT pss_expect_key('t', 1000001, 1, now(), now() + interval '1 h');
\set VERBOSITY terse
SELECT pss_unexpect(:id);
INSERT INTO pss.metric VALUES ('t'::regclass, now(), 0, 'm', 1);
SELECT count(*) FROM pss.metric;
SELECT count(*) FROM pss.metrics;
SELECT count(*) FROM pss.expectations;
SET ROLE regress_pss_other;
SELECT pss_record_metric('t', 0, 'm', 1);
SELECT pss_expect('t', 0, 1, now(), now() + interval '1 h');
SELECT pss_unexpect(1);
RESET ROLE;
\set VERBOSITY default
SELECT metric, value FROM pss.metrics;

-- A table that is gone takes along what was told about it.
SELECT pss_set_metric_cost('t', 'm', 2);
DROP TABLE t;
SELECT count(*) FROM pss.metric;
SELECT count(*) FROM pss.metric_cost;
SELECT count(*) FROM pss.expectation;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM regress_pss_app;
DROP ROLE regress_pss_app, regress_pss_other;
