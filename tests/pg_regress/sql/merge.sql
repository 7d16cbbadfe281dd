--
-- MERGE: rows that it inserts are routed, rows whose key it changes are carried
--
SET client_min_messages = warning;
CREATE EXTENSION pss;
CREATE TABLE t (k int NOT NULL, v text, n int DEFAULT 0, PRIMARY KEY (k));
SELECT count(*) FROM pss_distribute_table('t', 'k', 4);
CREATE TABLE d (id serial NOT NULL, v text);
CREATE INDEX ON d (id);
SELECT count(*) FROM pss_distribute_table('d', 'id', 4);
RESET client_min_messages;
CREATE FUNCTION whole(OUT rows bigint, OUT keys bigint, OUT split bigint, OUT misplaced bigint)
LANGUAGE sql BEGIN ATOMIC
    SELECT count(*), count(DISTINCT k), count(DISTINCT (k, pss_partition)) - count(DISTINCT k),
           count(*) FILTER (WHERE pss_locate('t', k) IS DISTINCT FROM pss_partition)
    FROM t;
END;
CREATE TABLE src (k int, v text);
INSERT INTO src SELECT g, 's' || g FROM generate_series(1, 100) AS g;

-- insert, update, delete, with true counts
\set QUIET off
MERGE INTO t USING src ON t.k = src.k
    WHEN MATCHED THEN UPDATE SET n = n + 1
    WHEN NOT MATCHED THEN INSERT VALUES (src.k, src.v);
MERGE INTO t USING (SELECT k + 50 AS k, v FROM src) AS s ON t.k = s.k
    WHEN MATCHED AND t.k > 90 THEN DELETE
    WHEN MATCHED THEN UPDATE SET v = s.v, n = t.n + 1
    WHEN NOT MATCHED AND s.k > 140 THEN DO NOTHING
    WHEN NOT MATCHED THEN INSERT (v, k) VALUES (s.v || '+', s.k + 0);
MERGE INTO t USING src ON false WHEN NOT MATCHED AND src.k = 1 THEN INSERT (k, v) VALUES (5000, DEFAULT);
\set QUIET on
SELECT * FROM whole();
SELECT count(*) FILTER (WHERE n = 1) AS updated, count(*) FILTER (WHERE v LIKE '%+') AS inserted FROM t;

-- pss_partition as INSERT takes it: given, DEFAULT, contradicting the map, none such
MERGE INTO t USING (VALUES (6000)) AS s (k) ON t.k = s.k WHEN NOT MATCHED THEN INSERT (k, pss_partition) VALUES (s.k, 2);
MERGE INTO t USING (VALUES (6001)) AS s (k) ON t.k = s.k WHEN NOT MATCHED THEN INSERT (k, pss_partition) VALUES (s.k, DEFAULT);
SELECT k, pss_partition = 2 OR k = 6001 AS as_told FROM t WHERE k >= 6000 ORDER BY k;
DELETE FROM t WHERE k = 6000;
MERGE INTO t USING (VALUES (6000)) AS s (k) ON t.k = s.k WHEN NOT MATCHED THEN INSERT (k, pss_partition) VALUES (s.k, 3);
MERGE INTO t USING (VALUES (6002)) AS s (k) ON t.k = s.k WHEN NOT MATCHED THEN INSERT (k, pss_partition) VALUES (s.k, 9);
MERGE INTO t USING (VALUES (6000)) AS s (k) ON t.k = s.k WHEN NOT MATCHED THEN INSERT (v) VALUES ('no key');

-- keys are evaluated twice: volatile ones are refused, unless the source has them
CREATE SEQUENCE s START 7000;
MERGE INTO t USING (VALUES (1)) AS x ON false WHEN NOT MATCHED THEN INSERT (k) VALUES (nextval('s'));
MERGE INTO d USING (VALUES ('x')) AS x (v) ON d.v = x.v WHEN NOT MATCHED THEN INSERT (v) VALUES (x.v);
MERGE INTO t USING (SELECT nextval('s') AS k) AS x ON t.k = x.k WHEN NOT MATCHED THEN INSERT (k) VALUES (x.k);
SELECT k FROM t WHERE k BETWEEN 7000 AND 7999;
MERGE INTO t USING (VALUES (1)) AS x (k) ON t.k = x.k WHEN MATCHED THEN UPDATE SET k = nextval('s');

-- UPDATE of the key carries the row; of pss_partition as by UPDATE
\set QUIET off
MERGE INTO t USING src ON t.k = src.k AND src.k <= 40 WHEN MATCHED THEN UPDATE SET k = t.k + 10000, v = 'carried';
MERGE INTO t USING (VALUES (10001)) AS s (k) ON t.k = s.k WHEN MATCHED THEN UPDATE SET k = s.k, n = 7;
MERGE INTO t USING (VALUES (10001)) AS s (k) ON t.k = s.k WHEN MATCHED THEN UPDATE SET pss_partition = t.pss_partition;
\set QUIET on
SELECT count(*), sum(n) FROM t WHERE v = 'carried';
SELECT * FROM whole();
INSERT INTO t (k, pss_partition) VALUES (8000, 0), (8001, 1);
MERGE INTO t USING (VALUES (8000)) AS s (k) ON t.k = s.k WHEN MATCHED THEN UPDATE SET pss_partition = 1;
MERGE INTO t USING (VALUES (8000)) AS s (k) ON t.k = s.k WHEN MATCHED THEN UPDATE SET k = 8002, pss_partition = 3;
SELECT k, pss_partition FROM t WHERE k BETWEEN 8000 AND 8002 ORDER BY k;

-- into a leaf, into the inbox
SELECT leaf AS leaf0 FROM pss.partition WHERE relation = 't'::regclass AND partition = 0 \gset
MERGE INTO :leaf0 AS l USING (VALUES (8100)) AS s (k) ON l.k = s.k WHEN NOT MATCHED THEN INSERT (k) VALUES (s.k);
MERGE INTO :leaf0 AS l USING (VALUES (8100)) AS s (k) ON l.k = s.k WHEN MATCHED THEN UPDATE SET k = 8101;
MERGE INTO :leaf0 AS l USING (VALUES (8001)) AS s (k) ON l.k = s.k WHEN NOT MATCHED THEN INSERT (k) VALUES (s.k);
MERGE INTO :leaf0 AS l USING (VALUES (8102)) AS s (k) ON l.k = s.k WHEN NOT MATCHED THEN INSERT (k, pss_partition) VALUES (s.k, 0);
MERGE INTO :leaf0 AS l USING (VALUES (8101)) AS s (k) ON l.k = s.k WHEN MATCHED THEN UPDATE SET k = 8001;
SELECT k, pss_partition, pss_locate('t', k) FROM t WHERE k BETWEEN 8100 AND 8102 ORDER BY k;
MERGE INTO t_inbox AS l USING (VALUES (8100)) AS s (k) ON l.k = s.k WHEN NOT MATCHED THEN INSERT (k) VALUES (s.k);

-- other settings of pss.routing
SET pss.routing = trigger;
MERGE INTO t USING (VALUES (8200)) AS s (k) ON t.k = s.k WHEN NOT MATCHED THEN INSERT (k) VALUES (s.k);
SET pss.routing = off;
MERGE INTO t USING (VALUES (8200)) AS s (k) ON t.k = s.k WHEN NOT MATCHED THEN INSERT (k) VALUES (s.k);
RESET pss.routing;

-- prepared, PL/pgSQL, transactions; rights
PREPARE m(int, text) AS MERGE INTO t USING (VALUES ($1, $2)) AS s (k, v) ON t.k = s.k
    WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT (k, v) VALUES (s.k, s.v);
SET plan_cache_mode = force_generic_plan;
EXECUTE m(8300, 'first');
EXECUTE m(8300, 'second');
RESET plan_cache_mode;
DO $$
BEGIN
    MERGE INTO t USING (VALUES (8301)) AS s (k) ON t.k = s.k WHEN NOT MATCHED THEN INSERT (k) VALUES (s.k);
    MERGE INTO t USING (VALUES (8302)) AS s (k) ON t.k = s.k WHEN NOT MATCHED THEN INSERT (k) VALUES (s.k);
    RAISE division_by_zero;
EXCEPTION WHEN division_by_zero THEN
    MERGE INTO t USING (VALUES (8303)) AS s (k) ON t.k = s.k WHEN NOT MATCHED THEN INSERT (k) VALUES (s.k);
END $$;
SELECT k, v, pss_locate('t', k) = pss_partition AS at_home FROM t WHERE k BETWEEN 8300 AND 8303 ORDER BY k;
SELECT pss_locate('t', 8301);
CREATE ROLE regress_merge;
GRANT SELECT, INSERT (k, v) ON t TO regress_merge;
GRANT SELECT ON src TO regress_merge;
SET ROLE regress_merge;
MERGE INTO t USING src ON t.k = src.k + 9000 WHEN NOT MATCHED THEN INSERT (k, v) VALUES (src.k + 9000, 'role');
MERGE INTO t USING src ON t.k = src.k + 9000 WHEN MATCHED THEN UPDATE SET k = 1;
SELECT pss.merge_insert_home('t'::regclass::oid, 1, -1, -1);
RESET ROLE;
DROP OWNED BY regress_merge;
DROP ROLE regress_merge;

-- row security
CREATE ROLE regress_merge;
GRANT SELECT, INSERT ON t TO regress_merge;
GRANT SELECT ON src TO regress_merge;
CREATE POLICY low ON t TO regress_merge USING (true) WITH CHECK (k < 20000);
ALTER TABLE t ENABLE ROW LEVEL SECURITY;
SET ROLE regress_merge;
MERGE INTO t USING src ON t.k = src.k + 19000 WHEN NOT MATCHED THEN INSERT (k) VALUES (src.k + 19000);
MERGE INTO t USING src ON t.k = src.k + 20000 WHEN NOT MATCHED THEN INSERT (k) VALUES (src.k + 20000);
RESET ROLE;
ALTER TABLE t DISABLE ROW LEVEL SECURITY;
DROP OWNED BY regress_merge;
DROP ROLE regress_merge;

-- a trigger that changes the key is noticed; one that keeps a row out is not counted
CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.v = 'skip' THEN RETURN NULL; END IF;
    IF NEW.v = 'rekey' THEN NEW.k := 8001; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER change BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION change();
\set QUIET off
MERGE INTO t USING (VALUES (9500, 'skip'), (9501, 'keep')) AS s (k, v) ON t.k = s.k WHEN NOT MATCHED THEN INSERT (k, v) VALUES (s.k, s.v);
\set QUIET on
MERGE INTO t USING (VALUES (9502, 'rekey')) AS s (k, v) ON t.k = s.k WHEN NOT MATCHED THEN INSERT (k, v, pss_partition) VALUES (s.k, s.v, 0);
SELECT * FROM whole();
SELECT * FROM pss_check();
