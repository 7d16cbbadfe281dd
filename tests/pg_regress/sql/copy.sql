--
-- COPY: its rows come by the inbox; the client sees true counts and errors with their line
--
SET client_min_messages = warning;
CREATE EXTENSION pss;
CREATE TABLE t (k int NOT NULL, v text, n int DEFAULT 7, g int GENERATED ALWAYS AS (k + 1) STORED);
CREATE INDEX ON t (k);
SELECT count(*) FROM pss_distribute_table('t', 'k', 4);
RESET client_min_messages;
CREATE VIEW homes AS
SELECT count(*) AS total, count(DISTINCT k) AS keys,
       (SELECT count(*) FROM (SELECT FROM t GROUP BY k HAVING count(DISTINCT pss_partition) > 1) AS s) AS split,
       count(*) FILTER (WHERE pss_partition < 0) AS in_inbox,
       count(*) FILTER (WHERE pss_locate('t', k) IS DISTINCT FROM pss_partition) AS mapped_elsewhere
FROM t;
\set QUIET off

-- without a column list pss_partition is left out, as if the table had never been sharded
COPY t FROM stdin;
1	one	1
2	two	\N
1	again	3
\.
COPY t (k, v) FROM stdin;
1	list
3	list
\.
COPY t (v, k) FROM stdin WHERE k > 3;
no	1
yes	4
yes	5
\.
COPY t FROM stdin (FORMAT csv, HEADER);
k,v,n
6,"comma, and ""quotes""",6
7,,
\.
COPY t FROM stdin (FORMAT csv, HEADER match);
k,v,n
8,eight,8
\.
-- psql's own
\copy t (k, v) from stdin
9	copied
\.
\copy (SELECT k, v FROM t WHERE k = 9) to stdout
-- with pss_partition named, as a dump has it: the map is incomplete until it is rebuilt
COPY t (k, v, pss_partition) FROM stdin;
100	named	2
\.
COPY t (k, v, pss_partition) FROM stdin;
101	to the inbox	-1
\.
COPY t (k, v, pss_partition) FROM stdin;
102	no such partition	42
\.
COPY t FROM stdin;
\.
\set QUIET on
SELECT k, v, n, g FROM t ORDER BY k, v;
SELECT pss_locate('t', 100), pss_locate('t', 102);
INSERT INTO t (k, v) VALUES (100, 'follows') RETURNING pss_partition;
SELECT pss_rebuild_map('t') > 0 AS rebuilt;
SELECT complete FROM pss.map_state WHERE relation = 't'::regclass;

-- errors name the line
COPY t FROM stdin;
11	fine	1
\N	no key	2
\.
COPY t FROM stdin;
11	fine	1
x	no number	2
\.
COPY t FROM stdin;
11	fine	1	extra
\.
-- Refused before there is data: without any, for releases of psql differ in what they do with it.
\copy t (k, nope) from /dev/null
\copy t (k, g) from /dev/null
COPY t (v) FROM stdin;
no key at all
\.
SELECT pss_locate('t', 11), count(*) FROM t WHERE k = 11;

-- a large one; out and in again
INSERT INTO t SELECT g, 'bulk' FROM generate_series(1000, 3999) AS g;
SELECT current_setting('data_directory') || '/copy_of_t' AS file \gset
COPY (SELECT k, v, n FROM t WHERE k >= 1000) TO :'file';
DELETE FROM t WHERE k >= 2000;
\set QUIET off
COPY t FROM :'file';
COPY t FROM :'file' (FREEZE);
\set QUIET on
SELECT * FROM homes;
BEGIN;
COPY t FROM :'file';
ROLLBACK;
SELECT * FROM homes;

-- pss.routing
\set QUIET off
SET pss.routing = trigger;
COPY t (k) FROM stdin;
12
\.
SET pss.routing = off;
COPY t (k) FROM stdin;
12
\.
COPY t (k, pss_partition) FROM stdin;
103	2
\.
RESET pss.routing;
BEGIN READ ONLY;
\copy t (k) from /dev/null
ROLLBACK;
\set QUIET on

-- constraints and foreign keys of rows that came by the inbox
SET client_min_messages = warning;
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (k int NOT NULL, id int REFERENCES parent, id2 int REFERENCES parent DEFERRABLE INITIALLY DEFERRED,
                    c int CHECK (c > 0), PRIMARY KEY (k, c));
SELECT count(*) FROM pss_distribute_table('child', 'k', 2);
RESET client_min_messages;
INSERT INTO parent VALUES (1);
\set QUIET off
COPY child FROM stdin;
1	1	1	1
2	1	\N	1
\.
\set QUIET on
\set VERBOSITY sqlstate
COPY child FROM stdin;
3	2	1	1
\.
COPY child FROM stdin;
3	1	2	1
\.
COPY child FROM stdin;
3	1	1	0
\.
COPY child FROM stdin;
1	1	1	1
\.
\set VERBOSITY default
SELECT k, id, id2, c FROM child ORDER BY k;
SELECT pss_locate('child', 3);
DELETE FROM parent WHERE id = 1;

-- triggers of the user: each once, statement triggers on the table
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE '% % on %: %', TG_WHEN, TG_LEVEL, regexp_replace(TG_TABLE_NAME, '\d+$', 'N'), NEW.k;
    IF NEW.id = 0 THEN RETURN NULL; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER b BEFORE INSERT ON child FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER a AFTER INSERT ON child FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER bs BEFORE INSERT ON child FOR EACH STATEMENT EXECUTE FUNCTION tell();
CREATE TRIGGER "as" AFTER INSERT ON child FOR EACH STATEMENT EXECUTE FUNCTION tell();
\set QUIET off
COPY child FROM stdin;
4	1	1	1
5	0	1	1
6	1	1	1
\.
\set QUIET on
SELECT k FROM child ORDER BY k;
-- a transition table would miss them: refused
CREATE FUNCTION sum_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE NOTICE 'transition table: % rows', (SELECT count(*) FROM new_rows); RETURN NULL; END $$;
CREATE TRIGGER s AFTER INSERT ON child REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION sum_up();
COPY child FROM stdin;
7	1	1	1
\.
SELECT k FROM child ORDER BY k;

-- straight into a leaf: as a restore does it. Look-ups search the leaves until the map is rebuilt
SELECT leaf AS leaf1 FROM pss.partition WHERE relation = 't'::regclass AND partition = 1 \gset
COPY :leaf1 (k, v, pss_partition) FROM stdin;
200	leaf	1
201	leaf	1
\.
COPY :leaf1 (k, v, pss_partition) FROM stdin;
202	wrong leaf	3
\.
SELECT pss_locate('t', 200), pss_locate('t', 201), pss_locate('t', 202);
INSERT INTO t (k, v) VALUES (200, 'follows') RETURNING pss_partition;
SELECT pss_rebuild_map('t') > 0 AS rebuilt;
SELECT complete FROM pss.map_state WHERE relation = 't'::regclass;
SELECT pss_locate('t', 201);
SELECT * FROM homes;

-- a function that copies reports its own count
CREATE FUNCTION load(file text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
    EXECUTE format('COPY t FROM %L', file);
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN n;
END $$;
SELECT load(:'file');
SELECT * FROM homes;

-- out again: the column is part of the table
COPY (SELECT k, v, n FROM t WHERE k < 5 ORDER BY k, v) TO stdout;
