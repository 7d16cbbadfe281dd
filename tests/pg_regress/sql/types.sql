--
-- TYPES: two data keys are the same if the type's own equality says so, and a key given
-- as text or in another integer width is the key of the column
--
SET client_min_messages = warning;
CREATE EXTENSION pss;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN code AS text CHECK (VALUE <> '');
CREATE TYPE pair AS (a int, b text);

-- For each type: the same key written in several ways, then other keys.
CREATE TABLE sample (type text, same text[], other text[]);
INSERT INTO sample VALUES
    ('int2', '{7,+7,007}', '{8,-7}'),
    ('int4', '{7,+7,007}', '{8,-7}'),
    ('int8', '{7,+7,007}', '{8,-7,9223372036854775807}'),
    ('numeric', '{1,1.0,1.00,1e0}', '{1.01,NaN,-2}'),
    ('numeric(10,2)', '{1,1.0,1.001}', '{1.01}'),
    ('float8', '{0,-0,0e10}', '{1,NaN,Infinity}'),
    ('float4', '{0,-0}', '{1.5}'),
    ('text', '{abc}', '{ABC,"abc ","","NULL"}'),
    ('varchar(10)', '{abc}', '{ABC,"abc "}'),
    ('char(5)', '{abc,"abc ","abc  "}', '{ab,"  abc"}'),
    ('name', '{abc}', '{abcd}'),
    ('uuid', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,A0EEBC999C0B4EF8BB6D6BB9BD380A11}', '{00000000-0000-0000-0000-000000000000}'),
    ('date', '{2024-01-31,"Jan 31, 2024"}', '{2024-02-01,infinity}'),
    ('timestamptz', '{2024-01-31 12:00+00,2024-01-31 13:00+01}', '{2024-01-31 12:00:00.000001+00}'),
    ('timestamp', '{2024-01-31 12:00}', '{2024-01-31 13:00}'),
    ('time', '{12:00,12:00:00.0}', '{13:00}'),
    ('interval', '{1 day,24 hours}', '{1 month 1 day}'),
    ('bytea', ARRAY['\x0061', '\000a'], ARRAY['\x', '\x61']),
    ('bool', '{t,true,yes,1}', '{f}'),
    ('mood', '{ok}', '{sad,happy}'),
    ('code', '{abc}', '{ABC}'),
    ('int4[]', '{"{1,2}","{ 1, 2 }"}', '{"{2,1}","{}"}'),
    ('int4range', '{"[1,3)","[1,2]"}', '{"[1,3]",empty}'),
    ('jsonb', '{"{\"a\":1,\"b\":2}","{\"b\":2, \"a\":1}"}', '{"1"}'),
    ('inet', '{10.0.0.1,10.0.0.1/32}', '{10.0.0.2}'),
    ('macaddr', '{08:00:2b:01:02:03,08002b010203}', '{08:00:2b:01:02:04}'),
    ('pair', '{"(1,x)","(1,\"x\")"}', '{"(2,x)"}');

CREATE FUNCTION try(type text, same text[], other text[],
                    OUT homes_of_same bigint, OUT hashes bigint, OUT distinct_keys bigint, OUT located bigint, OUT misplaced bigint)
LANGUAGE plpgsql AS $$
DECLARE one text;
BEGIN
    EXECUTE format('CREATE TABLE typed (k %s NOT NULL, n int GENERATED ALWAYS AS IDENTITY)', type);
    PERFORM pss_distribute_table('typed', 'k', 8);
    -- by the doors in turn: text to a function, a row, a row through the inbox
    FOREACH one IN ARRAY same || other LOOP
        PERFORM pss_get_partition('typed', one);
        EXECUTE format('INSERT INTO typed (k) VALUES (%L)', one);
    END LOOP;
    SET LOCAL pss.routing = trigger;
    FOREACH one IN ARRAY same || other LOOP
        EXECUTE format('INSERT INTO typed (k) VALUES (%L)', one);
    END LOOP;
    SET LOCAL pss.routing = planner;
    EXECUTE format('SELECT count(DISTINCT pss_partition), count(DISTINCT pss_key_hash(''typed'', k)) FROM typed WHERE k IN (SELECT unnest($1)::%s)', type)
    INTO homes_of_same, hashes USING same;
    EXECUTE 'SELECT count(DISTINCT pss_locate(''typed'', t)), count(pss_locate(''typed'', t)) FROM unnest($1) AS t'
    INTO homes_of_same, located USING same;
    EXECUTE 'SELECT count(DISTINCT pss_key_hash(''typed'', k)),
                    count(*) FILTER (WHERE pss_locate(''typed'', k) IS DISTINCT FROM pss_partition) FROM typed'
    INTO distinct_keys, misplaced;
    DROP TABLE typed;
END $$;
RESET client_min_messages;

-- Expected in every line: one home, one hash, one key and those in "other", all of "same" found, none misplaced.
SET client_min_messages = warning;
SELECT s.type, t.homes_of_same, t.hashes, t.distinct_keys = 1 + array_length(s.other, 1) AS keys,
       t.located = array_length(s.same, 1) AS found, t.misplaced
FROM sample AS s, try(s.type, s.same, s.other) AS t;
RESET client_min_messages;

-- Integer widths agree with each other; a key of another type is refused, or is cast as an assignment would.
SET client_min_messages = warning;
CREATE TABLE t2 (k int2 NOT NULL);
CREATE TABLE t8 (k int8 NOT NULL);
CREATE TABLE tn (k numeric NOT NULL);
CREATE TABLE tt (k text NOT NULL);
CREATE TABLE tv (k varchar(4) NOT NULL);
CREATE TABLE td (k date NOT NULL);
CREATE TABLE tm (k mood NOT NULL);
SELECT sum((SELECT count(*) FROM pss_distribute_table(c, 'k', 4))) FROM unnest('{t2,t8,tn,tt,tv,td,tm}'::regclass[]) AS c;
RESET client_min_messages;
INSERT INTO t8 VALUES (42);
SELECT pss_locate('t8', 42::int2) = pss_locate('t8', 42::int8) AND pss_locate('t8', 42) = pss_locate('t8', '42') AS agree;
SELECT pss_get_partition('t2', 42::int2) = pss_get_partition('t2', '42') AS agree;
SELECT pss_get_partition('t2', 42) = pss_locate('t2', 42::int2) AS agree;
SELECT pss_get_partition('t2', 100000);
SELECT pss_get_partition('t8', 4.2);
SELECT pss_get_partition('t8', '4.2');
SELECT pss_get_partition('t8', 'forty-two');
SELECT pss_get_partition('t8', true);
SELECT pss_get_partition('t8', 'forty-two'::text);
SELECT pss_get_partition('t8', ARRAY[1]);
SELECT pss_get_partition('tn', 1) = pss_get_partition('tn', 1.00) AS agree;
SELECT pss_get_partition('tn', 1::int8) = pss_get_partition('tn', '1.0') AS agree;
SELECT pss_get_partition('tn', 'x');
SELECT pss_get_partition('tt', 'abc'::varchar) = pss_get_partition('tt', 'abc'::text) AS agree;
SELECT pss_get_partition('tt', 'abc'::char(10)) = pss_get_partition('tt', 'abc') AS agree;
SELECT pss_get_partition('tt', 'abc'::name) = pss_get_partition('tt', 'abc') AS agree;
SELECT pss_get_partition('tv', 'abc'::text) = pss_get_partition('tv', 'abc') AS agree;
SELECT pss_get_partition('tv', 'too long');
SELECT pss_get_partition('tt', 42);
SELECT pss_get_partition('td', '2024-01-31'::date) = pss_get_partition('td', '2024-01-31') AS agree;
SELECT pss_get_partition('td', '2024-01-31'::timestamptz);
SELECT pss_get_partition('td', 'yesterdaze');
SELECT pss_get_partition('tm', 'ok'::mood) = pss_get_partition('tm', 'ok') AS agree;
SELECT pss_get_partition('tm', 'furious');
SELECT pss_get_partition('tn', NULL::numeric);
SELECT pss_get_partition('tn', NULL);
SELECT pss_locate('tn', NULL::numeric), pss_locate('tn', NULL);

-- what cannot identify a key
CREATE TABLE tj (k json NOT NULL);
SELECT pss_distribute_table('tj', 'k');
CREATE TABLE tp (k point NOT NULL);
SELECT pss_distribute_table('tp', 'k');
CREATE TABLE tx (k xml NOT NULL);
SELECT pss_distribute_table('tx', 'k');
CREATE TABLE tb (k bit varying NOT NULL);
SELECT pss_distribute_table('tb', 'k');
