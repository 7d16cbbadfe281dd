-- Forecasts: reading the path ahead, and choosing how it is made.

CREATE FUNCTION pss_forecast(relation regclass, horizon interval DEFAULT '15 min')
RETURNS TABLE (partition int, at timestamptz, value float8, lo float8, hi float8, model text)
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'pss_forecast_wrapper';
COMMENT ON FUNCTION pss_forecast(regclass, interval)
IS 'the foreign load that is expected of each partition at each sampling interval after the newest sample, cost units per second, with its 80 % interval; no rows before the first samples';

CREATE FUNCTION pss_alter_table(
    relation        regclass,
    forecast_method text DEFAULT NULL,
    mapping         text DEFAULT NULL,
    unique_scope    text DEFAULT NULL
)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_alter_table_wrapper';
COMMENT ON FUNCTION pss_alter_table(regclass, text, text, text)
IS 'changes how a sharded table is treated; NULL: unchanged. forecast_method: auto, naive, median, ses, holt, ets, ar, seasonal or combined; mapping: row or slot, reads all rows under an exclusive lock; unique_scope: table or partition';
REVOKE ALL ON FUNCTION pss_alter_table(regclass, text, text, text) FROM PUBLIC;
