-- Queries by name: with pg_stat_statements in a schema of its own. Servers that come without it
-- have the other expected output.
SELECT count(*) = 0 AS without FROM pg_available_extensions WHERE name = 'pg_stat_statements' \gset
\if :without
\echo 'pg_stat_statements is not available'
\quit
\endif
CREATE SCHEMA "odd schema";
CREATE EXTENSION pg_stat_statements SCHEMA "odd schema";
CREATE EXTENSION pss;
CREATE TABLE t (k bigint, note text);
SELECT count(*) FROM pss_distribute_table('t', 'k', 2);
SELECT "odd schema".pg_stat_statements_reset() IS NOT NULL AS reset;
SELECT count(*) FROM t WHERE note = 'one';
SELECT count(*) FROM t WHERE note = 'two';
UPDATE t_p1 SET note = 'x' WHERE k = 3;
SELECT relation, calls, mean_ms > 0 AS took, query FROM pss.query_statements ORDER BY calls DESC;
SELECT sum(share) BETWEEN 0.99 AND 1.01 AS whole FROM pss.query_statements;
-- Both count: the one does not keep the other from it.
SELECT calls, rows FROM "odd schema".pg_stat_statements WHERE query LIKE 'SELECT count(*) FROM t %';

-- Others see the texts, and the ids, that pg_stat_statements shows them: their own.
CREATE ROLE regress_pss_reader;
GRANT SELECT ON t TO regress_pss_reader;
SET ROLE regress_pss_reader;
SELECT count(k) FROM t;
-- (Who may not use its schema sees none.)
SELECT relation, calls, query FROM pss.query_statements;
RESET ROLE;
GRANT USAGE ON SCHEMA "odd schema" TO regress_pss_reader;
SET ROLE regress_pss_reader;
SELECT relation, calls, query FROM pss.query_statements;
RESET ROLE;
GRANT pg_read_all_stats TO regress_pss_reader;
SET ROLE regress_pss_reader;
SELECT calls, query FROM pss.query_statements ORDER BY calls DESC, query COLLATE "C";
RESET ROLE;
\set VERBOSITY terse
SELECT * FROM pss_query_statements('pg_class');
\set VERBOSITY default
DROP EXTENSION pg_stat_statements;
SELECT calls, query FROM pss.query_statements WHERE calls = 2;
DROP TABLE t;
DROP EXTENSION pss;
DROP OWNED BY regress_pss_reader;
DROP ROLE regress_pss_reader;
