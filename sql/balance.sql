-- What the placement was worth: a row of scores for each cycle, and the views that sum them up.
--
-- All figures are max / mean of utilization (load over capacity) - 1, of one cycle: 0 is level.
-- Means are weighted by load, or a single statement in a quiet night would count like a busy hour.

CREATE TABLE pss.score (
    relation  regclass         NOT NULL,
    scored_at timestamptz      NOT NULL,
    load      double precision NOT NULL,
    achieved  double precision NOT NULL,
    static    double precision NOT NULL,
    fewest    double precision NOT NULL,
    reactive  double precision NOT NULL,
    forecast  double precision NOT NULL,
    planned   double precision NOT NULL,
    oracle    double precision,
    policy    text             NOT NULL,
    floor     double precision NOT NULL,
    authority double precision NOT NULL,
    PRIMARY KEY (relation, scored_at)
);
COMMENT ON TABLE pss.score IS 'imbalance of each cycle (max / mean of utilization - 1): as measured, and as each policy would have had it on the loads that came';
COMMENT ON COLUMN pss.score.scored_at IS 'end of the cycle; cycles without load are not scored';
COMMENT ON COLUMN pss.score.load IS 'load of the whole table, cost units per second';
COMMENT ON COLUMN pss.score.achieved IS 'as measured, keys where they really went';
COMMENT ON COLUMN pss.score.static IS 'new keys in proportion to capacity, as hashing places them';
COMMENT ON COLUMN pss.score.fewest IS 'new keys to the partition with the fewest keys so far, relative to capacity';
COMMENT ON COLUMN pss.score.reactive IS 'water-filling on the last measured loads, without forecasts';
COMMENT ON COLUMN pss.score.forecast IS 'water-filling on forecasts';
COMMENT ON COLUMN pss.score.planned IS 'by a plan over the time that keys live, on forecasts';
COMMENT ON COLUMN pss.score.oracle IS 'the same keys placed in hindsight, by the loads that came while they lived; NULL: not yet known';
COMMENT ON COLUMN pss.score.policy IS 'the policy in use: capacity, reactive, forecast or planned';
COMMENT ON COLUMN pss.score.floor IS 'see pss.outlook';
COMMENT ON COLUMN pss.score.authority IS 'see pss.outlook';

CREATE VIEW pss.stat_balance WITH (security_barrier) AS
SELECT t.relation,
       w.span,
       pg_catalog.round(s.achieved::pg_catalog.numeric, 3) AS achieved,
       pg_catalog.round(s.static::pg_catalog.numeric, 3) AS static,
       pg_catalog.round(s.reactive::pg_catalog.numeric, 3) AS reactive,
       pg_catalog.round(s.pss::pg_catalog.numeric, 3) AS pss,
       pg_catalog.round(s.oracle::pg_catalog.numeric, 3) AS oracle,
       CASE WHEN (s.possible OPERATOR(pg_catalog./) s.known) OPERATOR(pg_catalog.>=) 0.02 THEN
           pg_catalog.round((s.captured OPERATOR(pg_catalog./) s.possible)::pg_catalog.numeric, 2) END AS gain,
       pg_catalog.round(s.floor::pg_catalog.numeric, 3) AS floor,
       pg_catalog.round(s.authority::pg_catalog.numeric, 3) AS authority,
       s.n,
       pg_catalog.date_trunc('second', pg_catalog.now() OPERATOR(pg_catalog.-) s.since) AS covers
FROM pss.sharded_table t
CROSS JOIN (VALUES (1, '10 min', '10 min'::pg_catalog.interval), (2, '1 h', '1 hour'), (3, '24 h', '1 day'),
                   (4, 'all', NULL)) AS w (place, span, length)
CROSS JOIN LATERAL (
    SELECT pg_catalog.count(*) AS n,
           pg_catalog.min(x.scored_at) AS since,
           pg_catalog.sum(x.load OPERATOR(pg_catalog.*) x.achieved) OPERATOR(pg_catalog./) pg_catalog.sum(x.load) AS achieved,
           pg_catalog.sum(x.load OPERATOR(pg_catalog.*) x.static) OPERATOR(pg_catalog./) pg_catalog.sum(x.load) AS static,
           pg_catalog.sum(x.load OPERATOR(pg_catalog.*) x.reactive) OPERATOR(pg_catalog./) pg_catalog.sum(x.load) AS reactive,
           pg_catalog.sum(x.load OPERATOR(pg_catalog.*) u.pss) OPERATOR(pg_catalog./) pg_catalog.sum(x.load) AS pss,
           pg_catalog.sum(x.load) FILTER (WHERE x.oracle IS NOT NULL) AS known,
           pg_catalog.sum(x.load OPERATOR(pg_catalog.*) x.oracle) OPERATOR(pg_catalog./)
               pg_catalog.sum(x.load) FILTER (WHERE x.oracle IS NOT NULL) AS oracle,
           pg_catalog.sum(x.load OPERATOR(pg_catalog.*) (x.static OPERATOR(pg_catalog.-) x.oracle)) AS possible,
           pg_catalog.sum(x.load OPERATOR(pg_catalog.*) (x.static OPERATOR(pg_catalog.-) x.achieved))
               FILTER (WHERE x.oracle IS NOT NULL) AS captured,
           pg_catalog.avg(x.floor) AS floor,
           pg_catalog.avg(x.authority) AS authority
    FROM pss.score x
    CROSS JOIN LATERAL (
        SELECT CASE WHEN x.policy OPERATOR(pg_catalog.=) 'planned' THEN x.planned
                    WHEN x.policy OPERATOR(pg_catalog.=) 'forecast' THEN x.forecast
                    WHEN x.policy OPERATOR(pg_catalog.=) 'reactive' THEN x.reactive
                    ELSE x.static END AS pss) AS u
    WHERE x.relation OPERATOR(pg_catalog.=) t.relation
      AND x.scored_at OPERATOR(pg_catalog.>) COALESCE(pg_catalog.now() OPERATOR(pg_catalog.-) w.length, '-infinity')) AS s
WHERE pg_catalog.has_table_privilege(t.relation, 'SELECT')
ORDER BY t.relation::pg_catalog.text, w.place;
COMMENT ON VIEW pss.stat_balance IS 'imbalance (max / mean of utilization - 1, mean by load) of each table over the last 10 minutes, hour, day and pss.sample_retention, beside what other placements of the same new keys would have had';
COMMENT ON COLUMN pss.stat_balance.achieved IS 'as measured';
COMMENT ON COLUMN pss.stat_balance.static IS 'modelled: new keys in proportion to capacity, as hashing places them';
COMMENT ON COLUMN pss.stat_balance.reactive IS 'modelled: by the last measured loads';
COMMENT ON COLUMN pss.stat_balance.pss IS 'modelled: by the policy that was in use; pss.stat_policy has each by itself';
COMMENT ON COLUMN pss.stat_balance.oracle IS 'modelled: the same keys placed in hindsight, by the loads that came while they lived, and so known later than the rest';
COMMENT ON COLUMN pss.stat_balance.gain IS 'captured gain: (static - achieved) / (static - oracle), over the cycles whose oracle is known; NULL where they differ by less than 0.02, and there is nothing to gain';
COMMENT ON COLUMN pss.stat_balance.floor IS 'what placing new keys was expected not to get below';
COMMENT ON COLUMN pss.stat_balance.authority IS 'part of the load that placing new keys could steer, 0 to 1';
COMMENT ON COLUMN pss.stat_balance.n IS 'cycles with load that were scored';
COMMENT ON COLUMN pss.stat_balance.covers IS 'how far back the first of them is';
GRANT SELECT ON pss.stat_balance TO PUBLIC;

CREATE VIEW pss.stat_policy WITH (security_barrier) AS
SELECT t.relation,
       p.policy,
       pg_catalog.round((p.recent OPERATOR(pg_catalog./) s.recent_load)::pg_catalog.numeric, 3) AS recent,
       pg_catalog.round((p.sum OPERATOR(pg_catalog./) s.load)::pg_catalog.numeric, 3) AS mean,
       pg_catalog.round(p.used::pg_catalog.numeric OPERATOR(pg_catalog./) s.n, 3) AS used,
       p.policy OPERATOR(pg_catalog.=) o.policy AS in_use,
       s.n,
       s.since::timestamptz(0) AS since
FROM pss.sharded_table t
CROSS JOIN LATERAL (
    SELECT pg_catalog.count(*) AS n,
           pg_catalog.min(x.scored_at) AS since,
           pg_catalog.sum(x.load) AS load,
           pg_catalog.sum(x.load) FILTER (WHERE r.recent) AS recent_load,
           pg_catalog.sum(x.load OPERATOR(pg_catalog.*) x.static) AS static,
           pg_catalog.sum(x.load OPERATOR(pg_catalog.*) x.static) FILTER (WHERE r.recent) AS recent_static,
           pg_catalog.sum(x.load OPERATOR(pg_catalog.*) x.fewest) AS fewest,
           pg_catalog.sum(x.load OPERATOR(pg_catalog.*) x.fewest) FILTER (WHERE r.recent) AS recent_fewest,
           pg_catalog.sum(x.load OPERATOR(pg_catalog.*) x.reactive) AS reactive,
           pg_catalog.sum(x.load OPERATOR(pg_catalog.*) x.reactive) FILTER (WHERE r.recent) AS recent_reactive,
           pg_catalog.sum(x.load OPERATOR(pg_catalog.*) x.forecast) AS forecast,
           pg_catalog.sum(x.load OPERATOR(pg_catalog.*) x.forecast) FILTER (WHERE r.recent) AS recent_forecast,
           pg_catalog.sum(x.load OPERATOR(pg_catalog.*) x.planned) AS planned,
           pg_catalog.sum(x.load OPERATOR(pg_catalog.*) x.planned) FILTER (WHERE r.recent) AS recent_planned,
           pg_catalog.count(*) FILTER (WHERE x.policy OPERATOR(pg_catalog.=) 'capacity') AS capacity_used,
           pg_catalog.count(*) FILTER (WHERE x.policy OPERATOR(pg_catalog.=) 'reactive') AS reactive_used,
           pg_catalog.count(*) FILTER (WHERE x.policy OPERATOR(pg_catalog.=) 'forecast') AS forecast_used,
           pg_catalog.count(*) FILTER (WHERE x.policy OPERATOR(pg_catalog.=) 'planned') AS planned_used
    FROM pss.score x
    CROSS JOIN LATERAL (
        SELECT x.scored_at OPERATOR(pg_catalog.>) (pg_catalog.now() OPERATOR(pg_catalog.-) '10 min'::pg_catalog.interval) AS recent) AS r
    WHERE x.relation OPERATOR(pg_catalog.=) t.relation) AS s
CROSS JOIN LATERAL (
    VALUES ('capacity', s.recent_static, s.static, s.capacity_used), ('fewest', s.recent_fewest, s.fewest, 0),
           ('reactive', s.recent_reactive, s.reactive, s.reactive_used),
           ('forecast', s.recent_forecast, s.forecast, s.forecast_used),
           ('planned', s.recent_planned, s.planned, s.planned_used)) AS p (policy, recent, sum, used)
LEFT JOIN pss.outlook o ON o.relation OPERATOR(pg_catalog.=) t.relation
WHERE s.n OPERATOR(pg_catalog.>) 0 AND pg_catalog.has_table_privilege(t.relation, 'SELECT')
ORDER BY t.relation::pg_catalog.text, p.policy;
COMMENT ON VIEW pss.stat_policy IS 'what each placement policy would have achieved on the loads that came: max / mean of utilization - 1, mean by load';
COMMENT ON COLUMN pss.stat_policy.policy IS 'capacity: in proportion to it; fewest: to the partition with the fewest keys; reactive: by the last measured loads; forecast; planned: over the time that keys live';
COMMENT ON COLUMN pss.stat_policy.recent IS 'over the last 10 minutes';
COMMENT ON COLUMN pss.stat_policy.mean IS 'over pss.sample_retention';
COMMENT ON COLUMN pss.stat_policy.used IS 'part of the scored cycles in which the policy set the weights';
COMMENT ON COLUMN pss.stat_policy.in_use IS 'whether it sets them now';
GRANT SELECT ON pss.stat_policy TO PUBLIC;
