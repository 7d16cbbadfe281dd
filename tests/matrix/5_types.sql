--! group Types of the key

--! each name | type | a | b | c
--! with smallint | smallint | 1 | (-2) | 32767
--! with integer | integer | 1 | (-2) | 2147483647
--! with bigint | bigint | 1 | (-2) | 9223372036854775807
--! with numeric | numeric | 1.0 | 1.5 | 'NaN'
--! with numeric_2 | numeric(10,2) | 1 | 1.25 | (-3)
--! with double | double precision | 0 | 1.5 | 'Infinity'
--! with text | text | 'abc' | '' | 'ABC'
--! with varchar | varchar(10) | 'abc' | 'abc ' | 'x'
--! with char | char(5) | 'abc' | 'x' | ''
--! with uuid | uuid | 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' | '00000000-0000-0000-0000-000000000000' | 'ffffffff-ffff-ffff-ffff-ffffffffffff'
--! with date | date | '2026-01-31' | '1999-12-31' | 'infinity'
--! with timestamptz | timestamptz | '2026-01-31 12:00+00' | '1999-12-31 00:00+02' | '2026-01-31 12:00:00.000001+00'
--! with interval | interval | '1 day' | '1 month' | '-1 hour'
--! with bytea | bytea | '\x00' | '\x' | '\xff00'
--! with inet | inet | '10.0.0.1' | '10.0.0.0/8' | '::1'
--! with boolean | boolean | true | false | false
--! with jsonb | jsonb | '{"a": 1}' | '[]' | 'null'
--! with enum | matrix_mood | 'sad' | 'ok' | 'happy'
--! with domain | matrix_code | 'abc' | 'x' | 'ABC'
--! with composite | matrix_pair | '(1,x)' | '(2,)' | '(,)'
--! with array | integer[] | '{1,2}' | '{}' | '{NULL}'
--! with range | int4range | '[1,3)' | 'empty' | '(,)'
--! fixture type_{name}
--! keys ARRAY[{a}::{type}::text, {b}::{type}::text, {c}::{type}::text]
CREATE TABLE t (k {type} NOT NULL, v int);
CREATE INDEX ON t (k);
CREATE TABLE src (k {type}, v int);
--! seed
TRUNCATE t, src;
INSERT INTO t VALUES ({a}, 1), ({b}, 2);
INSERT INTO src VALUES ({a}, 10), ({b}, 20), ({c}, 30), (NULL, 40);
--! form {type}
INSERT INTO t VALUES ({a}, 3), ({c}, 4), ({c}, 5);
INSERT INTO t SELECT * FROM src WHERE k IS NOT NULL;
SELECT * FROM t WHERE k = {a};
SELECT * FROM t WHERE k IN ({b}, {c});
SELECT src.v, t.v FROM src LEFT JOIN t ON t.k = src.k;
UPDATE t SET v = v + 100 WHERE k = {b};
DELETE FROM t WHERE k = {c} AND v = 5;
INSERT INTO t VALUES (NULL, 1);
--! end

--! fixture type_json
CREATE TABLE t (k json NOT NULL, v int);
--! seed
TRUNCATE t;
--! form json, which has no equality
INSERT INTO t VALUES ('1', 1);

--! fixture type_collation
CREATE TABLE t (k text COLLATE matrix_ci NOT NULL, v int);
--! seed
TRUNCATE t;
--! form text with a nondeterministic collation
INSERT INTO t VALUES ('a', 1), ('A', 2);
SELECT * FROM t WHERE k = 'A';
