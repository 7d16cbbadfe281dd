-- What is known of each partition's load over weeks: means over five minutes. Written by the
-- worker from pss.sample, and by imports; forecasters start from it after a restart.

CREATE TABLE pss.history (
    relation     regclass         NOT NULL,
    partition    int              NOT NULL,
    bucket       timestamptz      NOT NULL
                 CHECK (bucket OPERATOR(pg_catalog.>) '-infinity' AND bucket OPERATOR(pg_catalog.<) 'infinity'
                        AND pg_catalog.date_bin('5 min', bucket, '2000-01-01 00:00+00') OPERATOR(pg_catalog.=) bucket),
    foreign_load double precision NOT NULL
                 CHECK (foreign_load OPERATOR(pg_catalog.>=) 0 AND foreign_load OPERATOR(pg_catalog.<) 'infinity'),
    own_load     double precision NOT NULL DEFAULT 0
                 CHECK (own_load OPERATOR(pg_catalog.>=) 0 AND own_load OPERATOR(pg_catalog.<) 'infinity'),
    seconds      double precision NOT NULL
                 CHECK (seconds OPERATOR(pg_catalog.>) 0 AND seconds OPERATOR(pg_catalog.<=) 300),
    source       text             NOT NULL DEFAULT 'sample'
                 CHECK (source OPERATOR(pg_catalog.=) 'sample' OR source OPERATOR(pg_catalog.=) 'log'),
    PRIMARY KEY (relation, bucket, partition)
);
COMMENT ON TABLE pss.history IS 'mean load of each partition by buckets of five minutes, kept for pss.history_retention; never dumped';
COMMENT ON COLUMN pss.history.bucket IS 'start of the bucket, a multiple of five minutes in UTC';
COMMENT ON COLUMN pss.history.foreign_load IS 'mean load of what pss did not place and nobody declared, cost units per second';
COMMENT ON COLUMN pss.history.own_load IS 'mean load of rows that pss routed, cost units per second';
COMMENT ON COLUMN pss.history.seconds IS 'measured part of the bucket: the weight of its means, at most 300';
COMMENT ON COLUMN pss.history.source IS 'sample: measured by the worker; log: imported, and replaced once measured';
GRANT SELECT ON pss.history TO pg_monitor;
