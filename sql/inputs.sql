-- What applications and administrators tell about load: metrics and declared loads. The C symbols
-- are in src/inputs/.

-- Application metrics ---------------------------------------------------------

CREATE TABLE pss.metric (
    relation  regclass         NOT NULL,
    at        timestamptz      NOT NULL,
    partition int              NOT NULL,
    metric    text             NOT NULL,
    value     double precision NOT NULL
              CHECK (value OPERATOR(pg_catalog.>=) 0 AND value OPERATOR(pg_catalog.<=) 1e15),
    PRIMARY KEY (relation, at, partition, metric)
);
COMMENT ON TABLE pss.metric IS 'values that applications recorded, kept for pss.sample_retention, or pss.metric_ttl if that is longer; never dumped';
COMMENT ON COLUMN pss.metric.at IS 'from when on the value holds: until the next one, or for pss.metric_ttl';

CREATE TABLE pss.metric_cost (
    relation regclass         NOT NULL,
    metric   text             NOT NULL,
    cost     double precision NOT NULL
             CHECK (cost OPERATOR(pg_catalog.>=) 0 AND cost OPERATOR(pg_catalog.<=) 1e15),
    PRIMARY KEY (relation, metric)
);
COMMENT ON TABLE pss.metric_cost IS 'load that one unit of a metric stands for, where it is not 1';
COMMENT ON COLUMN pss.metric_cost.cost IS 'cost units per second and unit of value; 0: recorded, but no load';
SELECT pg_catalog.pg_extension_config_dump('pss.metric_cost', '');

CREATE FUNCTION pss_record_metric(
    relation  regclass,
    partition int,
    metric    text,
    value     double precision,
    at        timestamptz DEFAULT pg_catalog.now()
) RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pss_record_metric_wrapper';
COMMENT ON FUNCTION pss_record_metric(regclass, int, text, double precision, timestamptz)
IS 'records an application metric as a load of a partition (a gauge: it holds until the next value, or for pss.metric_ttl); needs the INSERT privilege on the table';

CREATE FUNCTION pss_set_metric_cost(relation regclass, metric text, cost double precision)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pss_set_metric_cost_wrapper';
COMMENT ON FUNCTION pss_set_metric_cost(regclass, text, double precision)
IS 'sets the load that one unit of a metric stands for, from the next sample on; 0: recorded, but no load; NULL: the default, 1';
REVOKE ALL ON FUNCTION pss_set_metric_cost(regclass, text, double precision) FROM PUBLIC;

CREATE VIEW pss.metrics WITH (security_barrier) AS
SELECT m.relation,
       m.partition,
       m.metric,
       m.value,
       c.cost,
       m.value OPERATOR(pg_catalog.*) c.cost AS load,
       m.at::timestamptz(0) AS at
FROM (SELECT DISTINCT ON (x.relation, x.partition, x.metric) x.*
      FROM pss.metric x
      WHERE x.at OPERATOR(pg_catalog.>) (pg_catalog.now() OPERATOR(pg_catalog.-) GREATEST(
                '1 hour'::pg_catalog.interval,
                pg_catalog.current_setting('pss.metric_ttl', true)::pg_catalog.interval))
      ORDER BY x.relation, x.partition, x.metric, x.at DESC) AS m
CROSS JOIN LATERAL (
    SELECT COALESCE((SELECT k.cost FROM pss.metric_cost k
                     WHERE k.relation OPERATOR(pg_catalog.=) m.relation
                       AND k.metric OPERATOR(pg_catalog.=) m.metric), 1) AS cost) AS c
WHERE pg_catalog.has_table_privilege(m.relation, 'SELECT')
ORDER BY m.relation::pg_catalog.text, m.partition, m.metric;
COMMENT ON VIEW pss.metrics IS 'the newest value of each metric that an application recorded within the last hour, or pss.metric_ttl if that is longer';
COMMENT ON COLUMN pss.metrics.cost IS 'cost units per second and unit of value, see pss_set_metric_cost';
COMMENT ON COLUMN pss.metrics.load IS 'foreign load that the value stands for while it holds, cost units per second';

-- Declared loads --------------------------------------------------------------

CREATE TABLE pss.expectation (
    id          bigint           GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relation    regclass         NOT NULL,
    partition   int              NOT NULL,
    load        double precision NOT NULL
                CHECK (load OPERATOR(pg_catalog.>) 0 AND load OPERATOR(pg_catalog.<=) 1e15),
    begins_at   timestamptz      NOT NULL,
    ends_at     timestamptz      NOT NULL CHECK (ends_at OPERATOR(pg_catalog.>) begins_at),
    declared_at timestamptz      NOT NULL DEFAULT pg_catalog.now(),
    declared_by name             NOT NULL
);
CREATE INDEX expectation_by_end ON pss.expectation (relation, ends_at);
COMMENT ON TABLE pss.expectation IS 'loads declared by pss_expect, kept for pss.sample_retention after their end';
COMMENT ON COLUMN pss.expectation.load IS 'foreign load while it runs, cost units per second';
SELECT pg_catalog.pg_extension_config_dump('pss.expectation',
    'WHERE ends_at OPERATOR(pg_catalog.>) pg_catalog.now()');
SELECT pg_catalog.pg_extension_config_dump('pss.expectation_id_seq', '');

CREATE FUNCTION pss_expect(
    relation  regclass,
    partition int,
    load      double precision,
    "from"    timestamptz,
    until     timestamptz
) RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pss_expect_wrapper';
COMMENT ON FUNCTION pss_expect(regclass, int, double precision, timestamptz, timestamptz)
IS 'declares a load (cost units per second) that is known to fall on a partition; counts before it begins, no longer when it ends; returns its number';
REVOKE ALL ON FUNCTION pss_expect(regclass, int, double precision, timestamptz, timestamptz) FROM PUBLIC;

CREATE FUNCTION pss_expect_key(
    relation  regclass,
    data_key  anyelement,
    load      double precision,
    "from"    timestamptz,
    until     timestamptz
) RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pss_expect_key_wrapper';
COMMENT ON FUNCTION pss_expect_key(regclass, anyelement, double precision, timestamptz, timestamptz)
IS 'declares a load that is known to fall on the partition of a data key';
REVOKE ALL ON FUNCTION pss_expect_key(regclass, anyelement, double precision, timestamptz, timestamptz) FROM PUBLIC;

-- For a key given as a literal, which has no type of its own.
CREATE FUNCTION pss_expect_key(
    relation  regclass,
    data_key  text,
    load      double precision,
    "from"    timestamptz,
    until     timestamptz
) RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pss_expect_key_text_wrapper';
COMMENT ON FUNCTION pss_expect_key(regclass, text, double precision, timestamptz, timestamptz)
IS 'declares a load that is known to fall on the partition of a data key given as text';
REVOKE ALL ON FUNCTION pss_expect_key(regclass, text, double precision, timestamptz, timestamptz) FROM PUBLIC;

CREATE FUNCTION pss_unexpect(id bigint)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pss_unexpect_wrapper';
COMMENT ON FUNCTION pss_unexpect(bigint)
IS 'takes back a declared load; where it has run already, what was counted stays counted';
REVOKE ALL ON FUNCTION pss_unexpect(bigint) FROM PUBLIC;

CREATE VIEW pss.expectations WITH (security_barrier) AS
SELECT e.id,
       e.relation,
       e.partition,
       e.load,
       e.begins_at::timestamptz(0) AS begins_at,
       e.ends_at::timestamptz(0) AS ends_at,
       CASE WHEN e.begins_at OPERATOR(pg_catalog.>) pg_catalog.now() THEN 'to come'
            WHEN e.ends_at OPERATOR(pg_catalog.>) pg_catalog.now() THEN 'running' ELSE 'over' END AS state,
       e.declared_by
FROM pss.expectation e
WHERE pg_catalog.has_table_privilege(e.relation, 'SELECT')
ORDER BY e.begins_at, e.id;
COMMENT ON VIEW pss.expectations IS 'loads declared by pss_expect';
COMMENT ON COLUMN pss.expectations.id IS 'what pss_unexpect takes it back by';
COMMENT ON COLUMN pss.expectations.load IS 'foreign load while it runs, cost units per second';

GRANT SELECT ON pss.metrics, pss.expectations TO PUBLIC;
GRANT SELECT ON pss.metric, pss.metric_cost, pss.expectation TO pg_monitor;
