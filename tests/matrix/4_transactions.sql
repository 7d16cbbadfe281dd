--! group Transactions

--! fixture txn
CREATE TABLE t (k bigint NOT NULL, v text);
CREATE INDEX ON t (k);
--! seed
TRUNCATE t;
INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three'), (3, 'three again');

--! form COMMIT, ROLLBACK
BEGIN;
INSERT INTO t VALUES (10, 'a');
ROLLBACK;
BEGIN;
INSERT INTO t VALUES (10, 'b'), (11, 'c');
SELECT * FROM t WHERE k = 10;
COMMIT;
INSERT INTO t VALUES (11, 'd');

--! form SAVEPOINT, ROLLBACK TO, RELEASE
BEGIN;
INSERT INTO t VALUES (10, 'a');
SAVEPOINT s;
INSERT INTO t VALUES (11, 'gone'), (10, 'gone');
ROLLBACK TO s;
INSERT INTO t VALUES (11, 'b');
SAVEPOINT s2;
INSERT INTO t VALUES (12, 'c');
RELEASE s2;
SELECT k, v FROM t WHERE k > 3;
COMMIT;
INSERT INTO t VALUES (12, 'd'), (11, 'e');

--! form an error, then ROLLBACK TO
BEGIN;
SAVEPOINT s;
INSERT INTO t VALUES (10, 'a'), (1 / 0, 'b');
ROLLBACK TO s;
INSERT INTO t VALUES (10, 'c');
COMMIT;

--! form REPEATABLE READ
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM t;
INSERT INTO t VALUES (10, 'a'), (1, 'b');
SELECT * FROM t WHERE k = 10;
SELECT * FROM t WHERE k = 1;
UPDATE t SET v = 'c' WHERE k = 10;
COMMIT;

--! form SERIALIZABLE
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT count(*) FROM t WHERE k = 10;
INSERT INTO t SELECT g, 'a' FROM generate_series(1, 12) AS g;
SELECT * FROM t WHERE k = 10;
DELETE FROM t WHERE k = 3;
COMMIT;

--! form READ ONLY
BEGIN READ ONLY;
SELECT * FROM t WHERE k = 1;
INSERT INTO t VALUES (10, 'a');
ROLLBACK;

--! form PREPARE TRANSACTION, COMMIT and ROLLBACK PREPARED
BEGIN;
INSERT INTO t VALUES (10, 'a'), (1, 'b');
PREPARE TRANSACTION 'matrix{door}';
COMMIT PREPARED 'matrix{door}';
BEGIN;
INSERT INTO t VALUES (11, 'a'), (1, 'b');
PREPARE TRANSACTION 'matrix{door}';
ROLLBACK PREPARED 'matrix{door}';
INSERT INTO t VALUES (11, 'c'), (10, 'd');

--! group Prepared statements, cursors, functions

--! form PREPARE, EXECUTE with custom and generic plans
PREPARE p (bigint, text) AS INSERT INTO t VALUES ($1, $2) RETURNING k, v;
EXECUTE p(10, 'a');
SET plan_cache_mode = force_custom_plan;
EXECUTE p(10, 'b');
SET plan_cache_mode = force_generic_plan;
EXECUTE p(11, 'c');
EXECUTE p(1, 'd');
PREPARE q (bigint) AS SELECT * FROM t WHERE k = $1;
EXECUTE q(10);
EXECUTE q(77);
PREPARE r (bigint, bigint) AS UPDATE t SET v = 'e' WHERE k = ANY (ARRAY[$1, $2]);
EXECUTE r(1, 10);
PREPARE d (bigint) AS DELETE FROM t WHERE k = $1;
EXECUTE d(3);

--! form PREPARE in a loop of keys
SET plan_cache_mode = force_generic_plan;
DO $$
BEGIN
    FOR i IN 1..30 LOOP
        EXECUTE 'INSERT INTO t VALUES ($1, $2)' USING i % 12, 'dynamic';
        INSERT INTO t VALUES (i % 15, 'static');
    END LOOP;
END $$;
SELECT k, count(*) FROM t GROUP BY k;

--! form cursor over the table
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT k, v FROM t ORDER BY k, v;
FETCH 2 FROM c;
FETCH PRIOR FROM c;
INSERT INTO t VALUES (10, 'a');
FETCH LAST FROM c;
COMMIT;

--! form cursor by key, WITH HOLD
BEGIN;
DECLARE c CURSOR WITH HOLD FOR SELECT k, v FROM t WHERE k = 3 ORDER BY v;
COMMIT;
FETCH ALL FROM c;
CLOSE c;

--! form FOR UPDATE cursor, WHERE CURRENT OF
BEGIN;
DECLARE c CURSOR FOR SELECT k, v FROM t WHERE k = 2 FOR UPDATE;
FETCH 1 FROM c;
UPDATE t SET v = 'current' WHERE CURRENT OF c;
CLOSE c;
DECLARE c CURSOR FOR SELECT k, v FROM t WHERE k = 1 FOR UPDATE;
FETCH 1 FROM c;
DELETE FROM t WHERE CURRENT OF c;
COMMIT;
--! not view

--! form PL/pgSQL: FOUND, ROW_COUNT, EXCEPTION
DO $$
DECLARE n bigint;
BEGIN
    INSERT INTO t SELECT g, 'a' FROM generate_series(10, 14) AS g;
    GET DIAGNOSTICS n = ROW_COUNT;
    IF n <> 5 OR NOT FOUND THEN RAISE 'counted %', n; END IF;
    BEGIN
        INSERT INTO t VALUES (15, 'undone'), (10, 'undone');
        PERFORM 1 / 0;
    EXCEPTION WHEN division_by_zero THEN
        INSERT INTO t VALUES (15, 'kept');
    END;
    UPDATE t SET v = 'b' WHERE k = 77;
    IF FOUND THEN RAISE 'found'; END IF;
END $$;
SELECT k, v FROM t WHERE k > 9;

--! form PL/pgSQL: FOR over a query that it changes
DO $$
DECLARE r record;
BEGIN
    FOR r IN SELECT k, v FROM t ORDER BY k, v LOOP
        INSERT INTO t VALUES (r.k, r.v || ' loop'), (r.k + 20, 'loop');
    END LOOP;
END $$;

--! form SQL function, procedure with COMMIT
CREATE FUNCTION pg_temp.put(bigint, text) RETURNS SETOF bigint LANGUAGE sql AS 'INSERT INTO t VALUES ($1, $2), ($1 + 1, $2) RETURNING k';
SELECT * FROM pg_temp.put(10, 'f') AS f (k);
SELECT pg_temp.put(k, 'g') FROM t WHERE k = 2;
CREATE PROCEDURE pg_temp.steps() LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 10..13 LOOP
        INSERT INTO t VALUES (i, 'step');
        IF i % 2 = 0 THEN COMMIT; ELSE ROLLBACK; END IF;
    END LOOP;
END $$;
CALL pg_temp.steps();
