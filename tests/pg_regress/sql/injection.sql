--
-- INJECTION: whatever a name or a text contains, it is a name or a text
--
SET client_min_messages = warning;
CREATE EXTENSION pss;
CREATE TABLE canary (alive bool);
INSERT INTO canary VALUES (true);
CREATE FUNCTION broken() RETURNS int LANGUAGE plpgsql AS 'BEGIN RAISE ''injected code was run''; END';

-- tables, schemas, columns and values of every kind
CREATE TABLE odd (name text);
INSERT INTO odd VALUES ('select'), ('Upper Case'), ('semi;colon'), ('dash--dash'), ('/*comment*/'),
    ('it''s'), ('''; DROP TABLE canary; --'), ('"quoted"'), ('"; DROP TABLE canary; --'), ('back\slash'),
    ('dollar$$dollar'), ('$1'), ('%s%I%L'), ('{}'), ('brace}'), (E'new\nline'), ('dot.ted'), ('(paren'), ('comma,'),
    ('größe ünïcode 表'), (repeat('x', 63)), (' lead and trail '), ('pg_temp'), ('public.broken()');
CREATE FUNCTION put(schema text, name text, col text, value text,
                    OUT same_home bool, OUT located bool, OUT explained bool, OUT named bool, OUT rebuilt bigint, OUT undone bigint)
LANGUAGE plpgsql AS $$
DECLARE rel regclass; p int; leaf regclass;
BEGIN
    EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I', schema);
    EXECUTE format('CREATE TABLE %I.%I (%I text NOT NULL, v text)', schema, name, col);
    EXECUTE format('CREATE INDEX ON %I.%I (%I)', schema, name, col);
    rel := format('%I.%I', schema, name)::regclass;
    PERFORM pss_distribute_table(rel, col, 2);
    -- the parent is a new relation
    rel := format('%I.%I', schema, name)::regclass;
    p := pss_get_partition(rel, value);
    EXECUTE format('INSERT INTO %s VALUES ($1, $1)', rel) USING value;
    SET LOCAL pss.routing = trigger;
    EXECUTE format('INSERT INTO %s VALUES ($1, $1)', rel) USING value;
    SET LOCAL pss.routing = planner;
    EXECUTE format('SELECT count(*) = 2 FROM %s WHERE pss_partition = $1', rel) INTO same_home USING p;
    located := pss_locate(rel, value) = p AND (pss_get_partitions(rel, ARRAY[value]))[1] = p
        AND pss_get_partition(value, 1, jsonb_build_object('table', rel::text)) = p
        AND pss_get_partition(value, NULL, jsonb_build_object('table', rel::text, 'columns',
                jsonb_build_object(col, '{"type": "text"}'::jsonb))::text) = p;
    explained := EXISTS (SELECT FROM pss_explain_route(rel, value) AS e WHERE e.value = col)
        AND EXISTS (SELECT FROM pss_explain_route(rel, value) AS e WHERE e.value = rel::text);
    SELECT pp.leaf INTO leaf FROM pss.partition pp WHERE relation = rel AND partition = p;
    EXECUTE format('INSERT INTO %s (%I) VALUES ($1)', leaf, col) USING value;
    named := EXISTS (SELECT FROM pss.tables t WHERE t.relation = rel);
    rebuilt := pss_rebuild_map(rel);
    PERFORM pss_undistribute_table(rel);
    EXECUTE format('SELECT count(*) FROM %I.%I', schema, name) INTO undone;
    EXECUTE format('DROP TABLE %I.%I', schema, name);
END $$;
RESET client_min_messages;
SET client_min_messages = error;
-- nothing listed: same_home, located, explained, named: t; rebuilt: one key; undone: three rows
SELECT o.name, p.* FROM odd AS o, put(o.name, o.name, o.name, o.name) AS p
WHERE o.name NOT IN ('pg_temp') AND (p.same_home, p.located, p.explained, p.named, p.rebuilt, p.undone) IS DISTINCT FROM (true, true, true, true, 1, 3);
SELECT o.name, p.* FROM odd AS o, put('public', o.name, o.name, o.name) AS p
WHERE (p.same_home, p.located, p.explained, p.named, p.rebuilt, p.undone) IS DISTINCT FROM (true, true, true, true, 1, 3);
RESET client_min_messages;
SELECT * FROM canary;

-- texts that name no table, no column, no type: an error each, and nothing is run
CREATE FUNCTION refused(command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE command;
    RETURN 'accepted';
EXCEPTION WHEN raise_exception THEN
    RETURN 'INJECTED: ' || SQLERRM;
WHEN OTHERS THEN
    RETURN 'refused';
END $$;
CREATE TABLE t (k text NOT NULL, v text);
SET client_min_messages = error;
SELECT count(*) FROM pss_distribute_table('t', 'k', 2);
CREATE TABLE plain (k text NOT NULL);
WITH evil (text) AS (VALUES
    ('t; DROP TABLE canary'), ('t''; DROP TABLE canary; --'), ('t") ; DROP TABLE canary; --'), ('t, canary'),
    ('t WHERE broken() = 1'), ('(SELECT broken())'), ('broken()'), ('k = broken()'), ('k) VALUES (broken())'),
    ('$$t$$'), (E't\n; DROP TABLE canary'), ('"t'), ('t"'), ('.'), ('..'), ('*'), (''), (' '), ('%'), ('{}'))
SELECT refused(format('SELECT pss_get_partition(%L, ''1'')', text)) AS relation,
       refused(format('SELECT pss_get_partition(%L, ''1'', NULL)', text)) AS literal,
       refused(format('SELECT pss_get_partition(''1'', 1, %L)', jsonb_build_object('table', text))) AS schema_info,
       refused(format('SELECT pss_get_partition(''1'', NULL, %L)', jsonb_build_object('table', 't', 'columns', jsonb_build_object('v', jsonb_build_object('type', text))))) AS type,
       refused(format('SELECT pss_get_partition(''1'', NULL, %L)', text)) AS json,
       refused(format('SELECT pss_distribute_table(''plain'', %L)', text)) AS distribution_column,
       refused(format('SELECT pss_distribute_table(''plain'', ''k'', mapping => %L)', text)) AS mapping,
       refused(format('SELECT pss_distribute_table(''plain'', ''k'', existing => %L)', text)) AS existing,
       refused(format('SELECT pss_distribute_table(''plain'', ''k'', nodes => ARRAY[%L])', text)) AS nodes,
       refused(format('SELECT pss_rebuild_map(%L)', text)) AS rebuild,
       refused(format('SELECT pss_undistribute_table(%L)', text)) AS undo,
       refused(format('SET pss.routing = %L', text)) AS guc,
       -- a key is any text
       refused(format('SELECT pss_get_partition(''t'', %L)', text)) AS key,
       refused(format('SELECT pss_get_partitions(''t'', ARRAY[%L])', text)) AS keys,
       refused(format('SELECT pss_locate(''t'', %L)', text)) AS located,
       count(*)
FROM evil GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 ORDER BY 1;
RESET client_min_messages;
SELECT * FROM canary;

-- objects of the caller's that look like ours, in front of the search path
CREATE SCHEMA trap;
CREATE FUNCTION trap.trapped() RETURNS int LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END';
CREATE FUNCTION trap.eq(int8, int8) RETURNS bool LANGUAGE sql AS 'SELECT trap.trapped() = 1';
CREATE FUNCTION trap.eq(text, text) RETURNS bool LANGUAGE sql AS 'SELECT trap.trapped() = 1';
CREATE FUNCTION trap.eq(oid, oid) RETURNS bool LANGUAGE sql AS 'SELECT trap.trapped() = 1';
CREATE FUNCTION trap.eq(real, int4) RETURNS bool LANGUAGE sql AS 'SELECT trap.trapped() = 1';
CREATE OPERATOR trap.= (LEFTARG = int8, RIGHTARG = int8, FUNCTION = trap.eq);
CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.eq);
CREATE OPERATOR trap.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = trap.eq);
CREATE OPERATOR trap.= (LEFTARG = real, RIGHTARG = int4, FUNCTION = trap.eq);
CREATE OPERATOR trap.>= (LEFTARG = int4, RIGHTARG = int4, FUNCTION = int4eq);
CREATE FUNCTION trap.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT trap.trapped()::text::timestamptz';
CREATE FUNCTION trap.format(text, VARIADIC text[]) RETURNS text LANGUAGE sql AS 'SELECT trap.trapped()::text';
CREATE FUNCTION trap.to_regclass(text) RETURNS regclass LANGUAGE sql AS 'SELECT trap.trapped()::regclass';
CREATE FUNCTION trap.to_regtype(text) RETURNS regtype LANGUAGE sql AS 'SELECT trap.trapped()::regtype';
CREATE FUNCTION trap.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT trap.trapped()::text::timestamptz';
CREATE TABLE trap.pg_class AS SELECT * FROM pg_catalog.pg_class LIMIT 0;
CREATE TABLE public.victim (k text NOT NULL, v text);
SET search_path = trap, pg_catalog, public;
SET client_min_messages = error;
SELECT count(*) FROM pss_distribute_table('victim', 'k', 2);
INSERT INTO victim VALUES ('a', 'planner') RETURNING v;
SET pss.routing = trigger;
INSERT INTO victim VALUES ('a', 'trigger'), ('b', 'trigger');
RESET pss.routing;
COPY victim FROM stdin;
a	copy
\.
ANALYZE victim;
SELECT pss_get_partition('victim', 'a') IS NOT NULL AS ok, pss_locate('victim', 'a') IS NOT NULL AS ok,
       pss_get_partition('a', NULL, '{"table": "victim", "columns": {"k": {"type": "text"}}}') IS NOT NULL AS ok;
SELECT count(*) > 0 AS ok FROM pss_explain_route('victim', 'a');
CREATE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER nothing BEFORE INSERT ON victim FOR EACH ROW EXECUTE FUNCTION public.nothing();
INSERT INTO victim VALUES ('a', 'guarded') RETURNING v;
TRUNCATE victim;
SELECT pss_rebuild_map('victim');
SELECT count(*) AS problems FROM pss_check('victim');
SELECT count(*) > 0 AS ok FROM pss_refresh();
SELECT pss_undistribute_table('victim');
RESET search_path;
RESET client_min_messages;
SET client_min_messages = warning;
DROP SCHEMA trap CASCADE;
SELECT * FROM canary;
