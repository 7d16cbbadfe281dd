--
-- CALL: pss_get_partition and its relatives as a user writes them
--
SET client_min_messages = warning;
CREATE EXTENSION pss;
CREATE TABLE t (k bigint NOT NULL, v text);
CREATE TABLE names (k text NOT NULL, v int);
CREATE SCHEMA "Odd Schema";
CREATE TABLE "Odd Schema"."Odd ""Table" ("Odd Key" text NOT NULL);
SELECT sum((SELECT count(*) FROM pss_distribute_table(c, n, 4)))
FROM (VALUES ('t'::regclass, 'k'::name), ('names', 'k'), ('"Odd Schema"."Odd ""Table"', 'Odd Key')) AS x (c, n);
RESET client_min_messages;

-- every overload, with untyped literals
SELECT pss_get_partition('t', 1) BETWEEN 0 AND 3 AS ok;
SELECT pss_get_partition('t', '1') BETWEEN 0 AND 3 AS ok;
SELECT pss_get_partition('t', 1, 100) BETWEEN 0 AND 3 AS ok;
SELECT pss_get_partition('t', '1', 100) BETWEEN 0 AND 3 AS ok;
SELECT pss_get_partition('t', 1, NULL) BETWEEN 0 AND 3 AS ok;
SELECT pss_get_partition('t', '1', NULL) BETWEEN 0 AND 3 AS ok;
SELECT pss_get_partition(relation => 't', data_key => 1) BETWEEN 0 AND 3 AS ok;
SELECT pss_get_partition(relation => 't', data_key => '1', data_size => 10) BETWEEN 0 AND 3 AS ok;
SELECT pss_get_partition('names', 'abc') BETWEEN 0 AND 3 AS ok;
SELECT pss_get_partition('names', 'abc'::varchar, 10) BETWEEN 0 AND 3 AS ok;
SELECT pss_get_partition('1', 100, '{"table": "t"}') BETWEEN 0 AND 3 AS ok;
SELECT pss_get_partition('1', 100::bigint, '{"table": "t"}'::jsonb) BETWEEN 0 AND 3 AS ok;
SELECT pss_get_partition('1', NULL, '{"table": "t"}') BETWEEN 0 AND 3 AS ok;
SELECT pss_get_partition(data_key => '1', data_size => 100, schema_info => '{"table": "t"}') BETWEEN 0 AND 3 AS ok;
SELECT pss_get_partition(1::text, length('some row'), '{"table": "t"}') BETWEEN 0 AND 3 AS ok;
SELECT pss_get_partition('"Odd Schema"."Odd ""Table"', 'it''s') BETWEEN 0 AND 3 AS ok;
SELECT pss_get_partition('it''s', 1, '{"table": "\"Odd Schema\".\"Odd \"\"Table\""}') BETWEEN 0 AND 3 AS ok;
SELECT pss_get_partition('public.t', 1) BETWEEN 0 AND 3 AS ok;
PREPARE get(regclass, bigint) AS SELECT pss_get_partition($1, $2) BETWEEN 0 AND 3 AS ok;
EXECUTE get('t', 1);
SELECT pss_locate('t', 1) BETWEEN 0 AND 3 AS ok, pss_locate('t', '1') BETWEEN 0 AND 3 AS ok,
       pss_locate(relation => 't', data_key => 1) BETWEEN 0 AND 3 AS ok, pss_locate('t', 2) AS unknown;

-- all of them agree, and asking again never changes the answer
SELECT count(DISTINCT p) FROM (VALUES (pss_get_partition('t', 1)), (pss_get_partition('t', '1', 5)),
    (pss_get_partition('1', 100, '{"table": "t"}')), (pss_locate('t', 1)), (pss_locate('t', '1')),
    ((pss_get_partitions('t', '{1}'))[1])) AS x (p);
SELECT count(DISTINCT pss_get_partition('t', 5)) FROM generate_series(1, 100);

-- a reservation: the row that comes later goes there
SELECT pss_get_partition('t', 77) AS reserved \gset
INSERT INTO t VALUES (77, 'row') RETURNING pss_partition = :reserved AS kept;
INSERT INTO t (k, v, pss_partition) VALUES (77, 'named', pss_get_partition('t', 77)) RETURNING pss_partition = :reserved AS kept;
INSERT INTO t (k, v, pss_partition) SELECT g, 'named', pss_get_partition('t', g) FROM generate_series(100, 199) AS g;
SELECT count(*), count(*) FILTER (WHERE pss_locate('t', k) = pss_partition) AS mapped FROM t WHERE k BETWEEN 100 AND 199;
BEGIN;
SELECT pss_get_partition('t', 78) BETWEEN 0 AND 3 AS ok;
ROLLBACK;
SELECT pss_locate('t', 78);

-- batches
SELECT count(*), count(DISTINCT p) FROM unnest(pss_get_partitions('t', ARRAY(SELECT g::text FROM generate_series(1000, 1999) AS g))) AS p;
SELECT p[1] = p[3] AS same_key, p[1] = pss_locate('t', 3000) AS mapped, array_length(p, 1)
FROM pss_get_partitions('t', '{3000,3001,3000}', '{10,20,30}') AS p;
SELECT pss_get_partitions('t', '{}');
SELECT pss_get_partitions('t', '{1,NULL}');
SELECT pss_get_partitions('t', NULL);
SELECT pss_get_partitions(NULL, '{1}');
SELECT pss_get_partitions('t', '{1,2}', '{1}');
SELECT pss_get_partitions('t', '{1,2}', '{1,NULL}') IS NOT NULL AS ok;
SELECT pss_get_partitions('t', '{1,2}', '{1,-1}');
SELECT pss_get_partitions('t', '{1,x}');
SELECT pss_locate('t', 4000), pss_get_partitions('t', '{4000,x}');
SELECT pss_locate('t', 4000);
SELECT pss_get_partitions('t', '{{1,2},{3,4}}') IS NOT NULL AS ok;
SELECT pss_get_partitions('names', ARRAY['a', 'NULL', '', E'tab\there']) IS NOT NULL AS ok;

-- sizes
SELECT pss_get_partition('t', 5000, 0) BETWEEN 0 AND 3 AS ok;
SELECT pss_get_partition('t', 5001, 9223372036854775807) BETWEEN 0 AND 3 AS ok;
SELECT pss_get_partition('t', 5002, -1);
SELECT pss_get_partition('t', 5002, 1.5);
SELECT pss_get_partition('5002', -1, '{"table": "t"}');
SELECT pss_locate('t', 5002);

-- NULLs
SELECT pss_get_partition('t', NULL);
SELECT pss_get_partition('t', NULL::bigint);
SELECT pss_get_partition(NULL, 1);
SELECT pss_get_partition(NULL, 1, '{"table": "t"}');
SELECT pss_get_partition('none', 1, NULL::jsonb);
SELECT pss_locate(NULL, 1);
SELECT pss_locate('t', NULL);

-- tables that are none
SELECT pss_get_partition('nowhere', 1);
SELECT pss_get_partition(4294967295::oid::regclass, 1);
SELECT pss_get_partition('pg_class', 1);
SELECT pss_get_partition(leaf, 1) FROM pss.partition WHERE relation = 't'::regclass AND partition = 0;
SELECT pss_get_partition('pg_class_oid_index', 1);
SELECT pss_locate('pg_class', 1);
CREATE VIEW tv AS SELECT * FROM t;
SELECT pss_get_partition('tv', 1);

-- schema_info
SELECT pss_get_partition('1', NULL, '{"table": "t", "columns": {}}') BETWEEN 0 AND 3 AS ok;
SELECT pss_get_partition('1', NULL, '{"table": "t", "columns": {"k": {"type": "bigint"}, "v": {"type": "text", "width": 200}}}') BETWEEN 0 AND 3 AS ok;
SELECT pss_get_partition('1', NULL, '{"table": "t", "columns": {"v": {"type": "varchar(20)"}, "w": {}}}') BETWEEN 0 AND 3 AS ok;
SELECT pss_get_partition('1', 100, '{"table": "public.t"}') BETWEEN 0 AND 3 AS ok;
SELECT pss_get_partition('1', 100, '{}');
SELECT pss_get_partition('1', 100, '[]');
SELECT pss_get_partition('1', 100, 'null');
SELECT pss_get_partition('1', 100, '"t"');
SELECT pss_get_partition('1', 100, '42');
SELECT pss_get_partition('1', 100, '{"table": null}');
SELECT pss_get_partition('1', 100, '{"table": 42}');
SELECT pss_get_partition('1', 100, '{"table": ""}');
SELECT pss_get_partition('1', 100, '{"table": "nowhere"}');
SELECT pss_get_partition('1', 100, '{"table": "a.b.c.d.e"}');
SELECT pss_get_partition('1', 100, '{"table": "t", "tabel": "t"}');
SELECT pss_get_partition('1', 100, '{"table": ["t"]}');
SELECT pss_get_partition('1', NULL, '{"table": "t", "columns": []}');
SELECT pss_get_partition('1', NULL, '{"table": "t", "columns": {"v": "text"}}');
SELECT pss_get_partition('1', NULL, '{"table": "t", "columns": {"v": {"type": "no_such_type"}}}');
SELECT pss_get_partition('1', NULL, '{"table": "t", "columns": {"v": {"width": -1}}}');
SELECT pss_get_partition('1', NULL, '{"table": "t", "columns": {"v": {"width": 1.5}}}');
SELECT pss_get_partition('1', NULL, '{"table": "t", "columns": {"v": {"width": 99999999999}}}');
SELECT pss_get_partition('1', NULL, '{"table": "t", "columns": {"v": {"colour": "red"}}}');
SELECT pss_get_partition('1', NULL, '{"table": "t"');
SELECT pss_get_partition('x', 100, '{"table": "t"}');
SELECT pss_get_partition(NULL, 100, '{"table": "t"}');

-- pss_explain_route: where a key is and why
SELECT item, CASE WHEN item IN ('table', 'distribution column') THEN value END AS value FROM pss_explain_route('t', 77) WHERE item <> 'story';
SELECT item, CASE WHEN item IN ('table', 'distribution column') THEN value END AS value FROM pss_explain_route('t', 123456789) WHERE item <> 'story';
SELECT value = pss_locate('t', 77)::text AS right FROM pss_explain_route('t', '77') WHERE item = 'partition';
SELECT count(*) > 0 AS told FROM pss_explain_route('names', 'abc');
SELECT * FROM pss_explain_route('t', NULL);
SELECT * FROM pss_explain_route('pg_class', 1);
SELECT * FROM pss_explain_route('t', 'x');
SELECT pss_locate('t', 123456789);

-- in queries: once a row, in a join, under LIMIT, in a function's default
SELECT count(*) FROM t WHERE pss_partition = pss_locate('t', 77) AND k = 77;
SELECT count(*) FROM (SELECT g FROM generate_series(1, 5) AS g WHERE pss_locate('t', g::bigint) IS NULL) AS s;
SELECT pss_version() ~ '^\d+\.\d+\.\d+' AS version;
SELECT provolatile, proparallel, proisstrict, prosecdef, count(*) FROM pg_proc
WHERE proname ~ '^pss_(get|locate|explain|key)' GROUP BY 1, 2, 3, 4 ORDER BY 1, 2;
