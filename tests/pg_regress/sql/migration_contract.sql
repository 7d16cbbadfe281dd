-- The contract with a migration tool that is not ours (docs/migration.md): it asks
-- pss_get_partitions, writes by itself, and a row is where it was said or is refused.
CREATE EXTENSION pss;
SET client_min_messages = warning;
CREATE TABLE t (k int NOT NULL, v text, PRIMARY KEY (k, v));
SELECT count(*) FROM pss_distribute_table('t', 'k', partitions => 4);
SELECT count(*) FROM pss_move_key('t', 0, 0);
SELECT leaf AS p0 FROM pss.partition WHERE relation = 't'::regclass AND partition = 0 \gset
SELECT leaf AS p1 FROM pss.partition WHERE relation = 't'::regclass AND partition = 1 \gset
RESET client_min_messages;

-- Asked once or again, it says the same; and so it stays, until the rows come.
SELECT pss_get_partitions('t', '{1,2,3,4,5,6,7,8}') AS said \gset
SELECT pss_get_partitions('t', '{1,2,3,4,5,6,7,8}') = :'said'::int[] AS same;
SELECT pss_get_partitions('t', '{8,1}') = ARRAY[(:'said'::int[])[8], (:'said'::int[])[1]] AS same;
-- The examples below want to know where: key 1 in partition 0, key 2 in partition 1.
SELECT count(pss_move_key('t', k, k - 1)) FROM generate_series(1, 4) AS k;

-- Each way of writing, where it was said.
INSERT INTO :p0 VALUES (1, 'into the leaf') RETURNING pss_partition;
INSERT INTO t (k, v, pss_partition) VALUES (1, 'through the root, named', 0) RETURNING pss_partition;
INSERT INTO t VALUES (1, 'through the root') RETURNING pss_partition;
COPY :p0 (k, v) FROM STDIN;
1	copied into the leaf
\.
COPY t (k, v, pss_partition) FROM STDIN;
1	copied through the root, named	0
\.
COPY t (k, v) FROM STDIN;
1	copied through the root
\.
SELECT DISTINCT pss_partition, count(*) FROM t WHERE k = 1 GROUP BY 1;

-- A mover takes the key elsewhere between question and write: what names the old place is refused,
-- whole statements at a time, and says what to do.
SELECT pss_move_key('t', 1, 3);
INSERT INTO :p0 VALUES (1, 'late');
INSERT INTO :p0 VALUES (100, 'stays out, too'), (1, 'late');
INSERT INTO t (k, v, pss_partition) VALUES (1, 'late', 0);
INSERT INTO :p0 VALUES (1, 'late') ON CONFLICT DO NOTHING;
COPY :p0 (k, v) FROM STDIN;
101	stays out, too
1	late
\.
COPY t (k, v, pss_partition) FROM STDIN;
1	late	0
\.
-- Another leaf never was right.
INSERT INTO :p1 VALUES (1, 'wrong');
-- What it says: leave the partition out, or ask again.
INSERT INTO t VALUES (1, 'late, through the root') RETURNING pss_partition;
SELECT pss_get_partitions('t', '{1}');
SELECT k, count(*), count(DISTINCT pss_partition) AS places FROM t WHERE k IN (1, 100, 101) GROUP BY 1;

-- Question and write in one transaction: the key stays until it ends. (Isolation test
-- migration: a mover gives way to the transaction.)
BEGIN;
SELECT pss_get_partitions('t', '{2}');
INSERT INTO :p1 VALUES (2, 'in one transaction') RETURNING pss_partition;
COMMIT;
-- Rolled back, nothing is left of it.
BEGIN;
SELECT array_length(pss_get_partitions('t', '{50}'), 1);
ROLLBACK;
SELECT pss_locate('t', 50);

-- A row for a key that nobody asked about is adopted where it is written.
INSERT INTO :p1 VALUES (60, 'adopted') RETURNING pss_partition;
SELECT pss_get_partitions('t', '{60}');

-- A question holds for pss.reservation_ttl at least. Once it is forgotten, the next word counts.
SELECT pss_get_partitions('t', '{70,71}') AS said \gset
SELECT count(pss_move_key('t', k, 0)) FROM generate_series(70, 71) AS k;
SELECT orphans FROM pss_clean_map('t');
SELECT pss_locate('t', 70) AS held;
SET pss.reservation_ttl = 0;
SELECT orphans >= 2 AS forgotten FROM pss_clean_map('t');
RESET pss.reservation_ttl;
SELECT pss_locate('t', 70) AS forgotten;
--   nobody has used it since: adopted, as it was said
INSERT INTO :p0 VALUES (70, 'very late') RETURNING pss_partition;
--   somebody has: refused
INSERT INTO :p1 VALUES (71, 'somebody else');
INSERT INTO :p0 VALUES (71, 'very late');

-- A partition that was taken out of service takes what it was promised to get.
SELECT pss_get_partitions('t', '{80}') AS said \gset
SELECT count(pss_move_key('t', 80, 0));
SELECT pss_set_partition_state('t', 0, 'disabled');
INSERT INTO :p0 VALUES (80, 'promised') RETURNING pss_partition;
SELECT 0 = ANY (pss_get_partitions('t', ARRAY(SELECT g::text FROM generate_series(1000, 1100) AS g))) AS new_ones;
SELECT pss_set_partition_state('t', 0, 'active');

-- Its rights are those of any writer: INSERT on what it writes to.
CREATE ROLE regress_migration;
GRANT INSERT ON t TO regress_migration;
SET ROLE regress_migration;
SELECT array_length(pss_get_partitions('t', '{90}'), 1);
INSERT INTO t (k, v, pss_partition) VALUES (90, 'by the tool', (pss_get_partitions('t', '{90}'))[1]);
INSERT INTO :p0 VALUES (1, 'not into the leaf');
RESET ROLE;

-- Slot mode: a row stays where it was said, whatever became of its slot.
CREATE TABLE s (k int NOT NULL, v text);
SET client_min_messages = warning;
SELECT count(*) FROM pss_distribute_table('s', 'k', 2, mapping => 'slot');
RESET client_min_messages;
SELECT leaf AS s0 FROM pss.partition WHERE relation = 's'::regclass AND partition = 0 \gset
SELECT leaf AS s1 FROM pss.partition WHERE relation = 's'::regclass AND partition = 1 \gset
INSERT INTO :s0 VALUES (1, 'a') RETURNING pss_partition;
INSERT INTO :s1 VALUES (1, 'b') RETURNING pss_partition;
SELECT count(*) FROM s WHERE k = 1;

SELECT k FROM t GROUP BY k HAVING count(DISTINCT pss_partition) > 1;
SELECT * FROM pss_check();
REVOKE ALL ON t FROM regress_migration;
DROP ROLE regress_migration;
