-- Hot keys: data keys that bring a large part of a table's rows. The C symbols are in
-- src/hot_keys.rs.

CREATE FUNCTION pss_hot_keys()
RETURNS TABLE (relation regclass, key text, key_hash bigint, share double precision,
               share_at_most double precision, partitions int[], since timestamptz)
LANGUAGE c STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_hot_keys_wrapper';
COMMENT ON FUNCTION pss_hot_keys() IS 'hot data keys of the sharded tables that the caller may read; see pss.hot_keys';

CREATE VIEW pss.hot_keys AS
SELECT h.relation,
       h.key,
       pg_catalog.round(h.share::pg_catalog.numeric, 3) AS share,
       pg_catalog.round(h.share_at_most::pg_catalog.numeric, 3) AS share_at_most,
       h.partitions,
       pg_catalog.date_trunc('second', h.since) AS since,
       h.key_hash
FROM @extschema@.pss_hot_keys() h
ORDER BY h.relation::pg_catalog.text, h.share DESC;
COMMENT ON VIEW pss.hot_keys IS 'data keys that bring a large part of their table''s rows lately; nothing of tables whose rows row security hides from the caller';
COMMENT ON COLUMN pss.hot_keys.key IS 'the key, from the newest rows of its partitions; NULL: not among them';
COMMENT ON COLUMN pss.hot_keys.share IS 'part of the rows, 0 to 1, that it brings at least; a row counts half after five minutes';
COMMENT ON COLUMN pss.hot_keys.share_at_most IS 'part of the rows that it may bring';
COMMENT ON COLUMN pss.hot_keys.partitions IS 'partitions that its rows are in; NULL: any';
COMMENT ON COLUMN pss.hot_keys.since IS 'since when it has been tracked without a break';
COMMENT ON COLUMN pss.hot_keys.key_hash IS 'its hash: what pss_key_hash says of it, in row mode';
GRANT SELECT ON pss.hot_keys TO PUBLIC;
