--
-- COPY writes the entries of new keys together: each key gets one, what fails leaves none, and
-- whatever looks at the map while the COPY runs finds what it would find row by row
--
SET client_min_messages = warning;
CREATE EXTENSION pss;
CREATE TABLE t (k int NOT NULL, v text);
CREATE INDEX ON t (k);
SELECT count(*) FROM pss_distribute_table('t', 'k', 4);
RESET client_min_messages;
SELECT map::text AS map FROM pss.map_state WHERE relation = 't'::regclass \gset
CREATE VIEW agreement AS
    SELECT count(*) AS rows, count(DISTINCT k) AS keys, (SELECT count(*) FROM :map) AS entries,
           count(*) FILTER (WHERE pss_locate('t', k) IS DISTINCT FROM pss_partition) AS astray
    FROM t;
-- runs of neighbours, more than are held at once, and keys in no order
COPY t FROM PROGRAM 'for k in $(seq 1 150) $(seq 100000 -7000 1000) 64 63 -5; do echo "$k\tone"; done';
TABLE agreement;
-- the same key again and again, in the same COPY and with some that were there
COPY t FROM PROGRAM 'for k in $(seq 140 170); do echo "$k\ttwo"; echo "$k\tagain"; done';
TABLE agreement;
-- more than a statement remembers
COPY t FROM PROGRAM 'for k in $(seq 1000000 1020000) $(seq 1020000 -1 1019000); do echo "$k\tthree"; done';
TABLE agreement;
-- keys given back by an error, alone and within a transaction that goes on
COPY t FROM PROGRAM 'for k in $(seq 5000 5100); do echo "$k\tgone"; done; echo bad';
DO $$
BEGIN
    INSERT INTO t VALUES (5001, 'kept');
    BEGIN
        COPY t FROM PROGRAM 'for k in $(seq 5000 5100); do echo "$k\tgone"; done; echo bad';
    EXCEPTION WHEN invalid_text_representation THEN
        INSERT INTO t VALUES (5002, 'kept');
    END;
END $$;
SELECT count(*) FROM t WHERE k BETWEEN 5000 AND 5100;
TABLE agreement;
-- a transaction that keeps one snapshot
BEGIN ISOLATION LEVEL REPEATABLE READ;
COPY t FROM PROGRAM 'for k in $(seq 165 175) $(seq 6000 6070); do echo "$k\tfour"; done';
SELECT count(*) FROM t WHERE k IN (165, 175, 6000, 6070) AND v = 'four';
COMMIT;
SELECT problem FROM pss_check('t');
-- who can look: a default, a condition, a check of a domain, triggers
CREATE FUNCTION homeless(k int) RETURNS int LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN (SELECT count(*) FROM generate_series(7000, k - 1) AS g WHERE pss_locate('t', g) IS NULL);
END $$;
CREATE SEQUENCE s START 7000;
ALTER TABLE t ALTER k SET DEFAULT nextval('s');
ALTER TABLE t ADD seen int;
ALTER TABLE t ALTER seen SET DEFAULT homeless(currval('s')::int);
COPY t (v) FROM PROGRAM 'for k in 1 2 3; do echo default; done';
SELECT k, seen FROM t WHERE v = 'default' ORDER BY k;
ALTER TABLE t ALTER seen DROP DEFAULT;
COPY t (k, v) FROM PROGRAM 'for k in $(seq 7003 7006); do echo "$k\tcondition"; done' WHERE homeless(k) = 0;
SELECT count(*) FROM t WHERE v = 'condition';
CREATE DOMAIN late AS int CHECK (homeless(VALUE) = 0);
ALTER TABLE t ADD d late;
COPY t (k, v, d) FROM PROGRAM 'for k in $(seq 7007 7010); do echo "$k\tdomain\t$k"; done';
ALTER TABLE t DROP d;
CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE '% %: % without a home', TG_WHEN, TG_LEVEL, homeless(coalesce(NEW.k, 7020));
    RETURN NEW;
END $$;
CREATE TRIGGER statement AFTER INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION look();
COPY t (k, v) FROM PROGRAM 'for k in $(seq 7011 7019); do echo "$k\tstatement"; done';
DROP TRIGGER statement ON t;
CREATE TRIGGER earlier BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.k % 2 = 1) EXECUTE FUNCTION look();
CREATE TRIGGER later AFTER INSERT ON t FOR EACH ROW WHEN (NEW.k % 2 = 0) EXECUTE FUNCTION look();
COPY t (k, v) FROM PROGRAM 'for k in $(seq 7020 7023); do echo "$k\trow"; done';
DROP TRIGGER earlier ON t;
DROP TRIGGER later ON t;
SELECT problem FROM pss_check('t');
DROP TABLE t CASCADE;
