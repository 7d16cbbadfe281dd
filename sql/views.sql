-- What a user watches. Views run with their owner's rights and show the rows
-- of tables that the caller may read; each fits 120 columns under \watch.

CREATE VIEW pss.tables WITH (security_barrier) AS
SELECT t.relation,
       t.distribution_column AS key_column,
       t.mapping,
       p.partitions,
       CASE WHEN t.mapping OPERATOR(pg_catalog.=) 'row' THEN pg_catalog.pg_stat_get_live_tuples(m.map) END AS keys,
       pg_catalog.round(o.authority::pg_catalog.numeric, 3) AS authority,
       pg_catalog.round(o.floor::pg_catalog.numeric, 3) AS floor,
       CASE WHEN m.complete THEN 'complete' WHEN m.map IS NULL THEN 'none' ELSE 'partial' END AS map,
       pg_catalog.pg_size_pretty(pg_catalog.pg_total_relation_size(m.map)) AS map_size,
       e.epoch,
       pg_catalog.date_trunc('second', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) o.decided_at) AS age
FROM pss.sharded_table t
CROSS JOIN LATERAL (
    SELECT pg_catalog.count(*) AS partitions FROM pss.partition p
    WHERE p.relation OPERATOR(pg_catalog.=) t.relation) AS p
CROSS JOIN LATERAL (
    SELECT pg_catalog.max(e.epoch) AS epoch FROM pss.epoch e
    WHERE e.relation OPERATOR(pg_catalog.=) t.relation) AS e
LEFT JOIN pss.map_state m ON m.relation OPERATOR(pg_catalog.=) t.relation
LEFT JOIN pss.outlook o ON o.relation OPERATOR(pg_catalog.=) t.relation
WHERE pg_catalog.has_table_privilege(t.relation, 'SELECT')
ORDER BY t.relation::pg_catalog.text;
COMMENT ON VIEW pss.tables IS 'sharded tables';
COMMENT ON COLUMN pss.tables.keys IS 'keys in the row map, estimated; NULL in slot mode, which stores no keys';
COMMENT ON COLUMN pss.tables.authority IS 'part of the load that placing new keys can steer, 0 to 1: near 0, pss can do nothing';
COMMENT ON COLUMN pss.tables.floor IS 'expected max / mean of utilization - 1 that placing new keys cannot get below, the hottest key''s share (pss.hot_keys) included';
COMMENT ON COLUMN pss.tables.map IS 'row map, or homes of slots: complete, partial (look-ups fall back to all partitions) or none';
COMMENT ON COLUMN pss.tables.age IS 'time since the worker last decided; beyond pss.weights_ttl keys are placed by capacity';
GRANT SELECT ON pss.tables TO PUBLIC;

CREATE VIEW pss.partitions WITH (security_barrier) AS
SELECT p.relation,
       p.partition,
       p.leaf,
       p.state,
       pg_catalog.round((s.own_load OPERATOR(pg_catalog.+) s.foreign_load)::pg_catalog.numeric, 1) AS load,
       pg_catalog.round(o.level[p.partition OPERATOR(pg_catalog.+) 1]::pg_catalog.numeric, 1) AS forecast,
       pg_catalog.round(o.lo[p.partition OPERATOR(pg_catalog.+) 1]::pg_catalog.numeric, 1) AS lo,
       pg_catalog.round(o.hi[p.partition OPERATOR(pg_catalog.+) 1]::pg_catalog.numeric, 1) AS hi,
       p.capacity,
       pg_catalog.round(e.weights[p.partition OPERATOR(pg_catalog.+) 1]::pg_catalog.numeric, 3) AS weight,
       pg_catalog.round(r.keys OPERATOR(pg_catalog./)
           NULLIF(pg_catalog.sum(r.keys) OVER (PARTITION BY p.relation), 0.0), 3) AS share,
       pg_catalog.pg_stat_get_live_tuples(p.leaf) AS rows
FROM pss.partition p
LEFT JOIN (SELECT relation, pg_catalog.max(sampled_at) AS newest
           FROM pss.sharded_table t
           CROSS JOIN LATERAL (SELECT pg_catalog.max(x.sampled_at) AS sampled_at FROM pss.sample x
                               WHERE x.relation OPERATOR(pg_catalog.=) t.relation) AS x
           GROUP BY relation) AS n ON n.relation OPERATOR(pg_catalog.=) p.relation
LEFT JOIN pss.sample s ON s.relation OPERATOR(pg_catalog.=) p.relation
                      AND s.sampled_at OPERATOR(pg_catalog.=) n.newest
                      AND s.partition OPERATOR(pg_catalog.=) p.partition
LEFT JOIN LATERAL (
    SELECT pg_catalog.min(b.sampled_at) AS sampled_at FROM pss.sample b
    WHERE b.relation OPERATOR(pg_catalog.=) p.relation
      AND b.sampled_at OPERATOR(pg_catalog.>=) (n.newest OPERATOR(pg_catalog.-) '10 min'::pg_catalog.interval)) AS b ON true
LEFT JOIN pss.sample f ON f.relation OPERATOR(pg_catalog.=) p.relation
                      AND f.sampled_at OPERATOR(pg_catalog.=) b.sampled_at
                      AND f.partition OPERATOR(pg_catalog.=) p.partition
CROSS JOIN LATERAL (
    SELECT GREATEST(s.own_keys OPERATOR(pg_catalog.-) f.own_keys, 0)::pg_catalog.numeric AS keys) AS r
LEFT JOIN pss.outlook o ON o.relation OPERATOR(pg_catalog.=) p.relation
LEFT JOIN LATERAL (
    SELECT e.weights FROM pss.epoch e WHERE e.relation OPERATOR(pg_catalog.=) p.relation
    ORDER BY e.epoch DESC LIMIT 1) AS e ON true
WHERE pg_catalog.has_table_privilege(p.relation, 'SELECT')
ORDER BY p.relation::pg_catalog.text, p.partition;
COMMENT ON VIEW pss.partitions IS 'partitions: what falls on them, what is expected, what they are sent';
COMMENT ON COLUMN pss.partitions.load IS 'load between the last two samples, cost units per second (one inserted row is 1)';
COMMENT ON COLUMN pss.partitions.forecast IS 'expected load over the control window, new keys included';
COMMENT ON COLUMN pss.partitions.lo IS 'lower end of the forecast''s 80 % interval';
COMMENT ON COLUMN pss.partitions.hi IS 'upper end of the forecast''s 80 % interval';
COMMENT ON COLUMN pss.partitions.weight IS 'share of new keys that the partition is to get';
COMMENT ON COLUMN pss.partitions.share IS 'share of the new keys of the last 10 minutes that it got';
COMMENT ON COLUMN pss.partitions.rows IS 'rows, estimated';
GRANT SELECT ON pss.partitions TO PUBLIC;

CREATE VIEW pss.nodes WITH (security_barrier) AS
SELECT n.node,
       c.capacity,
       pg_catalog.count(p.partition) AS partitions,
       pg_catalog.count(DISTINCT p.relation) AS tables,
       pg_catalog.round(pg_catalog.sum(s.load)::pg_catalog.numeric, 1) AS load
FROM pss.node n
LEFT JOIN pss.node_capacity c ON c.node OPERATOR(pg_catalog.=) n.node
LEFT JOIN pss.partition p ON p.node OPERATOR(pg_catalog.=) n.node
                         AND pg_catalog.has_table_privilege(p.relation, 'SELECT')
LEFT JOIN LATERAL (
    SELECT s.own_load OPERATOR(pg_catalog.+) s.foreign_load AS load FROM pss.sample s
    WHERE s.relation OPERATOR(pg_catalog.=) p.relation
      AND s.partition OPERATOR(pg_catalog.=) p.partition
      AND s.sampled_at OPERATOR(pg_catalog.=) (
          SELECT pg_catalog.max(x.sampled_at) FROM pss.sample x
          WHERE x.relation OPERATOR(pg_catalog.=) p.relation)) AS s ON true
GROUP BY n.node, c.capacity
ORDER BY n.node;
COMMENT ON VIEW pss.nodes IS 'servers, and the load of their partitions now; pss.capacity has their resources';
COMMENT ON COLUMN pss.nodes.capacity IS 'load that its partitions can carry together, in the unit of their capacity; NULL: as much as they can';
GRANT SELECT ON pss.nodes TO PUBLIC;

CREATE VIEW pss.forecasts WITH (security_barrier) AS
SELECT f.relation,
       f.partition,
       (f.made_at OPERATOR(pg_catalog.+) f.horizon)::timestamptz(0) AS for_time,
       f.horizon,
       f.model,
       pg_catalog.round(f.value::pg_catalog.numeric, 1) AS value,
       pg_catalog.round(f.lo::pg_catalog.numeric, 1) AS lo,
       pg_catalog.round(f.hi::pg_catalog.numeric, 1) AS hi,
       pg_catalog.round(f.last_value::pg_catalog.numeric, 1) AS last_value
FROM pss.sharded_table t
JOIN pss.forecast f ON f.relation OPERATOR(pg_catalog.=) t.relation
                   AND f.made_at OPERATOR(pg_catalog.=) (
                       SELECT pg_catalog.max(x.made_at) FROM pss.forecast x
                       WHERE x.relation OPERATOR(pg_catalog.=) t.relation)
WHERE pg_catalog.has_table_privilege(t.relation, 'SELECT')
ORDER BY f.relation::pg_catalog.text, f.partition, f.horizon;
COMMENT ON VIEW pss.forecasts IS 'the newest forecasts of foreign load, by partition and horizon';
GRANT SELECT ON pss.forecasts TO PUBLIC;

CREATE VIEW pss.stat_forecast WITH (security_barrier) AS
SELECT k.relation,
       k.partition,
       k.horizon,
       k.model,
       COALESCE(f.n, 0) AS n,
       pg_catalog.round(COALESCE(f.relative, m.relative)::pg_catalog.numeric, 3) AS relative,
       pg_catalog.round(f.bias::pg_catalog.numeric, 2) AS bias,
       pg_catalog.round(f.coverage, 3) AS coverage,
       COALESCE(m.in_use, false) AS in_use,
       m.since::timestamptz(0) AS since
FROM (
    SELECT x.relation, x.partition, x.horizon, x.model,
           pg_catalog.count(*) AS n,
           pg_catalog.sum(pg_catalog.abs(x.value OPERATOR(pg_catalog.-) x.actual)) OPERATOR(pg_catalog./)
               NULLIF(pg_catalog.sum(pg_catalog.abs(x.last_value OPERATOR(pg_catalog.-) x.actual)), 0::pg_catalog.float8) AS relative,
           pg_catalog.avg(x.value OPERATOR(pg_catalog.-) x.actual) AS bias,
           pg_catalog.avg((x.actual OPERATOR(pg_catalog.>=) x.lo
                           AND x.actual OPERATOR(pg_catalog.<=) x.hi)::pg_catalog.int4) AS coverage
    FROM pss.forecast x
    WHERE x.actual IS NOT NULL AND x.last_value IS NOT NULL
    GROUP BY x.relation, x.partition, x.horizon, x.model) AS f
FULL JOIN (
    SELECT c.relation, c.partition, c.horizon, u.model, pg_catalog.min(u.relative) AS relative,
           u.model OPERATOR(pg_catalog.=) c.model AS in_use,
           CASE WHEN u.model OPERATOR(pg_catalog.=) c.model THEN c.since END AS since
    FROM pss.forecast_model c
    CROSS JOIN LATERAL (
        SELECT x.model, x.relative
        FROM ROWS FROM (pg_catalog.unnest(c.models), pg_catalog.unnest(c.relative)) AS x (model, relative)
        UNION ALL SELECT c.model, NULL) AS u
    GROUP BY c.relation, c.partition, c.horizon, c.model, c.since, u.model) AS m
    ON m.relation OPERATOR(pg_catalog.=) f.relation AND m.partition OPERATOR(pg_catalog.=) f.partition
       AND m.horizon OPERATOR(pg_catalog.=) f.horizon AND m.model OPERATOR(pg_catalog.=) f.model
CROSS JOIN LATERAL (
    SELECT COALESCE(f.relation, m.relation) AS relation, COALESCE(f.partition, m.partition) AS partition,
           COALESCE(f.horizon, m.horizon) AS horizon, COALESCE(f.model, m.model) AS model) AS k
WHERE pg_catalog.has_table_privilege(k.relation, 'SELECT')
ORDER BY k.relation::pg_catalog.text, k.partition, k.horizon, k.model;
COMMENT ON VIEW pss.stat_forecast IS 'forecasts against what came, by partition, horizon and model, over pss.sample_retention; and which model is in use';
COMMENT ON COLUMN pss.stat_forecast.n IS 'forecasts that the model made while in use, and whose time has come; 0: none, relative is then from its trial beside the others';
COMMENT ON COLUMN pss.stat_forecast.relative IS 'error relative to taking the last value as the forecast: below 1 the model is worth something';
COMMENT ON COLUMN pss.stat_forecast.bias IS 'mean of forecast - actual, cost units per second';
COMMENT ON COLUMN pss.stat_forecast.coverage IS 'part of what came that lay in the 80 % interval';
COMMENT ON COLUMN pss.stat_forecast.in_use IS 'whether forecasts for this horizon are now made by the model';
COMMENT ON COLUMN pss.stat_forecast.since IS 'since when, if it is in use';
GRANT SELECT ON pss.stat_forecast TO PUBLIC;

CREATE VIEW pss.stat_routing AS
SELECT r.relation,
       r.planner_rows AS planner,
       r.copy_rows AS copy,
       r.trigger_rows AS trigger,
       r.call_rows AS call,
       r.named_rows AS named,
       r.new_keys,
       r.cache_hits AS cached,
       r.map_hits AS mapped,
       r.redraws,
       r.fallbacks,
       r.stats_reset::timestamptz(0) AS stats_reset
FROM @extschema@.pss_stat_routing() r
ORDER BY r.relation::pg_catalog.text;
COMMENT ON VIEW pss.stat_routing IS 'rows that the router has placed, by door and by how it found the partition; cumulative since stats_reset';
COMMENT ON COLUMN pss.stat_routing.planner IS 'rows routed before native tuple routing';
COMMENT ON COLUMN pss.stat_routing.copy IS 'rows that COPY has read';
COMMENT ON COLUMN pss.stat_routing.trigger IS 'rows routed by the inbox trigger';
COMMENT ON COLUMN pss.stat_routing.call IS 'calls of pss_get_partition';
COMMENT ON COLUMN pss.stat_routing.named IS 'rows that named their partition';
COMMENT ON COLUMN pss.stat_routing.cached IS 'rows of known keys found in the writers'' cache';
COMMENT ON COLUMN pss.stat_routing.mapped IS 'rows of known keys found in the row map';
COMMENT ON COLUMN pss.stat_routing.redraws IS 'virtual keys drawn again because the first partition was ahead of its quota';
COMMENT ON COLUMN pss.stat_routing.fallbacks IS 'new keys placed by capacity, because the weights were too old or pss.enabled was off';
GRANT SELECT ON pss.stat_routing TO PUBLIC;

CREATE VIEW pss.stat_worker AS
SELECT w.process, w.state, w.pid, w.cycles, w.errors, w.last_cycle::timestamptz(0) AS last_cycle
FROM @extschema@.pss_stat_worker() w;
COMMENT ON VIEW pss.stat_worker IS 'the launcher, and the worker of this database';
COMMENT ON COLUMN pss.stat_worker.state IS 'worker: working, waiting for a turn, idle (nothing sharded), absent, suspended (DDL on the database), unknown';
GRANT SELECT ON pss.stat_worker TO PUBLIC;

CREATE VIEW pss.events WITH (security_barrier) AS
SELECT e.at::timestamptz(0) AS at, e.relation, e.kind, e.message
FROM pss.event e
WHERE CASE WHEN e.relation IS NULL THEN pg_catalog.pg_has_role('pg_monitor', 'USAGE')
           ELSE pg_catalog.has_table_privilege(e.relation, 'SELECT') END
ORDER BY e.event_id DESC;
COMMENT ON VIEW pss.events IS 'what pss decided and why, newest first; pss.event has the figures behind it';
GRANT SELECT ON pss.events TO PUBLIC;

CREATE VIEW pss.moves WITH (security_barrier) AS
SELECT m.relation,
       pg_catalog.date_trunc('second', m.moved_at) AS moved_at,
       m.from_partition,
       m.to_partition,
       m.keys,
       m.rows,
       m.bytes,
       pg_catalog.round(m.seconds::pg_catalog.numeric, 3) AS seconds
FROM pss.move m
WHERE pg_catalog.has_table_privilege(m.relation, 'SELECT')
ORDER BY m.move_id;
COMMENT ON VIEW pss.moves IS 'keys that were moved between partitions, a row for each batch';
COMMENT ON COLUMN pss.moves.bytes IS 'size of the moved rows as stored, without indexes';
COMMENT ON COLUMN pss.moves.seconds IS 'time from the first try to the commit';
GRANT SELECT ON pss.moves TO PUBLIC;

CREATE VIEW pss.stat_map WITH (security_barrier) AS
SELECT t.relation,
       m.map,
       pg_catalog.pg_stat_get_live_tuples(m.map) AS entries,
       pg_catalog.pg_total_relation_size(m.map) AS bytes,
       c.orphans,
       c.duplicates,
       pg_catalog.date_trunc('second', c.cleaned_at) AS cleaned_at,
       pg_catalog.date_trunc('second', c.reindexed_at) AS reindexed_at
FROM pss.sharded_table t
JOIN pss.map_state m ON m.relation OPERATOR(pg_catalog.=) t.relation
LEFT JOIN pss.map_cleaning c ON c.relation OPERATOR(pg_catalog.=) t.relation
WHERE pg_catalog.has_table_privilege(t.relation, 'SELECT')
ORDER BY t.relation::pg_catalog.text;
COMMENT ON VIEW pss.stat_map IS 'row maps: size, and what cleaning has removed';
COMMENT ON COLUMN pss.stat_map.entries IS 'entries of the map, estimated';
COMMENT ON COLUMN pss.stat_map.bytes IS 'heap and index';
COMMENT ON COLUMN pss.stat_map.orphans IS 'entries removed because no row had their key';
COMMENT ON COLUMN pss.stat_map.duplicates IS 'entries removed because another one said the same';
COMMENT ON COLUMN pss.stat_map.cleaned_at IS 'when a pass over the whole map last ended';
COMMENT ON COLUMN pss.stat_map.reindexed_at IS 'when its bloated index was last rebuilt';
GRANT SELECT ON pss.stat_map TO PUBLIC;
