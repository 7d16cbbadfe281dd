--
-- PARTITION_NUMBERS: partitions whose numbers have gaps are counted and filled each as itself
--
SET client_min_messages = warning;
CREATE EXTENSION pss;
CREATE TABLE g (pss_partition int NOT NULL DEFAULT -1, k bigint NOT NULL, v text) PARTITION BY LIST (pss_partition);
CREATE TABLE g0 PARTITION OF g FOR VALUES IN (0);
CREATE TABLE g1 PARTITION OF g FOR VALUES IN (1);
CREATE TABLE g7 PARTITION OF g FOR VALUES IN (7);
CREATE INDEX ON g (k);
-- No cycle of the worker has seen the table as long as this transaction lasts.
BEGIN;
SELECT partition, relation FROM pss_distribute_table('g', 'k') ORDER BY partition;
SELECT count(*) FROM g7;
INSERT INTO g1 (k, pss_partition) VALUES (-1, 1);
SELECT partition, reads, writes FROM pss.query_patterns WHERE relation = 'g'::regclass;
-- By quota, each gets its third.
INSERT INTO g (k) SELECT generate_series(1, 400);
SELECT pss_partition, count(*) BETWEEN 130 AND 137 AS has_its_share FROM g GROUP BY 1 ORDER BY 1;
INSERT INTO g (k) SELECT generate_series(1, 400);
SELECT count(*) FROM pss_refresh();
-- What the sample says of each partition is what is in it.
SELECT s.partition, s.own_rows = count(*) AS rows_counted, s.own_keys = count(DISTINCT g.k) AS keys_counted
FROM pss.sample s JOIN g ON g.pss_partition = s.partition
WHERE s.relation = 'g'::regclass GROUP BY s.partition, s.own_rows, s.own_keys ORDER BY s.partition;
COMMIT;
SELECT * FROM pss_check('g');
-- One more, between: the counters of the others stay theirs.
CREATE TABLE g3 (LIKE g INCLUDING ALL);
BEGIN;
ALTER TABLE g ATTACH PARTITION g3 FOR VALUES IN (3);
INSERT INTO pss.partition (relation, partition, leaf) VALUES ('g', 3, 'g3');
INSERT INTO g (k) SELECT generate_series(401, 800);
SELECT count(*) FROM pss_refresh();
SELECT s.partition, s.own_rows = s.rows AS rows_counted, s.own_keys = s.keys AS keys_counted
FROM (SELECT DISTINCT ON (s.partition) s.partition, s.own_rows, s.own_keys,
             (SELECT count(*) FROM g WHERE g.pss_partition = s.partition) AS rows,
             (SELECT count(DISTINCT k) FROM g WHERE g.pss_partition = s.partition) AS keys
      FROM pss.sample s WHERE s.relation = 'g'::regclass ORDER BY s.partition, s.sampled_at DESC) AS s
ORDER BY s.partition;
COMMIT;
