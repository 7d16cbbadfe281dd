-- Rebalancing: rows that are worth moving, and moving them. The C symbols are in
-- src/worker/rebalance/; what is worth moving is decided in pss-core.

CREATE TABLE pss.rebalance (
    rebalance_id bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relation     regclass    NOT NULL,
    state        text        NOT NULL DEFAULT 'running'
                 CHECK (state OPERATOR(pg_catalog.=) ANY ('{running,done,stopped,failed}'::pg_catalog.text[])),
    reason       text        NOT NULL,
    started_by   name        NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    ended_at     timestamptz,
    rate         int         CHECK (rate OPERATOR(pg_catalog.>) 0),
    waiting      text,
    waiting_since timestamptz,
    failures     int         NOT NULL DEFAULT 0,
    last_error   text
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX rebalance_running ON pss.rebalance (relation)
    WHERE state OPERATOR(pg_catalog.=) 'running';
COMMENT ON TABLE pss.rebalance IS 'plans that are being carried out, or were; a restart goes on where it stopped';
COMMENT ON COLUMN pss.rebalance.rate IS 'rows a second; NULL: pss.rebalance_rate';
COMMENT ON COLUMN pss.rebalance.waiting IS 'what the next batch waits for; NULL: nothing';
COMMENT ON COLUMN pss.rebalance.waiting_since IS 'since when no batch could go';
COMMENT ON COLUMN pss.rebalance.failures IS 'batches that failed in a row';

CREATE TABLE pss.rebalance_move (
    rebalance_id   bigint           NOT NULL REFERENCES pss.rebalance ON DELETE CASCADE,
    move           int              NOT NULL,
    from_partition int              NOT NULL,
    to_partition   int              NOT NULL,
    keys           bigint           NOT NULL,
    of_keys        bigint           NOT NULL,
    rows           bigint           NOT NULL,
    load           double precision NOT NULL,
    source_load    double precision NOT NULL,
    next_entry     bigint,
    keys_passed    bigint           NOT NULL DEFAULT 0,
    keys_done      bigint           NOT NULL DEFAULT 0,
    rows_done      bigint           NOT NULL DEFAULT 0,
    bytes_done     bigint           NOT NULL DEFAULT 0,
    ended_at       timestamptz,
    PRIMARY KEY (rebalance_id, move)
) WITH (fillfactor = 50);
COMMENT ON TABLE pss.rebalance_move IS 'the moves of each plan, and how far they have come; written with each batch';
COMMENT ON COLUMN pss.rebalance_move.of_keys IS 'keys of the source, of which the moved ones are spread evenly';
COMMENT ON COLUMN pss.rebalance_move.load IS 'load that goes with the keys, cost units per second';
COMMENT ON COLUMN pss.rebalance_move.source_load IS 'load that stood on the source when the move was planned';
COMMENT ON COLUMN pss.rebalance_move.next_entry IS 'entry of the row map where the next batch begins; NULL: the first';
GRANT SELECT ON pss.rebalance, pss.rebalance_move TO pg_monitor;

CREATE FUNCTION pss_rebalance_plan(relation regclass DEFAULT NULL)
RETURNS TABLE (relation regclass, move int, from_partition int, to_partition int,
               keys bigint, rows bigint, bytes bigint, duration interval,
               cost double precision, gain double precision, payback interval, reason text)
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_rebalance_plan_wrapper';
COMMENT ON FUNCTION pss_rebalance_plan(regclass)
IS 'what moving existing rows would cost and gain: a row for each move, or one that says why none is worth it; of one table, or of all that the caller owns. Moves nothing';
REVOKE ALL ON FUNCTION pss_rebalance_plan(regclass) FROM PUBLIC;

CREATE FUNCTION pss_rebalance_start(relation regclass, rate int DEFAULT NULL)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_rebalance_start_wrapper';
COMMENT ON FUNCTION pss_rebalance_start(regclass, int)
IS 'has the worker carry out what pss_rebalance_plan() shows, at so many rows a second (pss.rebalance_rate); its number, or NULL if nothing is worth moving';
REVOKE ALL ON FUNCTION pss_rebalance_start(regclass, int) FROM PUBLIC;

CREATE FUNCTION pss_rebalance_stop(relation regclass)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_rebalance_stop_wrapper';
COMMENT ON FUNCTION pss_rebalance_stop(regclass)
IS 'ends a rebalancing between two batches; what was moved stays moved. Its number';
REVOKE ALL ON FUNCTION pss_rebalance_stop(regclass) FROM PUBLIC;

CREATE FUNCTION pss_rebalance_status(relation regclass DEFAULT NULL)
RETURNS TABLE (id bigint, relation regclass, state text, keys_done bigint, keys bigint,
               rows_done bigint, rows bigint, rows_per_s double precision, eta interval,
               waiting text, last_error text, started_at timestamptz, ended_at timestamptz)
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_rebalance_status_wrapper';
COMMENT ON FUNCTION pss_rebalance_status(regclass)
IS 'how far rebalancings have come, newest first; of one table, or of all that the caller owns';
REVOKE ALL ON FUNCTION pss_rebalance_status(regclass) FROM PUBLIC;
