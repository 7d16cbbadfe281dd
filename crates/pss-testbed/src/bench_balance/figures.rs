//! What turns came to; medians and ratios over repetitions.
//!
//! A ratio compares the two turns of one repetition: a machine that is slow for a minute is slow
//! for both.

use super::clients::Log;
use super::scene::{Pace, Scene};
use super::tables::{PARTITIONS, Table};
use crate::bench_routing::figures::median;
use crate::bench_routing::waits::Looks;
use crate::demo::counters::imbalance;

/// What pss itself says of a turn, learning included (`pss.stat_balance`).
#[derive(Clone, Copy, Debug)]
pub struct Pss {
    pub achieved: Option<f64>,
    pub r#static: Option<f64>,
    pub oracle: Option<f64>,
    pub gain: Option<f64>,
    pub floor: Option<f64>,
    pub authority: Option<f64>,
}

/// One table's turn.
#[derive(Clone, Debug)]
pub struct Turn {
    pub table: Table,
    pub pace: Pace,
    pub run: u32,
    /// Inserts in the scored time.
    pub inserts: u64,
    /// The scored time.
    pub seconds: f64,
    /// Mean over windows of max / mean load - 1.
    pub imbalance: Option<f64>,
    /// max / mean load - 1 that 99 % of the windows do not exceed.
    pub imbalance_p99: Option<f64>,
    /// Latency of an insert in milliseconds.
    pub p50: Option<f64>,
    /// See `p50`.
    pub p99: Option<f64>,
    /// Part of the looks at clients that saw them waiting for a lock: part of their time.
    pub waiting: Option<f64>,
    /// Steps that the foreign jobs did.
    pub job_rounds: u64,
    pub pss: Option<Pss>,
}

impl Turn {
    /// Sums up what was seen.
    pub fn new(
        table: Table,
        scene: &Scene,
        logs: Vec<Log>,
        job_rounds: u64,
        windows: &[[f64; PARTITIONS]],
        waits: &Looks,
        pss: Option<Pss>,
    ) -> Self {
        let inserts = logs.iter().map(|log| log.in_time).sum();
        let latencies = logs.into_iter().flat_map(|log| log.latencies).map(f64::from);
        let latencies = sorted(latencies.map(|seconds| 1000.0 * seconds).collect());
        let balance: Vec<f64> = windows.iter().filter_map(|load| imbalance(load)).collect();
        let mean = balance.iter().sum::<f64>() / balance.len() as f64;
        let clients_seen = waits.looks * u64::from(scene.clients);
        let locks = waits.seen.iter().filter(|(event, _)| event.starts_with("Lock:"));
        let locks: u64 = locks.map(|(_, times)| times).sum();
        let balance = sorted(balance);
        Self {
            table,
            pace: scene.pace,
            run: scene.run,
            inserts,
            seconds: scene.scored,
            imbalance: (!balance.is_empty()).then_some(mean),
            imbalance_p99: quantile(&balance, 0.99),
            p50: quantile(&latencies, 0.5),
            p99: quantile(&latencies, 0.99),
            waiting: (clients_seen > 0).then(|| locks as f64 / clients_seen as f64),
            job_rounds,
            pss,
        }
    }

    /// Inserts per second.
    pub fn per_second(&self) -> f64 {
        self.inserts as f64 / self.seconds
    }
}

/// All that was measured.
#[derive(Debug)]
pub struct Figures {
    /// What hash does without foreign load, inserts per second.
    pub speed: f64,
    pub turns: Vec<Turn>,
}

impl Figures {
    /// The turns of a table at a pace.
    pub fn of(&self, pace: Pace, table: Table) -> impl Iterator<Item = &Turn> {
        self.turns.iter().filter(move |turn| turn.pace == pace && turn.table == table)
    }

    /// Median of a figure.
    pub fn median(&self, pace: Pace, table: Table, figure: Figure) -> Option<f64> {
        median(self.of(pace, table).filter_map(figure).collect())
    }

    /// Median over the repetitions of pss's figure over hash's.
    pub fn ratio(&self, pace: Pace, figure: Figure) -> Option<f64> {
        let pairs = self.of(pace, Table::Pss).filter_map(|pss| {
            let hash = self.of(pace, Table::Hash).find(|hash| hash.run == pss.run)?;
            let (ours, theirs) = (figure(pss)?, figure(hash)?);
            (theirs > 0.0).then(|| ours / theirs)
        });
        median(pairs.collect())
    }
}

/// A figure of a turn.
pub type Figure = fn(&Turn) -> Option<f64>;

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// The value that so large a part of the sorted values does not exceed.
fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let at = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(table: Table, run: u32, latencies: &[f32], windows: &[[f64; PARTITIONS]]) -> Turn {
        let scene = Scene { run, ..Scene::alone(1, 0.0, 2.0) };
        let log = Log { rows: 9, in_time: 8, latencies: latencies.to_vec() };
        let seen = [("Lock:relation".to_owned(), 1), ("running".to_owned(), 2)];
        let waits = Looks { seen: seen.into(), looks: 4 };
        Turn::new(table, &scene, vec![log], 1, windows, &waits, None)
    }

    #[test]
    fn a_turn_is_summed_up() {
        let mut skewed = [1.0; PARTITIONS];
        skewed[0] = 9.0;
        let latencies: Vec<f32> = (1..=100).map(|n| n as f32 / 1000.0).collect();
        let turn =
            turn(Table::Hash, 0, &latencies, &[[1.0; PARTITIONS], skewed, [0.0; PARTITIONS]]);
        assert_eq!(turn.imbalance, Some(1.75), "windows without load say nothing");
        assert_eq!(turn.imbalance_p99, Some(3.5));
        assert!((turn.p50.expect("latencies") - 50.0).abs() < 1e-3);
        assert!((turn.p99.expect("latencies") - 99.0).abs() < 1e-3);
        assert_eq!((turn.waiting, turn.per_second()), (Some(0.25), 4.0));
    }

    #[test]
    fn ratios_compare_turns_of_the_same_repetition() {
        let turns = vec![
            turn(Table::Hash, 0, &[1.0], &[]),
            turn(Table::Pss, 0, &[0.5], &[]),
            turn(Table::Pss, 1, &[5.0], &[]),
            turn(Table::Hash, 1, &[10.0], &[]),
            turn(Table::Pss, 2, &[9.0], &[]),
        ];
        let figures = Figures { speed: 1.0, turns };
        assert_eq!(figures.ratio(Pace::Saturated, |turn| turn.p50), Some(0.5));
        assert_eq!(figures.ratio(Pace::Paced, |turn| turn.p50), None);
        assert_eq!(figures.median(Pace::Saturated, Table::Pss, |turn| turn.p50), Some(5000.0));
    }
}
