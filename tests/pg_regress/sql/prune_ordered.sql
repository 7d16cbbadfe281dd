-- The first rows of a key in the order of an index: one partition is opened, nothing is sorted.
CREATE EXTENSION pss;
SET client_min_messages = warning;

CREATE TABLE t (k bigint NOT NULL, n int, v text);
CREATE INDEX ON t (k, n);
SELECT count(*) FROM pss_distribute_table('t', 'k', partitions => 4);
INSERT INTO t SELECT g % 200, g, 'v' || g FROM generate_series(1, 20000) AS g;
VACUUM ANALYZE t;
DO $$ BEGIN
    ASSERT (SELECT count(DISTINCT pss_partition) FROM t) = 4;
END $$;

-- Nodes of a plan that was run, the first scan of an index only.
CREATE FUNCTION nodes(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) ' || statement LOOP
        line := regexp_replace(line, 't_p[0-9]_k_n_idx|t_k_n_idx_p0|t_p[0-9]', 'HOME', 'g');
        line := regexp_replace(line, ' t_[0-9]', ' t', 'g');
        line := regexp_replace(line, '(rows=[0-9]+)\.00', '\1');
        IF line ~ 'PssAppend|Sort|Merge|Scan|Opened|Searches of|never' THEN
            RETURN NEXT line;
        END IF;
    END LOOP;
END $$;
SELECT nodes('SELECT n FROM t WHERE k = 7 ORDER BY n LIMIT 2');
SELECT nodes('SELECT v FROM t WHERE k = 7 ORDER BY k, n DESC LIMIT 1');
SELECT count(*) > 4 AS searched FROM nodes('SELECT n FROM t WHERE k = -1 ORDER BY n LIMIT 2');
SET pss.prune = off;
SELECT count(*) > 4 AS all_opened FROM nodes('SELECT n FROM t WHERE k = 7 ORDER BY n LIMIT 2');
RESET pss.prune;
-- A plan that is only shown: all partitions, merged.
EXPLAIN (COSTS OFF) SELECT n FROM t WHERE k = 7 ORDER BY n LIMIT 2;

-- In order, and the same rows as without pruning: known keys, unknown ones, conditions beside.
CREATE FUNCTION agrees(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    row record;
    rows text[] := '{"",""}';
    how text;
BEGIN
    FOREACH how IN ARRAY ARRAY['on', 'off'] LOOP
        PERFORM set_config('pss.prune', how, true);
        FOR row IN EXECUTE query LOOP
            rows[1 + (how = 'off')::int] := rows[1 + (how = 'off')::int] || row::text;
        END LOOP;
    END LOOP;
    PERFORM set_config('pss.prune', 'on', true);
    RETURN rows[1] = rows[2];
END $$;
SET enable_sort = off;
SELECT shape, count(*) AS agreed
FROM (VALUES
    ('SELECT n, v FROM t WHERE k = %s ORDER BY n LIMIT 5'),
    ('SELECT * FROM t WHERE k = %s ORDER BY n DESC'),
    ('SELECT *, t.tableoid::regclass FROM t WHERE k = %s AND n %% 2 = 0 ORDER BY k, n OFFSET 3 LIMIT 4'),
    ('SELECT * FROM t WHERE k = %s AND n > 900 ORDER BY n LIMIT 1 FOR UPDATE'),
    ('SELECT min(n), max(n) FROM t WHERE k = %s'),
    ('SELECT x.n, y.n FROM t x JOIN t y USING (n) WHERE x.k = %s AND y.k = x.k ORDER BY x.n'),
    ('SELECT n, (SELECT max(n) FROM t i WHERE i.k = o.k + 1) FROM t o WHERE k = %s ORDER BY n LIMIT 3'),
    ('SELECT n, lag(n) OVER (ORDER BY n) FROM t WHERE k = %s'),
    ('SELECT n, count(*) FROM t WHERE k = %s GROUP BY n ORDER BY n LIMIT 7'),
    ('SELECT DISTINCT n / 500 AS d FROM t WHERE k = %s ORDER BY d')
) AS shapes (shape), generate_series(-4, 210, 13) AS key
WHERE agrees(format(shape, key))
GROUP BY shape ORDER BY shape;
RESET enable_sort;

-- One prepared plan for all keys, run again in a join, and read by a cursor.
SET plan_cache_mode = force_generic_plan;
PREPARE first_of (bigint) AS SELECT n FROM t WHERE k = $1 ORDER BY n LIMIT 2;
EXECUTE first_of (7);
EXECUTE first_of (-1);
EXECUTE first_of (8);
EXECUTE first_of (NULL);
SELECT g, l.n FROM generate_series(5, 8) AS g, LATERAL (SELECT n FROM t WHERE k = g ORDER BY n LIMIT 2) AS l;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT n FROM t WHERE k = 7 ORDER BY n;
FETCH 2 FROM c;
FETCH BACKWARD 1 FROM c;
COMMIT;

-- A queue: the first row is taken, changed and deleted.
BEGIN;
SELECT n FROM t WHERE k = 7 ORDER BY n LIMIT 1 FOR UPDATE SKIP LOCKED;
UPDATE t SET v = 'taken' WHERE n = (SELECT n FROM t WHERE k = 7 ORDER BY n LIMIT 1) AND k = 7 RETURNING n, v;
DELETE FROM t WHERE (pss_partition, n) IN (SELECT pss_partition, n FROM t WHERE k = 7 ORDER BY n LIMIT 1) RETURNING n, v;
ROLLBACK;


-- Keys with two homes: all partitions are merged.
CREATE TABLE s (k bigint NOT NULL, n int);
CREATE INDEX ON s (k, n);
SELECT count(*) FROM pss_distribute_table('s', 'k', partitions => 4, mapping => 'slot');
INSERT INTO s SELECT g % 200, g FROM generate_series(1, 2000) AS g;
UPDATE pss.partition SET state = 'disabled' WHERE relation = 's'::regclass AND partition = 0;
SELECT changed FROM pss_refresh() WHERE relation = 's'::regclass;
INSERT INTO s SELECT g % 200, g FROM generate_series(2001, 4000) AS g;
VACUUM ANALYZE s;
SELECT count(*) > 10 AS several FROM (SELECT FROM s GROUP BY k HAVING count(DISTINCT pss_partition) > 1) AS keys;
SET enable_sort = off;
SELECT count(*) AS agreed FROM generate_series(0, 199) AS key
WHERE agrees(format('SELECT * FROM s WHERE k = %s ORDER BY n DESC LIMIT 15', key));
