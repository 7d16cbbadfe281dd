-- What partitions, nodes and tablespaces can carry: configured, and what that does to weights.
CREATE EXTENSION pss;
CREATE TABLE t (k int NOT NULL);
SELECT count(*) FROM pss_distribute_table('t', 'k', 4);
CREATE VIEW shown AS
SELECT kind, name, resource, configured, learned, in_use, since IS NOT NULL AS set
FROM pss.capacity WHERE configured IS NOT NULL AND NOT (resource = 'relative' AND kind = 'partition' AND configured = 1)
ORDER BY kind, name, resource;
CREATE FUNCTION decided() RETURNS numeric[] LANGUAGE sql AS $$
    SELECT pss_refresh();
    SELECT ARRAY(SELECT round(w::numeric, 4) FROM unnest(weights) WITH ORDINALITY AS u (w, i) ORDER BY i)
    FROM pss.epoch WHERE relation = 't'::regclass ORDER BY epoch DESC LIMIT 1 $$;
SELECT decided();

-- A relative capacity: the next decision heeds it, and so does a session without decisions.
SELECT pss_set_capacity('t', 0, 3);
SELECT partition, capacity FROM pss.partitions;
SELECT decided();
-- NULL leaves alone, 0 takes back.
SELECT pss_set_capacity('t', 0, cpu => 2, memory => pg_size_bytes('4 GB'));
SELECT pss_set_capacity('t', 0, cpu => 4, write => 500);
SELECT * FROM shown;
SELECT pss_set_capacity('t', 0, capacity => 0, cpu => 0, memory => 0);
SELECT * FROM shown;
SELECT decided();

-- One node for all: what it can carry changes no share. Of a tablespace it does.
SELECT pss_set_node_capacity('local', 2, cpu => 2, read => 1000, bytes => 1e7);
SELECT decided();
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE pss_test_disk LOCATION '';
SELECT format('ALTER TABLE %s SET TABLESPACE pss_test_disk', leaf) FROM pss.partition WHERE partition < 2 ORDER BY 1
\gexec
SELECT pss_set_tablespace_capacity('pss_test_disk', 1, storage => 1e9);
SELECT decided();
SELECT * FROM shown;
SELECT node, capacity FROM pss.nodes;
-- Sessions that place by capacity alone place by the same shares.
BEGIN;
DELETE FROM pss.epoch;
SELECT count(*) FROM pss_refresh();
SELECT ARRAY(SELECT round(w::numeric, 4) FROM unnest(weights) WITH ORDINALITY AS u (w, i) ORDER BY i) AS weights
FROM pss.epoch WHERE epoch = 0;
ROLLBACK;
-- Out of service, its part goes to the others within what they can carry.
SELECT pss_set_partition_state('t', 3, 'disabled');
SELECT decided();
SELECT pss_set_partition_state('t', 3, 'active');
SELECT pss_set_tablespace_capacity('pss_test_disk', capacity => 0);
SELECT decided();

-- Resources of all partitions: what the table uses of them lately says how they compare. Two samples,
-- ten seconds apart in no time, in one transaction, which keeps the worker out.
BEGIN;
SELECT count(pss_set_capacity('t', p, cpu => c)) FROM (VALUES (0, 1), (1, 1), (2, 2)) AS v (p, c);
SELECT decided();
INSERT INTO t SELECT generate_series(1, 1000);
UPDATE pss.sample SET sampled_at = sampled_at - interval '10 s';
SELECT decided();
SELECT count(pss_set_capacity('t', 3, cpu => 4));
SELECT decided();
-- A resource that is not used limits nobody.
SELECT count(pss_set_capacity('t', p, read => 1)) FROM generate_series(0, 3) AS p;
SELECT decided();
-- Out of service, it takes its figures with it.
SELECT pss_set_partition_state('t', 3, 'disabled');
SELECT decided();
ROLLBACK;

-- What this server has is found by the worker.
DO $$ BEGIN
    FOR i IN 1..600 LOOP
        EXIT WHEN EXISTS (SELECT FROM pss.capacity WHERE discovered IS NOT NULL);
        COMMIT;
        PERFORM pg_sleep(0.1);
    END LOOP;
END $$;
SELECT kind, name, resource, discovered >= 1 AS some, discovered = in_use AS counts
FROM pss.capacity WHERE kind = 'node' AND discovered IS NOT NULL AND resource <> 'storage';

-- Figures are dumped with the extension's configuration.
SELECT extconfig::regclass::text AS dumped FROM (
    SELECT unnest(extconfig) AS extconfig FROM pg_extension WHERE extname = 'pss') AS config
WHERE extconfig IN ('pss.node_capacity'::regclass, 'pss.tablespace'::regclass, 'pss.partition_capacity'::regclass)
ORDER BY 1;

-- Refused.
DO $$
DECLARE
    call text;
    state text; message text; detail text; hint text;
BEGIN
    FOREACH call IN ARRAY ARRAY[
        $q$pss_set_capacity(NULL, 1, 1)$q$,
        $q$pss_set_capacity('t', NULL, 1)$q$,
        $q$pss_set_capacity('t', 1)$q$,
        $q$pss_set_capacity('t', 9, 1)$q$,
        $q$pss_set_capacity('t', 1, -1)$q$,
        $q$pss_set_capacity('t', 1, 'NaN')$q$,
        $q$pss_set_capacity('t', 1, cpu => 'infinity')$q$,
        $q$pss_set_capacity('pg_class', 1, 1)$q$,
        $q$pss_set_node_capacity('nowhere', 1)$q$,
        $q$pss_set_node_capacity(NULL, 1)$q$,
        $q$pss_set_node_capacity('local')$q$,
        $q$pss_set_tablespace_capacity('nowhere', 1)$q$
    ] LOOP
        BEGIN
            EXECUTE 'SELECT ' || call;
            RAISE NOTICE '% was accepted', call;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
                detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
            RAISE INFO E'%\n  % %\n  DETAIL: %\n  HINT: %', call, state, message, detail, hint;
        END;
    END LOOP;
END $$;
CREATE ROLE pss_capacity_user;
GRANT ALL ON ALL FUNCTIONS IN SCHEMA public TO pss_capacity_user;
SET ROLE pss_capacity_user;
SELECT pss_set_capacity('t', 1, 2);
SELECT pss_set_node_capacity('local', 2);
SELECT pss_set_tablespace_capacity('pg_default', 2);
-- Of tables that one may not read nothing is shown.
SELECT count(*) FROM pss.capacity WHERE kind = 'partition';
RESET ROLE;
DROP OWNED BY pss_capacity_user;
DROP ROLE pss_capacity_user;
SELECT message FROM pss.event WHERE kind = 'capacity' ORDER BY event_id;

-- A table takes its figures with it.
SELECT pss_set_capacity('t', 1, cpu => 1);
DROP TABLE t;
SELECT count(*) FROM pss.partition_capacity;
DROP TABLESPACE pss_test_disk;
