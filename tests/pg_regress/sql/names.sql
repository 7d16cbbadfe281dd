-- Names that need quoting, are long, or look like SQL.
CREATE EXTENSION pss;
CREATE SCHEMA "Odd; Schema""";
SET search_path = "Odd; Schema""", public;
CREATE TABLE "T'able (x), ""y""" (
    "Key ""quoted""" text NOT NULL,
    "select" int GENERATED ALWAYS AS IDENTITY,
    "it's" text DEFAULT 'a''b' CHECK ("it's" <> ')('),
    CONSTRAINT "p; k" PRIMARY KEY ("Key ""quoted""", "select")
);
CREATE INDEX "i (n" ON "T'able (x), ""y""" ("it's");
CREATE POLICY "po'l" ON "T'able (x), ""y""" USING ("it's" <> 'x''');
COMMENT ON TABLE "T'able (x), ""y""" IS E'quo''te \\ back';
SELECT * FROM pss_distribute_table('"T''able (x), ""y"""', 'Key "quoted"', 2);
INSERT INTO "T'able (x), ""y""" ("Key ""quoted""") SELECT i FROM generate_series(1, 40) AS i;
SELECT count(DISTINCT tableoid) FROM "T'able (x), ""y""";
SELECT * FROM pss_check();
SELECT pss_rebuild_map('"T''able (x), ""y"""');
SELECT pss_undistribute_table('"T''able (x), ""y"""');
\d "T'able (x), ""y"""
SELECT obj_description('"T''able (x), ""y"""'::regclass, 'pg_class');

-- 63 bytes, more than one a character; children's names are cut and made unique.
CREATE TABLE äääääääääääääääääääääääääääääääx (k int);
CREATE TABLE aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa (k int);
CREATE TABLE aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_p1 (k int);
SELECT partition, relation FROM pss_distribute_table('äääääääääääääääääääääääääääääääx', 'k', 2);
SELECT partition, relation FROM pss_distribute_table('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'k', 2);
INSERT INTO aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa SELECT generate_series(1, 10);
SELECT * FROM pss_check();

-- Children's names that are taken.
CREATE TABLE twin (k int);
CREATE TABLE twin_p0 (k int);
CREATE TABLE twin_inbox (k int);
SELECT partition, relation FROM pss_distribute_table('twin', 'k', 2);
SELECT pss_undistribute_table('twin');

-- A search_path that would capture names does not.
CREATE SCHEMA trap;
CREATE FUNCTION trap.count(anyelement) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''trapped''; END';
CREATE FUNCTION trap.trapped(int, int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''trapped''; END';
CREATE OPERATOR trap.= (LEFTARG = int, RIGHTARG = int, FUNCTION = trap.trapped);
CREATE OPERATOR trap.<> (LEFTARG = int, RIGHTARG = int, FUNCTION = trap.trapped);
SET search_path = trap, pg_catalog, public;
SELECT partition FROM public.pss_distribute_table('"Odd; Schema""".twin', 'k', 2);
INSERT INTO "Odd; Schema""".twin SELECT generate_series(1, 10);
UPDATE "Odd; Schema""".twin SET k = k;
SELECT * FROM pss_check();
SELECT pss_rebuild_map('"Odd; Schema""".twin');
DROP TABLE "Odd; Schema""".twin;
RESET search_path;
SELECT count(*) FROM pss.sharded_table;
SET client_min_messages = error;
DROP SCHEMA trap, "Odd; Schema""" CASCADE;
