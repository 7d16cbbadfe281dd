-- Spreading a data key that is too hot for one partition. The C symbols are in
-- src/moves/spread.rs.

CREATE FUNCTION pss_spread_key(relation regclass, data_key anyelement, partitions int, unique_scope text DEFAULT 'table')
RETURNS int[] LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_spread_key_wrapper';
COMMENT ON FUNCTION pss_spread_key(regclass, anyelement, int, text)
IS 'lets new rows of a data key go to so many partitions, and look-ups open those; the partitions';
REVOKE ALL ON FUNCTION pss_spread_key(regclass, anyelement, int, text) FROM PUBLIC;

CREATE FUNCTION pss_spread_key(relation regclass, data_key text, partitions int, unique_scope text DEFAULT 'table')
RETURNS int[] LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_spread_key_text_wrapper';
COMMENT ON FUNCTION pss_spread_key(regclass, text, int, text)
IS 'lets new rows of a data key, given as text, go to so many partitions';
REVOKE ALL ON FUNCTION pss_spread_key(regclass, text, int, text) FROM PUBLIC;

CREATE FUNCTION pss_unspread_key(relation regclass, data_key anyelement)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_unspread_key_wrapper';
COMMENT ON FUNCTION pss_unspread_key(regclass, anyelement)
IS 'moves all rows of a spread data key to its first partition, its only one from then on; how many, 0 if it is not spread';
REVOKE ALL ON FUNCTION pss_unspread_key(regclass, anyelement) FROM PUBLIC;

CREATE FUNCTION pss_unspread_key(relation regclass, data_key text)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_unspread_key_text_wrapper';
COMMENT ON FUNCTION pss_unspread_key(regclass, text)
IS 'moves all rows of a spread data key, given as text, to its first partition';
REVOKE ALL ON FUNCTION pss_unspread_key(regclass, text) FROM PUBLIC;
