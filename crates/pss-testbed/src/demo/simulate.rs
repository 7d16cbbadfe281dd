//! The demo without a server: the same rows and the same foreign load, placed by every rival.
//!
//! pss is the real controller and the real dispatch, called once a second as its worker does.
//! Only the greedy placement may look at rows that have not come yet.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use anyhow::Result;
use pss_core::control::{Ahead, Controller, Observation, Settings};
use pss_core::level::{self, CLASSES, Fill};
use pss_core::score::imbalance;
use pss_core::slots::SlotTable;
use pss_core::virtual_key::VirtualKey;
use pss_core::{cohort, forecast, horizons};

use super::flights::Stream;
use super::report::median_and_worst;
use super::{PARTITIONS, Play, SCORED_FROM};

/// Load of each partition.
type Loads = [f64; PARTITIONS];

/// Seconds by which the measured foreign load is older than the counted rows.
const STALENESS: usize = 1;

/// Hash functions over which the imbalance of native hash partitioning is averaged.
const HASHES: u64 = 8;

const SLOTS: usize = 4096;

/// Rows in the size that falls into the middle of pss's size classes.
const MIDDLE_ROWS: f64 = 10.0;

/// What is placed, and what else falls on the partitions.
#[derive(Debug, Clone, Copy)]
struct Scene<'a> {
    /// Rows in order of time, one cost unit each.
    stream: &'a Stream,
    /// Foreign load of each second, cost units.
    foreign: &'a [Loads],
    /// First second that is scored.
    scored_from: usize,
}

/// Mean over the scored seconds of max/mean - 1, by rival.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// Native hash partitioning.
    pub hash: f64,
    /// Each key to the next partition.
    pub round_robin: f64,
    /// Each key to the partition with the fewest rows so far.
    pub fewest_rows: f64,
    /// pss with forecasts off.
    pub forecast_off: f64,
    /// pss that is not told the size of a key.
    pub without_sizes: f64,
    /// pss.
    pub pss: f64,
    /// Each key where it raises the peaks least, all rows to come and all foreign load known.
    pub greedy: f64,
}

impl Scores {
    /// Names and figures, the best last.
    pub fn rows(&self) -> [(&'static str, f64); 7] {
        [
            ("native hash", self.hash),
            ("capacity round robin", self.round_robin),
            ("fewest rows so far", self.fewest_rows),
            ("pss without sizes", self.without_sizes),
            ("pss, forecasts off", self.forecast_off),
            ("pss", self.pss),
            ("greedy that knows the future", self.greedy),
        ]
    }

    /// Part of the way from native hash to the greedy placement.
    pub fn captured_gain(&self) -> f64 {
        (self.hash - self.pss) / (self.hash - self.greedy)
    }
}

impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, score) in self.rows() {
            writeln!(f, "    {name:<42}{score:.3}")?;
        }
        write!(
            f,
            "    pss / hash {:.2}, captured gain {:.2}",
            self.pss / self.hash,
            self.captured_gain()
        )
    }
}

/// Plays `runs` demos, prints each, and the median and worst of several.
///
/// # Errors
/// If the flights cannot be read.
pub fn run(runs: u32) -> Result<()> {
    let mut all = Vec::new();
    for run in 1..=runs {
        let scores = of_play(&Play::of_run(run)?);
        println!(
            "Run {run}: mean of max/mean - 1 over the 1 s windows of days 3 and 4\n{scores}\n"
        );
        all.push(scores);
    }
    let (ratio, worst_ratio) = median_and_worst(all.iter().map(|s| s.pss / s.hash).collect());
    let (loss, worst_loss) = median_and_worst(all.iter().map(|s| -s.captured_gain()).collect());
    println!("{runs} runs, median and worst");
    println!("    pss / hash      {ratio:.2}  {worst_ratio:.2}");
    println!("    captured gain   {:.2}  {:.2}", -loss, -worst_loss);
    Ok(())
}

/// Scores of one run of the demo.
pub(super) fn of_play(play: &Play) -> Scores {
    let scored_from = SCORED_FROM as usize;
    scores(Scene { stream: &play.stream, foreign: &play.foreign, scored_from })
}

/// Plays the scene with every rival.
fn scores(scene: Scene<'_>) -> Scores {
    let hash = |salt| play(scene, &mut NativeHash { scene, salt });
    let pss = |settings, sizes| play(scene, &mut Pss::new(scene, settings, sizes));
    let settings = Settings { staleness: STALENESS, ..Settings::default() };
    Scores {
        hash: (0..HASHES).map(hash).sum::<f64>() / HASHES as f64,
        round_robin: play(scene, &mut RoundRobin { next: 0 }),
        fewest_rows: play(scene, &mut FewestRows::default()),
        forecast_off: pss(Settings { forecast: false, ..settings }, true),
        without_sizes: pss(settings, false),
        pss: pss(settings, true),
        greedy: play(scene, &mut Greedy::new(scene)),
    }
}

/// A way of placing keys.
trait Rival {
    /// A second has ended, with this own load; `foreign` is all that has passed.
    fn second(&mut self, _own: &Loads, _foreign: &[Loads]) {}

    /// Chooses the partition of a new flight.
    fn place(&mut self, flight: usize) -> usize;

    /// A row went to a partition.
    fn row(&mut self, _partition: usize) {}
}

/// Mean of max/mean - 1 over the scored seconds.
fn play(scene: Scene<'_>, rival: &mut dyn Rival) -> f64 {
    let mut own = vec![[0.0; PARTITIONS]; scene.foreign.len()];
    let mut home: Vec<Option<usize>> = vec![None; scene.stream.flights.len()];
    let mut now = 0;
    let in_time = |second| second < scene.foreign.len();
    for event in scene.stream.events.iter().filter(|event| in_time(event.at as usize)) {
        while now < event.at as usize {
            rival.second(&own[now], &scene.foreign[..=now]);
            now += 1;
        }
        let partition = *home[event.flight].get_or_insert_with(|| rival.place(event.flight));
        rival.row(partition);
        own[now][partition] += 1.0;
    }
    let scored = own.iter().zip(scene.foreign).skip(scene.scored_from);
    let values: Vec<f64> = scored
        .map(|(own, foreign)| {
            let load: Loads = std::array::from_fn(|p| own[p] + foreign[p]);
            imbalance(&load, &[1.0; PARTITIONS])
        })
        .collect();
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn key_hash(scene: Scene<'_>, flight: usize, salt: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (salt, &scene.stream.flights[flight].key).hash(&mut hasher);
    hasher.finish()
}

/// The partition of the least value.
fn least(value: impl Fn(usize) -> f64) -> usize {
    (0..PARTITIONS).min_by(|a, b| value(*a).total_cmp(&value(*b))).unwrap_or(0)
}

struct NativeHash<'a> {
    scene: Scene<'a>,
    salt: u64,
}

impl Rival for NativeHash<'_> {
    fn place(&mut self, flight: usize) -> usize {
        (key_hash(self.scene, flight, self.salt) % PARTITIONS as u64) as usize
    }
}

struct RoundRobin {
    next: usize,
}

impl Rival for RoundRobin {
    fn place(&mut self, _: usize) -> usize {
        self.next = (self.next + 1) % PARTITIONS;
        self.next
    }
}

#[derive(Default)]
struct FewestRows {
    rows: Loads,
}

impl Rival for FewestRows {
    fn place(&mut self, _: usize) -> usize {
        least(|p| self.rows[p])
    }

    fn row(&mut self, partition: usize) {
        self.rows[partition] += 1.0;
    }
}

/// The worker's cycle and the router's choice, without a server between.
struct Pss<'a> {
    scene: Scene<'a>,
    settings: Settings,
    sizes: bool,
    controller: Controller,
    slots: SlotTable,
    fill: Option<Fill>,
    epoch: u32,
    /// Keys by size class placed since the last cycle.
    placed: [[u32; CLASSES]; PARTITIONS],
}

impl<'a> Pss<'a> {
    fn new(scene: Scene<'a>, settings: Settings, sizes: bool) -> Self {
        Pss {
            scene,
            settings,
            sizes,
            controller: Controller::new(
                PARTITIONS,
                forecast::Config {
                    step_s: 1.0,
                    horizons: horizons::scored(1.0),
                    ..Default::default()
                },
                cohort::Config::default(),
            ),
            slots: SlotTable::build(&[1.0; PARTITIONS], SLOTS),
            fill: None,
            epoch: 0,
            placed: [[0; CLASSES]; PARTITIONS],
        }
    }

    fn class(&self, flight: usize) -> usize {
        let rows = f64::from(self.scene.stream.flights[flight].rows);
        if self.sizes { level::size_class(rows, MIDDLE_ROWS) } else { 0 }
    }
}

impl Rival for Pss<'_> {
    fn second(&mut self, own: &Loads, foreign: &[Loads]) {
        let measured = foreign.len().checked_sub(1 + STALENESS).map(|second| foreign[second]);
        let foreign: [Option<f64>; PARTITIONS] = std::array::from_fn(|p| measured.map(|f| f[p]));
        let placed = std::mem::take(&mut self.placed).map(|keys| keys.map(f64::from));
        let seen = Observation {
            own,
            foreign: &foreign,
            declared: &[],
            placed: &placed,
            capacity: &[1.0; PARTITIONS],
            in_service: &[true; PARTITIONS],
        };
        self.controller.observe(&seen, &self.settings);
        let plan = self.controller.plan(&Ahead::nothing(), &self.settings);
        if plan.epoch_changed {
            self.epoch += 1;
            self.slots = self.slots.reassign(&plan.shares);
        }
        self.fill = plan.fill;
    }

    fn place(&mut self, flight: usize) -> usize {
        let class = self.class(flight);
        let hash = key_hash(self.scene, flight, 0);
        let draw = |nonce| VirtualKey::draw(hash, 0, 0, nonce, self.epoch, SLOTS as u32);
        let partition = match &self.fill {
            Some(fill) => {
                let sent = |p: usize| self.placed[p];
                level::choose(fill.expected(), sent, class, &self.slots, draw).partition
            }
            None => self.slots.owner(draw(0).slot()),
        };
        self.placed[usize::from(partition)][class] += 1;
        usize::from(partition)
    }
}

/// Knows every row of a flight when it departs, and the foreign load of all time.
struct Greedy {
    /// The second of each row of a flight, in order.
    rows: Vec<Vec<usize>>,
    load: Vec<Loads>,
}

impl Greedy {
    fn new(scene: Scene<'_>) -> Self {
        let mut rows = vec![Vec::new(); scene.stream.flights.len()];
        for event in &scene.stream.events {
            if (event.at as usize) < scene.foreign.len() {
                rows[event.flight].push(event.at as usize);
            }
        }
        Greedy { rows, load: scene.foreign.to_vec() }
    }
}

impl Rival for Greedy {
    fn place(&mut self, flight: usize) -> usize {
        let rows = &self.rows[flight];
        // Rows come in order of time: those of one second stand together.
        let rise = |p: usize, seconds: &[usize]| {
            let load = &self.load[seconds[0]];
            let more = seconds.len() as f64;
            let mean = load.iter().sum::<f64>() / PARTITIONS as f64 + 1.0;
            ((load[p] + more) / mean).powi(4) - (load[p] / mean).powi(4)
        };
        let best = least(|p| rows.chunk_by(|a, b| a == b).map(|same| rise(p, same)).sum());
        rows.iter().for_each(|&second| self.load[second][best] += 1.0);
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pss_keeps_its_bars_on_the_flights() {
        for run in 1..=2 {
            let scores = of_play(&Play::of_run(run).expect("the flights"));
            assert!(
                scores.pss < scores.fewest_rows && scores.pss < scores.forecast_off,
                "{scores}"
            );
            assert!(scores.pss <= 0.58 * scores.hash, "{scores}");
            assert!(scores.captured_gain() >= 0.7, "{scores}");
            assert!(scores.without_sizes < scores.round_robin, "{scores}");
            assert!(scores.greedy < scores.pss, "{scores}");
        }
    }

    /// Foreign load that nobody can know must not make pss worse than taking turns.
    #[test]
    fn noise_does_no_harm() {
        let mut play = Play::of_run(1).expect("the flights");
        let mut state = 1u64;
        for load in play.foreign.iter_mut().flatten() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *load = (state >> 33) as f64 / f64::from(1u32 << 31) * 40.0;
        }
        let scores = of_play(&play);
        assert!(scores.pss <= scores.round_robin + 0.005, "{scores}");
        assert!(scores.without_sizes <= scores.round_robin + 0.005, "{scores}");
        play.foreign.iter_mut().flatten().for_each(|load| *load = 0.0);
        let scores = of_play(&play);
        assert!(scores.pss <= scores.round_robin + 0.005, "{scores}");
        assert!(scores.without_sizes <= scores.round_robin + 0.005, "{scores}");
    }
}
