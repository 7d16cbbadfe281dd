//! Clients that insert, one row a transaction: new keys, and keys of late.
//!
//! What was due is done, late or not: leaving it out would hide who had to wait.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use postgres::Client;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::scene::Scene;
use super::tables::Table;
use crate::demo::player::Clock;

/// Keys that a client remembers: known keys are drawn from its last so many.
const OF_LATE: usize = 500;

/// Time between two flushes of a session's statistics, seconds.
const FLUSH: f64 = 0.25;

/// How long after the end what was due may still be done, seconds.
const GRACE: f64 = 30.0;

/// What one client did.
#[derive(Debug, Default)]
pub struct Log {
    /// Rows that it stored.
    pub rows: u64,
    /// Rows that it had stored in the scored time.
    pub in_time: u64,
    /// Of each insert that was due in the scored time, seconds.
    pub latencies: Vec<f32>,
}

/// Inserts until the scene is over; `number`: which client.
pub fn insert(
    mut client: Client,
    table: Table,
    scene: &Scene,
    number: u32,
    clock: &Clock,
) -> Result<Log> {
    let insert =
        format!("INSERT INTO {} (id, v, note) VALUES ($1, 1, 'note of a row')", table.sql());
    let insert = client.prepare(&insert)?;
    let flush = client.prepare("SELECT pg_stat_force_next_flush()")?;
    let mut random = SmallRng::seed_from_u64(u64::from(scene.run) << 32 | u64::from(number));
    let mut recent: Vec<i64> = Vec::with_capacity(OF_LATE);
    let mut log = Log::default();
    let end = scene.end();
    let (mut done, mut flushed) = (0_u64, 0.0);
    loop {
        let now = clock.now();
        // Clients take their turns evenly.
        let due = scene.rate.map_or(now, |rate| {
            (done as f64 + f64::from(number) / f64::from(scene.clients)) / rate
        });
        if due >= end || now >= end + GRACE || clock.stop.load(Ordering::Relaxed) {
            return Ok(log);
        }
        std::thread::sleep(Duration::from_secs_f64((due - now).max(0.0)));
        let key = next_key(&mut random, &mut recent, scene.known, done);
        client.execute(&insert, &[&key]).context("insert")?;
        let stored = clock.now();
        done += 1;
        log.rows += 1;
        if due >= scene.learnt {
            log.latencies.push((stored - due) as f32);
        }
        if (scene.learnt..end).contains(&stored) {
            log.in_time += 1;
        }
        if stored - flushed >= FLUSH {
            client.execute(&flush, &[])?;
            flushed = stored;
        }
    }
}

/// A key of late, or one that nobody has seen.
fn next_key(random: &mut SmallRng, recent: &mut Vec<i64>, known: f64, done: u64) -> i64 {
    let fresh = random.random_range(1 << 40..i64::MAX);
    if !recent.is_empty() && random.random::<f64>() < known {
        return recent[random.random_range(0..recent.len())];
    }
    if recent.len() < OF_LATE {
        recent.push(fresh);
    } else {
        let oldest = (done % OF_LATE as u64) as usize;
        recent[oldest] = fresh;
    }
    fresh
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_keys_are_those_of_late() {
        let mut random = SmallRng::seed_from_u64(1);
        let mut recent = Vec::new();
        let mut seen = std::collections::HashSet::new();
        let keys = (0..10_000).map(|done| next_key(&mut random, &mut recent, 0.3, done));
        let new = keys.filter(|key| seen.insert(*key)).count();
        assert!((6_700..7_300).contains(&new), "{new}");
        assert_eq!(recent.len(), OF_LATE);
    }
}
