-- Partitions taken out of service by hand: new keys go elsewhere by every door, known keys go home.
CREATE EXTENSION pss;
CREATE TABLE t (k int NOT NULL, door text);
CREATE INDEX ON t (k);
SELECT count(*) FROM pss_distribute_table('t', 'k', 4);
INSERT INTO t SELECT g, 'first' FROM generate_series(1, 400) AS g;
CREATE VIEW at_2 AS
SELECT door, count(*) AS rows, count(*) FILTER (WHERE pss_partition = 2) > 0 AS some_in_2
FROM t GROUP BY door ORDER BY door;
SELECT * FROM at_2;

SELECT pss_set_partition_state('t', 2, 'disabled');
SELECT partition, state FROM pss.partitions;
INSERT INTO t SELECT g, 'planner' FROM generate_series(1001, 1400) AS g;
COPY t (k, door) FROM PROGRAM 'seq -f "%.0f	copy" 2001 2400';
SET pss.routing = trigger;
INSERT INTO t SELECT g, 'trigger' FROM generate_series(3001, 3400) AS g;
COPY t (k, door) FROM PROGRAM 'seq -f "%.0f	trigger copy" 4001 4400';
RESET pss.routing;
SELECT count(*), count(*) FILTER (WHERE p = 2) AS in_2
FROM (SELECT pss_get_partition('t', g) AS p FROM generate_series(5001, 5400) AS g) AS called;
SELECT count(*), count(*) FILTER (WHERE p = 2) AS in_2
FROM unnest(pss_get_partitions('t', ARRAY(SELECT g::text FROM generate_series(6001, 6400) AS g))) AS p;
SELECT * FROM at_2;

-- Known keys go home, and a row may name the partition.
INSERT INTO t SELECT k, 'known' FROM t WHERE door = 'first';
SELECT count(*) = (SELECT count(*) FROM t WHERE door = 'first' AND pss_partition = 2) AS home
FROM t WHERE door = 'known' AND pss_partition = 2;
INSERT INTO t (k, door, pss_partition) VALUES (7000, 'named', 2);
-- Nothing is moved there.
SELECT pss_move_key('t', 1001, 2);
-- The worker's next decision agrees.
BEGIN;
SELECT relation FROM pss_refresh();
SELECT weights[3] AS weight_2 FROM pss.epoch ORDER BY epoch DESC LIMIT 1;
COMMIT;
INSERT INTO t SELECT g, 'decided' FROM generate_series(8001, 8400) AS g;
SELECT * FROM at_2 WHERE door = 'decided';

-- One partition at least takes new keys.
SELECT pss_set_partition_state('t', 0, 'disabled'), pss_set_partition_state('t', 1, 'disabled');
SELECT pss_set_partition_state('t', 3, 'disabled');
INSERT INTO t SELECT g, 'last' FROM generate_series(9001, 9100) AS g;
SELECT DISTINCT pss_partition FROM t WHERE door = 'last';
-- To what it is already: nothing happens.
SELECT pss_set_partition_state('t', 3, 'active'), pss_set_partition_state('t', 2, 'disabled');

-- Back again. What is rolled back never was.
BEGIN;
SELECT pss_set_partition_state('t', 2, 'active');
ROLLBACK;
INSERT INTO t SELECT g, 'rolled back' FROM generate_series(10001, 10100) AS g;
SELECT count(pss_set_partition_state('t', p, 'active')) FROM generate_series(0, 2) AS p;
-- It has no slots before the next decision.
SELECT count(*) FROM pss_refresh();
INSERT INTO t SELECT g, 'back' FROM generate_series(11001, 11400) AS g;
SELECT * FROM at_2 WHERE door IN ('rolled back', 'back');
SELECT message FROM pss.event WHERE kind = 'state' ORDER BY event_id;

-- In slot mode rows of its slots go to the others; those that are there are found.
CREATE TABLE s (k int NOT NULL, v text);
SELECT count(*) FROM pss_distribute_table('s', 'k', 4, mapping => 'slot');
INSERT INTO s SELECT g, 'before' FROM generate_series(1, 400) AS g;
SELECT pss_set_partition_state('s', 1, 'disabled');
INSERT INTO s SELECT g, 'disabled' FROM generate_series(1, 400) AS g;
SELECT v, count(*), count(*) FILTER (WHERE pss_partition = 1) > 0 AS some_in_1 FROM s GROUP BY v ORDER BY v;
SELECT count(*) AS missed FROM generate_series(1, 400) AS g
WHERE (SELECT count(*) FROM s WHERE k = g) <> 2;
SELECT pss_set_partition_state('s', 1, 'active');
INSERT INTO s SELECT g, 'active' FROM generate_series(1, 400) AS g;
SELECT v, count(*), count(*) FILTER (WHERE pss_partition = 1) > 0 AS some_in_1 FROM s
WHERE v = 'active' GROUP BY v;
SELECT * FROM pss_check();

-- Refused.
DO $$
DECLARE
    call text;
    state text; message text; detail text; hint text;
BEGIN
    FOREACH call IN ARRAY ARRAY[
        $q$pss_set_partition_state(NULL, 1, 'active')$q$,
        $q$pss_set_partition_state('t', NULL, 'active')$q$,
        $q$pss_set_partition_state('t', 1, NULL)$q$,
        $q$pss_set_partition_state('t', 1, 'failed')$q$,
        $q$pss_set_partition_state('t', 1, 'Active')$q$,
        $q$pss_set_partition_state('t', 4, 'active')$q$,
        $q$pss_set_partition_state('t', -1, 'disabled')$q$,
        $q$pss_set_partition_state('t', 2147483647, 'disabled')$q$,
        $q$pss_set_partition_state('pss.partition', 1, 'active')$q$,
        $q$pss_set_partition_state('t_p0', 1, 'active')$q$
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
CREATE ROLE pss_state_user;
GRANT EXECUTE ON FUNCTION pss_set_partition_state(regclass, int, text) TO pss_state_user;
SET ROLE pss_state_user;
SELECT pss_set_partition_state('t', 1, 'disabled');
RESET ROLE;
DROP OWNED BY pss_state_user;
DROP ROLE pss_state_user;

-- What looks like the error of a disk, but is said by a user, is no error of a disk.
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE pss_test_space LOCATION '';
ALTER TABLE t_p0 SET TABLESPACE pss_test_space;
SELECT count(*) FROM pss_refresh();
SELECT regexp_replace(pg_relation_filepath('t_p0'), '\d.*', '...') AS path;
CREATE FUNCTION lie() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'could not extend file "%": No space left on device', pg_relation_filepath('t_p0')
        USING ERRCODE = 'disk_full';
END $$;
-- The message goes to the server's log and not to psql: the path is another in every run.
\set VERBOSITY sqlstate
SELECT lie();
\set VERBOSITY default
INSERT INTO t SELECT g, 'not full' FROM generate_series(12001, 12400) AS g;
SELECT count(*) > 0 AS some_in_0 FROM t WHERE door = 'not full' AND pss_partition = 0;
SELECT count(*) FROM pss_refresh();
SELECT DISTINCT state FROM pss.partitions;
DROP TABLE t, s CASCADE;
DROP TABLESPACE pss_test_space;
