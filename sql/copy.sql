-- The COPY door: a type without values, whose subscript fills the partition of a row that is copied.

CREATE TYPE pss.copy_row;
CREATE FUNCTION pss_copy_row_in(cstring)
RETURNS pss.copy_row LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS 'shell_in';
COMMENT ON FUNCTION pss_copy_row_in(cstring) IS 'refuses: pss.copy_row has no values';

CREATE FUNCTION pss_copy_row_out(pss.copy_row)
RETURNS cstring LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS 'shell_out';
COMMENT ON FUNCTION pss_copy_row_out(pss.copy_row) IS 'refuses: pss.copy_row has no values';

CREATE FUNCTION pss_copy_row_subscript(internal)
RETURNS internal LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'pss_copy_row_subscript';
COMMENT ON FUNCTION pss_copy_row_subscript(internal) IS 'how COPY fills the partition of each row';

CREATE TYPE pss.copy_row (
    INPUT = pss_copy_row_in, OUTPUT = pss_copy_row_out, SUBSCRIPT = pss_copy_row_subscript,
    INTERNALLENGTH = 4, PASSEDBYVALUE, ALIGNMENT = int4
);
COMMENT ON TYPE pss.copy_row IS 'the row that COPY has read, whose partition is to be filled; for pss alone';
