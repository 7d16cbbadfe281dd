//! What sessions of one application wait for: a side session looks, twenty times a second.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::server::Cluster;

const PERIOD: Duration = Duration::from_millis(50);

/// How often active sessions were seen waiting for what; `running` is no wait.
pub type Seen = BTreeMap<String, u64>;

/// What was seen, and how often somebody looked.
#[derive(Clone, Debug, Default)]
pub struct Looks {
    pub seen: Seen,
    pub looks: u64,
}

/// Does `work`, and meanwhile looks what the active sessions of `application` wait for.
pub fn during<T>(
    cluster: &Cluster,
    application: &str,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Looks)> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(cluster, application, &over));
        let done = work();
        over.store(true, Ordering::Relaxed);
        let seen = watcher.join().map_err(|_| anyhow!("the watcher panicked"))??;
        Ok((done?, seen))
    })
}

fn watch(cluster: &Cluster, application: &str, over: &AtomicBool) -> Result<Looks> {
    let mut client = cluster.connect("postgres")?;
    let look = client.prepare(
        "SELECT coalesce(wait_event_type || ':' || wait_event, 'running'), count(*)
         FROM pg_stat_activity WHERE application_name = $1 AND state = 'active' GROUP BY 1",
    )?;
    let Looks { mut seen, mut looks } = Looks::default();
    while !over.load(Ordering::Relaxed) {
        for row in client.query(&look, &[&application])? {
            *seen.entry(row.get(0)).or_default() += row.get::<_, i64>(1).unsigned_abs();
        }
        looks += 1;
        std::thread::sleep(PERIOD);
    }
    Ok(Looks { seen, looks })
}
