//! What sessions of one application wait for: a side session looks, twenty times a second.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::server::Cluster;

const PERIOD: Duration = Duration::from_millis(50);

/// How often active sessions were seen waiting for what; `running` is no wait.
pub type Seen = BTreeMap<String, u64>;

/// Does `work`, and meanwhile looks what the active sessions of `application` wait for.
pub fn during<T>(
    cluster: &Cluster,
    application: &str,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Seen)> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(cluster, application, &over));
        let done = work();
        over.store(true, Ordering::Relaxed);
        let seen = watcher.join().map_err(|_| anyhow!("the watcher panicked"))??;
        Ok((done?, seen))
    })
}

fn watch(cluster: &Cluster, application: &str, over: &AtomicBool) -> Result<Seen> {
    let mut client = cluster.connect("postgres")?;
    let look = client.prepare(
        "SELECT coalesce(wait_event_type || ':' || wait_event, 'running'), count(*)
         FROM pg_stat_activity WHERE application_name = $1 AND state = 'active' GROUP BY 1",
    )?;
    let mut seen = Seen::new();
    while !over.load(Ordering::Relaxed) {
        for row in client.query(&look, &[&application])? {
            *seen.entry(row.get(0)).or_default() += row.get::<_, i64>(1).unsigned_abs();
        }
        std::thread::sleep(PERIOD);
    }
    Ok(seen)
}
