//! Plays the rows and the reads in time: the same to both twins.
//!
//! Must never wait for one twin only, or drop what is late: what is due is sent, late or not, and
//! the greatest delay is reported.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use postgres::{Client, Statement};
use pss_core::series::CostModel;

use super::flights::{MILES_A_REPORT, RowKind, Stream};
use super::foreign::Foreign;
use super::twins::{Leaf, TWINS};

/// Time between two batches of a writer, and between two rounds of a reader.
const TICK: Duration = Duration::from_millis(40);

/// Bytes of a row, about: a flight's size is that of its rows.
const ROW_BYTES: f64 = 64.0;

/// What all players share.
pub struct Clock {
    /// When the play began.
    pub start: Instant,
    /// Set when somebody failed: all stop.
    pub stop: AtomicBool,
    /// Greatest delay of a row so far, in milliseconds.
    delay_ms: AtomicU64,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { start: Instant::now(), stop: AtomicBool::new(false), delay_ms: AtomicU64::new(0) }
    }

    /// Seconds since the start.
    pub fn now(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Greatest delay of a row, seconds.
    pub fn greatest_delay(&self) -> f64 {
        self.delay_ms.load(Ordering::Relaxed) as f64 / 1000.0
    }

    /// Waits for the next tick, not before `TICK` has passed since `begun`; false when the play
    /// is over, and what was due then has been sent.
    fn goes_on(&self, begun: Instant, now: f64, end: f64) -> bool {
        std::thread::sleep(TICK.saturating_sub(begun.elapsed()));
        !self.stop.load(Ordering::Relaxed) && now < end
    }
}

/// Writes the rows of every `of`-th flight, beginning with number `which`, until `end` seconds.
pub fn write(
    mut client: Client,
    stream: &Stream,
    clock: &Clock,
    (which, of): (usize, usize),
    end: f64,
) -> Result<()> {
    let mut inserts = Vec::new();
    for twin in TWINS {
        let insert = format!(
            "INSERT INTO {} (flight, report, miles)
             SELECT * FROM unnest($1::text[], $2::text[], $3::int[])",
            twin.table()
        );
        inserts.push(client.prepare(&insert)?);
    }
    // Whoever lets a flight depart knows how far it goes, and so about how many rows will come:
    // the call door takes that size. Its rows then come by the planner door like all others.
    let announce = client.prepare("SELECT pss_get_partitions('flights_pss', $1, $2)")?;
    let flush = client.prepare("SELECT pg_stat_force_next_flush()")?;
    let mine = stream.events.iter().filter(|e| e.flight % of == which && e.at < end);
    let mut due = mine.peekable();
    loop {
        let begun = Instant::now();
        let now = clock.now();
        let (mut flights, mut reports, mut miles) = (Vec::new(), Vec::new(), Vec::new());
        let (mut departing, mut sizes) = (Vec::new(), Vec::new());
        let mut delay = 0.0_f64;
        while let Some(event) = due.next_if(|e| e.at <= now) {
            delay = delay.max(now - event.at);
            let flight = &stream.flights[event.flight];
            flights.push(flight.key.as_str());
            let (report, flown) = match event.kind {
                RowKind::Departure => {
                    departing.push(flight.key.as_str());
                    sizes.push(((1.0 + flight.miles / MILES_A_REPORT).floor() * ROW_BYTES) as i64);
                    ("departure", 0)
                }
                RowKind::Position { miles } => ("position", miles),
            };
            reports.push(report);
            miles.push(i32::try_from(flown)?);
        }
        if !departing.is_empty() {
            client.query(&announce, &[&departing, &sizes]).context("pss_get_partitions")?;
        }
        if !flights.is_empty() {
            for insert in &inserts {
                client.execute(insert, &[&flights, &reports, &miles]).context("insert")?;
            }
            client.execute(&flush, &[])?;
            clock.delay_ms.fetch_max((delay * 1000.0) as u64, Ordering::Relaxed);
        }
        if !clock.goes_on(begun, now, end) {
            return Ok(());
        }
    }
}

/// Reads of one twin, as much as the foreign load says, until `end` seconds. A partition that has
/// too few rows yet, in the first hours of the first day, is read as far as it goes.
pub fn read(
    mut client: Client,
    leaves: &[Leaf],
    foreign: &Foreign,
    clock: &Clock,
    end: f64,
) -> Result<()> {
    let look_ups: Vec<Statement> = leaves
        .iter()
        .map(|leaf| prepare_reads(&mut client, &leaf.name, "flight", "miles"))
        .collect::<Result<_, _>>()?;
    let flush = client.prepare("SELECT pg_stat_force_next_flush()")?;
    let cost = CostModel::default().index_fetch;
    let mut owed = vec![0.0; leaves.len()];
    let mut until = 0.0;
    loop {
        let begun = Instant::now();
        let now = clock.now();
        for (p, (owed, look_up)) in owed.iter_mut().zip(&look_ups).enumerate() {
            *owed += between(foreign, p, until, now) / cost;
            let rows = owed.floor();
            if rows >= 1.0 {
                client.query_one(look_up, &[&(rows as i64)])?;
                *owed -= rows;
            }
        }
        until = now;
        client.execute(&flush, &[])?;
        if !clock.goes_on(begun, now, end) {
            return Ok(());
        }
    }
}

/// Prepares a statement that reads so many rows ($1) of a table by the index on `key`: a foreign
/// load of known cost.
pub fn prepare_reads(
    client: &mut Client,
    table: &str,
    key: &str,
    column: &str,
) -> Result<Statement> {
    // One row read by index costs the same whatever the size of the table; no other plan may.
    client.batch_execute(
        "SET enable_seqscan = off; SET enable_bitmapscan = off;
         SET enable_indexonlyscan = off; SET enable_sort = off;",
    )?;
    Ok(client.prepare(&format!(
        "SELECT count({column}) FROM (SELECT {column} FROM {table} ORDER BY {key} LIMIT $1) AS few"
    ))?)
}

/// Cost units of a partition's foreign load from `begin` to `end` seconds.
fn between(foreign: &Foreign, partition: usize, begin: f64, end: f64) -> f64 {
    let mut sum = 0.0;
    let mut at = begin;
    while at < end {
        let second = at.floor();
        let next = (second + 1.0).min(end);
        let load = foreign.get(second as usize).map_or(0.0, |load| load[partition]);
        sum += load * (next - at);
        at = next;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::PARTITIONS;

    #[test]
    fn reads_of_a_span_sum_over_its_seconds() {
        let foreign = vec![[10.0; PARTITIONS], [20.0; PARTITIONS]];
        assert!((between(&foreign, 0, 0.5, 1.25) - 10.0).abs() < 1e-9);
        assert_eq!(between(&foreign, 0, 2.0, 5.0), 0.0);
        assert_eq!(between(&foreign, 0, 1.0, 1.0), 0.0);
    }
}
