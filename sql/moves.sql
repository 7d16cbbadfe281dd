-- Moving keys between partitions of this server, and what was moved. The C
-- symbols are in src/moves/.

CREATE FUNCTION pss_move_key(relation regclass, data_key anyelement, partition int)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_move_key_wrapper';
COMMENT ON FUNCTION pss_move_key(regclass, anyelement, int)
IS 'moves all rows of a data key to another partition; the number of rows, 0 if the key is there already or has no home';
REVOKE ALL ON FUNCTION pss_move_key(regclass, anyelement, int) FROM PUBLIC;

CREATE FUNCTION pss_move_key(relation regclass, data_key text, partition int)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_move_key_text_wrapper';
COMMENT ON FUNCTION pss_move_key(regclass, text, int)
IS 'moves all rows of a data key, given as text, to another partition';
REVOKE ALL ON FUNCTION pss_move_key(regclass, text, int) FROM PUBLIC;

-- No SET clause: a procedure with one cannot commit. It pins search_path itself.
CREATE PROCEDURE pss_move_keys(
    relation       regclass,
    from_partition int,
    to_partition   int,
    keys           bigint   DEFAULT NULL,
    batch          int      DEFAULT 1000,
    pause          interval DEFAULT '50 milliseconds'
) LANGUAGE c
AS 'MODULE_PATHNAME', 'pss_move_keys_wrapper';
COMMENT ON PROCEDURE pss_move_keys(regclass, int, int, bigint, int, interval)
IS 'moves keys from one partition to another, all or so many, and commits after each batch; stopped half-way, it goes on when called again';
REVOKE ALL ON PROCEDURE pss_move_keys(regclass, int, int, bigint, int, interval) FROM PUBLIC;

CREATE FUNCTION pss_clean_map(relation regclass)
RETURNS TABLE (orphans bigint, duplicates bigint)
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_clean_map_wrapper';
COMMENT ON FUNCTION pss_clean_map(regclass)
IS 'removes entries of the row map that no row stands behind, or that say what another one says; how many of each. The worker does it by itself';
REVOKE ALL ON FUNCTION pss_clean_map(regclass) FROM PUBLIC;
