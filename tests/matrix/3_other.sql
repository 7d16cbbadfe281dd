--! group UPDATE, DELETE, TRUNCATE

--! fixture changing
CREATE TABLE t (k bigint NOT NULL, v text, n int DEFAULT 0);
CREATE INDEX ON t (k);
CREATE TABLE src (k bigint, v text);
--! seed
TRUNCATE t, src;
INSERT INTO t SELECT g % 10, 'row ' || g, g FROM generate_series(1, 30) AS g;
INSERT INTO src SELECT g, 'source ' || g FROM generate_series(2, 6) AS g;

--! form UPDATE of other columns
UPDATE t SET v = 'changed', n = n + 1 WHERE k = 3;
UPDATE t SET n = n + 1;
UPDATE t SET (v, n) = (SELECT 'sub', count(*) FROM src) WHERE k IN (4, 5);

--! form UPDATE ... FROM
UPDATE t SET v = src.v FROM src WHERE src.k = t.k AND t.n > 10;

--! form UPDATE of the key to itself
UPDATE t SET k = k WHERE k = 3;

--! form UPDATE of the key to a new one
UPDATE t SET k = k + 20 WHERE k = 3;
SELECT k, v FROM t WHERE k IN (3, 23);

--! form UPDATE of the key to a known one
UPDATE t SET k = 5 WHERE k = 3 RETURNING k, v;

--! form UPDATE of the key of all rows
UPDATE t SET k = k + 1, v = v || '+';
SELECT k, count(*) FROM t GROUP BY k;

--! form UPDATE of the key to NULL
UPDATE t SET k = NULL WHERE k = 3;

--! form UPDATE of the key by a volatile expression, and FROM
CREATE TEMP SEQUENCE s;
UPDATE t SET k = nextval('s') + 40 WHERE k = 1;
SELECT currval('s');
UPDATE t SET k = src.k + 30 FROM src WHERE src.k = t.k;

--! form DELETE, all and by key
DELETE FROM t WHERE k = 3;
DELETE FROM t WHERE n % 2 = 0;
DELETE FROM t;
INSERT INTO t VALUES (3, 'anew');

--! form DELETE ... USING
DELETE FROM t USING src WHERE src.k = t.k AND t.n < 20;

--! form TRUNCATE
--! not call
TRUNCATE t;
INSERT INTO t VALUES (3, 'anew'), (30, 'new');

--! form TRUNCATE rolled back
BEGIN;
TRUNCATE t;
INSERT INTO t VALUES (3, 'within');
ROLLBACK;
INSERT INTO t VALUES (3, 'after');

--! group SELECT

--! form by key: =, IN, ANY, BETWEEN, OR
SELECT * FROM t WHERE k = 3;
SELECT * FROM t WHERE k IN (1, 5, 77);
SELECT * FROM t WHERE k = ANY ('{2,3}');
SELECT * FROM t WHERE k BETWEEN 2 AND 4;
SELECT * FROM t WHERE k = 1 OR k = 7;
SELECT count(*) FROM t WHERE k = 1 AND k = 2;

--! form by key: other types, expressions, none there
SELECT * FROM t WHERE k = 3::smallint;
SELECT * FROM t WHERE k = 3.0;
SELECT * FROM t WHERE k = (SELECT min(k) FROM src);
SELECT * FROM t WHERE k = length('abc');
SELECT * FROM t WHERE k = 12345;
SELECT * FROM t WHERE k IS NULL;
SELECT * FROM t WHERE k = NULL;

--! form joins on the key
SELECT t.*, src.v FROM t JOIN src USING (k);
SELECT src.k, t.v FROM src LEFT JOIN t ON t.k = src.k AND t.n > 20;
SELECT a.n, b.n FROM t AS a JOIN t AS b USING (k) WHERE a.k = 3;
SELECT k, (SELECT count(*) FROM t WHERE t.k = src.k) FROM src;
SELECT src.k, l.n FROM src, LATERAL (SELECT n FROM t WHERE t.k = src.k ORDER BY n LIMIT 1) AS l;
SELECT k FROM src WHERE EXISTS (SELECT FROM t WHERE t.k = src.k AND n > 22);

--! form nested loop, its inner side by key
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SELECT t.*, src.v FROM src JOIN t USING (k);
SELECT src.k, t.n FROM src LEFT JOIN t USING (k);

--! form aggregates, DISTINCT, ORDER BY, set operations
SELECT k, sum(n), count(*) FROM t GROUP BY k HAVING sum(n) > 30;
SELECT DISTINCT k FROM t ORDER BY k;
SELECT k FROM t EXCEPT SELECT k FROM src;
SELECT max(n) FROM t;

--! form FOR UPDATE, SKIP LOCKED, FOR SHARE
BEGIN;
SELECT k, n FROM t WHERE k = 3 FOR UPDATE;
SELECT k, n FROM t WHERE k = 4 ORDER BY n LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
SELECT k, n FROM t JOIN src USING (k) FOR SHARE OF t;
COMMIT;

--! form parallel query
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
SELECT k, count(*) FROM t GROUP BY k;
INSERT INTO t SELECT k, max(v) FROM t GROUP BY k;
CREATE TEMP TABLE copied AS SELECT k, n FROM t WHERE k = 3;
SELECT * FROM copied;

--! form JIT
SET jit = on;
SET jit_above_cost = 0;
SET jit_inline_above_cost = 0;
SET jit_optimize_above_cost = 0;
INSERT INTO t SELECT k + 40, v, n FROM t WHERE n > 3 RETURNING k, n;
SELECT sum(n) FROM t WHERE k = 3;

--! group EXPLAIN

--! form EXPLAIN changes nothing
EXPLAIN INSERT INTO t VALUES (50, 'a');
EXPLAIN (VERBOSE, FORMAT json) INSERT INTO t SELECT * FROM src;
EXPLAIN (COSTS off) UPDATE t SET n = 0 WHERE k = 3;

--! form EXPLAIN ANALYZE does what it explains
EXPLAIN ANALYZE INSERT INTO t VALUES (50, 'a'), (1, 'b');
EXPLAIN (ANALYZE, VERBOSE, BUFFERS, WAL) INSERT INTO t SELECT * FROM src;
EXPLAIN ANALYZE UPDATE t SET n = 0 WHERE k = 3;
EXPLAIN ANALYZE DELETE FROM t WHERE k = 4;
EXPLAIN ANALYZE SELECT * FROM t WHERE k = 5;
EXPLAIN (ANALYZE, TIMING off) WITH a AS (INSERT INTO t VALUES (51, 'a') RETURNING k) SELECT * FROM a;

--! group Row and partition

--! fixture explicit
CREATE TABLE t (k bigint NOT NULL, v text);
CREATE INDEX ON t (k);
CREATE TABLE src (k bigint, v text);
--! twin
ALTER TABLE t ADD COLUMN pss_partition int NOT NULL DEFAULT -1;
CREATE FUNCTION pss_get_partition(regclass, bigint) RETURNS int LANGUAGE sql AS 'SELECT 0';
CREATE FUNCTION pss_locate(regclass, bigint) RETURNS int LANGUAGE sql AS 'SELECT -1';
--! seed
TRUNCATE t, src;
INSERT INTO t (k, v) VALUES (1, 'one'), (2, 'two'), (3, 'three');
INSERT INTO src SELECT g, 'source ' || g FROM generate_series(2, 9) AS g;

--! form pss_get_partition() in the INSERT
--! not view leaf
INSERT INTO t (k, v, pss_partition) SELECT k, v, pss_get_partition('t', k) FROM src;
INSERT INTO t (k, v, pss_partition) VALUES (20, 'a', pss_get_partition('t', 20::bigint)) RETURNING k, v;

--! form pss_partition of a known key, right
--! not view leaf
INSERT INTO t (k, v, pss_partition) SELECT k, 'right', pss_partition FROM t;
INSERT INTO t (k, v, pss_partition) VALUES (1, 'right', pss_locate('t', 1::bigint));

--! form pss_partition of a known key, wrong
INSERT INTO t (k, v, pss_partition) SELECT k, 'wrong', (pss_partition + 1) % 4 FROM t WHERE k = 1;

--! form pss_partition of a new key
INSERT INTO t (k, v, pss_partition) VALUES (70, 'named', 0), (71, 'named', 0);
INSERT INTO t (k, v) VALUES (70, 'follows');

--! form two partitions for one new key
INSERT INTO t (k, v, pss_partition) VALUES (70, 'a', 0), (70, 'b', 1);

--! form pss_partition NULL, -1 or DEFAULT
INSERT INTO t (k, v, pss_partition) VALUES (70, 'a', -1), (71, 'b', DEFAULT) RETURNING k, v;

--! form a partition that there is not
INSERT INTO t (k, v, pss_partition) VALUES (70, 'a', 99);

--! form UPDATE of pss_partition to itself
UPDATE t SET pss_partition = pss_partition WHERE k = 3;

--! form UPDATE of pss_partition
UPDATE t SET pss_partition = (pss_partition + 1) % 4 WHERE k = 3;

--! group COPY

--! fixture copying
CREATE TABLE t (k bigint NOT NULL, v text, n int DEFAULT 5);
CREATE INDEX ON t (k);
CREATE TABLE src (k bigint, v text, n int);
--! seed
TRUNCATE t, src;
INSERT INTO t VALUES (1, 'one', 1), (2, 'two', 2), (3, 'three', 3);
INSERT INTO src SELECT g, 'source ' || g, g FROM generate_series(2, 30) AS g;

--! form FROM STDIN, text
COPY t FROM STDIN;
1	a	\N
20	b	2
20	c	3
\.
SELECT count(*) FROM t;

--! form FROM STDIN, csv with header, quotes, NULL
COPY t FROM STDIN (FORMAT csv, HEADER, NULL 'none', DELIMITER ';');
k;v;n
1;"a;b";none
20;"c""d";2
\.

--! form FROM STDIN, column list
COPY t (v, k) FROM STDIN;
a	1
b	20
\.

--! form FROM STDIN, WHERE
COPY t FROM STDIN WHERE n > 1 AND k <> 2;
1	a	1
2	b	2
20	c	3
\.

--! form FROM a file, TO a file, text and csv
COPY src TO '{dir}a.txt';
COPY t FROM '{dir}a.txt';
COPY (SELECT k + 30, v, n FROM src) TO '{dir}a.csv' (FORMAT csv);
COPY t FROM '{dir}a.csv' (FORMAT csv);

--! form binary, there and back
COPY src TO '{dir}b.bin' (FORMAT binary);
COPY t FROM '{dir}b.bin' (FORMAT binary);

--! form the table itself, there and back
COPY (TABLE t) TO '{dir}q.txt';
COPY t TO '{dir}t.txt';
DELETE FROM t;
COPY t FROM '{dir}t.txt';
--! not view

--! form FROM PROGRAM, TO PROGRAM
COPY t FROM PROGRAM 'printf "1\ta\t1\n20\tb\t2\n"';
COPY (SELECT k FROM t) TO PROGRAM 'cat > /dev/null';

--! form TO STDOUT, the table
COPY t TO STDOUT;
COPY t (k, v) TO STDOUT (FORMAT csv, HEADER);

--! form TO STDOUT, a query
COPY (SELECT k, v, n FROM t ORDER BY k) TO STDOUT;
COPY (INSERT INTO t VALUES (20, 'a') RETURNING k, v) TO STDOUT;

--! form no rows
COPY t FROM STDIN;
\.

--! form NULL key
COPY t FROM STDIN;
20	a	1
\N	b	2
\.
SELECT count(*) FROM t;

--! form malformed row
COPY t FROM STDIN;
20	a	1
21	b	x
\.

--! form in a transaction, after rows of the same key
BEGIN;
INSERT INTO t VALUES (20, 'a');
COPY t FROM STDIN;
20	b	1
21	c	2
\.
INSERT INTO t VALUES (21, 'd');
COMMIT;

