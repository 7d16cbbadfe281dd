-- The call door: functions that ask the router. Declared here by hand; the C
-- symbols are in src/doors/call.rs.

CREATE FUNCTION pss_get_partition(relation regclass, data_key anyelement, data_size bigint DEFAULT NULL)
RETURNS int LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pss_get_partition_wrapper';
COMMENT ON FUNCTION pss_get_partition(regclass, anyelement, bigint)
IS 'the partition of a data key, assigned and recorded if the key is new (in slot mode: the owner of its slot now, nothing is recorded); data_size in bytes, estimated if NULL';

CREATE FUNCTION pss_get_partition(relation regclass, data_key text, data_size bigint DEFAULT NULL)
RETURNS int LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pss_get_partition_text_wrapper';
COMMENT ON FUNCTION pss_get_partition(regclass, text, bigint)
IS 'the partition of a data key given as text, assigned and recorded if the key is new';

CREATE FUNCTION pss_get_partition(data_key text, data_size bigint, schema_info jsonb)
RETURNS int LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pss_get_partition_schema_info_wrapper';
COMMENT ON FUNCTION pss_get_partition(text, bigint, jsonb)
IS 'the partition of a data key; schema_info names the table ({"table": "orders", "columns": {"note": {"type": "text", "width": 200}}}) and may carry column types and widths, from which a missing data_size is estimated';

-- 100 is an int: without this overload the literal would prefer the first function.
CREATE FUNCTION pss_get_partition(data_key text, data_size int, schema_info jsonb)
RETURNS int LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pss_get_partition_schema_info_int_wrapper';
COMMENT ON FUNCTION pss_get_partition(text, int, jsonb)
IS 'the partition of a data key; as with a data_size of type bigint';

-- A quoted literal or NULL has no type of its own: with nothing but those, this overload is
-- the one that PostgreSQL prefers, and both signatures of three arguments come here.
CREATE FUNCTION pss_get_partition(data_key text, data_size text, schema_info text)
RETURNS int LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pss_get_partition_literals_wrapper';
COMMENT ON FUNCTION pss_get_partition(text, text, text)
IS 'the partition of a data key, all arguments as literals: (data_key, data_size, schema_info), or (relation, data_key, data_size) if the last is a number or NULL';

CREATE FUNCTION pss_get_partitions(relation regclass, data_keys text[], data_sizes bigint[] DEFAULT NULL)
RETURNS int[] LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pss_get_partitions_wrapper';
COMMENT ON FUNCTION pss_get_partitions(regclass, text[], bigint[])
IS 'the partitions of many data keys in one call, in their order; new keys are assigned and recorded';

CREATE FUNCTION pss_locate(relation regclass, data_key anyelement)
RETURNS int LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'pss_locate_wrapper';
COMMENT ON FUNCTION pss_locate(regclass, anyelement)
IS 'the partition of a data key as this statement sees it, or NULL if it has none, or in slot mode not one alone; never assigns';

CREATE FUNCTION pss_locate(relation regclass, data_key text)
RETURNS int LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'pss_locate_text_wrapper';
COMMENT ON FUNCTION pss_locate(regclass, text)
IS 'the partition of a data key given as text, or NULL if it has none; never assigns';

CREATE FUNCTION pss_explain_route(relation regclass, data_key anyelement)
RETURNS TABLE (item text, value text) LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'pss_explain_route_wrapper';
COMMENT ON FUNCTION pss_explain_route(regclass, anyelement)
IS 'why a data key is where it is, or where it would go: virtual key, epoch, slot, weights, forecast, reason; and as a story, a sentence each row';

CREATE FUNCTION pss_explain_route(relation regclass, data_key text)
RETURNS TABLE (item text, value text) LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'pss_explain_route_text_wrapper';
COMMENT ON FUNCTION pss_explain_route(regclass, text)
IS 'why a data key, given as text, is where it is, or where it would go';

CREATE FUNCTION pss_key_hash(relation regclass, data_key anyelement)
RETURNS bigint LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'pss_key_hash_wrapper';
COMMENT ON FUNCTION pss_key_hash(regclass, anyelement)
IS 'by what the map knows a data key: 48 bits of its hash, or in slot mode its slot';

CREATE FUNCTION pss_version()
RETURNS text LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'pss_version_wrapper';
COMMENT ON FUNCTION pss_version() IS 'version of the loaded library';

-- The inbox trigger.
CREATE FUNCTION pss_route_row()
RETURNS trigger LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pss_route_row';
COMMENT ON FUNCTION pss_route_row()
IS 'trigger of the inbox partition: routes a row that no other door routed';

-- The view door.
CREATE FUNCTION pss_insert_row()
RETURNS trigger LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pss_insert_row';
COMMENT ON FUNCTION pss_insert_row()
IS 'INSTEAD OF INSERT trigger for views over a sharded table: inserts the row into the table that the trigger names, or the only sharded table under the view';

-- What MERGE's actions call. Arguments of type internal: nobody can call these by hand.
CREATE FUNCTION pss.merge_insert_home(relation oid, key internal, pss_partition int, leaf int)
RETURNS int LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'merge_insert_home_wrapper';
COMMENT ON FUNCTION pss.merge_insert_home(oid, internal, int, int)
IS 'the partition of a row that MERGE inserts into a sharded table';

CREATE FUNCTION pss.merge_update_home(relation oid, key internal, old_key internal, pss_partition int, old_partition int)
RETURNS int LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'merge_update_home_wrapper';
COMMENT ON FUNCTION pss.merge_update_home(oid, internal, internal, int, int)
IS 'the partition of a row whose key MERGE changes in a sharded table';
