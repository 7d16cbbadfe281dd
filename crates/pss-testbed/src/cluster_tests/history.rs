//! What was learnt over weeks outlives the server: it is read back from pss.history.

use anyhow::{Result, ensure};
use postgres::Client;

use super::check::{create_sharded, number};
use super::{ClusterTest, Context};
use crate::server::{Cluster, Options, Shutdown};

pub(super) const TESTS: &[ClusterTest] =
    &[ClusterTest { name: "history_survives", options: Options::default, run: history_survives }];

/// Loads with the same ups and downs every day at ten-minute steps, and no other period. Two
/// weeks of it are known as means, the last four hours as samples. It begins well within a
/// step, not at its edge.
const PREPARE: &str = "
    CREATE TABLE phase AS
    SELECT CASE WHEN extract(epoch FROM now())::bigint % 600 BETWEEN 150 AND 449 THEN 0 ELSE 300 END AS s;
    CREATE FUNCTION truth(p int, at timestamptz) RETURNS float8 LANGUAGE sql AS $$
        SELECT 50 + (hashint8((floor(extract(epoch FROM at) + s)::bigint / 600) % 144 * 4 + p) & 255)::float8
        FROM phase
    $$;
    INSERT INTO pss.history (relation, partition, bucket, foreign_load, seconds)
    SELECT 't', p, bucket, truth(p, bucket), 300
    FROM generate_series(date_bin('5 min', now(), '2000-01-01 00:00+00') - interval '14 days',
                         date_bin('5 min', now(), '2000-01-01 00:00+00') - interval '4 hours',
                         '5 min') AS bucket, generate_series(0, 3) AS p;
    INSERT INTO pss.sample (relation, partition, sampled_at, tup_inserted, tup_updated, tup_deleted,
        idx_tup_fetch, seq_tup_read, blks_read, blks_hit, own_rows, own_keys)
    SELECT 't', p, at, 1e9 + sum(10 * truth(p, at - interval '5 s')) OVER (PARTITION BY p ORDER BY at),
           0, 0, 0, 0, 0, 0, 0, 0
    FROM generate_series(now() - interval '4 hours', now() - interval '1 min', '10 s') AS at,
         generate_series(0, 3) AS p";

/// The forecasts of a session that knows nothing but the tables: mean error over the path.
fn error(cluster: &Cluster) -> Result<f64> {
    let mut client: Client = cluster.connect("postgres")?;
    let row = client.query_one(
        "SELECT avg(abs(value - truth(partition, at))) FROM pss_forecast('t') WHERE at > now() + interval '5 min'",
        &[],
    )?;
    Ok(row.get(0))
}

/// A daily cycle that only pss.history has seen is foreseen, also after SIGKILL to the server, and
/// no longer when that history is gone.
fn history_survives(cluster: &mut Cluster, _: &Context) -> Result<()> {
    let mut client = cluster.connect("postgres")?;
    client.batch_execute("CREATE EXTENSION pss")?;
    create_sharded(&mut client, "t")?;
    client.batch_execute(PREPARE)?;
    let buckets = number(&mut client, "SELECT count(*) FROM pss.history")?;
    let before = error(cluster)?;
    drop(client);
    cluster.restart(Shutdown::Kill)?;
    let mut client = cluster.connect("postgres")?;
    let found = number(&mut client, "SELECT count(*) FROM pss.history")?;
    ensure!(found >= buckets, "{found} of {buckets} buckets are left");
    let after = error(cluster)?;
    client.batch_execute("UPDATE pss.history SET foreign_load = foreign_load / 2")?;
    let halved = error(cluster)?;
    client.batch_execute(
        "INSERT INTO pss.cost_change VALUES ('t', now(), now(), '{0,1,2,3}', '{2,2,2,2}')",
    )?;
    let rescaled = error(cluster)?;
    client.batch_execute("DELETE FROM pss.history")?;
    let without = error(cluster)?;
    println!(
        "      mean error {before:.1}, after a crash {after:.1}, without history {without:.1}; with \
         history in half the unit {halved:.1}, rescaled {rescaled:.1}"
    );
    ensure!(halved > 1.1 * after, "this test would not see costs that changed");
    ensure!((rescaled - after).abs() < 0.1 * without, "history is not read in today's unit");
    ensure!((after - before).abs() < 0.1 * without, "a restart changed what is forecast");
    ensure!(after < 0.7 * without, "history is not used");
    Ok(())
}
