-- Making and unmaking sharded tables. All of them change or read a whole table:
-- only its owner may, and only roles that were granted the function. The C
-- symbols are in src/partitions/, those of row triggers in src/doors/guard.rs.

CREATE FUNCTION pss_distribute_table(
    relation            regclass,
    distribution_column name,
    partitions          int      DEFAULT 8,
    mapping             text     DEFAULT 'row',
    existing            text     DEFAULT 'attach',
    nodes               name[]   DEFAULT NULL,
    colocate_with       regclass DEFAULT NULL,
    unique_scope        text     DEFAULT 'table'
) RETURNS TABLE (partition int, relation regclass, node name)
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_distribute_table_wrapper';
COMMENT ON FUNCTION pss_distribute_table(regclass, name, int, text, text, name[], regclass, text)
IS 'makes a table a sharded table; existing rows are attached as partition 0 or, with existing => ''copy'', routed; mapping => ''slot'' stores nothing per key';
REVOKE ALL ON FUNCTION pss_distribute_table(regclass, name, int, text, text, name[], regclass, text) FROM PUBLIC;

CREATE FUNCTION pss_undistribute_table(relation regclass)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_undistribute_table_wrapper';
COMMENT ON FUNCTION pss_undistribute_table(regclass)
IS 'makes a sharded table an ordinary table of the same name again, with every row';
REVOKE ALL ON FUNCTION pss_undistribute_table(regclass) FROM PUBLIC;

CREATE FUNCTION pss_set_partition_state(relation regclass, partition int, state text)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_set_partition_state_wrapper';
COMMENT ON FUNCTION pss_set_partition_state(regclass, int, text)
IS 'takes a partition out of service (disabled) or back (active): out of service it keeps its rows and takes no new keys, from the next statement of each session on';
REVOKE ALL ON FUNCTION pss_set_partition_state(regclass, int, text) FROM PUBLIC;

CREATE FUNCTION pss_rebuild_map(relation regclass)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_rebuild_map_wrapper';
COMMENT ON FUNCTION pss_rebuild_map(regclass)
IS 'rebuilds the row map from the rows, or in slot mode the homes of slots, beside running writers, and what is missing of the table''s triggers; the number of keys (in slot mode of rows) seen';
REVOKE ALL ON FUNCTION pss_rebuild_map(regclass) FROM PUBLIC;

CREATE FUNCTION pss_check(relation regclass DEFAULT NULL)
RETURNS TABLE (relation regclass, problem text, detail text)
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_check_wrapper';
COMMENT ON FUNCTION pss_check(regclass)
IS 'reads rows, row map and catalog of a sharded table, or of all that one owns, and lists what does not agree; no rows: healthy';

-- Triggers of sharded tables. They act on the table they fire for and check
-- that it is ours, so anybody may name them in CREATE TRIGGER.

CREATE FUNCTION pss_keep_home()
RETURNS trigger LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pss_keep_home';
COMMENT ON FUNCTION pss_keep_home()
IS 'trigger of sharded tables: refuses an UPDATE that would leave a row in another partition than the home of its key';

CREATE FUNCTION pss_guard_row()
RETURNS trigger LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pss_guard_row';
COMMENT ON FUNCTION pss_guard_row()
IS 'trigger of sharded tables with triggers of the user''s: refuses a row whose key is not the one it was routed by';

CREATE FUNCTION pss_adopt_row()
RETURNS trigger LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pss_adopt_row';
COMMENT ON FUNCTION pss_adopt_row()
IS 'trigger of sharded tables that a subscription writes to: enters the partition of a replicated row into the row map, or refuses the row';

CREATE FUNCTION pss_truncate_map()
RETURNS trigger LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pss_truncate_map_wrapper';
COMMENT ON FUNCTION pss_truncate_map()
IS 'trigger of sharded tables: empties the row map when the table is truncated';

CREATE FUNCTION pss_forget_dropped()
RETURNS event_trigger LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pss_forget_dropped_wrapper';
COMMENT ON FUNCTION pss_forget_dropped()
IS 'event trigger: forgets sharded tables and partitions that were dropped';

CREATE FUNCTION pss_follow_alter_table()
RETURNS event_trigger LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pss_follow_alter_table_wrapper';
COMMENT ON FUNCTION pss_follow_alter_table()
IS 'event trigger: forgets partitions that were detached, keeps the columns that rows are routed by';

CREATE EVENT TRIGGER pss_forget_dropped ON sql_drop
EXECUTE FUNCTION pss_forget_dropped();
COMMENT ON EVENT TRIGGER pss_forget_dropped IS 'forgets sharded tables and partitions that were dropped';

CREATE EVENT TRIGGER pss_follow_alter_table ON ddl_command_end WHEN TAG IN ('ALTER TABLE')
EXECUTE FUNCTION pss_follow_alter_table();
COMMENT ON EVENT TRIGGER pss_follow_alter_table IS 'forgets partitions that were detached, keeps the columns that rows are routed by';

CREATE FUNCTION pss_refuse_unique()
RETURNS event_trigger LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pss_refuse_unique_wrapper';
COMMENT ON FUNCTION pss_refuse_unique()
IS 'event trigger: refuses unique indexes on sharded tables with mapping slot';

CREATE EVENT TRIGGER pss_refuse_unique ON ddl_command_end WHEN TAG IN ('CREATE INDEX')
EXECUTE FUNCTION pss_refuse_unique();
COMMENT ON EVENT TRIGGER pss_refuse_unique IS 'refuses unique indexes on sharded tables with mapping slot';

CREATE FUNCTION pss_guard_new_trigger()
RETURNS event_trigger LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_guard_new_trigger_wrapper';
COMMENT ON FUNCTION pss_guard_new_trigger()
IS 'event trigger: puts the guard on sharded tables that get a trigger which may change the key';

CREATE EVENT TRIGGER pss_guard_new_trigger ON ddl_command_end WHEN TAG IN ('CREATE TRIGGER', 'ALTER TRIGGER')
EXECUTE FUNCTION pss_guard_new_trigger();
COMMENT ON EVENT TRIGGER pss_guard_new_trigger IS 'puts the guard on sharded tables that get a trigger which may change the key';

CREATE FUNCTION pss_follow_subscription()
RETURNS event_trigger LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_follow_subscription_wrapper';
COMMENT ON FUNCTION pss_follow_subscription()
IS 'event trigger: lets rows that a subscription writes to a sharded table be adopted, and warns of what it cannot do';

CREATE EVENT TRIGGER pss_follow_subscription ON ddl_command_end WHEN TAG IN ('CREATE SUBSCRIPTION', 'ALTER SUBSCRIPTION')
EXECUTE FUNCTION pss_follow_subscription();
COMMENT ON EVENT TRIGGER pss_follow_subscription IS 'lets rows that a subscription writes to a sharded table be adopted';
