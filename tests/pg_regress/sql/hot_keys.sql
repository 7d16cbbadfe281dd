-- Hot keys: which they are, who may see them, and what they leave no placement to do.
CREATE EXTENSION pss;
CREATE TABLE visits (site text, n int);
SELECT count(*) FROM pss_distribute_table('visits', 'site', 4);
SELECT * FROM pss.hot_keys;

-- Keys of one row each are not hot, however many they are.
INSERT INTO visits SELECT 'site ' || g, g FROM generate_series(1, 4000) g;
SELECT * FROM pss.hot_keys;

-- 4000 rows of one key and 2000 of another beside 4000 of others: two fifths and one fifth.
INSERT INTO visits
SELECT CASE WHEN g % 3 = 0 THEN 'medium' ELSE 'hot' END, g FROM generate_series(1, 6000) g;
SELECT relation, key,
       share BETWEEN 0.28 AND 0.52 AS two_fifths, share BETWEEN 0.11 AND 0.28 AS one_fifth,
       share_at_most >= share AS bounded,
       partitions = ARRAY[pss_locate('visits', key)] AS partitions,
       key_hash = pss_key_hash('visits', key) AS hash,
       since BETWEEN now() - interval '1 minute' AND clock_timestamp() AS since
FROM pss.hot_keys;
COPY visits (site) FROM PROGRAM 'yes by_copy | head -n 5000';
SELECT key FROM pss.hot_keys;

-- A key that is no longer there is known by its hash alone.
DELETE FROM visits WHERE site = 'medium';
SELECT key, key_hash = pss_key_hash('visits', 'medium'::text) AS medium FROM pss.hot_keys ORDER BY share DESC;

-- The floor knows of it: the load is level over four partitions, but all of it is one key's.
CREATE TABLE one (site text, n int);
SELECT count(*) FROM pss_distribute_table('one', 'site', 4);
INSERT INTO one SELECT 'the only', g FROM generate_series(1, 2000) g;
-- The worker keeps out while this transaction holds the samples.
BEGIN;
LOCK TABLE pss.sample IN EXCLUSIVE MODE;
DELETE FROM pss.sample;
INSERT INTO pss.sample (relation, partition, sampled_at, tup_inserted, tup_updated, tup_deleted,
    idx_tup_fetch, seq_tup_read, blks_read, blks_hit, own_rows, own_keys, own_load, foreign_load)
SELECT 'one', p, now() - (60 - i) * interval '10 s', 1000 * i, 0, 0, 0, 0, 0, 0, 1000 * i, 1000 * i,
       CASE WHEN i > 0 THEN 100 END, CASE WHEN i > 0 THEN 0 END
FROM generate_series(0, 59) AS i, generate_series(0, 3) AS p;
SELECT relation FROM pss_refresh() WHERE relation = 'one'::regclass;
SELECT round(floor, 1) AS floor, authority BETWEEN 0 AND 1 AS authority
FROM pss.tables WHERE relation = 'one'::regclass;
COMMIT;

-- Only who may read the whole table sees its keys.
CREATE ROLE regress_pss_reader;
GRANT SELECT (n) ON visits TO regress_pss_reader;
SET ROLE regress_pss_reader;
SELECT relation, key FROM pss.hot_keys;
RESET ROLE;
GRANT SELECT ON visits TO regress_pss_reader;
SET ROLE regress_pss_reader;
SELECT relation, key FROM pss.hot_keys;
RESET ROLE;
ALTER TABLE visits ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON visits TO regress_pss_reader USING (n < 0);
SET ROLE regress_pss_reader;
SELECT relation, key FROM pss.hot_keys;
RESET ROLE;
SELECT count(*) FROM pss.hot_keys WHERE relation = 'visits'::regclass;

-- In slot mode, too.
CREATE TABLE by_slot (site text, n int);
SELECT count(*) FROM pss_distribute_table('by_slot', 'site', 4, mapping => 'slot');
INSERT INTO by_slot SELECT CASE WHEN g % 2 = 0 THEN 'hot' ELSE 'site ' || g END, g FROM generate_series(1, 4000) g;
SELECT key, partitions = ARRAY[pss_locate('by_slot', 'hot'::text)] AS home FROM pss.hot_keys
WHERE relation = 'by_slot'::regclass;

-- Counters start anew.
SELECT pss_stat_reset();
SELECT * FROM pss.hot_keys;
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = 'pss.hot_keys'::regclass AND attnum > 0 ORDER BY attnum;
DROP TABLE visits, one, by_slot;
DROP ROLE regress_pss_reader;
