-- The views: their columns, their width, and who sees which rows.
CREATE EXTENSION pss;
CREATE TABLE flights (id bigint, note text);
SELECT count(*) FROM pss_distribute_table('flights', 'id', 4);
CREATE TABLE secret (id bigint);
SELECT count(*) FROM pss_distribute_table('secret', 'id', 2);
INSERT INTO flights SELECT g, 'note' FROM generate_series(1, 200) g;
SELECT relation, changed FROM pss_refresh() ORDER BY relation::text;

-- Every view of the schema, with its columns.
SELECT c.relname, string_agg(a.attname, ' ' ORDER BY a.attnum) AS columns
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'pss'::regnamespace AND c.relkind = 'v'
GROUP BY c.relname ORDER BY c.relname COLLATE "C";

SELECT relation, key_column, mapping, partitions, epoch, age < interval '1 hour' AS fresh
FROM pss.tables;
SELECT relation, partition, leaf, state, capacity, weight FROM pss.partitions;
SELECT node, capacity, partitions, tables FROM pss.nodes;
SELECT relation, planner, new_keys FROM pss.stat_routing;
SELECT process, state IN ('running', 'working', 'unknown', 'idle', 'waiting for a turn') AS known FROM pss.stat_worker;
SELECT DISTINCT relation, kind FROM pss.events WHERE kind = 'policy' ORDER BY relation;
SELECT count(*) FROM pss.forecasts WHERE lo > value OR hi < value;
SELECT count(*) FROM pss.stat_forecast WHERE n > 0;
SELECT count(*) FROM pss.stat_balance WHERE achieved < 0;

-- The counters start anew.
SELECT pss_stat_reset();
SELECT relation, planner, new_keys, stats_reset IS NOT NULL AS reset FROM pss.stat_routing;

-- Others see the rows of the tables that they may read, and no more.
CREATE ROLE regress_pss_reader;
GRANT SELECT ON flights TO regress_pss_reader;
SET ROLE regress_pss_reader;
SELECT DISTINCT relation FROM pss.tables;
SELECT DISTINCT relation FROM pss.partitions;
SELECT DISTINCT relation FROM pss.stat_routing;
SELECT DISTINCT relation FROM pss.events;
SELECT DISTINCT relation FROM pss.stat_balance;
SELECT count(*) FROM pss.stat_worker WHERE process = 'launcher';
-- The observations themselves are for monitoring.
SELECT count(*) FROM pss.sample;
SELECT count(*) FROM pss.outlook;
-- Nor can they start a cycle or reset counters.
SELECT * FROM pss_refresh();
SELECT pss_stat_reset();
RESET ROLE;
-- A role that may run cycles runs them for its own tables alone.
GRANT EXECUTE ON FUNCTION pss_refresh() TO regress_pss_reader;
SET ROLE regress_pss_reader;
SELECT * FROM pss_refresh();
RESET ROLE;
ALTER TABLE flights OWNER TO regress_pss_reader;
SET ROLE regress_pss_reader;
SELECT relation, changed FROM pss_refresh();
RESET ROLE;
DROP TABLE flights, secret;
DROP EXTENSION pss;
DROP ROLE regress_pss_reader;
