--! group Columns

--! fixture generated
CREATE TABLE t (k bigint NOT NULL, v text, g bigint GENERATED ALWAYS AS (k * 2) STORED);
CREATE INDEX ON t (k);
--! seed
TRUNCATE t;
INSERT INTO t VALUES (1, 'one');
--! form generated column
INSERT INTO t VALUES (1, 'a'), (10, 'b');
INSERT INTO t (k, g) VALUES (1, 5);
INSERT INTO t (k, g) VALUES (11, DEFAULT);
UPDATE t SET v = 'c' WHERE g = 20;
COPY t FROM STDIN;
12	x
\.

--! fixture dropped
CREATE TABLE t (gone int, k bigint NOT NULL, v text, n int);
CREATE INDEX ON t (k);
ALTER TABLE t DROP COLUMN gone;
--! after
ALTER TABLE t ADD COLUMN later numeric DEFAULT 1.5;
ALTER TABLE t DROP COLUMN n;
--! seed
TRUNCATE t;
INSERT INTO t (k, v) VALUES (1, 'one');
--! form dropped columns, a column added later
--! not view leaf
INSERT INTO t (k, v) VALUES (1, 'a'), (10, 'b');
INSERT INTO t (later, k) VALUES (2, 10);
COPY t (k, v, later) FROM STDIN;
12	x	7
\.
UPDATE t SET later = 0 WHERE k = 10;

--! fixture reordered
CREATE TABLE t (k bigint NOT NULL, v text, n int DEFAULT 3);
CREATE INDEX ON t (k);
--! after
DO $$
DECLARE leaf text;
BEGIN
    IF to_regclass('pss.partition') IS NULL OR NOT EXISTS (SELECT FROM pss.partition WHERE relation = 't'::regclass) THEN
        RETURN;
    END IF;
    CREATE TABLE t_p9 (n int DEFAULT 3, junk int, pss_partition int NOT NULL DEFAULT -1, v text, k bigint NOT NULL);
    ALTER TABLE t_p9 DROP COLUMN junk;
    ALTER TABLE t ATTACH PARTITION t_p9 FOR VALUES IN (9);
    INSERT INTO pss.partition (relation, partition, leaf, capacity) VALUES ('t', 9, 't_p9', 1000000);
    PERFORM pss_refresh();
END $$;
--! seed
TRUNCATE t;
INSERT INTO t (k, v) VALUES (1, 'one'), (2, 'two');
--! form a partition whose columns are in another order
--! not leaf
INSERT INTO t (k, v) SELECT g, 'a' FROM generate_series(1, 40) AS g;
COPY t (n, k) FROM STDIN;
7	1
8	50
\.
UPDATE t SET v = 'b', n = n + 1 WHERE k < 20;
SELECT k, n FROM t WHERE k = 50;

--! group Constraints

--! fixture checks
CREATE TABLE t (k bigint NOT NULL CHECK (k < 1000), v text NOT NULL CHECK (v <> ''), n int UNIQUE NULLS NOT DISTINCT);
CREATE INDEX ON t (k);
--! seed
TRUNCATE t;
--! form unique key without the distribution column
INSERT INTO t VALUES (1, 'a', 1);

--! fixture checks2
CREATE TABLE t (k bigint NOT NULL CHECK (k < 1000), v text NOT NULL CHECK (v <> ''));
CREATE INDEX ON t (k);
--! seed
TRUNCATE t;
INSERT INTO t VALUES (1, 'one');
--! form CHECK and NOT NULL, violated
INSERT INTO t VALUES (1, 'a'), (10, '');
INSERT INTO t VALUES (10, NULL);
INSERT INTO t VALUES (2000, 'a');
INSERT INTO t VALUES (10, 'kept');
UPDATE t SET v = '' WHERE k = 1;

--! fixture refers
CREATE TABLE place (p int PRIMARY KEY);
CREATE TABLE t (k bigint NOT NULL, p int REFERENCES place ON DELETE CASCADE ON UPDATE CASCADE DEFERRABLE);
CREATE INDEX ON t (k);
--! seed
TRUNCATE t, place;
INSERT INTO place VALUES (1), (2);
INSERT INTO t VALUES (1, 1), (2, 2);
--! form foreign key to another table
INSERT INTO t VALUES (1, 1), (10, 2);
INSERT INTO t VALUES (1, 3);
INSERT INTO t VALUES (10, 1), (11, 3);
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO t VALUES (11, 4);
INSERT INTO place VALUES (4);
COMMIT;
UPDATE place SET p = 5 WHERE p = 1;
DELETE FROM place WHERE p = 2;

--! fixture referred
CREATE TABLE t (k bigint PRIMARY KEY, v text);
CREATE TABLE child (tk bigint REFERENCES t);
--! seed
TRUNCATE t, child;
--! form foreign key from another table
INSERT INTO t VALUES (1, 'a');
INSERT INTO child VALUES (1);

--! fixture excluded
CREATE TABLE t (k bigint NOT NULL, r int4range, EXCLUDE USING gist (r WITH &&));
--! seed
TRUNCATE t;
--! form exclusion constraint
INSERT INTO t VALUES (1, '[1,2]');

--! group Triggers

--! fixture triggers
CREATE TABLE t (k bigint NOT NULL, v text);
CREATE INDEX ON t (k);
CREATE TABLE log (id int GENERATED ALWAYS AS IDENTITY, what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_LEVEL = 'STATEMENT' THEN
        INSERT INTO log (what) VALUES (concat_ws(' ', TG_WHEN, TG_OP));
        RETURN NULL;
    END IF;
    IF TG_OP = 'DELETE' THEN
        INSERT INTO log (what) VALUES (concat_ws(' ', TG_WHEN, TG_OP, OLD.k, OLD.v));
        RETURN OLD;
    END IF;
    IF NEW.v = 'skip' THEN RETURN NULL; END IF;
    NEW.v := NEW.v || '+';
    INSERT INTO log (what) VALUES (concat_ws(' ', TG_WHEN, TG_OP, NEW.k, NEW.v));
    RETURN NEW;
END $$;
CREATE TRIGGER a BEFORE INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER b AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER c BEFORE INSERT OR UPDATE OR DELETE ON t FOR EACH STATEMENT EXECUTE FUNCTION note();
CREATE TRIGGER d AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH STATEMENT EXECUTE FUNCTION note();
--! seed
TRUNCATE t;
INSERT INTO t VALUES (1, 'one'), (2, 'two');
TRUNCATE log RESTART IDENTITY;

--! form BEFORE and AFTER, row and statement
--! not leaf
INSERT INTO t VALUES (1, 'a');
INSERT INTO t SELECT g, 'b' FROM generate_series(10, 12) AS g;
UPDATE t SET v = 'c' WHERE k = 1;
DELETE FROM t WHERE k = 2;
SELECT what FROM log;

--! form BEFORE trigger that keeps rows out
--! not leaf
INSERT INTO t VALUES (1, 'skip'), (10, 'a');
INSERT INTO t VALUES (11, 'skip');
UPDATE t SET v = 'skip';
SELECT what FROM log;

--! form triggers fired by COPY
--! not leaf
COPY t FROM STDIN;
1	a
10	b
11	skip
\.
SELECT what FROM log;

--! fixture rekeying
CREATE TABLE t (k bigint NOT NULL, v text);
CREATE INDEX ON t (k);
CREATE FUNCTION rekey() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.v = 'rekey' THEN NEW.k := NEW.k + 1; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER a BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION rekey();
--! seed
TRUNCATE t;
INSERT INTO t SELECT g, 'seed' FROM generate_series(1, 40) AS g;

--! form BEFORE trigger that changes the key to a new one
--! not call
INSERT INTO t SELECT 100 + g * 2, 'rekey' FROM generate_series(1, 40) AS g;

--! form BEFORE trigger that changes the key to a known one
INSERT INTO t SELECT g, 'rekey' FROM generate_series(1, 39) AS g;

--! form BEFORE UPDATE trigger that changes the key to a known one
UPDATE t SET v = 'a' WHERE k = 1;
UPDATE t SET v = 'rekey' WHERE k < 40;

--! fixture transitions
CREATE TABLE t (k bigint NOT NULL, v text);
CREATE INDEX ON t (k);
CREATE TABLE log (what text);
CREATE FUNCTION count_new() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO log SELECT 'new ' || count(*) || ' ' || sum(k) FROM new_rows; RETURN NULL; END $$;
CREATE FUNCTION count_both() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO log SELECT 'both ' || count(*) FROM new_rows n JOIN old_rows o USING (k); RETURN NULL; END $$;
CREATE TRIGGER i AFTER INSERT ON t REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION count_new();
CREATE TRIGGER u AFTER UPDATE ON t REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION count_both();
--! seed
TRUNCATE t;
INSERT INTO t SELECT 1, 'one';
TRUNCATE log;

--! form transition tables
--! not leaf
INSERT INTO t VALUES (1, 'a'), (10, 'b');
UPDATE t SET v = 'c' WHERE k = 1;
SELECT what FROM log;

--! form transition tables filled by COPY
--! not leaf
COPY t FROM STDIN;
1	a
10	b
\.
SELECT what FROM log;

--! fixture inner_inserts
CREATE TABLE t (k bigint NOT NULL, v text);
CREATE INDEX ON t (k);
CREATE FUNCTION grow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.v ~ '^\d$' THEN
        INSERT INTO t VALUES (NEW.k + 1, 'x' || NEW.v), (NEW.k, 'x' || NEW.v);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER a BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION grow();
--! seed
TRUNCATE t;

--! form trigger that inserts into the same table
INSERT INTO t VALUES (1, '1'), (10, '2');
COPY t FROM STDIN;
1	3
20	4
\.

--! group Rights

--! fixture secured
CREATE TABLE t (k bigint NOT NULL, v text, who name NOT NULL DEFAULT current_user);
CREATE INDEX ON t (k);
CREATE TABLE src (k bigint, v text);
ALTER TABLE t ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON t USING (who = current_user AND v <> 'hidden') WITH CHECK (who = current_user AND k < 1000);
DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO matrix_user', current_schema()); END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON t, src TO matrix_user;
--! seed
TRUNCATE t, src;
INSERT INTO t VALUES (1, 'one', 'postgres'), (2, 'two', 'matrix_user'), (2, 'hidden', 'matrix_user');
INSERT INTO src VALUES (1, 'a'), (2, 'b'), (10, 'c');

--! form row security
--! not view leaf
SET ROLE matrix_user;
INSERT INTO t VALUES (1, 'a'), (10, 'b');
INSERT INTO t VALUES (2000, 'a');
INSERT INTO t VALUES (10, 'c', 'postgres');
UPDATE t SET v = 'd' WHERE k = 2;
DELETE FROM t WHERE k = 1;
SELECT * FROM t;
RESET ROLE;

--! form row security and COPY
--! not view leaf
SET ROLE matrix_user;
COPY t (k, v) FROM STDIN;
1	a
\.
RESET ROLE;

--! fixture granted
CREATE TABLE t (k bigint NOT NULL, v text, secret text DEFAULT 's');
CREATE INDEX ON t (k);
DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO matrix_user', current_schema()); END $$;
GRANT INSERT (k, v), SELECT (k, v), UPDATE (v) ON t TO matrix_user;
--! seed
TRUNCATE t;
INSERT INTO t VALUES (1, 'one');

--! form rights on columns
--! not view leaf
SET ROLE matrix_user;
INSERT INTO t (k, v) VALUES (1, 'a'), (10, 'b');
INSERT INTO t (k, secret) VALUES (1, 'a');
UPDATE t SET v = 'c' WHERE k = 1;
UPDATE t SET secret = 'c';
DELETE FROM t;
SELECT k, v FROM t WHERE k = 10;
RESET ROLE;

--! form COPY with rights on columns
--! not view leaf
SET ROLE matrix_user;
COPY t (k, v) FROM STDIN;
1	a
10	b
\.
COPY t (k, secret) FROM STDIN;
1	a
\.
RESET ROLE;
