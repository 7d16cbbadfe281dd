--! group INSERT

--! fixture plain
CREATE TABLE t (k bigint NOT NULL, v text);
CREATE INDEX ON t (k);
CREATE TABLE src (k bigint, v text);
--! seed
TRUNCATE t, src;
INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three'), (3, 'three again');
INSERT INTO src SELECT g, 'source ' || g FROM generate_series(2, 9) AS g;

--! form VALUES, one row
INSERT INTO t VALUES (10, 'a');
INSERT INTO t VALUES (1, 'a');

--! form VALUES, several rows, keys known, new and repeated
INSERT INTO t VALUES (1, 'a'), (10, 'b'), (10, 'c'), (2, 'd');

--! form column list, columns left out
INSERT INTO t (v, k) VALUES ('a', 10), ('b', 1);
INSERT INTO t (k) VALUES (10), (11);

--! form VALUES with DEFAULT and expressions
INSERT INTO t VALUES (5 + 5, DEFAULT), (length('abc'), upper('b')), ((SELECT max(k) FROM src), 'c');

--! form INSERT ... SELECT
INSERT INTO t SELECT * FROM src;
INSERT INTO t (v, k) SELECT v, k + 20 FROM src WHERE k > 4;

--! form INSERT ... SELECT of no rows
INSERT INTO t SELECT * FROM src WHERE false;

--! form INSERT ... SELECT from itself
INSERT INTO t (k, v) SELECT k, v || ' copy' FROM t;
INSERT INTO t (k, v) SELECT k + 30, v FROM t;

--! form INSERT ... SELECT * from itself, with its pss_partition
INSERT INTO t SELECT * FROM t;

--! form INSERT ... SELECT with ORDER BY, LIMIT, UNION, GROUP BY, window
INSERT INTO t SELECT k, v FROM src ORDER BY k DESC LIMIT 3;
INSERT INTO t SELECT 40, 'x' UNION ALL SELECT k, v FROM src WHERE k = 2;
INSERT INTO t SELECT k % 3, count(*)::text FROM src GROUP BY 1;
INSERT INTO t SELECT k, row_number() OVER (ORDER BY k)::text FROM src;

--! form INSERT ... TABLE, set-returning function in the target list
INSERT INTO t TABLE src;
INSERT INTO t SELECT generate_series(1, 5), 'srf';

--! form INSERT with a join and a subquery on the table
INSERT INTO t SELECT s.k, t.v FROM src AS s JOIN t USING (k) WHERE s.k IN (SELECT k FROM t);

--! form an error half-way leaves nothing
INSERT INTO t SELECT k, (1 / (k - 5))::text FROM src;
INSERT INTO t VALUES (12, 'after it');

--! form NULL key
INSERT INTO t VALUES (NULL, 'nobody');
INSERT INTO t VALUES (13, 'kept'), (NULL, 'nobody');

--! form wrong type, too many columns, unknown column
INSERT INTO t VALUES ('x', 'a');
INSERT INTO t (k, v, nothing) VALUES (1, 'a', 2);

--! form a thousand rows
INSERT INTO t SELECT g % 200, 'bulk' FROM generate_series(1, 1000) AS g;
SELECT k, count(*) FROM t GROUP BY k;

--! group RETURNING

--! form RETURNING *
INSERT INTO t VALUES (10, 'a'), (1, 'b') RETURNING *;

--! form RETURNING columns, expressions, subqueries
INSERT INTO t VALUES (10, 'a'), (1, 'b') RETURNING k * 2 AS double, upper(v) AS v, (SELECT count(*) FROM src) AS n;

--! form RETURNING tableoid and pss_partition
INSERT INTO t VALUES (10, 'a'), (1, 'b') RETURNING k, tableoid, tableoid::regclass::text <> '' AS named;

--! form RETURNING from INSERT ... SELECT
INSERT INTO t SELECT k, v FROM src RETURNING k, v;

--! form UPDATE and DELETE ... RETURNING
UPDATE t SET v = v || '!' WHERE k <= 2 RETURNING k, v;
DELETE FROM t WHERE k = 3 RETURNING *;

--! form RETURNING into PL/pgSQL variables
DO $$
DECLARE a bigint; b text;
BEGIN
    INSERT INTO t VALUES (20, 'plpgsql') RETURNING k, v INTO STRICT a, b;
    INSERT INTO t VALUES (a + 1, b);
END $$;
SELECT k, v FROM t WHERE k >= 20;

--! group WITH

--! form writable CTE, its rows used
WITH new AS (INSERT INTO t VALUES (10, 'a'), (1, 'b') RETURNING *) SELECT k, v FROM new ORDER BY k, v;

--! form writable CTE beside an INSERT of the same key
WITH a AS (INSERT INTO t VALUES (10, 'a') RETURNING k) INSERT INTO t SELECT k, 'b' FROM a RETURNING k, v;

--! form writable CTE that nobody reads
WITH a AS (INSERT INTO t VALUES (10, 'a'), (11, 'b')) SELECT 1 AS one;
WITH a AS (INSERT INTO t VALUES (10, 'a'), (11, 'b')) INSERT INTO t VALUES (12, 'counted');
WITH a AS (INSERT INTO t VALUES (10, 'a')) DELETE FROM t WHERE k = 3;

--! form DELETE ... RETURNING moved by INSERT
WITH gone AS (DELETE FROM t WHERE k = 3 RETURNING k, v) INSERT INTO t SELECT k + 30, v FROM gone RETURNING k, v;

--! form WITH before INSERT, inside INSERT, RECURSIVE
WITH x AS (SELECT 10 AS k) INSERT INTO t SELECT k, 'with' FROM x;
INSERT INTO t WITH x AS (SELECT 11 AS k) SELECT k, 'inside' FROM x;
WITH RECURSIVE r (n) AS (SELECT 30 UNION ALL SELECT n + 1 FROM r WHERE n < 35) INSERT INTO t SELECT n, 'r' FROM r;

--! group Keys by default

--! fixture defaults
CREATE TABLE t (id serial, k bigint NOT NULL DEFAULT 7, v text DEFAULT 'def', at date DEFAULT '2026-01-31');
--! seed
TRUNCATE t RESTART IDENTITY;

--! form constant default
INSERT INTO t DEFAULT VALUES;
INSERT INTO t (k, v) VALUES (1, DEFAULT), (DEFAULT, 'x'), (DEFAULT, DEFAULT);
INSERT INTO t (v) SELECT 'y' FROM generate_series(1, 3);

--! fixture serials
CREATE TABLE t (k bigserial, v text);
--! seed
TRUNCATE t RESTART IDENTITY;

--! form serial key
INSERT INTO t (v) VALUES ('a'), ('b');
INSERT INTO t (v) SELECT 'c' FROM generate_series(1, 5);
INSERT INTO t DEFAULT VALUES;
INSERT INTO t VALUES (3, 'given'), (DEFAULT, 'default');

--! form nextval() as key is evaluated once
CREATE TEMP SEQUENCE s;
INSERT INTO t VALUES (nextval('s') + 100, 'a'), (nextval('s') + 100, 'b');
INSERT INTO t SELECT nextval('s') + 100, 'c' FROM generate_series(1, 3);
SELECT currval('s');

--! fixture identities
CREATE TABLE t (k bigint GENERATED ALWAYS AS IDENTITY, v text);
--! seed
TRUNCATE t RESTART IDENTITY;

--! form identity key, ALWAYS
--! not leaf
INSERT INTO t (v) VALUES ('a'), ('b');
INSERT INTO t (k, v) VALUES (50, 'c');
INSERT INTO t (k, v) OVERRIDING SYSTEM VALUE VALUES (50, 'd');
INSERT INTO t (k, v) OVERRIDING USER VALUE VALUES (51, 'e');
INSERT INTO t (v) SELECT 'f' FROM generate_series(1, 3);

--! fixture identities_by_default
CREATE TABLE t (k int GENERATED BY DEFAULT AS IDENTITY, v text);
--! seed
TRUNCATE t RESTART IDENTITY;

--! form identity key, BY DEFAULT
--! not leaf
INSERT INTO t (v) VALUES ('a'), ('b');
INSERT INTO t VALUES (50, 'c'), (DEFAULT, 'd');
INSERT INTO t (k, v) OVERRIDING USER VALUE VALUES (51, 'e');
