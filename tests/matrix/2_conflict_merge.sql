--! group ON CONFLICT

--! fixture uniq
CREATE TABLE t (k bigint PRIMARY KEY, v text, n int NOT NULL DEFAULT 0);
CREATE TABLE src (k bigint, v text);
--! seed
TRUNCATE t, src;
INSERT INTO t VALUES (1, 'one', 1), (2, 'two', 2), (3, 'three', 3);
INSERT INTO src SELECT g, 'source ' || g FROM generate_series(2, 6) AS g;

--! form duplicate key without ON CONFLICT
INSERT INTO t VALUES (1, 'again');
INSERT INTO t VALUES (10, 'a'), (10, 'b');
INSERT INTO t VALUES (11, 'kept');

--! form DO NOTHING without arbiter
INSERT INTO t VALUES (1, 'again'), (10, 'new') ON CONFLICT DO NOTHING;
INSERT INTO t VALUES (1, 'again'), (11, 'new'), (11, 'twice') ON CONFLICT DO NOTHING RETURNING k, v;

--! form DO NOTHING on the key
INSERT INTO t VALUES (1, 'again'), (10, 'new') ON CONFLICT (k) DO NOTHING RETURNING k, v;
INSERT INTO t SELECT k, v FROM src ON CONFLICT (k) DO NOTHING;

--! form DO NOTHING on the constraint
--! not leaf
INSERT INTO t VALUES (1, 'again'), (10, 'new') ON CONFLICT ON CONSTRAINT t_pkey DO NOTHING RETURNING k, v;

--! form DO UPDATE on the key
INSERT INTO t VALUES (1, 'again'), (10, 'new') ON CONFLICT (k) DO UPDATE SET v = 'updated' RETURNING k, v, n;

--! form DO UPDATE with EXCLUDED and the old row
INSERT INTO t VALUES (1, 'again', 5), (10, 'new', 5) ON CONFLICT (k) DO UPDATE SET v = excluded.v || ' over ' || t.v, n = t.n + excluded.n RETURNING *;
INSERT INTO t AS old SELECT k, v FROM src ON CONFLICT (k) DO UPDATE SET (v, n) = (SELECT excluded.v, old.n + 100);

--! form DO UPDATE with WHERE
INSERT INTO t VALUES (1, 'again'), (2, 'again') ON CONFLICT (k) DO UPDATE SET v = excluded.v WHERE t.n > 1 RETURNING k, v;

--! form DO UPDATE on the constraint
--! not leaf
INSERT INTO t VALUES (1, 'again'), (10, 'new') ON CONFLICT ON CONSTRAINT t_pkey DO UPDATE SET v = excluded.v;

--! form DO UPDATE of one row twice
INSERT INTO t VALUES (1, 'a'), (1, 'b') ON CONFLICT (k) DO UPDATE SET v = excluded.v;

--! form DO UPDATE of the key
--! not call
INSERT INTO t VALUES (1, 'again') ON CONFLICT (k) DO UPDATE SET k = 30 RETURNING k, v;

--! form arbiter that no unique index has
INSERT INTO t VALUES (1, 'a') ON CONFLICT (v) DO NOTHING;

--! form upsert in a loop of PL/pgSQL
DO $$
BEGIN
    FOR i IN 1..20 LOOP
        INSERT INTO t VALUES (i % 7, 'loop') ON CONFLICT (k) DO UPDATE SET n = t.n + 1;
    END LOOP;
END $$;
SELECT k, n FROM t ORDER BY k;

--! fixture uniq2
CREATE TABLE t (k int NOT NULL, o int NOT NULL, v text, CONSTRAINT both_of_them UNIQUE (k, o));
--! seed
TRUNCATE t;
INSERT INTO t VALUES (1, 1, 'a'), (1, 2, 'b'), (2, 1, 'c');

--! form unique key of several columns
INSERT INTO t VALUES (1, 1, 'x'), (1, 3, 'y') ON CONFLICT (k, o) DO UPDATE SET v = excluded.v RETURNING *;
INSERT INTO t VALUES (1, 1, 'z'), (3, 3, 'y') ON CONFLICT (o, k) DO NOTHING RETURNING k, o;
INSERT INTO t VALUES (1, 9, 'e') ON CONFLICT (k) DO NOTHING;
INSERT INTO t VALUES (1, 1, 'twice');

--! group MERGE

--! fixture merging
CREATE TABLE t (k bigint NOT NULL, v text, n int);
CREATE INDEX ON t (k);
CREATE TABLE src (k bigint, v text);
--! seed
TRUNCATE t, src;
INSERT INTO t VALUES (1, 'one', 1), (2, 'two', 2), (3, 'three', 3);
INSERT INTO src SELECT g, 'source ' || g FROM generate_series(2, 6) AS g;

--! form WHEN MATCHED THEN UPDATE
MERGE INTO t USING src ON t.k = src.k WHEN MATCHED THEN UPDATE SET v = src.v, n = n + 1;

--! form WHEN MATCHED AND ... THEN DELETE, DO NOTHING
MERGE INTO t USING src ON t.k = src.k WHEN MATCHED AND t.k = 2 THEN DELETE WHEN MATCHED THEN DO NOTHING;

--! form WHEN NOT MATCHED THEN INSERT
MERGE INTO t USING src ON t.k = src.k WHEN NOT MATCHED THEN INSERT VALUES (src.k, src.v, 0);

--! form INSERT with a column list and defaults
MERGE INTO t USING src ON t.k = src.k WHEN NOT MATCHED THEN INSERT (v, k) VALUES (DEFAULT, src.k);

--! form UPDATE, DELETE and INSERT together
MERGE INTO t USING src ON t.k = src.k WHEN MATCHED AND t.k = 2 THEN DELETE WHEN MATCHED THEN UPDATE SET v = src.v WHEN NOT MATCHED AND src.k > 5 THEN DO NOTHING WHEN NOT MATCHED THEN INSERT (k, v) VALUES (src.k, src.v);

--! form INSERT of another key than the joined one
MERGE INTO t USING src ON t.k = src.k WHEN NOT MATCHED THEN INSERT VALUES (src.k + 30, src.v, 1);

--! form INSERT of a volatile key
CREATE TEMP SEQUENCE s;
MERGE INTO t USING src ON t.k = src.k WHEN NOT MATCHED THEN INSERT VALUES (nextval('s') + 40, src.v, 1);
SELECT currval('s');

--! form UPDATE of the key
MERGE INTO t USING src ON t.k = src.k WHEN MATCHED THEN UPDATE SET k = src.k + 40;

--! form USING a subquery, VALUES, with a CTE
WITH x AS (SELECT * FROM src WHERE k < 4) MERGE INTO t USING x ON t.k = x.k WHEN MATCHED THEN UPDATE SET v = x.v;
MERGE INTO t USING (VALUES (1, 'v')) AS s (k, v) ON t.k = s.k WHEN MATCHED THEN UPDATE SET v = s.v;

--! form one row matched twice
MERGE INTO t USING (VALUES (1, 'a'), (1, 'b')) AS s (k, v) ON t.k = s.k WHEN MATCHED THEN UPDATE SET v = s.v;

--! form the sharded table as the source
MERGE INTO src USING t ON t.k = src.k WHEN MATCHED THEN UPDATE SET v = t.v WHEN NOT MATCHED THEN INSERT VALUES (t.k, t.v);
SELECT k, v FROM src;
