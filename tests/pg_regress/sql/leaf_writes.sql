--
-- LEAF WRITES: rows that name their partition, by pss_partition or by the leaf's name, are
-- adopted or refused by the map; nothing changes a key unseen
--
SET client_min_messages = warning;
CREATE EXTENSION pss;
CREATE TABLE t (k int NOT NULL, v text, UNIQUE (k, v));
SELECT count(*) FROM pss_distribute_table('t', 'k', 4);
RESET client_min_messages;
INSERT INTO t (k, v, pss_partition) VALUES (1, 'a', 0), (2, 'a', 1);

-- pss_partition in every form of INSERT: new keys are adopted, DEFAULT and NULL are routed
INSERT INTO t (k, v, pss_partition) VALUES (10, 'a', 3), (10, 'b', DEFAULT), (10, 'c', NULL), (10, 'd', 3) RETURNING v, pss_partition;
INSERT INTO t (k, v, pss_partition) SELECT 11, g::text, 2 FROM generate_series(1, 3) AS g RETURNING v, pss_partition;
INSERT INTO t (k, v, pss_partition) VALUES (1, 'x', 0), (1, 'y', 1);
INSERT INTO t (k, v, pss_partition) VALUES (12, 'x', 0), (12, 'y', 1);
INSERT INTO t (k, v, pss_partition) SELECT k, 'again', (pss_partition + 1) % 4 FROM t WHERE k = 1;
WITH w AS (INSERT INTO t (k, v, pss_partition) VALUES (2, 'w', 3) RETURNING k) SELECT * FROM w;
PREPARE named(int, int) AS INSERT INTO t (k, v, pss_partition) VALUES ($1, 'prepared', $2) RETURNING k, pss_partition;
SET plan_cache_mode = force_generic_plan;
EXECUTE named(13, 1);
EXECUTE named(13, 2);
EXECUTE named(13, -1);
RESET plan_cache_mode;
SELECT k, v, pss_partition FROM t WHERE k IN (1, 12) ORDER BY k, v;

-- the leaf by name, in the same forms
SELECT leaf AS p0 FROM pss.partition WHERE relation = 't'::regclass AND partition = 0 \gset
SELECT leaf AS p1 FROM pss.partition WHERE relation = 't'::regclass AND partition = 1 \gset
INSERT INTO :p0 (k, v) VALUES (20, 'a'), (20, 'b') RETURNING k, pss_partition;
INSERT INTO :p1 (k, v) SELECT 20, 'c';
WITH w AS (INSERT INTO :p1 (k, v) VALUES (20, 'w') RETURNING k) SELECT * FROM w;
PREPARE leaf(int) AS INSERT INTO :p1 (k, v) VALUES ($1, 'prepared') RETURNING k, pss_partition;
SET plan_cache_mode = force_generic_plan;
EXECUTE leaf(21);
EXECUTE leaf(20);
RESET plan_cache_mode;
INSERT INTO :p1 (k, v) VALUES (20, 'c') ON CONFLICT DO NOTHING;
INSERT INTO :p0 (k, v) VALUES (20, 'a') ON CONFLICT DO NOTHING RETURNING k;
SELECT k, v, pss_partition FROM t WHERE k BETWEEN 20 AND 21 ORDER BY k, v;

-- ON CONFLICT: without an arbiter, by columns, by name, by expressions and predicates
INSERT INTO t VALUES (1, 'a'), (1, 'z') ON CONFLICT DO NOTHING RETURNING k, v;
INSERT INTO t VALUES (1, 'a') ON CONFLICT (k, v) DO UPDATE SET v = 'changed' RETURNING k, v;
SELECT conname FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'u' \gset
INSERT INTO t VALUES (1, 'changed') ON CONFLICT ON CONSTRAINT :conname DO UPDATE SET v = 'by name' RETURNING k, v;
CREATE UNIQUE INDEX partial ON t (k, pss_partition) WHERE v LIKE 'only%';
CREATE UNIQUE INDEX expression ON t (k, lower(v), pss_partition);
INSERT INTO t VALUES (30, 'only one');
INSERT INTO t VALUES (30, 'only two') ON CONFLICT (k) WHERE v LIKE 'only%' DO UPDATE SET v = excluded.v RETURNING v;
INSERT INTO t VALUES (30, 'ONLY TWO') ON CONFLICT (k, lower(v)) DO UPDATE SET v = excluded.v || '!' RETURNING v;
INSERT INTO t VALUES (30, 'ONLY TWO!') ON CONFLICT (k, lower(v)) DO UPDATE SET v = excluded.pss_partition::text RETURNING v = pss_partition::text AS routed;

-- triggers that would fire after ours are refused, whenever they come
CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.k := NEW.k + 1; RETURN NEW; END $$;
CREATE TRIGGER "~z" BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION change();
CREATE TRIGGER "~z" BEFORE UPDATE ON :p0 FOR EACH ROW EXECUTE FUNCTION change();
CREATE TRIGGER "~pss_i" BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION change();
CREATE TRIGGER "~z" AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION change();
DROP TRIGGER "~z" ON t;
CREATE TRIGGER early BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION change();
ALTER TRIGGER early ON t RENAME TO "~z";
INSERT INTO t (k, v, pss_partition) VALUES (1, 'trigger', 0);
DROP TRIGGER early ON t;
CREATE TABLE late (k int NOT NULL);
CREATE TRIGGER "~z" BEFORE INSERT ON late FOR EACH ROW EXECUTE FUNCTION change();
SELECT count(*) FROM pss_distribute_table('late', 'k', 2);

SELECT k FROM t GROUP BY k HAVING count(DISTINCT pss_partition) > 1;
SELECT * FROM pss_check();
