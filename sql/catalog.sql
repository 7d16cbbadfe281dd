-- The catalog of pss: what is configured, what is published, what was observed.
--
-- Rows of user tables carry their own truth (column pss_partition); nothing
-- here is needed to find them again. Only configuration is dumped: the row
-- maps and map_state are rebuilt from the rows, observations start anew.

-- Fails if the schema exists: nobody can plant objects before us.
CREATE SCHEMA pss;
COMMENT ON SCHEMA pss IS 'catalog and views of the pss extension (predictive sharding)';

-- Configuration (dumped) -----------------------------------------------------

CREATE TABLE pss.node (
    node name PRIMARY KEY
);
COMMENT ON TABLE pss.node IS 'servers that hold partitions; "local" is this one';
INSERT INTO pss.node (node) VALUES ('local');

CREATE TABLE pss.sharded_table (
    relation            regclass    PRIMARY KEY,
    distribution_column name        NOT NULL,
    mapping             text        NOT NULL DEFAULT 'row'
                        CHECK (mapping OPERATOR(pg_catalog.=) 'row' OR mapping OPERATOR(pg_catalog.=) 'slot'),
    unique_scope        text        NOT NULL DEFAULT 'table'
                        CHECK (unique_scope OPERATOR(pg_catalog.=) 'table' OR unique_scope OPERATOR(pg_catalog.=) 'partition'),
    slots               int         NOT NULL DEFAULT 4096
                        CHECK (slots OPERATOR(pg_catalog.>=) 64 AND slots OPERATOR(pg_catalog.<=) 65536
                               AND (slots OPERATOR(pg_catalog.&) (slots OPERATOR(pg_catalog.-) 1)) OPERATOR(pg_catalog.=) 0),
    quota               text        NOT NULL DEFAULT 'rows'
                        CHECK (quota OPERATOR(pg_catalog.=) 'rows' OR quota OPERATOR(pg_catalog.=) 'bytes'),
    forecast_method     text        NOT NULL DEFAULT 'auto'
                        CHECK (forecast_method OPERATOR(pg_catalog.=) ANY (
                            '{auto,naive,median,ses,holt,ets,ar,seasonal,combined}'::pg_catalog.text[])),
    created_at          timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE pss.sharded_table IS 'parent tables managed by pss';
COMMENT ON COLUMN pss.sharded_table.distribution_column IS 'column whose value is the data key';
COMMENT ON COLUMN pss.sharded_table.mapping IS 'how keys are mapped: row (one partition per key, exact) or slot (by the key''s slot, nothing is stored per key)';
COMMENT ON COLUMN pss.sharded_table.unique_scope IS 'where unique keys hold: table, or with mapping slot, which allows none else, partition';
COMMENT ON COLUMN pss.sharded_table.slots IS 'buckets of the virtual key space that an epoch assigns to partitions';
COMMENT ON COLUMN pss.sharded_table.quota IS 'what a partition''s quota counts: rows (new keys) or bytes (their sizes)';
COMMENT ON COLUMN pss.sharded_table.forecast_method IS 'how foreign load is forecast; auto: by what lately was best, at each partition and horizon';

-- No foreign keys between dumped tables: a parallel restore loads them in any
-- order. Only our own functions write them, and pss_check() compares them.
CREATE TABLE pss.partition (
    relation  regclass         NOT NULL,
    partition int              NOT NULL
              CHECK (partition OPERATOR(pg_catalog.>=) 0 AND partition OPERATOR(pg_catalog.<) 65536),
    leaf      regclass         NOT NULL UNIQUE,
    node      name             NOT NULL DEFAULT 'local',
    capacity  double precision NOT NULL DEFAULT 1
              CHECK (capacity OPERATOR(pg_catalog.>) 0 AND capacity OPERATOR(pg_catalog.<) 'infinity'),
    state     text             NOT NULL DEFAULT 'active'
              CHECK (state OPERATOR(pg_catalog.=) ANY ('{active,disabled,failed}'::pg_catalog.text[])),
    PRIMARY KEY (relation, partition)
);
COMMENT ON TABLE pss.partition IS 'the children of sharded tables that hold rows (the inbox is not among them)';
COMMENT ON COLUMN pss.partition.capacity IS 'load the partition can carry, relative to the others';
COMMENT ON COLUMN pss.partition.state IS 'active: takes new keys; disabled: keeps its rows and takes no new keys; failed: likewise, until the worker finds its disk well again';

CREATE TABLE pss.multi_home (
    relation     regclass    NOT NULL,
    key_hash     bigint      NOT NULL,
    homes        int[]       NOT NULL CHECK (pg_catalog.cardinality(homes) OPERATOR(pg_catalog.>) 0),
    unique_scope text        NOT NULL DEFAULT 'table'
                 CHECK (unique_scope OPERATOR(pg_catalog.=) 'table' OR unique_scope OPERATOR(pg_catalog.=) 'partition'),
    since        timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (relation, key_hash)
);
COMMENT ON TABLE pss.multi_home IS 'data keys that are spread over several partitions, by hash; all others have one home. Written by pss_spread_key and pss_unspread_key';
COMMENT ON COLUMN pss.multi_home.key_hash IS 'what pss_key_hash says of the key';
COMMENT ON COLUMN pss.multi_home.homes IS 'partitions that its rows are in';
COMMENT ON COLUMN pss.multi_home.unique_scope IS 'where unique keys hold for its rows: table (there are none), or partition (that was accepted)';

SELECT pg_catalog.pg_extension_config_dump('pss.node', 'WHERE node OPERATOR(pg_catalog.<>) ''local''');
SELECT pg_catalog.pg_extension_config_dump('pss.sharded_table', '');
SELECT pg_catalog.pg_extension_config_dump('pss.partition', '');
SELECT pg_catalog.pg_extension_config_dump('pss.multi_home', '');

-- State (never dumped: rebuilt from the rows, or published anew) --------------

CREATE TABLE pss.map_state (
    relation     regclass    PRIMARY KEY,
    map          regclass    NOT NULL,
    complete     boolean     NOT NULL DEFAULT false,
    completed_by xid8,
    rebuilt_at   timestamptz
);
COMMENT ON TABLE pss.map_state IS 'map of each sharded table; no row, or not complete: look-ups fall back to the leaves';
COMMENT ON COLUMN pss.map_state.map IS 'row map: e = key hash (48 bit) << 16 | partition, virtual_key; in slot mode with slots in place of hashes';
COMMENT ON COLUMN pss.map_state.complete IS 'every key with rows has its entry; in slot mode every partition with rows of a slot';
COMMENT ON COLUMN pss.map_state.completed_by IS 'transaction that completed the map: snapshots that do not see it read without the map';

CREATE TABLE pss.epoch (
    relation     regclass           NOT NULL,
    epoch        int                NOT NULL CHECK (epoch OPERATOR(pg_catalog.>=) 0),
    published_at timestamptz        NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    reason       text               NOT NULL,
    weights      double precision[] NOT NULL,
    salt         bigint             NOT NULL,
    slots        bytea              NOT NULL,
    forecast     jsonb,
    PRIMARY KEY (relation, epoch)
);
COMMENT ON TABLE pss.epoch IS 'published sets of weights, immutable; epoch 0 is proportional to capacity';
COMMENT ON COLUMN pss.epoch.weights IS 'share of new keys per partition, in order of partition number; sums to 1';
COMMENT ON COLUMN pss.epoch.slots IS 'owner of each slot, two bytes each, least significant first';
COMMENT ON COLUMN pss.epoch.forecast IS 'the forecast behind the weights, per partition';

CREATE TABLE pss.outlook (
    relation       regclass           PRIMARY KEY,
    decided_at     timestamptz        NOT NULL,
    reason         text               NOT NULL,
    policy         text               NOT NULL DEFAULT 'capacity',
    adjusted       jsonb              NOT NULL DEFAULT '{}',
    authority      double precision   NOT NULL,
    floor          double precision   NOT NULL,
    control_window interval,
    foreign_load   double precision[] NOT NULL,
    committed_load double precision[] NOT NULL,
    level          double precision[] NOT NULL,
    lo             double precision[] NOT NULL,
    hi             double precision[] NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE pss.outlook IS 'the last decision of each sharded table: what it expects; arrays in order of partition number';
COMMENT ON COLUMN pss.outlook.policy IS 'the policy that sets the shares, as pss.score names it';
COMMENT ON COLUMN pss.outlook.adjusted IS 'what pss has set of its own accord, as the last event about each said';
COMMENT ON COLUMN pss.outlook.authority IS 'part of the load in the control window that placing new keys can steer, 0 to 1';
COMMENT ON COLUMN pss.outlook.floor IS 'max / mean of expected utilization - 1 that placing new keys cannot get below, the hottest key''s share included';
COMMENT ON COLUMN pss.outlook.control_window IS 'time over which loads were averaged';
COMMENT ON COLUMN pss.outlook.foreign_load IS 'expected load of what pss did not place, cost units per second';
COMMENT ON COLUMN pss.outlook.committed_load IS 'expected load of keys placed earlier, cost units per second';
COMMENT ON COLUMN pss.outlook.level IS 'expected load with the new keys, cost units per second';
COMMENT ON COLUMN pss.outlook.lo IS 'lower end of the 80 % interval of level';
COMMENT ON COLUMN pss.outlook.hi IS 'upper end of the 80 % interval of level';

-- Observations (never dumped; retention bounded by pss.sample_retention) ------

CREATE TABLE pss.sample (
    relation      regclass         NOT NULL,
    partition     int              NOT NULL,
    sampled_at    timestamptz      NOT NULL
                  CHECK (sampled_at OPERATOR(pg_catalog.>) '-infinity' AND sampled_at OPERATOR(pg_catalog.<) 'infinity'),
    tup_inserted  bigint           NOT NULL,
    tup_updated   bigint           NOT NULL,
    tup_deleted   bigint           NOT NULL,
    idx_tup_fetch bigint           NOT NULL,
    seq_tup_read  bigint           NOT NULL,
    blks_read     bigint           NOT NULL,
    blks_hit      bigint           NOT NULL,
    size_bytes    bigint,
    own_rows      bigint           NOT NULL,
    own_keys      bigint           NOT NULL,
    own_load      double precision,
    foreign_load  double precision,
    own_keys_by_size bigint[]      NOT NULL DEFAULT '{}',
    metric_load   double precision NOT NULL DEFAULT 0,
    declared_load double precision NOT NULL DEFAULT 0,
    reads         bigint           NOT NULL DEFAULT 0,
    writes        bigint           NOT NULL DEFAULT 0,
    read_us       bigint           NOT NULL DEFAULT 0,
    write_us      bigint           NOT NULL DEFAULT 0,
    insert_us     bigint           NOT NULL DEFAULT 0,
    PRIMARY KEY (relation, sampled_at, partition)
);
COMMENT ON TABLE pss.sample IS 'cumulative counters of each partition at each sampling, and the load since the one before';
COMMENT ON COLUMN pss.sample.own_rows IS 'rows that pss routed to the partition (exact, from shared memory)';
COMMENT ON COLUMN pss.sample.own_keys IS 'new keys that pss placed on the partition (exact, from shared memory)';
COMMENT ON COLUMN pss.sample.own_keys_by_size IS 'the same by size class: first those whose size was not given, then steps of the square root of two';
COMMENT ON COLUMN pss.sample.own_load IS 'load of rows that pss routed, cost units per second; NULL: missing';
COMMENT ON COLUMN pss.sample.reads IS 'statements that read the partition (from shared memory, as the next four)';
COMMENT ON COLUMN pss.sample.writes IS 'statements that wrote it';
COMMENT ON COLUMN pss.sample.read_us IS 'microseconds that its reads took';
COMMENT ON COLUMN pss.sample.write_us IS 'microseconds that its writes took';
COMMENT ON COLUMN pss.sample.insert_us IS 'part of write_us that INSERTs took, whose rows are own load';
COMMENT ON COLUMN pss.sample.foreign_load IS 'all other load, cost units per second; NULL: missing';
COMMENT ON COLUMN pss.sample.metric_load IS 'what of the foreign load applications have recorded, cost units per second';
COMMENT ON COLUMN pss.sample.declared_load IS 'what of the foreign load had been declared by pss_expect, cost units per second';

CREATE TABLE pss.forecast (
    relation      regclass         NOT NULL,
    partition     int              NOT NULL,
    made_at       timestamptz      NOT NULL,
    horizon       interval         NOT NULL,
    model         text             NOT NULL,
    value         double precision NOT NULL,
    lo            double precision,
    hi            double precision,
    last_value    double precision,
    actual        double precision,
    PRIMARY KEY (relation, made_at, partition, horizon)
);
COMMENT ON TABLE pss.forecast IS 'forecasts of foreign load, matched with what came when their time came';
COMMENT ON COLUMN pss.forecast.value IS 'forecast foreign load at made_at + horizon, cost units per second';
COMMENT ON COLUMN pss.forecast.lo IS 'lower end of the 80 % interval';
COMMENT ON COLUMN pss.forecast.last_value IS 'foreign load when the forecast was made: the naive forecast it must beat';
COMMENT ON COLUMN pss.forecast.actual IS 'foreign load that came; NULL: not yet, or missing';

CREATE TABLE pss.forecast_model (
    relation  regclass           NOT NULL,
    partition int                NOT NULL,
    horizon   interval           NOT NULL,
    model     text               NOT NULL,
    since     timestamptz        NOT NULL,
    scored_at timestamptz        NOT NULL,
    models    text[]             NOT NULL,
    relative  double precision[] NOT NULL,
    PRIMARY KEY (relation, partition, horizon)
) WITH (fillfactor = 50);
COMMENT ON TABLE pss.forecast_model IS 'the model in use at each horizon of each partition, and how all models do; looked at once a minute';
COMMENT ON COLUMN pss.forecast_model.since IS 'when the model in use was first seen in use, without a break since';
COMMENT ON COLUMN pss.forecast_model.models IS 'models that have been scored at a horizon near this one';
COMMENT ON COLUMN pss.forecast_model.relative IS 'their recent error relative to last value, in the same order';

CREATE TABLE pss.event (
    event_id bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    relation regclass,
    kind     text        NOT NULL,
    message  text        NOT NULL,
    detail   jsonb
);
COMMENT ON TABLE pss.event IS 'decision log: what pss did and why';

CREATE TABLE pss.map_cleaning (
    relation    regclass    PRIMARY KEY,
    began_at    timestamptz,
    cleaned_at  timestamptz,
    next_entry  bigint,
    deleted     bigint      NOT NULL DEFAULT 0,
    entries     bigint      NOT NULL DEFAULT 0,
    noted_at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    noted_xid   bigint      NOT NULL,
    old_xid     bigint,
    orphans     bigint      NOT NULL DEFAULT 0,
    duplicates  bigint      NOT NULL DEFAULT 0,
    reindex_tried_at timestamptz,
    reindexed_at     timestamptz,
    index_bytes      bigint
) WITH (fillfactor = 50);
COMMENT ON TABLE pss.map_cleaning IS 'how far the cleaning of each row map has come, and what it has removed';
COMMENT ON COLUMN pss.map_cleaning.cleaned_at IS 'when a pass over the whole map last ended';
COMMENT ON COLUMN pss.map_cleaning.next_entry IS 'where the pass under way goes on; NULL: none is';
COMMENT ON COLUMN pss.map_cleaning.deleted IS 'rows deleted from the partitions, as counted by the server, when the last pass began';
COMMENT ON COLUMN pss.map_cleaning.entries IS 'entries of the map when the last pass began, estimated';
COMMENT ON COLUMN pss.map_cleaning.noted_xid IS 'the transaction that was to come next at noted_at';
COMMENT ON COLUMN pss.map_cleaning.old_xid IS 'entries of earlier transactions are older than pss.reservation_ttl';
COMMENT ON COLUMN pss.map_cleaning.orphans IS 'entries removed because no row had their key';
COMMENT ON COLUMN pss.map_cleaning.duplicates IS 'entries removed because another one said the same';
COMMENT ON COLUMN pss.map_cleaning.reindex_tried_at IS 'when its index was last begun to be rebuilt';
COMMENT ON COLUMN pss.map_cleaning.reindexed_at IS 'when its index was last rebuilt';
COMMENT ON COLUMN pss.map_cleaning.index_bytes IS 'size of the index then';

CREATE TABLE pss.move (
    move_id        bigint           GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relation       regclass         NOT NULL,
    moved_at       timestamptz      NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    from_partition int              NOT NULL,
    to_partition   int              NOT NULL,
    keys           bigint           NOT NULL,
    rows           bigint           NOT NULL,
    bytes          bigint           NOT NULL,
    seconds        double precision NOT NULL,
    from_cost      double precision,
    to_cost        double precision
);
COMMENT ON TABLE pss.move IS 'keys that were moved between partitions, a row for each batch';
COMMENT ON COLUMN pss.move.bytes IS 'size of the moved rows as stored, without indexes';
COMMENT ON COLUMN pss.move.seconds IS 'time from the first try to the commit';
COMMENT ON COLUMN pss.move.from_cost IS 'cost units that moving them caused on the source';
COMMENT ON COLUMN pss.move.to_cost IS 'cost units that it caused on the destination';

-- A publication FOR ALL TABLES refuses deletes from tables without a replica
-- identity; all of the above have a primary key.
