-- Running a cycle by hand.

CREATE FUNCTION pss_refresh()
RETURNS TABLE (relation regclass, epoch int, changed boolean, reason text)
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_refresh_wrapper';
COMMENT ON FUNCTION pss_refresh()
IS 'samples and decides now, for every sharded table that the caller owns; a new epoch is in force when the transaction commits';
REVOKE ALL ON FUNCTION pss_refresh() FROM PUBLIC;

-- Statistics from shared memory, behind the views.

CREATE FUNCTION pss_stat_routing()
RETURNS TABLE (relation regclass, epoch int, valid_until timestamptz,
               planner_rows bigint, copy_rows bigint, trigger_rows bigint,
               call_rows bigint, named_rows bigint,
               new_keys bigint, cache_hits bigint, map_hits bigint,
               redraws bigint, fallbacks bigint, stats_reset timestamptz)
LANGUAGE c VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'pss_stat_routing_wrapper';
COMMENT ON FUNCTION pss_stat_routing()
IS 'router counters of the sharded tables that the caller may read; see pss.stat_routing';

CREATE FUNCTION pss_stat_worker()
RETURNS TABLE (process text, state text, pid int, cycles bigint, errors bigint, last_cycle timestamptz)
LANGUAGE c VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'pss_stat_worker_wrapper';
COMMENT ON FUNCTION pss_stat_worker()
IS 'the launcher and this database''s worker; see pss.stat_worker';

CREATE FUNCTION pss_stat_reset()
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pss_stat_reset_wrapper';
COMMENT ON FUNCTION pss_stat_reset()
IS 'sets the router''s and the worker''s counters of this database to zero';
REVOKE ALL ON FUNCTION pss_stat_reset() FROM PUBLIC;
