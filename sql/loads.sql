-- What load is: what each kind of event costs, and what a partition uses of each resource.

-- Costs -----------------------------------------------------------------------

CREATE TABLE pss.cost (
    relation regclass         NOT NULL,
    event    text             NOT NULL
             CHECK (event OPERATOR(pg_catalog.=) ANY (
                 '{update,delete,index_fetch,sequential_read,block_read}'::pg_catalog.text[])),
    cost     double precision NOT NULL
             CHECK (cost OPERATOR(pg_catalog.>=) 0 AND cost OPERATOR(pg_catalog.<=) 1e6),
    PRIMARY KEY (relation, event)
);
COMMENT ON TABLE pss.cost IS 'costs of events that were set by pss_set_cost, in the place of calibrated ones';
COMMENT ON COLUMN pss.cost.cost IS 'load of one event; one inserted row is 1';
SELECT pg_catalog.pg_extension_config_dump('pss.cost', '');

-- Never dumped: learnt anew. Arrays in the order of pss_default_costs().
CREATE TABLE pss.calibration (
    relation     regclass           PRIMARY KEY,
    in_use       double precision[],
    adopted      double precision[],
    adopted_at   timestamptz,
    fitted       double precision[],
    errors       double precision[],
    observations double precision,
    explained    double precision,
    error_left   double precision
) WITH (fillfactor = 50);
COMMENT ON TABLE pss.calibration IS 'what events of each sharded table cost, by the time that statements took; arrays in the order of pss_default_costs()';
COMMENT ON COLUMN pss.calibration.in_use IS 'costs that load is measured with since the last change; NULL: the defaults';
COMMENT ON COLUMN pss.calibration.adopted IS 'calibrated costs that are used where none is set; NULL: the defaults are';
COMMENT ON COLUMN pss.calibration.fitted IS 'costs that explain the time of statements best, looked at once a minute';
COMMENT ON COLUMN pss.calibration.errors IS 'their standard errors';
COMMENT ON COLUMN pss.calibration.observations IS 'minutes of a partition behind them, older ones with less weight (half after two hours)';
COMMENT ON COLUMN pss.calibration.explained IS 'part of the variation of statement time that they foretold; 0.5 is needed to use them';
COMMENT ON COLUMN pss.calibration.error_left IS 'squared error of what they foretold, as a part of that by the default costs; at most 0.8 to use them';

CREATE TABLE pss.cost_change (
    relation      regclass           NOT NULL,
    changed_at    timestamptz        NOT NULL,
    history_until timestamptz        NOT NULL,
    partitions    int[]              NOT NULL,
    factors       double precision[] NOT NULL,
    PRIMARY KEY (relation, changed_at)
);
COMMENT ON TABLE pss.cost_change IS 'changes of the costs in use, kept for pss.history_retention';
COMMENT ON COLUMN pss.cost_change.history_until IS 'buckets of pss.history that begin before are in the unit of earlier costs';
COMMENT ON COLUMN pss.cost_change.factors IS 'by partition: what the recent foreign load comes to by the new costs, as a multiple of what it was by the old';

CREATE FUNCTION pss_default_costs()
RETURNS TABLE (event text, cost double precision)
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'pss_default_costs_wrapper';
COMMENT ON FUNCTION pss_default_costs()
IS 'the kinds of events that make load, and what they cost unless calibrated or set; one inserted row is 1';

CREATE FUNCTION pss_set_cost(relation regclass, event text, cost double precision)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pss_set_cost_wrapper';
COMMENT ON FUNCTION pss_set_cost(regclass, text, double precision)
IS 'sets what an event (update, delete, index_fetch, sequential_read, block_read) of a table costs, relative to an inserted row; NULL: the calibrated or default cost again';
REVOKE ALL ON FUNCTION pss_set_cost(regclass, text, double precision) FROM PUBLIC;

CREATE VIEW pss.costs WITH (security_barrier) AS
SELECT t.relation,
       d.event,
       d.cost AS default_cost,
       pg_catalog.round(c.fitted[d.i]::pg_catalog.numeric, 4) AS calibrated,
       pg_catalog.round(c.errors[d.i]::pg_catalog.numeric, 4) AS error,
       s.cost AS override,
       pg_catalog.round(COALESCE(c.in_use[d.i], d.cost)::pg_catalog.numeric, 4) AS in_use,
       pg_catalog.round(c.observations) AS minutes,
       pg_catalog.round(c.explained::pg_catalog.numeric, 2) AS explained,
       pg_catalog.round(c.error_left::pg_catalog.numeric, 2) AS residual
FROM pss.sharded_table t
CROSS JOIN LATERAL ROWS FROM (@extschema@.pss_default_costs()) WITH ORDINALITY AS d (event, cost, i)
LEFT JOIN pss.calibration c ON c.relation OPERATOR(pg_catalog.=) t.relation
LEFT JOIN pss.cost s ON s.relation OPERATOR(pg_catalog.=) t.relation AND s.event OPERATOR(pg_catalog.=) d.event
WHERE pg_catalog.has_table_privilege(t.relation, 'SELECT')
ORDER BY t.relation::pg_catalog.text, d.i;
COMMENT ON VIEW pss.costs IS 'what each kind of event costs, relative to an inserted row';
COMMENT ON COLUMN pss.costs.calibrated IS 'what the time of statements says; used with pss.calibrate_costs, if it explains enough';
COMMENT ON COLUMN pss.costs.error IS 'standard error of the calibrated cost';
COMMENT ON COLUMN pss.costs.override IS 'what pss_set_cost has set';
COMMENT ON COLUMN pss.costs.in_use IS 'what load is measured with since the last cycle';
COMMENT ON COLUMN pss.costs.minutes IS 'minutes of a partition behind the calibration, older ones with less weight; it is used from 60 on';
COMMENT ON COLUMN pss.costs.explained IS 'part of the variation of statement time that the calibration foretold; it is used from 0.5 on';
COMMENT ON COLUMN pss.costs.residual IS 'squared error of what it foretold, as a part of that by the default costs; it is used up to 0.8';

-- Resources -------------------------------------------------------------------

CREATE TABLE pss.load_vector (
    relation    regclass           PRIMARY KEY,
    measured_at timestamptz        NOT NULL,
    partitions  int[]              NOT NULL,
    cpu         double precision[] NOT NULL,
    read        double precision[] NOT NULL,
    write       double precision[] NOT NULL,
    bytes       double precision[] NOT NULL,
    memory      double precision[] NOT NULL,
    storage     double precision[] NOT NULL,
    utilization double precision[] NOT NULL,
    scarcest    text[]             NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE pss.load_vector IS 'what each partition used of each resource between the last two samples; arrays beside "partitions"';

CREATE VIEW pss.stat_load WITH (security_barrier) AS
SELECT v.relation,
       u.partition,
       pg_catalog.round(u.cpu)::bigint AS cpu,
       pg_catalog.round(u.read::pg_catalog.numeric, 1) AS read,
       pg_catalog.round(u.write::pg_catalog.numeric, 1) AS write,
       pg_catalog.round(u.bytes)::bigint AS bytes,
       pg_catalog.round(u.memory)::bigint AS memory,
       u.storage::bigint AS storage,
       pg_catalog.round(u.utilization::pg_catalog.numeric, 4) AS utilization,
       u.scarcest
FROM pss.load_vector v
CROSS JOIN LATERAL ROWS FROM (
    pg_catalog.unnest(v.partitions), pg_catalog.unnest(v.cpu), pg_catalog.unnest(v.read),
    pg_catalog.unnest(v.write), pg_catalog.unnest(v.bytes), pg_catalog.unnest(v.memory),
    pg_catalog.unnest(v.storage), pg_catalog.unnest(v.utilization), pg_catalog.unnest(v.scarcest))
    AS u (partition, cpu, read, write, bytes, memory, storage, utilization, scarcest)
WHERE pg_catalog.has_table_privilege(v.relation, 'SELECT')
ORDER BY v.relation::pg_catalog.text, u.partition;
COMMENT ON VIEW pss.stat_load IS 'what each partition used of each resource between the last two samples; NULL: not known';
COMMENT ON COLUMN pss.stat_load.cpu IS 'microseconds a second that statements on it took; COPY and logical replication are not seen';
COMMENT ON COLUMN pss.stat_load.read IS 'blocks a second that were not found in shared buffers';
COMMENT ON COLUMN pss.stat_load.write IS 'blocks a second that changed and will be written, estimated from rows, their size and the partition''s';
COMMENT ON COLUMN pss.stat_load.bytes IS 'bytes a second of rows inserted and updated, by their mean size';
COMMENT ON COLUMN pss.stat_load.memory IS 'bytes of blocks used in the last five minutes, estimated as if all were equally likely: at most so much';
COMMENT ON COLUMN pss.stat_load.storage IS 'bytes on disk; indexes and TOAST as of their last VACUUM or ANALYZE';
COMMENT ON COLUMN pss.stat_load.utilization IS 'part that the partition uses of what there is of the resource that is scarcest to it: on the partition itself, its node or its tablespace, see pss.capacity';
COMMENT ON COLUMN pss.stat_load.scarcest IS 'that resource, of those whose amount is known';

GRANT SELECT ON pss.costs, pss.stat_load TO PUBLIC;
GRANT SELECT ON pss.cost, pss.calibration, pss.cost_change, pss.load_vector TO pg_monitor;
