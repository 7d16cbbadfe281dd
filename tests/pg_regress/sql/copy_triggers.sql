--
-- COPY and the triggers of the user: each once, statement triggers on the table, transition
-- tables whole; what a trigger changes or keeps out
--
SET client_min_messages = warning;
CREATE EXTENSION pss;
CREATE TABLE t (k int NOT NULL, v text);
CREATE INDEX ON t (k);
SELECT count(*) FROM pss_distribute_table('t', 'k', 2);
RESET client_min_messages;
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE '% % on %: %', TG_WHEN, TG_LEVEL, regexp_replace(TG_TABLE_NAME, '\d+$', 'N'), NEW.k;
    IF NEW.v = 'kept out' THEN RETURN NULL; END IF;
    NEW.v := NEW.v || '!';
    RETURN NEW;
END $$;
CREATE FUNCTION sum_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE 'transition table: % rows, % in partitions, keys %',
        (SELECT count(*) FROM new_rows), (SELECT count(*) FROM new_rows WHERE pss_partition >= 0),
        (SELECT array_agg(k ORDER BY k) FROM new_rows);
    RETURN NULL;
END $$;
CREATE TRIGGER a AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER bs BEFORE INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION tell();
CREATE TRIGGER "as" AFTER INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION tell();
\set QUIET off
-- in batches
COPY t FROM stdin;
1	one
1	again
\.
-- row by row, with a trigger before
CREATE TRIGGER b BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION tell();
COPY t FROM stdin;
4	four
5	kept out
6	six
\.
COPY t FROM stdin WHERE k = 7;
7	seven
8	filtered
\.
-- a transition table
DROP TRIGGER a ON t;
DROP TRIGGER b ON t;
CREATE TRIGGER s AFTER INSERT ON t REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION sum_up();
COPY t FROM stdin;
9	nine
1	one
\.
-- which rows that come by the inbox would be missing from
SET pss.routing = trigger;
COPY t FROM stdin;
10	ten
\.
RESET pss.routing;
DROP TRIGGER s ON t;
-- a trigger that copies: the counts of both are their own
SELECT current_setting('data_directory') || '/copied_by_trigger' AS file \gset
COPY (SELECT g, 'inner' FROM generate_series(20, 24) AS g) TO :'file';
CREATE FUNCTION copy_more() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.v = 'outer' THEN EXECUTE format('COPY t FROM %L', TG_ARGV[0]); END IF;
    RETURN NEW;
END $$;
SELECT format('CREATE TRIGGER more BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION copy_more(%L)', :'file') AS command \gset
\set ECHO none
:command;
\set ECHO all
COPY t FROM stdin;
30	outer
31	plain
\.
DROP TRIGGER more ON t;
-- a trigger that changes the key: refused where that is another's home
CREATE FUNCTION change_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.k := NEW.v::int; RETURN NEW; END $$;
CREATE TRIGGER change BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION change_key();
TRUNCATE t;
INSERT INTO t (k, v, pss_partition) VALUES (1, '1', 0), (2, '2', 1);
COPY t (k, v) FROM stdin;
1	1
\.
COPY t (k, v) FROM stdin;
1	1
1	2
\.
\set QUIET on
DROP TRIGGER change ON t;
SELECT k, v, pss_partition FROM t ORDER BY 1, 2;
SELECT * FROM pss_check('t');
