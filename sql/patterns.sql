-- Query patterns: what the server really runs, by partition; and which queries
-- that is, where pg_stat_statements knows their text.

CREATE FUNCTION pss_stat_patterns()
RETURNS TABLE (relation regclass, partition int, reads bigint, writes bigint,
               read_us bigint, write_us bigint, insert_us bigint)
LANGUAGE c VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'pss_stat_patterns_wrapper';
COMMENT ON FUNCTION pss_stat_patterns()
IS 'statements by partition of the sharded tables that the caller may read, since the server started; see pss.query_patterns';

CREATE FUNCTION pss_stat_queries(relation regclass, shown bigint[])
RETURNS TABLE (queryid bigint, calls bigint, time_us bigint)
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'pss_stat_queries_wrapper';
COMMENT ON FUNCTION pss_stat_queries(regclass, bigint[])
IS 'queries that take most of the time of a table that the caller may read: all for pg_read_all_stats, else those of shown; see pss_query_statements';

-- Rates are over the increments between samples: a counter that went backwards
-- began anew with the server, and what it counts since then is the increment.
CREATE VIEW pss.query_patterns WITH (security_barrier) AS
SELECT p.relation,
       p.partition,
       pg_catalog.round(COALESCE(w.reads OPERATOR(pg_catalog./) w.seconds, 0), 2) AS reads_s,
       pg_catalog.round(COALESCE(w.writes OPERATOR(pg_catalog./) w.seconds, 0), 2) AS writes_s,
       pg_catalog.round(COALESCE(w.read_us OPERATOR(pg_catalog./) NULLIF(w.reads, 0.0) OPERATOR(pg_catalog./) 1000, 0), 3) AS read_ms,
       pg_catalog.round(COALESCE(w.write_us OPERATOR(pg_catalog./) NULLIF(w.writes, 0.0) OPERATOR(pg_catalog./) 1000, 0), 3) AS write_ms,
       pg_catalog.round(COALESCE((w.read_us OPERATOR(pg_catalog.+) w.write_us) OPERATOR(pg_catalog./) NULLIF(
           pg_catalog.sum(w.read_us OPERATOR(pg_catalog.+) w.write_us) OVER (PARTITION BY p.relation), 0.0), 0), 3) AS share,
       pg_catalog.round(COALESCE((w.read_us OPERATOR(pg_catalog.+) w.write_us)
           OPERATOR(pg_catalog./) w.seconds OPERATOR(pg_catalog./) 1000, 0), 1) AS busy,
       COALESCE(c.reads, 0) AS reads,
       COALESCE(c.writes, 0) AS writes
FROM pss.partition p
LEFT JOIN @extschema@.pss_stat_patterns() c ON c.relation OPERATOR(pg_catalog.=) p.relation
                                           AND c.partition OPERATOR(pg_catalog.=) p.partition
LEFT JOIN (
    SELECT i.relation, i.partition,
           NULLIF(pg_catalog.date_part('epoch', pg_catalog.max(i.sampled_at) OPERATOR(pg_catalog.-)
               pg_catalog.min(i.sampled_at)), 0::pg_catalog.float8)::pg_catalog.numeric AS seconds,
           pg_catalog.sum(CASE WHEN i.reads OPERATOR(pg_catalog.<) i.reads0 THEN i.reads ELSE i.reads OPERATOR(pg_catalog.-) i.reads0 END) AS reads,
           pg_catalog.sum(CASE WHEN i.writes OPERATOR(pg_catalog.<) i.writes0 THEN i.writes ELSE i.writes OPERATOR(pg_catalog.-) i.writes0 END) AS writes,
           pg_catalog.sum(CASE WHEN i.read_us OPERATOR(pg_catalog.<) i.read_us0 THEN i.read_us ELSE i.read_us OPERATOR(pg_catalog.-) i.read_us0 END) AS read_us,
           pg_catalog.sum(CASE WHEN i.write_us OPERATOR(pg_catalog.<) i.write_us0 THEN i.write_us ELSE i.write_us OPERATOR(pg_catalog.-) i.write_us0 END) AS write_us
    FROM (
        SELECT s.relation, s.partition, s.sampled_at, s.reads, s.writes, s.read_us, s.write_us,
               pg_catalog.lag(s.reads) OVER before AS reads0,
               pg_catalog.lag(s.writes) OVER before AS writes0,
               pg_catalog.lag(s.read_us) OVER before AS read_us0,
               pg_catalog.lag(s.write_us) OVER before AS write_us0
        FROM pss.sharded_table t
        JOIN pss.sample s ON s.relation OPERATOR(pg_catalog.=) t.relation
                         AND s.sampled_at OPERATOR(pg_catalog.>=) (
            SELECT pg_catalog.max(x.sampled_at) OPERATOR(pg_catalog.-) '10 min'::pg_catalog.interval FROM pss.sample x
            WHERE x.relation OPERATOR(pg_catalog.=) t.relation)
        WINDOW before AS (PARTITION BY s.relation, s.partition ORDER BY s.sampled_at)) AS i
    GROUP BY i.relation, i.partition) AS w ON w.relation OPERATOR(pg_catalog.=) p.relation
                                          AND w.partition OPERATOR(pg_catalog.=) p.partition
WHERE pg_catalog.has_table_privilege(p.relation, 'SELECT')
ORDER BY p.relation::pg_catalog.text, p.partition;
COMMENT ON VIEW pss.query_patterns IS 'statements that read and write each partition, over the last 10 minutes of samples';
COMMENT ON COLUMN pss.query_patterns.reads_s IS 'statements a second that read it';
COMMENT ON COLUMN pss.query_patterns.writes_s IS 'statements a second that write it (INSERT, UPDATE, DELETE, MERGE)';
COMMENT ON COLUMN pss.query_patterns.read_ms IS 'mean time of a read in it, milliseconds; statements that open several partitions split theirs evenly';
COMMENT ON COLUMN pss.query_patterns.write_ms IS 'mean time of a write in it, milliseconds';
COMMENT ON COLUMN pss.query_patterns.share IS 'its part of the table''s statement time';
COMMENT ON COLUMN pss.query_patterns.busy IS 'milliseconds of execution a second: 1000 is one session all the time';
COMMENT ON COLUMN pss.query_patterns.reads IS 'statements that read it since the server started, the very last included';
COMMENT ON COLUMN pss.query_patterns.writes IS 'statements that wrote it since the server started, the very last included';
GRANT SELECT ON pss.query_patterns TO PUBLIC;

-- Runs with the caller's rights: pg_stat_statements decides what it shows him. It may be absent,
-- in any schema, or installed without being loaded: then there are no texts.
CREATE FUNCTION pss_query_statements(relation regclass)
RETURNS TABLE (queryid bigint, calls bigint, mean_ms numeric, share numeric, query text)
LANGUAGE plpgsql VOLATILE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    texts jsonb := '{}';
    place text;
BEGIN
    SELECT pg_catalog.quote_ident(n.nspname) INTO place
    FROM pg_catalog.pg_extension e
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace
    WHERE e.extname OPERATOR(pg_catalog.=) 'pg_stat_statements';
    IF place IS NOT NULL THEN
        BEGIN
            EXECUTE 'SELECT COALESCE(pg_catalog.jsonb_object_agg(s.queryid, s.query), ''{}'')
                     FROM ' OPERATOR(pg_catalog.||) place OPERATOR(pg_catalog.||) '.pg_stat_statements s
                     JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.dbid
                     WHERE s.queryid IS NOT NULL
                       AND d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()'
            INTO texts;
        EXCEPTION
            WHEN object_not_in_prerequisite_state OR insufficient_privilege OR undefined_table THEN
                texts := '{}';
        END;
    END IF;
    RETURN QUERY
    SELECT q.queryid, q.calls,
           pg_catalog.round(q.time_us OPERATOR(pg_catalog./) NULLIF(q.calls, 0)::pg_catalog.numeric OPERATOR(pg_catalog./) 1000, 3),
           pg_catalog.round(q.time_us OPERATOR(pg_catalog./) NULLIF(pg_catalog.sum(q.time_us) OVER (), 0), 3),
           texts OPERATOR(pg_catalog.->>) q.queryid::pg_catalog.text
    FROM @extschema@.pss_stat_queries(relation, ARRAY(
        SELECT k::pg_catalog.int8 FROM pg_catalog.jsonb_object_keys(texts) k)) q
    ORDER BY q.time_us DESC, q.queryid;
END $$;
COMMENT ON FUNCTION pss_query_statements(regclass)
IS 'queries that take most of a sharded table''s statement time, with their text where pg_stat_statements shows it to the caller';

CREATE VIEW pss.query_statements AS
SELECT t.relation, q.queryid, q.calls, q.mean_ms, q.share, q.query
FROM pss.sharded_table t
CROSS JOIN LATERAL @extschema@.pss_query_statements(t.relation) q
WHERE pg_catalog.has_table_privilege(t.relation, 'SELECT')
ORDER BY t.relation::pg_catalog.text, q.share DESC, q.queryid;
COMMENT ON VIEW pss.query_statements IS 'queries that take most of the statement time of each sharded table (needs query ids: pg_stat_statements loaded, or compute_query_id on)';
COMMENT ON COLUMN pss.query_statements.calls IS 'calls that touched the table, since the query is in its list of 16';
COMMENT ON COLUMN pss.query_statements.mean_ms IS 'mean time of a call in the table, milliseconds';
COMMENT ON COLUMN pss.query_statements.share IS 'part of the time of the queries listed';
COMMENT ON COLUMN pss.query_statements.query IS 'text as pg_stat_statements shows it to the caller; NULL: it does not, or is not installed';
GRANT SELECT ON pss.query_statements TO PUBLIC;
