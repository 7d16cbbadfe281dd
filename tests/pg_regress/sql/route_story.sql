-- pss_explain_route tells in sentences where a key is and why, or where it would go.
CREATE EXTENSION pss;
SET timezone = 'UTC';
SET datestyle = ISO;
SET client_min_messages = warning;
CREATE TABLE t (k bigint);
SELECT count(*) FROM pss_distribute_table('t', 'k', 4);
-- Numbers and times differ from run to run; which partition a key goes to, too.
CREATE FUNCTION story(key bigint, relation regclass DEFAULT 't') RETURNS TABLE (story text) LANGUAGE sql AS $$
    SELECT regexp_replace(regexp_replace(regexp_replace(value, '\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00', 'TIME', 'g'),
               '(t|s)_p\d', '\1_pN', 'g'), '-?\m\d+(\.\d+)?\M', 'N', 'g')
    FROM pss_explain_route(relation, key) WHERE item = 'story'
$$;

-- A new key, by quota: nothing is expected yet.
SELECT count(*) FROM pss_refresh();
SELECT story(1);
-- It is said where, and it goes there if nobody else comes before it.
SELECT value::int BETWEEN 0 AND 3 AS likely FROM pss_explain_route('t', 1) WHERE item = 'likely partition';
INSERT INTO t VALUES (1), (1), (2);
SELECT story(1);
SELECT value = format('All rows of this key are in partition %s (t_p%s).', p, p) AS there
FROM pss_explain_route('t', 1), pss_locate('t', 1) AS p WHERE item = 'story' LIMIT 1;
-- A partition that takes none.
UPDATE pss.partition SET state = 'disabled' WHERE relation = 't'::regclass AND partition = 2;
SELECT count(*) FROM pss_refresh();
SELECT story(3);
UPDATE pss.partition SET state = 'active';
-- A key that was moved.
SELECT count(*) FROM pss_refresh();
SELECT pss_move_key('t', 1, (pss_locate('t', 1) + 1) % 4);
SELECT story(1);
-- One that came with its partition; and one whose epoch is gone.
INSERT INTO t_p3 (k, pss_partition) VALUES (9, 3);
SELECT story(9) LIKE 'Its virtual key fell into slot N of N%' AS by_slot OFFSET 2 LIMIT 1;
BEGIN;
DELETE FROM pss.epoch WHERE epoch = 0;
SELECT story(2);
ROLLBACK;
-- A hot one.
INSERT INTO t SELECT CASE WHEN g % 2 = 0 THEN 50 ELSE -g END FROM generate_series(1, 4000) g;
SELECT story FROM story(50) WHERE story LIKE '%hot%';
SELECT count(*) FROM story(-1) WHERE story LIKE '%hot%';

-- Filling to a level, on samples of made-up time: a job comes and goes on partition 0, and keys bring rows
-- for some time after they were placed.
INSERT INTO t SELECT 100 + g % 8000 FROM generate_series(1, 24000) g;
SELECT pg_stat_force_next_flush() IS NOT NULL AS flushed;
SELECT count(*) FROM pss_refresh();
-- The worker keeps out while it cannot read which tables there are.
BEGIN;
LOCK TABLE pss.sharded_table IN ACCESS EXCLUSIVE MODE;
CREATE TEMP TABLE placed ON COMMIT DROP AS
SELECT DISTINCT ON (partition) * FROM pss.sample WHERE relation = 't'::regclass ORDER BY partition, sampled_at DESC;
DELETE FROM pss.sample;
INSERT INTO pss.sample (relation, partition, sampled_at, tup_inserted, tup_updated, tup_deleted, idx_tup_fetch,
                        seq_tup_read, blks_read, blks_hit, own_rows, own_keys, own_keys_by_size, metric_load)
SELECT 't', partition, now() - (241 - i) * interval '10 s', own_rows * i / 240, 0, 0, 0, 0, 0, 0,
       own_rows * i / 240, own_keys * (i / 10) / 24, ARRAY[own_keys * (i / 10) / 24],
       CASE WHEN partition = 0 AND i % 12 < 4 THEN 30 ELSE 1 END
FROM placed CROSS JOIN generate_series(1, 240) AS i;
SELECT count(*) FROM pss_refresh();
SELECT story(77777);
SELECT story FROM story(1) WHERE story LIKE '%now %';
ROLLBACK;

-- By slot.
CREATE TABLE s (k bigint);
SELECT count(*) FROM pss_distribute_table('s', 'k', 4, mapping => 'slot');
SELECT count(*) FROM pss_refresh();
INSERT INTO s VALUES (1);
SELECT story FROM story(1, 's') WHERE story NOT LIKE 'Expected of it%';
DROP FUNCTION story;
DROP TABLE t, s;
