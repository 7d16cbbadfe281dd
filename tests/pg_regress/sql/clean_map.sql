-- Cleaning a row map: entries without rows, as pss_clean_map() does it at once.
CREATE EXTENSION pss;
SET client_min_messages = warning;
SET pss.reservation_ttl = 0;

CREATE TABLE t (k int NOT NULL, v text);
CREATE INDEX ON t (k);
SELECT count(*) FROM pss_distribute_table('t', 'k', partitions => 4);
INSERT INTO t SELECT g, 'x' FROM generate_series(1, 200) AS g;
SELECT map FROM pss.map_state WHERE relation = 't'::regclass \gset
SELECT * FROM pss_clean_map('t');

-- Rows that were deleted, reservations without rows, and both in a transaction that fails.
DELETE FROM t WHERE k <= 50;
SELECT count(DISTINCT p) > 1 AS reserved FROM unnest(pss_get_partitions('t', ARRAY(SELECT g::text FROM generate_series(1001, 1020) AS g))) AS p;
SELECT count(*) FROM :map;
BEGIN;
SELECT * FROM pss_clean_map('t');
ROLLBACK;
SELECT count(*) FROM :map;
SELECT * FROM pss_clean_map('t');
SELECT count(*) FROM :map;
SELECT * FROM pss_clean_map('t');
SELECT count(pss_locate('t', k)) FROM generate_series(1, 50) AS k;
SELECT count(*) FROM t WHERE pss_locate('t', k) = pss_partition;
SELECT orphans, duplicates, cleaned_at IS NOT NULL AS cleaned FROM pss.stat_map;
SELECT message FROM pss.events WHERE kind = 'clean_map';

-- A key that lost its home gets one again, and keeps it.
INSERT INTO t SELECT g, 'again' FROM generate_series(1, 50) AS g;
SELECT * FROM pss_clean_map('t');
SELECT * FROM pss_check('t');

-- What is younger than pss.reservation_ttl stays.
SET pss.reservation_ttl = '1h';
DELETE FROM t WHERE k <= 50;
SELECT * FROM pss_clean_map('t');
SELECT count(*) FROM :map;
-- So does what this transaction has not committed.
SET pss.reservation_ttl = 0;
BEGIN;
SELECT pss_get_partition('t', 2000) >= 0 AS reserved;
SELECT * FROM pss_clean_map('t');
SELECT pss_locate('t', 2000) IS NOT NULL AS kept;
INSERT INTO t VALUES (2000, 'came'), (7, 'came back');
COMMIT;
SELECT * FROM pss_check('t');
SELECT * FROM pss_clean_map('t');

-- What is refused.
SELECT * FROM pss_clean_map(NULL);
SELECT * FROM pss_clean_map('pg_class');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM pss_clean_map('t');
ROLLBACK;
\set VERBOSITY sqlstate
SET pss.reservation_ttl = -1;
\set VERBOSITY default
DROP TABLE t;
