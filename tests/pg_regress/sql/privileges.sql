--
-- PRIVILEGES: a role routes only into tables it may INSERT into, locates only in tables it
-- may SELECT from, and changes only tables it owns
--
SET client_min_messages = warning;
CREATE EXTENSION pss;
DROP ROLE IF EXISTS regress_pss_owner, regress_pss_writer, regress_pss_columns, regress_pss_reader, regress_pss_nobody;
CREATE ROLE regress_pss_owner;
CREATE ROLE regress_pss_writer;
CREATE ROLE regress_pss_columns;
CREATE ROLE regress_pss_reader;
CREATE ROLE regress_pss_nobody;
GRANT CREATE ON SCHEMA public TO regress_pss_owner;
SET ROLE regress_pss_owner;
CREATE TABLE t (k int NOT NULL, v text, secret text DEFAULT 'x');
CREATE INDEX ON t (k);
RESET ROLE;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO regress_pss_owner;
SET ROLE regress_pss_owner;
SELECT count(*) FROM pss_distribute_table('t', 'k', 4);
GRANT INSERT ON t TO regress_pss_writer;
GRANT INSERT (k, v) ON t TO regress_pss_columns;
GRANT SELECT ON t TO regress_pss_reader;
RESET ROLE;
SELECT leaf AS leaf0 FROM pss.partition WHERE relation = 't'::regclass AND partition = 0 \gset
SELECT map AS map FROM pss.map_state WHERE relation = 't'::regclass \gset
SELECT inhrelid::regclass AS inbox FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
WHERE inhparent = 't'::regclass AND pg_get_expr(relpartbound, c.oid) LIKE '%-1%' \gset
RESET client_min_messages;

-- INSERT on the parent is all a writer needs, by every door
SET ROLE regress_pss_writer;
INSERT INTO t VALUES (1, 'planner');
INSERT INTO t SELECT g, 'bulk' FROM generate_series(1, 100) AS g;
SET pss.routing = trigger;
INSERT INTO t VALUES (2, 'trigger'), (200, 'trigger');
RESET pss.routing;
COPY t (k, v) FROM stdin;
3	copy
300	copy
\.
SELECT pss_get_partition('t', 1) >= 0 AS ok, pss_get_partition('t', '400') >= 0 AS ok,
       pss_get_partition('401', 10, '{"table": "t"}') >= 0 AS ok, cardinality(pss_get_partitions('t', '{1,402}')) AS n;
-- but not reading
SELECT * FROM t;
INSERT INTO t VALUES (5, 'x') RETURNING pss_partition;
SELECT pss_locate('t', 1);
SELECT pss_locate('t', '1');
SELECT * FROM pss_explain_route('t', 1);
SELECT pss_key_hash('t', 1);
-- nor the leaves, the inbox, the map
INSERT INTO :leaf0 (k) VALUES (1);
INSERT INTO :inbox (k) VALUES (1);
-- Without data: releases of psql differ in what they do with that of a refused COPY.
\copy t_p0 (k) from /dev/null
\set ECHO none
\set VERBOSITY sqlstate
SELECT * FROM :map;
INSERT INTO :map VALUES (1, 1);
DELETE FROM :map;
TRUNCATE :map;
\set VERBOSITY default
\set ECHO all
RESET ROLE;

-- rights on columns
SET ROLE regress_pss_columns;
INSERT INTO t (k, v) VALUES (1, 'columns');
INSERT INTO t (k, v, secret) VALUES (1, 'columns', 'no');
INSERT INTO t (k, pss_partition) VALUES (1, 0);
SET pss.routing = trigger;
INSERT INTO t (k, v) VALUES (1, 'columns');
RESET pss.routing;
COPY t (k, v) FROM stdin;
1	columns
\.
\copy t from /dev/null
SELECT pss_get_partition('t', 1) >= 0 AS ok;
RESET ROLE;

-- a reader
SET ROLE regress_pss_reader;
SELECT pss_locate('t', 1) >= 0 AS ok, pss_locate('t', '1') >= 0 AS ok, pss_locate('t', 123456) AS none;
SELECT count(*) > 0 AS ok FROM pss_explain_route('t', 1);
SELECT pss_key_hash('t', 1) IS NOT NULL AS ok;
SELECT pss_get_partition('t', 1);
SELECT pss_get_partition('1', 10, '{"table": "t"}');
SELECT pss_get_partition('1', NULL, '{"table": "t"}');
SELECT pss_get_partitions('t', '{1}');
INSERT INTO t VALUES (1);
RESET ROLE;

-- nobody: the catalog can be read (writers' sessions need it), nothing else
SET ROLE regress_pss_nobody;
SELECT pss_get_partition('t', 1);
SELECT pss_locate('t', 1);
SELECT relation, distribution_column FROM pss.sharded_table;
\set VERBOSITY sqlstate
SELECT * FROM :map;
\set VERBOSITY terse
SELECT count(*) FROM pss.sample;
SELECT count(*) FROM pss.forecast;
SELECT count(*) FROM pss.event;
INSERT INTO pss.sharded_table (relation, distribution_column) VALUES ('pg_class', 'relname');
UPDATE pss.sharded_table SET distribution_column = 'v';
DELETE FROM pss.partition;
UPDATE pss.partition SET leaf = 'pg_class';
INSERT INTO pss.epoch VALUES ('t'::regclass, 99, now(), 'x', '{1}', 1, '');
UPDATE pss.map_state SET complete = true;
TRUNCATE pss.event;
CREATE TABLE pss.mine (x int);
\set VERBOSITY default
SELECT relation FROM pss.tables;
SELECT relation FROM pss.partitions;
SELECT pss_distribute_table('t', 'k');
SELECT pss_undistribute_table('t');
SELECT pss_rebuild_map('t');
SELECT pss_refresh();
RESET ROLE;

-- a role that was given the functions still changes only what it owns
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO regress_pss_writer;
SET ROLE regress_pss_writer;
SELECT pss_undistribute_table('t');
SELECT pss_rebuild_map('t');
SELECT pss_distribute_table('pg_class', 'relname');
RESET ROLE;

-- the trigger functions do nothing elsewhere
SET ROLE regress_pss_owner;
CREATE TABLE plain (k int, pss_partition int);
CREATE TRIGGER mine BEFORE INSERT ON plain FOR EACH ROW EXECUTE FUNCTION pss_route_row();
INSERT INTO plain VALUES (1);
DROP TABLE plain;
SELECT pss_route_row();
RESET ROLE;

-- a security definer function writes with its owner's rights, and no others
CREATE FUNCTION put(int) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS 'INSERT INTO public.t (k) VALUES ($1)';
ALTER FUNCTION put(int) OWNER TO regress_pss_writer;
SET ROLE regress_pss_nobody;
SELECT put(1);
RESET ROLE;
REVOKE INSERT ON t FROM regress_pss_writer;
SET ROLE regress_pss_nobody;
SELECT put(1);
RESET ROLE;
-- a plan made by one role does not serve another
PREPARE p AS INSERT INTO t (k) VALUES (1);
EXECUTE p;
SET ROLE regress_pss_nobody;
EXECUTE p;
RESET ROLE;

SELECT count(*) AS split_or_lost FROM t WHERE pss_locate('t', k) IS DISTINCT FROM pss_partition;
DROP FUNCTION put(int);
DROP TABLE t;
REVOKE ALL ON SCHEMA public FROM regress_pss_owner;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM regress_pss_owner, regress_pss_writer;
DROP ROLE regress_pss_owner, regress_pss_writer, regress_pss_columns, regress_pss_reader, regress_pss_nobody;
