-- The coarse history: means over five minutes, made from samples.
CREATE EXTENSION pss;
SET timezone = 'UTC';
SET client_min_messages = warning;
CREATE TABLE t (k bigint);
SELECT count(*) FROM pss_distribute_table('t', 'k', 2);

-- The worker keeps out while this transaction holds the samples.
BEGIN;
LOCK TABLE pss.sample IN EXCLUSIVE MODE;
DELETE FROM pss.sample;
CREATE FUNCTION sample(p int, at timestamptz, load float8, own float8 DEFAULT 0) RETURNS void LANGUAGE sql AS $$
    INSERT INTO pss.sample (relation, partition, sampled_at, tup_inserted, tup_updated, tup_deleted,
        idx_tup_fetch, seq_tup_read, blks_read, blks_hit, own_rows, own_keys, own_load, foreign_load)
    VALUES ('t', p, at, 0, 0, 0, 0, 0, 0, 0, 0, 0, own, load)
$$;
-- The oldest says nothing. Unequal intervals, one across the bucket's end, a missing one, a load that is none.
SELECT sample(0, '2024-03-04 07:31:00+00', 1e6);
SELECT sample(0, '2024-03-04 08:00:00+00', NULL);
SELECT sample(0, '2024-03-04 08:00:10+00', 10, 1);
SELECT sample(0, '2024-03-04 08:00:40+00', 20, 2);
SELECT sample(0, '2024-03-04 08:01:40+00', NULL);
SELECT sample(0, '2024-03-04 08:04:50+00', 'NaN');
SELECT sample(0, '2024-03-04 08:05:10+00', 50);
SELECT sample(1, '2024-03-04 08:04:00+00', NULL);
SELECT sample(1, '2024-03-04 08:05:00+00', 7);
-- Nothing for two hours, then again.
SELECT sample(0, '2024-03-04 10:00:00+00', NULL);
SELECT sample(0, '2024-03-04 10:02:30+00', 4);
SELECT sample(0, '2024-03-04 10:10:00+00', 8);
-- Imported, and then measured; and one that nobody measured.
INSERT INTO pss.history VALUES ('t', 0, '2024-03-04 10:00+00', 99, 0, 300, 'log'),
                               ('t', 0, '2024-03-04 09:00+00', 88, 0, 300, 'log');
SELECT relation FROM pss_refresh();
SELECT * FROM pss.history ORDER BY bucket, partition;
-- Buckets are made when they are complete, once; more samples continue where it stopped.
SELECT sample(0, '2024-03-04 10:16:00+00', 5);
SELECT sample(0, '2024-03-04 10:20:00+00', 6);
-- What was declared is known without having been learnt.
UPDATE pss.sample SET declared_load = 2 WHERE sampled_at = '2024-03-04 10:20:00+00';
SELECT relation FROM pss_refresh();
SELECT * FROM pss.history WHERE bucket > '2024-03-04 10:00+00' AND source = 'sample' ORDER BY bucket, partition;
SELECT relation FROM pss_refresh();
SELECT count(*) FROM pss.history;
-- Of samples until now, buckets are made as far as they are complete.
DELETE FROM pss.sample;
DELETE FROM pss.history;
SELECT count(*) FROM generate_series(0, 9) i,
    sample(0, date_bin('5 min', now(), '2000-01-01 00:00+00') - i * interval '100 s', 3);
SELECT relation FROM pss_refresh();
SELECT count(*) >= 3 AS made, max(bucket) <= clock_timestamp() - interval '5 min' AS complete FROM pss.history;
-- The clock was set back: what was observed of a time to come goes, or nothing would be measured
-- until then.
SELECT sample(0, now() + '1 day', 1e6);
INSERT INTO pss.history VALUES ('t', 0, date_bin('5 min', now() + '1 day', '2000-01-01 00:00+00'), 1, 0, 300, 'sample');
SELECT relation FROM pss_refresh();
SELECT max(sampled_at) BETWEEN now() AND clock_timestamp() AS measured FROM pss.sample;
SELECT count(*) FROM pss.history WHERE bucket > now();
SELECT regexp_replace(message, '\d+', 'N') FROM pss.events WHERE kind = 'clock';
ROLLBACK;

-- What is no bucket, no load, or no part of a bucket is refused.
\set VERBOSITY sqlstate
INSERT INTO pss.history VALUES ('t', 0, '2024-03-04 10:01+00', 1, 0, 300, 'log');
INSERT INTO pss.history VALUES ('t', 0, '2024-03-04 10:00+00', -1, 0, 300, 'log');
INSERT INTO pss.history VALUES ('t', 0, '2024-03-04 10:00+00', 'NaN', 0, 300, 'log');
INSERT INTO pss.history VALUES ('t', 0, '2024-03-04 10:00+00', 1, 'inf', 300, 'log');
INSERT INTO pss.history VALUES ('t', 0, '2024-03-04 10:00+00', 1, 0, 301, 'log');
INSERT INTO pss.history VALUES ('t', 0, '2024-03-04 10:00+00', 1, 0, 300, 'dream');
INSERT INTO pss.history VALUES ('t', 0, 'infinity', 1, 0, 300, 'log');
SELECT sample(0, 'infinity', 1);
\set VERBOSITY default

-- It goes with its table.
INSERT INTO pss.history VALUES ('t', 0, '2024-03-04 10:00+00', 1, 0, 300, 'log');
DROP TABLE t;
SELECT count(*) FROM pss.history;
