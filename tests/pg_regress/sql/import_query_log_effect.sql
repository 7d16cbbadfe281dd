--
-- IMPORT_QUERY_LOG_EFFECT: what was imported changes a forecast, and then the weights
--
SET client_min_messages = warning;
SET timezone = 'UTC';
CREATE EXTENSION pss;
CREATE TABLE t (k bigint);
SELECT count(*) FROM pss_distribute_table('t', 'k', 2);
SELECT leaf AS leaf0 FROM pss.partition WHERE partition = 0 \gset
SELECT leaf AS leaf1 FROM pss.partition WHERE partition = 1 \gset
SELECT current_setting('data_directory') || '/pss_effect.json' AS json \gset
-- Load of a partition that many minutes after the time of day at which this test runs: a daily job
-- goes to and fro between the two, is on both just now, and on partition 1 from in a minute on.
CREATE FUNCTION load(minute numeric, partition int) RETURNS int LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN minute >= -3 AND minute < 1 THEN 55
                WHEN (minute >= -48 AND minute < -28 OR minute >= -13 AND minute < -3) = (partition = 0) THEN 100
                ELSE 10 END $$;
CREATE VIEW ahead AS
SELECT minutes, (array_agg(value ORDER BY partition))[1] < 45 AS falls_on_0, (array_agg(value ORDER BY partition))[2] > 65 AS rises_on_1
FROM generate_series(10, 15, 5) AS minutes, pss_forecast('t')
WHERE at >= now() + minutes * interval '1 min' AND at < now() + minutes * interval '1 min' + interval '10 s'
GROUP BY minutes ORDER BY minutes;
CREATE VIEW decided AS
SELECT weights[1] > 0.8 AS most_to_0 FROM pss.epoch ORDER BY epoch DESC LIMIT 1;
-- Where five minutes end within the minute of the change, their mean hides it: wait until they have.
SELECT FROM (SELECT extract(epoch FROM clock_timestamp())::numeric % 300 AS s) AS c,
     LATERAL pg_sleep((CASE WHEN s >= 280 THEN 345 - s WHEN s < 45 THEN 45 - s ELSE 0 END)::float8);
-- The worker keeps out while this transaction holds the samples.
BEGIN;
LOCK TABLE pss.sample IN EXCLUSIVE MODE;
DELETE FROM pss.sample;
DELETE FROM pss.history;
-- An hour of samples. Each partition gets 2 to 10 keys a cycle, each of which brings a row in this
-- cycle and the next 45.
INSERT INTO pss.sample (relation, partition, sampled_at, tup_inserted, tup_updated, tup_deleted,
    idx_tup_fetch, seq_tup_read, blks_read, blks_hit, own_rows, own_keys, own_keys_by_size, own_load, foreign_load)
SELECT 't', p, now() + (i - 378) * interval '10 s', own_rows + sum(load * 10) OVER so_far, 0, 0, 0, 0, 0, 0,
       own_rows, own_keys, ARRAY[own_keys], CASE WHEN i > 0 THEN alive / 10.0 END, CASE WHEN i > 0 THEN load END
FROM (SELECT *, sum(alive) OVER so_far AS own_rows, sum(keys) OVER so_far AS own_keys
      FROM (SELECT i, p, keys, sum(keys) OVER (PARTITION BY p ORDER BY i ROWS 45 PRECEDING) AS alive,
                   load((i - 378.5) / 6, p) AS load
            FROM generate_series(0, 378) AS i, generate_series(0, 1) AS p, LATERAL (SELECT 2 + i * i % 7 * 2 AS keys) AS k) AS l
      WINDOW so_far AS (PARTITION BY p ORDER BY i)) AS s
WINDOW so_far AS (PARTITION BY p ORDER BY i);
-- Without the log nothing tells where the job is going.
TABLE ahead;
SELECT count(*) FROM pss_refresh();
TABLE decided;
-- Of each of twelve days the log has an hour and a half: a statement a minute on each partition, which
-- takes the longer the higher the load is.
COPY (SELECT json_build_object(
          'timestamp', to_char(at, 'YYYY-MM-DD HH24:MI:SS.MS') || ' UTC', 'dbname', current_database(),
          'message', format('duration: %s ms  statement: SELECT count(*) FROM %s', load(minute, p) * 500, leaf))
      FROM generate_series(1, 12) AS day, generate_series(-65, 24) AS minute,
           (VALUES (0, :'leaf0'), (1, :'leaf1')) AS leaf (p, leaf),
           LATERAL (SELECT now() - day * interval '1 day' + minute * interval '1 min' + interval '55 s' AS at) AS a
      ORDER BY at) TO :'json' (FORMAT csv, QUOTE E'\b', DELIMITER E'\t');
SELECT entries, used, skipped FROM pss_import_query_log('t', 'pss_effect.json');
-- Now it is known, and new keys go to the partition that is about to be idle.
TABLE ahead;
SELECT reason FROM pss_refresh();
TABLE decided;
ROLLBACK;
