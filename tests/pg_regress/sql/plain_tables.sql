--
-- PLAIN TABLES: what pss has nothing to do with works as without it
--
SET client_min_messages = warning;
CREATE EXTENSION pss;
RESET client_min_messages;

-- detaching a partition checks foreign keys while it is half a partition; a new session knows
-- nothing of the partition yet
CREATE TABLE tree (id bigint PRIMARY KEY, parent bigint REFERENCES tree) PARTITION BY LIST (id);
CREATE TABLE tree_1 PARTITION OF tree FOR VALUES IN (1, 2);
CREATE TABLE tree_3 PARTITION OF tree FOR VALUES IN (3, 4) PARTITION BY LIST (id);
CREATE TABLE tree_33 PARTITION OF tree_3 FOR VALUES IN (3, 4);
INSERT INTO tree VALUES (1, NULL), (2, NULL), (3, NULL), (4, NULL);
\c -
ALTER TABLE tree DETACH PARTITION tree_1;
ALTER TABLE tree DETACH PARTITION tree_3;
ALTER TABLE tree_3 DETACH PARTITION tree_33;
DELETE FROM tree_33;
ALTER TABLE tree_3 ATTACH PARTITION tree_33 FOR VALUES IN (3, 4);
ALTER TABLE tree ATTACH PARTITION tree_3 FOR VALUES IN (3, 4);
SELECT count(*) FROM tree;
