//! A foreign job: a batch that comes and goes on one partition, reads its rows, and locks out
//! writers while it does.
//!
//! It works on the leaf by name, with statements that pss has no part in.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use postgres::Client;
use pss_core::series::CostModel;

use super::scene::Job;
use crate::demo::player::{Clock, prepare_reads};

/// Time from one step of a job to the next.
const STEP: Duration = Duration::from_millis(100);

/// How long a step holds its lock.
const HELD: Duration = Duration::from_millis(50);

/// Runs a job until `end`; returns its steps.
pub fn run(mut client: Client, leaf: &str, job: &Job, clock: &Clock, end: f64) -> Result<u64> {
    let read = prepare_reads(&mut client, leaf, "id", "v")?;
    let flush = client.prepare("SELECT pg_stat_force_next_flush()")?;
    let per_row = CostModel::default().index_fetch;
    let mut steps = 0;
    let (mut owed, mut until) = (0.0, 0.0);
    loop {
        let begun = Instant::now();
        let now = clock.now();
        if now >= end || clock.stop.load(Ordering::Relaxed) {
            return Ok(steps);
        }
        if job.is_at_work(now) {
            owed += job.load / per_row * (now - until);
            // As a batch that wants its partition to hold still: like CREATE INDEX, it lets others
            // read and nobody write.
            let mut step = client.transaction()?;
            step.batch_execute(&format!("LOCK TABLE {leaf} IN SHARE MODE")).context("lock")?;
            let locked = Instant::now();
            let rows = owed.floor();
            step.query_one(&read, &[&(rows as i64)])?;
            owed -= rows;
            std::thread::sleep(HELD.saturating_sub(locked.elapsed()));
            step.commit()?;
            client.execute(&flush, &[])?;
            steps += 1;
        }
        until = now;
        std::thread::sleep(STEP.saturating_sub(begun.elapsed()));
    }
}
