//! The control loop on small made-up tables: when it trusts a forecast, and when it must not.

use pss_core::cohort;
use pss_core::control::{
    Ahead, Controller, Declaration, Observation, Outlook, Plan, Reason, Settings, Timetable,
};
use pss_core::forecast;
use pss_core::level::CLASSES;

const PARTITIONS: usize = 4;
const KEYS_A_CYCLE: f64 = 40.0;
/// All keys come with the same size.
const CLASS: usize = 6;

/// A table whose keys bring 1 unit in the cycle they come and 2 in the next, placed by shares.
struct Table {
    controller: Controller,
    settings: Settings,
    shares: Vec<f64>,
    before: Vec<f64>,
    in_service: [bool; PARTITIONS],
    timetable: Timetable,
    /// Cycles that have run; each is a microsecond long.
    now: i64,
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
            timetable: Timetable::default(),
            now: 0,
        }
    }

    /// One cycle under this foreign load, and what was declared beside it; the plan for the next.
    fn cycle(&mut self, foreign: [Option<f64>; PARTITIONS]) -> Plan {
        let keys: Vec<f64> = self.shares.iter().map(|share| share * KEYS_A_CYCLE).collect();
        let own: Vec<f64> =
            keys.iter().zip(&self.before).map(|(now, old)| now + 2.0 * old).collect();
        let placed: Vec<[f64; CLASSES]> = keys
            .iter()
            .map(|&n| std::array::from_fn(|k| if k == CLASS { n } else { 0.0 }))
            .collect();
        let declared: [f64; PARTITIONS] =
            std::array::from_fn(|i| self.timetable.mean(i, self.now, self.now + 1));
        self.now += 1;
        let foreign: [Option<f64>; PARTITIONS] =
            std::array::from_fn(|i| foreign[i].map(|load| load + declared[i]));
        let seen = Observation {
            own: &own,
            foreign: &foreign,
            declared: &declared,
            placed: &placed,
            capacity: &[1.0; PARTITIONS],
            in_service: &self.in_service,
        };
        self.controller.observe(&seen, &self.settings);
        self.before = keys;
        let ahead = self.timetable.ahead(self.now, 1);
        let plan = self.controller.plan(&ahead, &self.settings);
        self.shares.clone_from(&plan.shares);
        plan
    }

    fn cycles(&mut self, n: usize, foreign: impl Fn(usize) -> [Option<f64>; PARTITIONS]) -> Plan {
        (0..n).map(|t| self.cycle(foreign(t))).last().expect("at least one cycle")
    }
}

/// A load declared of partition 1, in cycles.
fn declare(load: f64, from_us: i64, until_us: i64) -> Timetable {
    Timetable::new(vec![Declaration { partition: 1, load, from_us, until_us }])
}

/// Loads that nobody can foresee, the same at every call.
fn noise(t: usize) -> [Option<f64>; PARTITIONS] {
    std::array::from_fn(|i| {
        let mut x = (t * PARTITIONS + i + 1) as u64;
        for _ in 0..3 {
            x = (x ^ (x >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
        Some((x >> 44) as f64 / f64::from(1u32 << 20) * 20.0)
    })
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
    assert_eq!(plan.reason, Reason::Planned);
    assert!(plan.shares[0] < 0.12, "partition 0 is next: {:?}", plan.shares);
    assert!(plan.shares[3] > 0.25, "partition 3 is done: {:?}", plan.shares);
    assert!(plan.outlook[0].foreign > 15.0, "{:?}", plan.outlook[0]);
    assert!(plan.trust > 0.9, "it came true: {}", plan.trust);
    let fill = plan.fill.expect("forecasts are trusted");
    assert!(fill.levels[0][1] > fill.levels[1][1] + 10.0, "{:?}", fill.levels);
    let scores = table.controller.scores().expect("scored");
    assert!(scores.forecast < scores.reactive && scores.forecast < 0.7 * scores.capacity);
    assert!(scores.oracle <= scores.forecast + 0.01, "{scores:?}");
    assert!(scores.achieved >= scores.oracle && scores.achieved < scores.capacity, "{scores:?}");
    let gain = scores.captured_gain().expect("there is something to gain");
    assert!((0.5..=1.0).contains(&gain), "{gain}: {scores:?}");
}

#[test]
fn a_level_load_leaves_nothing_to_capture() {
    let mut table = Table::new(Settings::default());
    table.cycles(120, |_| [Some(10.0); PARTITIONS]);
    let scores = table.controller.scores().expect("scored");
    assert!(scores.oracle.abs() < 1e-6 && scores.achieved < 0.01, "{scores:?}");
    assert_eq!(scores.captured_gain(), None);
}

#[test]
fn with_forecasts_off_it_only_reacts() {
    let mut table = Table::new(Settings { forecast: false, ..Settings::default() });
    let plan = table.cycles(240, job);
    assert!(!matches!(plan.reason, Reason::Forecast | Reason::Planned));
    assert_eq!(plan.outlook[0].foreign, 2.0, "as last measured");
}

#[test]
fn noise_is_no_reason_to_leave_capacity_shares() {
    let mut table = Table::new(Settings::default());
    table.cycles(200, noise);
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
    assert_eq!(plan.reason, Reason::Planned);
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

#[test]
fn a_declared_load_raises_the_path_in_its_cycles_and_in_no_other() {
    let mut table = Table::new(Settings::default());
    table.cycles(240, job);
    let mut undeclared = table.controller.clone();
    let without = undeclared.plan(&Ahead::nothing(), &table.settings).fill.expect("trusted");
    // From the middle of the third cycle to the end of the fifth.
    let timetable = Timetable::new(vec![Declaration {
        partition: 1,
        load: 40.0,
        from_us: 1025,
        until_us: 1050,
    }]);
    let with = table.controller.plan(&timetable.ahead(1000, 10), &table.settings).fill;
    let with = with.expect("trusted");
    let rise = |p: usize| -> Vec<f32> {
        with.levels[p].iter().zip(&without.levels[p]).map(|(w, o)| (w - o).round()).collect()
    };
    assert_eq!(rise(1), [0.0, 0.0, 20.0, 40.0, 40.0, 0.0, 0.0, 0.0]);
    for other in [0, 2, 3] {
        assert_eq!(rise(other), [0.0; 8], "partition {other}");
    }
}

#[test]
fn a_declared_load_moves_weights_before_it_begins_and_no_longer_when_it_is_over() {
    for (loads, reason) in [(job as fn(usize) -> _, Reason::Planned), (noise, Reason::Declared)] {
        let mut table = Table::new(Settings::default());
        table.timetable = declare(200.0, 241, 260);
        let plan = table.cycles(241, loads);
        assert_eq!(plan.reason, reason, "the load begins only now");
        assert!(plan.shares[1] < 0.1, "{reason:?}: {:?}", plan.shares);
        assert!(plan.outlook[1].foreign > 100.0, "{:?}", plan.outlook[1]);
        let over = table.cycles(19, |t| loads(241 + t));
        assert!(over.outlook[1].foreign < 25.0, "back at once: {:?}", over.outlook[1]);
        assert_ne!(over.reason, Reason::Declared);
    }
}

#[test]
fn a_declared_load_teaches_no_forecaster_and_no_trust() {
    let mut calm = Table::new(Settings::default());
    let mut table = Table::new(Settings::default());
    table.timetable = declare(64.0, 200, 230);
    let (expected, plan) = (calm.cycles(240, job), table.cycles(240, job));
    for (a, b) in calm.controller.forecasters().iter().zip(table.controller.forecasters()) {
        for horizon in [1, 5, 30] {
            assert_eq!(a.predict(horizon), b.predict(horizon));
        }
    }
    assert_eq!(plan.trust, expected.trust);
}

#[test]
fn a_load_declared_too_high_never_leaves_less_than_nothing() {
    let mut table = Table::new(Settings::default());
    table.cycles(100, job);
    let seen = Observation {
        own: &[0.0; PARTITIONS],
        foreign: &[Some(2.0); PARTITIONS],
        declared: &[1e9, 1.0, 0.0, 0.0],
        placed: &[[0.0; CLASSES]; PARTITIONS],
        capacity: &[1.0; PARTITIONS],
        in_service: &[true; PARTITIONS],
    };
    for _ in 0..100 {
        table.controller.observe(&seen, &table.settings);
    }
    let next = |i: usize| table.controller.forecasters()[i].predict(1).expect("seen").value;
    for (partition, expected) in [(0, 0.0), (1, 1.0), (2, 2.0)] {
        assert!((next(partition) - expected).abs() < 0.02, "{partition}: {}", next(partition));
    }
}

#[test]
fn the_floor_tells_of_the_hottest_key() {
    let mut table = Table::new(Settings::default());
    let level = [Some(10.0); PARTITIONS];
    let plan = (0..30).map(|_| table.cycle(level)).last().expect("a plan");
    assert!(plan.floor < 0.01, "{}", plan.floor);
    table.controller.set_hottest(0.9);
    let plan = table.cycle(level);
    let sum = |f: fn(&Outlook) -> f64| plan.outlook.iter().map(f).sum::<f64>();
    let (all, foreign) = (sum(|o| o.level), sum(|o| o.foreign));
    let expected = PARTITIONS as f64 * 0.9 * (all - foreign) / all - 1.0;
    assert!((plan.floor - expected).abs() < 1e-9, "{} for {expected}", plan.floor);
}
