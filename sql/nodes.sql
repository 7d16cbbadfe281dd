-- Capacity of partitions, nodes and tablespaces: what is configured, discovered and learned. The C
-- symbols are in src/capacity/.

-- Configuration (dumped) -------------------------------------------------------

CREATE TABLE pss.node_capacity (
    node     name PRIMARY KEY,
    capacity double precision,
    cpu      double precision,
    read     double precision,
    write    double precision,
    bytes    double precision,
    memory   double precision,
    storage  double precision,
    set_at   timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE pss.node_capacity IS 'what is configured of nodes; written by pss_set_node_capacity';
COMMENT ON COLUMN pss.node_capacity.capacity IS 'load that its partitions can carry together, in the unit of their own capacity; NULL: as much as they can';

CREATE TABLE pss.tablespace (
    tablespace name PRIMARY KEY,
    capacity   double precision,
    cpu        double precision,
    read       double precision,
    write      double precision,
    bytes      double precision,
    memory     double precision,
    storage    double precision,
    set_at     timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE pss.tablespace IS 'what is configured of tablespaces; written by pss_set_tablespace_capacity';
COMMENT ON COLUMN pss.tablespace.capacity IS 'load that its partitions can carry together, in the unit of their own capacity; NULL: as much as they can';

CREATE TABLE pss.partition_capacity (
    relation  regclass NOT NULL,
    partition int      NOT NULL,
    cpu       double precision,
    read      double precision,
    write     double precision,
    bytes     double precision,
    memory    double precision,
    storage   double precision,
    set_at    timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (relation, partition)
);
COMMENT ON TABLE pss.partition_capacity IS 'what is configured of partitions beside their relative capacity; written by pss_set_capacity';

SELECT pg_catalog.pg_extension_config_dump('pss.node_capacity', '');
SELECT pg_catalog.pg_extension_config_dump('pss.tablespace', '');
SELECT pg_catalog.pg_extension_config_dump('pss.partition_capacity', '');

-- Observations (never dumped) ----------------------------------------------------

CREATE TABLE pss.found_capacity (
    kind       text NOT NULL,
    name       name NOT NULL,
    resource   text NOT NULL,
    discovered double precision,
    learned    double precision,
    found_at   timestamptz NOT NULL,
    PRIMARY KEY (kind, name, resource)
) WITH (fillfactor = 50);
COMMENT ON TABLE pss.found_capacity IS 'what the system says of nodes and tablespaces, and what they showed under load';

CREATE TABLE pss.learned_capacity (
    relation   regclass         NOT NULL,
    partition  int              NOT NULL,
    learned    double precision NOT NULL,
    found_at   timestamptz      NOT NULL,
    PRIMARY KEY (relation, partition)
) WITH (fillfactor = 50);
COMMENT ON TABLE pss.learned_capacity IS 'load that partitions carried while statements queued, cost units per second';

-- Functions ----------------------------------------------------------------------

CREATE FUNCTION pss_set_capacity(
    relation  regclass,
    partition int,
    capacity  double precision DEFAULT NULL,
    cpu       double precision DEFAULT NULL,
    read      double precision DEFAULT NULL,
    write     double precision DEFAULT NULL,
    bytes     double precision DEFAULT NULL,
    memory    double precision DEFAULT NULL,
    storage   double precision DEFAULT NULL
) RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_set_capacity_wrapper';
COMMENT ON FUNCTION pss_set_capacity(regclass, int, double precision, double precision, double precision, double precision, double precision, double precision, double precision)
IS 'sets what a partition can carry: capacity relative to the others (default 1), or processors, blocks and bytes a second, and bytes of memory and disk; NULL: unchanged, 0: no longer set';
REVOKE ALL ON FUNCTION pss_set_capacity(regclass, int, double precision, double precision, double precision, double precision, double precision, double precision, double precision) FROM PUBLIC;

CREATE FUNCTION pss_set_node_capacity(
    node      name,
    capacity  double precision DEFAULT NULL,
    cpu       double precision DEFAULT NULL,
    read      double precision DEFAULT NULL,
    write     double precision DEFAULT NULL,
    bytes     double precision DEFAULT NULL,
    memory    double precision DEFAULT NULL,
    storage   double precision DEFAULT NULL
) RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_set_node_capacity_wrapper';
COMMENT ON FUNCTION pss_set_node_capacity(name, double precision, double precision, double precision, double precision, double precision, double precision, double precision)
IS 'sets what the partitions of a node can carry together: capacity in the unit of theirs, or processors, blocks and bytes a second, and bytes of memory and disk; NULL: unchanged, 0: no longer set';
REVOKE ALL ON FUNCTION pss_set_node_capacity(name, double precision, double precision, double precision, double precision, double precision, double precision, double precision) FROM PUBLIC;

CREATE FUNCTION pss_set_tablespace_capacity(
    tablespace name,
    capacity   double precision DEFAULT NULL,
    cpu        double precision DEFAULT NULL,
    read       double precision DEFAULT NULL,
    write      double precision DEFAULT NULL,
    bytes      double precision DEFAULT NULL,
    memory     double precision DEFAULT NULL,
    storage    double precision DEFAULT NULL
) RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'pss_set_tablespace_capacity_wrapper';
COMMENT ON FUNCTION pss_set_tablespace_capacity(name, double precision, double precision, double precision, double precision, double precision, double precision, double precision)
IS 'sets what the partitions in a tablespace can carry together, as pss_set_node_capacity does for a node';
REVOKE ALL ON FUNCTION pss_set_tablespace_capacity(name, double precision, double precision, double precision, double precision, double precision, double precision, double precision) FROM PUBLIC;

-- Views --------------------------------------------------------------------------

CREATE VIEW pss.capacity WITH (security_barrier) AS
WITH place AS (
    SELECT p.relation, p.partition, p.leaf, p.node, p.capacity,
           s.spcname AS tablespace
    FROM pss.partition p
    LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) p.leaf
    LEFT JOIN pg_catalog.pg_database d ON d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
    LEFT JOIN pg_catalog.pg_tablespace s
           ON s.oid OPERATOR(pg_catalog.=) COALESCE(NULLIF(c.reltablespace, 0::pg_catalog.oid), d.dattablespace)
    WHERE pg_catalog.has_table_privilege(p.relation, 'SELECT')
), load AS (
    SELECT x.relation, x.partition, x.own_load OPERATOR(pg_catalog.+) x.foreign_load AS load
    FROM pss.sharded_table t
    JOIN pss.sample x ON x.relation OPERATOR(pg_catalog.=) t.relation
                     AND x.sampled_at OPERATOR(pg_catalog.=) (
                         SELECT pg_catalog.max(m.sampled_at) FROM pss.sample m
                         WHERE m.relation OPERATOR(pg_catalog.=) t.relation)
), used AS (
    SELECT l.relation, l.partition, 'load' AS resource, l.load AS amount FROM load l
    UNION ALL
    SELECT v.relation, u.partition, r.resource, r.amount
    FROM pss.load_vector v
    CROSS JOIN LATERAL ROWS FROM (
        pg_catalog.unnest(v.partitions), pg_catalog.unnest(v.cpu), pg_catalog.unnest(v.read),
        pg_catalog.unnest(v.write), pg_catalog.unnest(v.bytes), pg_catalog.unnest(v.memory),
        pg_catalog.unnest(v.storage)) AS u (partition, cpu, read, write, bytes, memory, storage)
    CROSS JOIN LATERAL (VALUES
        ('cpu', u.cpu OPERATOR(pg_catalog./) 1e6::pg_catalog.float8), ('read', u.read), ('write', u.write),
        ('bytes', u.bytes), ('memory', u.memory), ('storage', u.storage)) AS r (resource, amount)
), total AS (
    SELECT 'partition' AS kind, pg_catalog.format('%s #%s', p.relation, p.partition) AS name, u.resource, u.amount
    FROM place p JOIN used u ON u.relation OPERATOR(pg_catalog.=) p.relation AND u.partition OPERATOR(pg_catalog.=) p.partition
    UNION ALL
    SELECT 'node', p.node, u.resource, pg_catalog.sum(u.amount)
    FROM place p JOIN used u ON u.relation OPERATOR(pg_catalog.=) p.relation AND u.partition OPERATOR(pg_catalog.=) p.partition
    GROUP BY p.node, u.resource
    UNION ALL
    SELECT 'tablespace', p.tablespace, u.resource, pg_catalog.sum(u.amount)
    FROM place p JOIN used u ON u.relation OPERATOR(pg_catalog.=) p.relation AND u.partition OPERATOR(pg_catalog.=) p.partition
    GROUP BY p.tablespace, u.resource
), configured AS (
    SELECT 'node' AS kind, n.node::pg_catalog.text AS name, r.resource, r.amount, n.set_at
    FROM pss.node_capacity n
    CROSS JOIN LATERAL (VALUES ('relative', n.capacity), ('cpu', n.cpu), ('read', n.read), ('write', n.write),
        ('bytes', n.bytes), ('memory', n.memory), ('storage', n.storage)) AS r (resource, amount)
    UNION ALL
    SELECT 'tablespace', s.tablespace, r.resource, r.amount, s.set_at
    FROM pss.tablespace s
    CROSS JOIN LATERAL (VALUES ('relative', s.capacity), ('cpu', s.cpu), ('read', s.read), ('write', s.write),
        ('bytes', s.bytes), ('memory', s.memory), ('storage', s.storage)) AS r (resource, amount)
    UNION ALL
    SELECT 'partition', pg_catalog.format('%s #%s', p.relation, p.partition), 'relative', p.capacity, NULL
    FROM place p
    UNION ALL
    SELECT 'partition', pg_catalog.format('%s #%s', p.relation, p.partition), r.resource, r.amount, p.set_at
    FROM pss.partition_capacity p
    CROSS JOIN LATERAL (VALUES ('cpu', p.cpu), ('read', p.read), ('write', p.write),
        ('bytes', p.bytes), ('memory', p.memory), ('storage', p.storage)) AS r (resource, amount)
    WHERE pg_catalog.has_table_privilege(p.relation, 'SELECT')
), found AS (
    SELECT f.kind, f.name::pg_catalog.text AS name, f.resource, f.discovered, f.learned, f.found_at
    FROM pss.found_capacity f
    UNION ALL
    SELECT 'partition', pg_catalog.format('%s #%s', l.relation, l.partition), 'load', NULL, l.learned, l.found_at
    FROM pss.learned_capacity l
    JOIN place p ON p.relation OPERATOR(pg_catalog.=) l.relation AND p.partition OPERATOR(pg_catalog.=) l.partition
)
SELECT k.kind,
       k.name,
       k.resource,
       c.amount AS configured,
       f.discovered,
       pg_catalog.round(f.learned::pg_catalog.numeric, 1) AS learned,
       pg_catalog.round(COALESCE(c.amount, f.discovered, f.learned)::pg_catalog.numeric, 1) AS in_use,
       pg_catalog.round(t.amount::pg_catalog.numeric, 2) AS used,
       pg_catalog.round((t.amount OPERATOR(pg_catalog./) NULLIF(COALESCE(c.amount, f.discovered, f.learned), 0::pg_catalog.float8))::pg_catalog.numeric, 3) AS utilization,
       (CASE WHEN c.amount IS NULL THEN f.found_at ELSE c.set_at END)::timestamptz(0) AS since
FROM (SELECT kind, name, resource FROM configured WHERE amount IS NOT NULL
      UNION SELECT kind, name, resource FROM found WHERE discovered IS NOT NULL OR learned IS NOT NULL) AS k
LEFT JOIN configured c ON c.kind OPERATOR(pg_catalog.=) k.kind AND c.name OPERATOR(pg_catalog.=) k.name
                      AND c.resource OPERATOR(pg_catalog.=) k.resource
LEFT JOIN found f ON f.kind OPERATOR(pg_catalog.=) k.kind AND f.name OPERATOR(pg_catalog.=) k.name
                 AND f.resource OPERATOR(pg_catalog.=) k.resource
LEFT JOIN total t ON t.kind OPERATOR(pg_catalog.=) k.kind AND t.name OPERATOR(pg_catalog.=) k.name
                 AND t.resource OPERATOR(pg_catalog.=) k.resource
ORDER BY k.kind, k.name, k.resource;
COMMENT ON VIEW pss.capacity IS 'what nodes, tablespaces and partitions can carry, who says so, and how much of it is used';
COMMENT ON COLUMN pss.capacity.resource IS 'relative: in the unit of the partitions'' capacity; load: cost units a second; cpu: processors; read, write: blocks a second; bytes: of rows written a second; memory, storage: bytes';
COMMENT ON COLUMN pss.capacity.configured IS 'set by hand; 1 unless set, for the relative capacity of a partition';
COMMENT ON COLUMN pss.capacity.discovered IS 'what the operating system says of this server, limits of its container included';
COMMENT ON COLUMN pss.capacity.learned IS 'what it carried while statements queued';
COMMENT ON COLUMN pss.capacity.in_use IS 'configured, else discovered, else learned';
COMMENT ON COLUMN pss.capacity.used IS 'by partitions of sharded tables of this database, between the last two samples';
COMMENT ON COLUMN pss.capacity.since IS 'when the figure in use was set or found';
GRANT SELECT ON pss.capacity TO PUBLIC;

GRANT SELECT ON pss.node_capacity, pss.tablespace, pss.partition_capacity TO PUBLIC;
GRANT SELECT ON pss.found_capacity, pss.learned_capacity TO pg_monitor;
