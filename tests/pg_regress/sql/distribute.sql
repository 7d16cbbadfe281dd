-- pss_distribute_table: what it makes and what it keeps.
CREATE EXTENSION pss;

-- An empty table, with everything a table can carry.
CREATE ROLE regress_keeper;
CREATE ROLE regress_reader;
CREATE TABLE place (name text PRIMARY KEY);
INSERT INTO place VALUES ('here');
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE SEQUENCE tick;
CREATE TABLE visit (
    id    bigint GENERATED ALWAYS AS IDENTITY (START 1000 INCREMENT 5),
    who   text NOT NULL,
    n     int DEFAULT nextval('tick') CONSTRAINT n_positive CHECK (n > 0),
    place text CONSTRAINT visit_place REFERENCES place,
    twice int GENERATED ALWAYS AS (n * 2) STORED,
    body  text COMPRESSION pglz,
    CONSTRAINT visit_pk PRIMARY KEY (who, id) INCLUDE (n) WITH (fillfactor = 80)
) WITH (fillfactor = 70, toast.autovacuum_enabled = off);
ALTER TABLE visit ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER SEQUENCE tick OWNED BY visit.n;
ALTER SEQUENCE visit_id_seq RENAME TO visit_ids;
CREATE INDEX visit_lower ON visit (lower(place)) WHERE n > 3;
CREATE UNIQUE INDEX visit_unique ON visit (place, who DESC) INCLUDE (body);
CREATE STATISTICS visit_stat (ndistinct) ON who, place FROM visit;
CREATE TRIGGER after_insert AFTER INSERT ON visit FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER asleep AFTER DELETE ON visit FOR EACH ROW WHEN (OLD.n > 1) EXECUTE FUNCTION note();
CREATE TRIGGER replica AFTER UPDATE ON visit FOR EACH STATEMENT EXECUTE FUNCTION note();
ALTER TABLE visit DISABLE TRIGGER asleep;
ALTER TABLE visit ENABLE REPLICA TRIGGER replica;
ALTER TABLE visit ALTER COLUMN place SET STATISTICS 17, ALTER COLUMN who SET (n_distinct = 500);
GRANT SELECT, INSERT ON visit TO regress_reader WITH GRANT OPTION;
GRANT UPDATE (body, place) ON visit TO regress_reader;
GRANT SELECT ON visit TO PUBLIC;
CREATE POLICY own ON visit FOR SELECT TO regress_reader USING (who = current_user);
CREATE POLICY add ON visit AS RESTRICTIVE FOR INSERT WITH CHECK (n < 1000);
ALTER TABLE visit ENABLE ROW LEVEL SECURITY;
ALTER TABLE visit REPLICA IDENTITY USING INDEX visit_pk;
COMMENT ON TABLE visit IS 'it''s a table';
COMMENT ON COLUMN visit.who IS 'a column';
COMMENT ON INDEX visit_lower IS 'an index';
COMMENT ON CONSTRAINT visit_pk ON visit IS 'a key';
COMMENT ON CONSTRAINT n_positive ON visit IS 'a check';
COMMENT ON TRIGGER asleep ON visit IS 'a trigger';
COMMENT ON POLICY own ON visit IS 'a policy';
COMMENT ON STATISTICS visit_stat IS 'statistics';
ALTER TABLE visit OWNER TO regress_keeper;

SELECT * FROM pss_distribute_table('visit', 'who', partitions => 3);
GRANT CREATE ON SCHEMA public TO regress_keeper;
GRANT REFERENCES ON place TO regress_keeper;
SELECT * FROM pss_distribute_table('visit', 'who', partitions => 3);
SELECT attname, format_type(atttypid, -1), attnotnull, attidentity, attgenerated, attstorage, attcompression,
       pg_get_expr(adbin, adrelid) AS def
FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attrelid = 'visit'::regclass AND attnum > 0 ORDER BY attnum;
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'visit'::regclass ORDER BY 1;
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = 'visit'::regclass AND contype <> 'n' ORDER BY 1;
SELECT polname, polpermissive, polcmd, polroles::regrole[], pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)
FROM pg_policy WHERE polrelid = 'visit'::regclass ORDER BY 1;
SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext;
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'visit'::regclass AND NOT tgisinternal ORDER BY tgname;
SELECT inhrelid::regclass, pg_get_expr(relpartbound, inhrelid) FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
WHERE inhparent = 'visit'::regclass ORDER BY 1;
SELECT relname, relowner::regrole, relrowsecurity, reloptions, relreplident,
       (SELECT string_agg(grantee::regrole || ' ' || privilege_type || ' ' || is_grantable, ', ' ORDER BY grantee, privilege_type)
        FROM aclexplode(relacl) WHERE grantee <> relowner) AS granted
FROM pg_class WHERE relname LIKE 'visit%' AND relkind IN ('r', 'p') ORDER BY 1;
SELECT attname, attacl, COALESCE('n_distinct=500' = ANY (attoptions), false) AS n_distinct FROM pg_attribute
WHERE attrelid = 'visit'::regclass AND attname IN ('who', 'place', 'body') ORDER BY 1;
SELECT d.objsubid, pg_describe_object(classoid, objoid, objsubid) AS object, description
FROM pg_description d WHERE description ~ '^(it.s )?an? ' OR description = 'statistics' ORDER BY 2;
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'visit'::regclass AND NOT tgisinternal ORDER BY 1;
SELECT pg_get_serial_sequence('visit', 'id'), pg_get_serial_sequence('visit', 'n');
SELECT count(*) AS leaf_indexes_of_replica_identity FROM pg_index
WHERE indisreplident AND indrelid::regclass::text LIKE 'visit_p%';
INSERT INTO visit (who, place) SELECT 'w' || i, 'here' FROM generate_series(1, 300) AS i;
\set VERBOSITY sqlstate
INSERT INTO visit (who, place) VALUES ('x', 'nowhere');
INSERT INTO visit (who, n) VALUES ('x', -1);
\set VERBOSITY default
SELECT count(DISTINCT tableoid) AS partitions, count(*), min(id), max(id), max(twice) FROM visit;
SELECT * FROM pss_check('visit');
SELECT kind, message FROM pss.event WHERE kind = 'distribute' ORDER BY event_id;

-- The rows stay where their keys live.
UPDATE visit SET who = 'w1', body = 'same' WHERE who = 'w1';
TRUNCATE visit;
SELECT pss_locate('visit', 'w1');

-- A dropped table is forgotten, maps included.
DROP TABLE visit;
SELECT count(*) FROM pss.sharded_table;
SELECT count(*) FROM pss.partition;
SELECT relname FROM pg_class WHERE relnamespace = 'pss'::regnamespace AND relname ~ '^map_[0-9]+$' AND relkind = 'r';

-- A full table: attached without a rewrite, or copied.
CREATE TABLE full_table (k int, v text, gone int);
ALTER TABLE full_table DROP COLUMN gone;
INSERT INTO full_table SELECT i % 200, 'v' || i FROM generate_series(1, 1000) AS i;
SELECT count(*) FROM pss_distribute_table('full_table', 'k');
CREATE INDEX ON full_table (k);
SELECT pg_relation_filenode('full_table') AS before \gset
SELECT count(*) FROM pss_distribute_table('full_table', 'k');
SELECT pg_relation_filenode('full_table_p0') = :before AS same_file;
SELECT tableoid::regclass, count(*), count(DISTINCT k) FROM full_table GROUP BY 1;
SELECT pss_locate('full_table', 7), pss_locate('full_table', 7777);
SELECT complete FROM pss.map_state;
INSERT INTO full_table SELECT i, 'new' FROM generate_series(100, 299) AS i;
SELECT count(DISTINCT tableoid) AS partitions, count(*) FROM full_table;
SELECT * FROM pss_check();
DROP TABLE full_table;

CREATE TABLE copied (id int GENERATED ALWAYS AS IDENTITY, k int, g int GENERATED ALWAYS AS (k + 1) STORED);
INSERT INTO copied (k) SELECT i % 200 FROM generate_series(1, 1000) AS i;
SELECT * FROM pss_distribute_table('copied', 'k', 4, existing => 'copy');
SELECT count(DISTINCT tableoid) AS partitions, count(*), sum(k), sum(g), max(id), count(DISTINCT id) FROM copied;
INSERT INTO copied (k) VALUES (1) RETURNING id;
SELECT * FROM pss_check('copied');

-- A partitioned table is adopted, with the partitions it has.
CREATE TABLE made (k text, pss_partition int) PARTITION BY LIST (pss_partition);
CREATE TABLE made_zero PARTITION OF made FOR VALUES IN (0);
CREATE TABLE made_five PARTITION OF made FOR VALUES IN (5);
INSERT INTO made SELECT 'k' || i, i % 2 * 5 FROM generate_series(1, 100) AS i;
SELECT * FROM pss_distribute_table('made', 'k');
INSERT INTO made SELECT 'k' || i FROM generate_series(1, 200) AS i;
SELECT tableoid::regclass, count(*) > 50 AS grown FROM made GROUP BY 1 ORDER BY 1;
SELECT * FROM pss_check('made');

-- A user's trigger may change the key of a row: only to one that lives there.
CREATE FUNCTION rename_key() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN IF NEW.k LIKE 'change:%' THEN NEW.k := split_part(NEW.k, ':', 3); END IF; RETURN NEW; END$$;
CREATE TABLE guarded (k text NOT NULL);
CREATE TRIGGER renamer BEFORE INSERT ON guarded FOR EACH ROW EXECUTE FUNCTION rename_key();
SELECT count(*) FROM pss_distribute_table('guarded', 'k', 2);
INSERT INTO guarded VALUES ('a'), ('b'), ('change:0:c');
SELECT pss_locate('guarded', 'c') IS NOT NULL AS new_key_found;
DO $$
BEGIN
    -- Routed by twenty keys; one of them was sent where "a" does not live.
    FOR i IN 1 .. 20 LOOP
        INSERT INTO guarded VALUES ('change:' || i || ':a');
    END LOOP;
    RAISE NOTICE 'never refused';
EXCEPTION WHEN check_violation THEN
    RAISE NOTICE 'refused: %', regexp_replace(SQLERRM, '\d+', 'N');
END
$$;
SELECT * FROM pss_check('guarded');

-- Dropping or detaching a partition forgets it.
DROP TABLE made_five;
ALTER TABLE copied DETACH PARTITION copied_p3;
SELECT relation, partition FROM pss.partition ORDER BY 1, 2;
INSERT INTO copied (k) SELECT i FROM generate_series(1, 300) AS i;
INSERT INTO made SELECT 'k' || i FROM generate_series(1, 200) AS i;
SELECT * FROM pss_check() WHERE problem <> 'stale epoch';

-- Without the extension, ordinary partitioned tables are left.
DROP EXTENSION pss;
SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE tgname ~ '^[!~]pss_';
INSERT INTO made (k, pss_partition) VALUES ('z', 0);
UPDATE made SET k = 'y' WHERE k = 'z';
SELECT count(*) > 0 AS rows_kept FROM made;

-- And taken back.
CREATE EXTENSION pss;
SELECT count(*) FROM pss_distribute_table('copied', 'k');
SELECT * FROM pss_check();

DROP TABLE copied, made, guarded, place;
REVOKE CREATE ON SCHEMA public FROM regress_keeper;
DROP ROLE regress_keeper, regress_reader;
