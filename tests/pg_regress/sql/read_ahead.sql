-- INSERT ... SELECT reads rows ahead to look their keys up together. Nobody may see that: each
-- case gives what an ordinary table gives.
CREATE EXTENSION pss;
SET client_min_messages = warning;
CREATE TABLE plain (k bigint, v int);
CREATE TABLE t (k bigint, v int);
SELECT count(*) FROM pss_distribute_table('t', 'k', partitions => 4);
CREATE FUNCTION rows_of(name) RETURNS bigint LANGUAGE plpgsql AS
$$DECLARE n bigint; BEGIN EXECUTE format('SELECT count(*) FROM %I', $1) INTO n; RETURN n; END$$;

-- Volatile functions look at the table as it is.
INSERT INTO plain SELECT k, rows_of('plain') FROM generate_series(1, 5) k;
INSERT INTO t SELECT k, rows_of('t') FROM generate_series(1, 5) k;
SELECT p.v, t.v FROM plain p JOIN t USING (k) ORDER BY k;

-- So do those in the check of a domain, which is not in the statement.
CREATE FUNCTION has_room() RETURNS boolean LANGUAGE plpgsql AS
$$BEGIN RETURN rows_of('t') < 7; END$$;
CREATE DOMAIN small AS int CHECK (has_room());
INSERT INTO t SELECT k, k::small FROM generate_series(11, 15) k;

-- A trigger asks for the last value of a sequence, on a partition alone, too.
CREATE SEQUENCE s;
CREATE FUNCTION last_value() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN NEW.v := currval('s'); RETURN NEW; END$$;
DO $$DECLARE leaf regclass; BEGIN
    FOR leaf IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 't'::regclass LOOP
        EXECUTE format('CREATE TRIGGER last_value BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION last_value()', leaf);
    END LOOP;
END$$;
INSERT INTO t SELECT 20 + nextval('s') FROM generate_series(1, 5);
SELECT k - 20 AS k, v FROM t WHERE k > 20 ORDER BY k;

-- A trigger deletes the next row of the source, which is locked as it is read.
CREATE TABLE source (k bigint, v int);
INSERT INTO source SELECT k, 0 FROM generate_series(101, 104) k;
CREATE FUNCTION delete_next() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN DELETE FROM source WHERE k = NEW.k + 1; RETURN NEW; END$$;
CREATE TRIGGER delete_next BEFORE INSERT ON plain FOR EACH ROW EXECUTE FUNCTION delete_next();
CREATE TRIGGER delete_next BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION delete_next();
BEGIN;
INSERT INTO plain SELECT * FROM source FOR UPDATE;
SELECT k FROM plain WHERE k > 100 ORDER BY k;
ROLLBACK;
INSERT INTO t SELECT * FROM source FOR UPDATE;
SELECT k FROM t WHERE k > 100 ORDER BY k;
SELECT * FROM pss_check('t');
