-- Rebalancing existing rows: what is worth moving, moving it, and stopping.
CREATE EXTENSION pss;
SET client_min_messages = warning;
CREATE TABLE t (k int NOT NULL, v text, PRIMARY KEY (k, v));
SELECT count(*) FROM pss_distribute_table('t', 'k', partitions => 4);
INSERT INTO t SELECT k, 'r' || r FROM generate_series(1, 2000) AS k, generate_series(1, 2) AS r;
CALL pss_move_keys('t', 1, 0, pause => '0');
CALL pss_move_keys('t', 2, 0, pause => '0');
CALL pss_move_keys('t', 3, 0, pause => '0');
DELETE FROM pss.move;
SELECT pg_stat_force_next_flush();
ANALYZE t;
SET client_min_messages = notice;

-- Ten minutes of samples, made up: reads that bring each partition so much load, and a function of
-- time that is added to that of partition 1.
CREATE FUNCTION past(loads float8[], wave text DEFAULT '0') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM pss.sample;
    EXECUTE format($sample$
        INSERT INTO pss.sample (relation, partition, sampled_at, tup_inserted, tup_updated, tup_deleted,
            idx_tup_fetch, seq_tup_read, blks_read, blks_hit, own_rows, own_keys, own_load, foreign_load)
        SELECT 't', p, clock_timestamp() - interval '10 s' * (60 - i), 0, 0, 0,
            (sum(load) OVER (PARTITION BY p ORDER BY i) * 50)::bigint, 0, 0, 0, 0, 0, 0, load
        FROM (SELECT p, i, ($1)[p + 1] + CASE WHEN p = 1 THEN %s ELSE 0 END AS load
              FROM generate_series(0, 3) AS p, generate_series(0, 60) AS i) AS s
        $sample$, wave) USING loads;
END $$;
CREATE VIEW plan AS
SELECT move, from_partition AS "from", to_partition AS "to", keys, rows, duration, cost, gain,
       payback, reason
FROM pss_rebalance_plan('t');

-- In one transaction, which keeps the worker out.
BEGIN;
SELECT relation FROM pss_refresh();
DELETE FROM pss.sample;
SELECT reason FROM plan;
SELECT past('{80,20,20,40}');
SELECT * FROM plan;
SELECT relation, sum(bytes) > 10000 AS bytes FROM pss_rebalance_plan() GROUP BY 1;
-- A partition that can carry more gets more, one that is out of service nothing.
UPDATE pss.partition SET capacity = 3 WHERE relation = 't'::regclass AND partition = 2;
UPDATE pss.partition SET state = 'disabled' WHERE relation = 't'::regclass AND partition = 1;
SELECT "from", "to", keys, gain FROM plan;
UPDATE pss.partition SET capacity = 1, state = 'active' WHERE relation = 't'::regclass;
-- Why nothing would be moved.
SELECT past('{40,40,40,41}');
SELECT reason FROM plan;
SELECT past('{40,20,40,40}', '40 * (i / 10 % 2)');
SELECT reason FROM plan;
SELECT past('{40,40,40,40}', '60 * (i / 58)');
SELECT reason FROM plan;
SELECT past('{40,40,40,40}', '10 * (i / 60)');
SELECT reason FROM plan;
SELECT past('{20,20,20,40}');
SELECT reason FROM plan;
SELECT past('{80,20,20,40}');
UPDATE pss.sample SET metric_load = foreign_load WHERE partition = 0;
SELECT reason FROM plan;
UPDATE pss.sample SET metric_load = 0, tup_deleted = extract(epoch FROM sampled_at - now() + interval '1 h') * 100;
SELECT reason ~ 'pay-back 114 s is above a quarter of the remaining life, [123] s' AS dear FROM plan;
UPDATE pss.sample SET tup_deleted = 0;
UPDATE pss.map_state SET complete = false WHERE relation = 't'::regclass;
SELECT reason FROM plan;
UPDATE pss.map_state SET complete = true WHERE relation = 't'::regclass;
-- A cycle of a day is seen in the means of two: each partition is busy at its own hours.
INSERT INTO pss.history (relation, partition, bucket, foreign_load, seconds)
SELECT 't', p, b, CASE WHEN i / 72 % 4 = p THEN 80 ELSE 20 END, 300
FROM generate_series(0, 3) AS p, generate_series(1, 600) AS i,
     LATERAL (SELECT date_trunc('hour', now()) - interval '5 min' * i AS b) AS b;
SELECT reason FROM plan;
-- One that is busier every day stands above.
UPDATE pss.history SET foreign_load = foreign_load + 60 WHERE partition = 2;
SELECT DISTINCT "from", reason FROM plan;
DELETE FROM pss.history;
-- Past moves tell what the next ones cost and how long they take.
INSERT INTO pss.move (relation, moved_at, from_partition, to_partition, keys, rows, bytes, seconds, from_cost, to_cost)
SELECT 't', now() - interval '1 day', 0, p, 10, 20, 2000, 1, 60, 40 FROM generate_series(1, 3) AS p, generate_series(1, 3);
SELECT "to", rows, cost, duration FROM plan;
-- What was seen before a move tells nothing of today.
INSERT INTO pss.move (relation, from_partition, to_partition, keys, rows, bytes, seconds)
SELECT 't', 0, 1, 500, 1000, 2000, 1;
SELECT reason FROM plan;
ROLLBACK;

-- A running move lowers the weight of the partition that it goes to.
CREATE SEQUENCE keys START 1000001;
CREATE FUNCTION cycle(cycles int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..cycles LOOP
        UPDATE pss.sample SET sampled_at = sampled_at - interval '10 s';
        INSERT INTO t SELECT nextval('keys'), '' FROM generate_series(1, 100);
        PERFORM pss_refresh();
    END LOOP;
END $$;
BEGIN;
SELECT relation FROM pss_refresh();
DELETE FROM pss.sample;
SELECT cycle(20);
SELECT weights FROM pss.epoch ORDER BY epoch DESC LIMIT 1;
INSERT INTO pss.rebalance (relation, reason, started_by, rate) VALUES ('t', 'test', 'test', 100) RETURNING rebalance_id AS id \gset
INSERT INTO pss.rebalance_move (rebalance_id, move, from_partition, to_partition, keys, of_keys, rows, load, source_load)
VALUES (:id, 1, 0, 3, 1000, 2000, 1000, 40, 80);
SELECT cycle(3);
SELECT weights[4] < 0.1 AS fewer, (SELECT count(DISTINCT round(w::numeric, 4)) FROM unnest(weights[1:3]) AS w) AS kinds FROM pss.epoch ORDER BY epoch DESC LIMIT 1;
SELECT partition, max(value) > 20 AS more FROM pss_forecast('t') GROUP BY 1 ORDER BY 1;
UPDATE pss.rebalance SET state = 'stopped';
SELECT cycle(6);
SELECT round(weights[4]::numeric, 2) AS back FROM pss.epoch ORDER BY epoch DESC LIMIT 1;
ROLLBACK;

-- Carried out by the worker.
SELECT past('{80,20,20,40}');
SELECT pss_rebalance_start('t', rate => 100000) > 0 AS started;
CREATE FUNCTION wait_until(condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    met boolean;
BEGIN
    FOR i IN 1..600 LOOP
        EXECUTE 'SELECT ' || condition INTO met;
        IF met THEN
            RETURN 'met';
        END IF;
        PERFORM pg_sleep(0.1);
    END LOOP;
    RETURN (SELECT string_agg(s::text, E'\n') FROM pss_rebalance_status() AS s);
END $$;
SELECT wait_until($$(SELECT state <> 'running' FROM pss_rebalance_status('t') LIMIT 1)$$);
SELECT relation, state, keys_done, keys, rows_done, rows, rows_per_s > 0 AS rows_per_s, eta, waiting, last_error
FROM pss_rebalance_status('t');
SELECT pss_partition, count(DISTINCT k) AS keys, count(*) AS rows FROM t GROUP BY 1 ORDER BY 1;
-- Spread evenly over the source's keys: of each thousand about as many stayed.
SELECT min(n) > 400 AND max(n) < 600 AS evenly FROM (SELECT count(DISTINCT k) AS n FROM t WHERE pss_partition = 0 GROUP BY (k - 1) / 1000) AS h;
SELECT * FROM pss_check('t');
SELECT DISTINCT from_cost > 0 AND to_cost > 0 AS cost FROM pss.move;
SELECT reason ~ '^too early to tell' AS early FROM plan;
SELECT regexp_replace(message, '\d+', 'N') AS message FROM pss.event WHERE kind = 'rebalance' ORDER BY event_id;

-- A destination that takes nothing any more is an error, and tried again.
DELETE FROM pss.move;
SELECT past('{80,20,20,40}');
SELECT pss_rebalance_start('t', rate => 20) > 0 AS started;
SELECT pss_set_partition_state('t', to_partition, 'disabled') FROM pss.rebalance_move WHERE ended_at IS NULL;
SELECT wait_until($$(SELECT last_error IS NOT NULL FROM pss_rebalance_status('t') LIMIT 1)$$);
SELECT state, last_error FROM pss_rebalance_status('t') LIMIT 1;
SELECT pss_set_partition_state('t', partition, 'active') FROM pss.partition WHERE relation = 't'::regclass AND state <> 'active';
SELECT wait_until($$(SELECT keys_done > 0 FROM pss_rebalance_status('t') LIMIT 1)$$);
SELECT pss_rebalance_stop('t') > 0 AS stopped;

-- Stopped half-way, and begun again.
DELETE FROM pss.move;
SELECT past('{80,20,20,40}');
SELECT pss_rebalance_start('t', rate => 20) > 0 AS started;
SELECT wait_until($$(SELECT keys_done > 0 FROM pss_rebalance_status('t') LIMIT 1)$$);
SELECT pss_rebalance_start('t');
SELECT state, keys_done BETWEEN 1 AND keys - 1 AS half_way, eta > '0' AS eta FROM pss_rebalance_status('t') LIMIT 1;
SELECT pss_rebalance_stop('t') > 0 AS stopped;
SELECT sum(keys) AS moved FROM pss.move \gset
SELECT state, keys_done = :moved AS all_counted, ended_at IS NOT NULL AS ended FROM pss_rebalance_status('t') LIMIT 1;
SELECT pss_rebalance_stop('t');
SELECT * FROM pss_check('t');

-- What is refused.
SELECT past('{40,40,40,40}');
SELECT pss_rebalance_start('t');
SELECT pss_rebalance_start('t', rate => 0);
SELECT pss_rebalance_start(NULL);
SELECT pss_rebalance_start('pg_class');
SELECT pss_rebalance_start(4000000000);
SELECT * FROM pss_rebalance_plan('pg_class');
SELECT * FROM pss_rebalance_status(4000000000);
SELECT pss_rebalance_stop('no_such_table');
BEGIN READ ONLY;
SELECT pss_rebalance_start('t');
ROLLBACK;
CREATE TABLE s (k int NOT NULL);
SELECT count(*) FROM pss_distribute_table('s', 'k', 2, mapping => 'slot');
SELECT pss_rebalance_start('s');
SELECT reason FROM pss_rebalance_plan('s');
CREATE ROLE regress_rebalance;
GRANT ALL ON t TO regress_rebalance;
SET ROLE regress_rebalance;
SELECT * FROM pss_rebalance_plan('t');
RESET ROLE;
GRANT EXECUTE ON FUNCTION pss_rebalance_plan(regclass), pss_rebalance_start(regclass, int),
    pss_rebalance_stop(regclass), pss_rebalance_status(regclass) TO regress_rebalance;
SET ROLE regress_rebalance;
SELECT * FROM pss_rebalance_plan('t');
SELECT pss_rebalance_start('t');
SELECT pss_rebalance_stop('t');
SELECT * FROM pss_rebalance_status('t');
SELECT count(*) FROM pss_rebalance_plan();
SELECT count(*) FROM pss_rebalance_status();
RESET ROLE;
-- Its owner may.
ALTER TABLE s OWNER TO regress_rebalance;
SET ROLE regress_rebalance;
SELECT relation FROM pss_rebalance_plan();
SELECT pss_rebalance_start('s');
RESET ROLE;

-- With the table goes what was written down of it.
DROP VIEW plan;
DROP TABLE t, s;
SELECT count(*) FROM pss.rebalance_move;
REVOKE EXECUTE ON FUNCTION pss_rebalance_plan(regclass), pss_rebalance_start(regclass, int),
    pss_rebalance_stop(regclass), pss_rebalance_status(regclass) FROM regress_rebalance;
DROP ROLE regress_rebalance;
