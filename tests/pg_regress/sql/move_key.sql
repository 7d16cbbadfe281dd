-- Moving keys between local partitions: pss_move_key() and CALL pss_move_keys().
CREATE EXTENSION pss;
SET client_min_messages = warning;

CREATE TABLE t (k int NOT NULL, v text, PRIMARY KEY (k, v));
SELECT count(*) FROM pss_distribute_table('t', 'k', partitions => 2);
INSERT INTO t SELECT k, 'r' || r FROM generate_series(1, 100) AS k, generate_series(1, 3) AS r;
CREATE FUNCTION home(int) RETURNS int LANGUAGE sql AS $$ SELECT pss_locate('t', $1) $$;

-- All rows of the key go, and later ones follow them.
SELECT home(1) AS was \gset
SELECT pss_move_key('t', 1, 1 - :was);
SELECT home(1) = 1 - :was AS moved;
SELECT v, pss_partition = home(1) AS at_home FROM t WHERE k = 1 ORDER BY v;
INSERT INTO t VALUES (1, 'later') RETURNING pss_partition = 1 - :was AS follows;
SELECT pss_get_partition('t', 1) = 1 - :was AS follows;
SELECT item FROM pss_explain_route('t', 1) WHERE item = 'slot';

-- A key that is there, a key without a home, a key given as text.
SELECT pss_move_key('t', 1, 1 - :was);
SELECT pss_move_key('t', 1000000, 1);
SELECT pss_move_key('t', '1', :was);
-- A reservation moves without rows.
SELECT pss_get_partition('t', 500) AS reserved \gset
SELECT pss_move_key('t', 500, 1 - :reserved);
SELECT home(500) = 1 - :reserved AS moved;

-- In a transaction: with its own writes before and after, and undone.
BEGIN;
INSERT INTO t VALUES (2, 'own');
SELECT home(2) AS was2 \gset
SELECT pss_move_key('t', 2, 1 - :was2);
INSERT INTO t VALUES (2, 'after') RETURNING pss_partition = 1 - :was2 AS follows;
SAVEPOINT s;
SELECT pss_move_key('t', 2, :was2);
INSERT INTO t VALUES (2, 'there') RETURNING pss_partition = :was2 AS follows;
ROLLBACK TO s;
INSERT INTO t VALUES (2, 'back') RETURNING pss_partition = 1 - :was2 AS follows;
COMMIT;
BEGIN;
SELECT pss_move_key('t', 2, :was2);
ROLLBACK;
SELECT count(*), bool_and(pss_partition = 1 - :was2) AS together FROM t WHERE k = 2;
INSERT INTO t VALUES (2, 'last') RETURNING pss_partition = 1 - :was2 AS follows;
SELECT * FROM pss_check('t');

-- By hand a row goes nowhere.
\set VERBOSITY sqlstate
UPDATE t SET pss_partition = 1 - pss_partition WHERE k = 1;
\set VERBOSITY default

-- Many at a time.
SELECT sum(pss_move_key('t', k, 0)) > 0 AS moved FROM (SELECT DISTINCT k FROM t WHERE k <= 20) AS k;
SELECT DISTINCT pss_partition FROM t WHERE k <= 20;
CALL pss_move_keys('t', 0, 1, keys => 10, batch => 4, pause => '1 ms');
SELECT keys, sum(rows) >= keys AS rows FROM (SELECT * FROM pss.move ORDER BY move_id DESC LIMIT 3) AS m GROUP BY move_id, keys ORDER BY move_id;
CALL pss_move_keys('t', 0, 1);
SELECT pss_partition, count(DISTINCT k) AS keys FROM t GROUP BY 1;
CALL pss_move_keys('t', 0, 1);
SELECT * FROM pss_check('t');
SELECT from_partition, to_partition, sum(keys) > 50 AS keys, sum(rows) > 150 AS rows, min(bytes) > 60 AS bytes, max(seconds) < 60 AS seconds
FROM pss.moves WHERE from_partition = 0 AND to_partition = 1 AND rows > 1 GROUP BY 1, 2;
SELECT message ~ '^\d+ keys \(\d+ rows, \d+ bytes\) moved from partition 0 to 1$' AS said
FROM pss.events WHERE kind = 'move' ORDER BY at DESC LIMIT 1;

-- What is refused.
SELECT pss_move_key('t', 1, 2);
SELECT pss_move_key('t', 1, -1);
SELECT pss_move_key('t', NULL::int, 1);
SELECT pss_move_key('t', 1, NULL);
SELECT pss_move_key('pg_class', 1, 1);
SELECT pss_move_key('t', 'one', 1);
SELECT pss_move_key('t', 1.5::numeric, 1);
CALL pss_move_keys('t', 1, 1);
CALL pss_move_keys('t', 1, 0, keys => -1);
CALL pss_move_keys('t', 1, 0, batch => 0);
CALL pss_move_keys('t', 1, 0, batch => 1000000);
CALL pss_move_keys('t', 1, NULL);
BEGIN;
CALL pss_move_keys('t', 1, 0);
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pss_move_key('t', 1, 0);
ROLLBACK;
BEGIN READ ONLY;
SELECT pss_move_key('t', 1, 0);
ROLLBACK;
INSERT INTO t SELECT 3, 'n' || pss_move_key('t', 3, g) FROM generate_series(0, 1) AS g;
UPDATE pss.partition SET state = 'disabled' WHERE relation = 't'::regclass AND partition = 0;
SELECT pss_move_key('t', 1, 0);
UPDATE pss.partition SET state = 'active' WHERE relation = 't'::regclass AND partition = 0;
CREATE ROLE regress_moves_other;
GRANT ALL ON t TO regress_moves_other;
SET ROLE regress_moves_other;
SELECT pss_move_key('t', 1, 0);
RESET ROLE;
GRANT EXECUTE ON FUNCTION pss_move_key(regclass, anyelement, int) TO regress_moves_other;
GRANT EXECUTE ON PROCEDURE pss_move_keys(regclass, int, int, bigint, int, interval) TO regress_moves_other;
SET ROLE regress_moves_other;
SELECT pss_move_key('t', 1, 0);
CALL pss_move_keys('t', 1, 0);
RESET ROLE;

-- Triggers fire as for any row that goes to another partition, as the table's owner.
CREATE TABLE seen (n int GENERATED ALWAYS AS IDENTITY, what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.seen (what) VALUES (format('%s %s as %s', TG_WHEN, TG_OP, current_user));
    RETURN COALESCE(NEW, OLD);
END $$;
CREATE ROLE regress_moves_owner;
GRANT ALL ON seen TO regress_moves_owner;
GRANT CREATE ON SCHEMA public TO regress_moves_owner;
ALTER TABLE t OWNER TO regress_moves_owner;
CREATE TRIGGER before_row BEFORE INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER after_row AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();
DELETE FROM t WHERE k = 4 AND v <> 'r1';
TRUNCATE seen;
SELECT pss_move_key('t', 4, 0);
SELECT what FROM seen ORDER BY n;
-- One that keeps a row from moving, or swallows it, is noticed.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER keep BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT pss_move_key('t', 4, 1);
DROP TRIGGER keep ON t;
CREATE TRIGGER swallow BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.k = 4) EXECUTE FUNCTION refuse();
SELECT pss_move_key('t', 4, 1);
DROP TRIGGER swallow ON t;
SELECT pss_move_key('t', 4, 1);
SELECT * FROM pss_check('t');

-- Row security of the owner's own does not hide rows from a move.
ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SELECT pss_move_key('t', 5, 0);
SELECT count(*) FROM t WHERE k = 5 AND pss_partition = 0;
SELECT * FROM pss_check('t');

-- Without a complete map nobody knows where a key is.
UPDATE pss.map_state SET complete = false WHERE relation = 't'::regclass;
SELECT pss_move_key('t', 5, 1);

-- Keys of other types.
CREATE DOMAIN short AS varchar(5);
CREATE TABLE d (k short NOT NULL, v numeric);
CREATE INDEX ON d (k);
SELECT count(*) FROM pss_distribute_table('d', 'k', partitions => 2);
INSERT INTO d SELECT left(md5(g::text), 5), g FROM generate_series(1, 50) AS g;
CALL pss_move_keys('d', 0, 1);
SELECT DISTINCT pss_partition FROM d;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE e (k mood NOT NULL, v numeric);
CREATE INDEX ON e (k);
SELECT count(*) FROM pss_distribute_table('e', 'k', partitions => 2);
INSERT INTO e VALUES ('sad', 1), ('ok', 2), ('happy', 3);
CALL pss_move_keys('e', 0, 1);
SELECT DISTINCT pss_partition FROM e;
SELECT pss_move_key('e', 'ok'::mood, 0);
SELECT pss_locate('e', 'ok'::mood);
CREATE TABLE a (k int[] NOT NULL, v numeric);
CREATE INDEX ON a (k);
SELECT count(*) FROM pss_distribute_table('a', 'k', partitions => 2);
INSERT INTO a VALUES ('{1,2}', 1) RETURNING pss_partition AS home \gset
SELECT pss_move_key('a', '{1,2}'::int[], 1 - :home);
SELECT * FROM pss_check('d') UNION ALL SELECT * FROM pss_check('e') UNION ALL SELECT * FROM pss_check('a');

DROP TABLE t, d, e, a, seen;
REVOKE EXECUTE ON ALL ROUTINES IN SCHEMA public FROM regress_moves_other;
DROP ROLE regress_moves_other;
REVOKE CREATE ON SCHEMA public FROM regress_moves_owner;
DROP ROLE regress_moves_owner;
