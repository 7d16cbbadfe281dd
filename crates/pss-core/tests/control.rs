//! The control loop on small made-up tables: when it trusts a forecast, and when it must not.

use pss_core::cohort;
use pss_core::control::{Controller, Observation, Plan, Reason, Settings};
use pss_core::forecast;
use pss_core::level::CLASSES;

const PARTITIONS: usize = 4;
const KEYS_A_CYCLE: f64 = 40.0;

/// A table whose keys bring 2 units in the cycle they come and 1 in the next, placed by shares.
struct Table {
    controller: Controller,
    settings: Settings,
    shares: Vec<f64>,
    before: Vec<f64>,
    in_service: [bool; PARTITIONS],
}

impl Table {
    fn new(settings: Settings) -> Table {
        let controller =
            Controller::new(PARTITIONS, forecast::Config::default(), cohort::Config::default());
        Table {
            controller,
            settings,
            shares: vec![0.25; PARTITIONS],
            before: vec![0.0; PARTITIONS],
            in_service: [true; PARTITIONS],
        }
    }

    /// One cycle under this foreign load; the plan for the next.
    fn cycle(&mut self, foreign: [Option<f64>; PARTITIONS]) -> Plan {
        let keys: Vec<f64> = self.shares.iter().map(|share| share * KEYS_A_CYCLE).collect();
        let own: Vec<f64> =
            keys.iter().zip(&self.before).map(|(now, old)| 2.0 * now + old).collect();
        let placed: Vec<[f64; CLASSES]> =
            keys.iter().map(|&n| std::array::from_fn(|k| if k == 0 { n } else { 0.0 })).collect();
        let seen = Observation {
            own: &own,
            foreign: &foreign,
            placed: &placed,
            capacity: &[1.0; PARTITIONS],
            in_service: &self.in_service,
        };
        self.controller.observe(&seen, &self.settings);
        self.before = keys;
        let plan = self.controller.plan(&self.settings);
        self.shares.clone_from(&plan.shares);
        plan
    }

    fn cycles(&mut self, n: usize, foreign: impl Fn(usize) -> [Option<f64>; PARTITIONS]) -> Plan {
        (0..n).map(|t| self.cycle(foreign(t))).last().expect("at least one cycle")
    }
}

/// A job that runs for 6 of 24 cycles on each partition in turn.
fn job(t: usize) -> [Option<f64>; PARTITIONS] {
    std::array::from_fn(|i| Some(if t / 6 % PARTITIONS == i { 20.0 } else { 2.0 }))
}

#[test]
fn avoids_the_partition_that_is_about_to_be_busy() {
    let mut table = Table::new(Settings::default());
    // Cycle 240 has not come yet: there the job goes from partition 3 to partition 0.
    let plan = table.cycles(240, job);
    assert_eq!(plan.reason, Reason::Forecast);
    assert!(plan.shares[0] < 0.12, "partition 0 is next: {:?}", plan.shares);
    assert!(plan.shares[3] > 0.25, "partition 3 is done: {:?}", plan.shares);
    assert!(plan.outlook[0].foreign > 15.0, "{:?}", plan.outlook[0]);
    assert!(plan.trust > 0.9, "it came true: {}", plan.trust);
    let fill = plan.fill.expect("forecasts are trusted");
    assert!(fill.levels[0][0] > fill.levels[1][0] + 10.0, "{:?}", fill.levels);
    let scores = table.controller.scores().expect("scored");
    assert!(scores.forecast < scores.reactive && scores.forecast < 0.7 * scores.capacity);
}

#[test]
fn with_forecasts_off_it_only_reacts() {
    let mut table = Table::new(Settings { forecast: false, ..Settings::default() });
    let plan = table.cycles(240, job);
    assert_ne!(plan.reason, Reason::Forecast);
    assert_eq!(plan.outlook[0].foreign, 2.0, "as last measured");
}

#[test]
fn noise_is_no_reason_to_leave_capacity_shares() {
    let mut table = Table::new(Settings::default());
    let mut seed = 1u64;
    for _ in 0..200 {
        let foreign = std::array::from_fn(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            Some((seed >> 33) as f64 / f64::from(1u32 << 31) * 20.0)
        });
        table.cycle(foreign);
    }
    let plan = table.cycle([Some(10.0); PARTITIONS]);
    assert_eq!(plan.reason, Reason::NoSkill);
    assert_eq!(plan.shares, [0.25; PARTITIONS]);
    assert!(plan.trust < 0.5, "noise is not believed: {}", plan.trust);
}

#[test]
fn without_fresh_data_shares_are_by_capacity() {
    let mut table = Table::new(Settings::default());
    let warming = table.cycles(5, job);
    assert_eq!((warming.reason, warming.fill), (Reason::WarmingUp, None));
    table.cycles(240, job);
    let stale = table.cycles(table.settings.time_to_live + 1, |_| [None; PARTITIONS]);
    assert_eq!((stale.reason, stale.fill), (Reason::NoFreshData, None));
    assert_eq!(stale.shares, [0.25; PARTITIONS]);
}

#[test]
fn one_silent_partition_does_not_blind_the_others() {
    let mut table = Table::new(Settings::default());
    table.cycles(240, job);
    let silent = |t| {
        let mut loads = job(t);
        loads[2] = None;
        loads
    };
    let plan = table.cycles(10, silent);
    assert_eq!(plan.reason, Reason::Forecast);
    assert!(plan.outlook[2].foreign.is_nan());
    let total: f64 = plan.shares.iter().sum();
    assert!((total - 1.0).abs() < 1e-9 && plan.shares.iter().all(|s| *s >= 0.0));
    let fill = plan.fill.expect("forecasts are trusted");
    assert!(fill.levels.as_flattened().iter().all(|level| level.is_finite()));
}

#[test]
fn what_is_out_of_service_gets_nothing() {
    let mut table = Table::new(Settings::default());
    table.cycles(240, job);
    table.in_service[1] = false;
    let plan = table.cycle(job(240));
    assert_eq!(plan.shares[1], 0.0);
    assert!(plan.epoch_changed);
}
