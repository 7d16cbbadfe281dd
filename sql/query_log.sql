-- The server's query log as a source of past load.

CREATE TABLE pss.query_log_import (
    relation    regclass         PRIMARY KEY,
    imported_at timestamptz      NOT NULL,
    earliest    timestamptz      NOT NULL,
    latest      timestamptz      NOT NULL,
    entries     bigint           NOT NULL,
    scale       double precision NOT NULL
);
COMMENT ON TABLE pss.query_log_import IS 'the last import of query logs of each table; never dumped';
COMMENT ON COLUMN pss.query_log_import.earliest IS 'time of the first record read';
COMMENT ON COLUMN pss.query_log_import.latest IS 'time of the last record read';
COMMENT ON COLUMN pss.query_log_import.entries IS 'statements that fell on the table';
COMMENT ON COLUMN pss.query_log_import.scale IS 'what loads were multiplied by to be on the scale of measured ones; 1: nothing was measured, or costs were given';
GRANT SELECT ON pss.query_log_import TO pg_monitor;

CREATE FUNCTION pss_import_query_log(
    relation           regclass,
    path               text             DEFAULT NULL,
    format             text             DEFAULT NULL,
    cost_per_statement double precision DEFAULT NULL,
    cost_per_ms        double precision DEFAULT NULL
) RETURNS TABLE (logs bigint, entries bigint, used bigint, skipped bigint, buckets bigint,
                 earliest timestamptz, latest timestamptz, scale double precision)
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_import_query_log_wrapper';
COMMENT ON FUNCTION pss_import_query_log(regclass, text, text, double precision, double precision)
IS 'learns the past load of each partition from a csvlog or jsonlog, or from all in log_directory, read with the caller''s rights; loads are brought to the scale of measured ones unless a cost is given';
REVOKE ALL ON FUNCTION pss_import_query_log(regclass, text, text, double precision, double precision) FROM PUBLIC;
