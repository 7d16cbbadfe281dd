//! Ways of placing keys, behind one trait.
//!
//! A policy knows what [`Seen`] and [`Now`] tell, and no more; the oracle alone is given the
//! workload. Rivals that deal out shares do so exactly, without the luck of the dice: what pss is
//! compared with is the best that such a policy can be.

mod clairvoyant;
mod fixed;
mod oracle;
mod pss;
mod queues;
mod reactive;

use crate::life::{Life, OwnLoad};
use crate::workload::Workload;
use crate::workloads::Process;

/// What is known when a control interval begins.
pub struct Seen<'a> {
    /// Number of the interval.
    pub interval: usize,
    /// Its length in steps.
    pub steps: usize,
    /// Its length in seconds.
    pub interval_s: f64,
    /// Seconds by which statistics are late.
    pub delay_s: f64,
    /// Foreign load by partition: mean over an interval that ended `delay_s` ago, with the error
    /// of measuring; `None` before there was one.
    pub foreign: Option<&'a [f64]>,
    /// Own load by partition, mean over the last interval.
    pub own: &'a [f64],
    /// The keys placed so far.
    pub keys: &'a OwnLoad,
    /// Volume of the keys to come.
    pub volume: f64,
    /// Capacity as measured `delay_s` ago; never zero.
    pub capacity: &'a [f64],
    /// Who may take keys.
    pub in_service: &'a [bool],
}

impl Seen<'_> {
    /// Capacity, zero where out of service.
    pub fn serving(&self) -> Vec<f64> {
        let one = |(&c, &serves): (&f64, &bool)| if serves { c } else { 0.0 };
        self.capacity.iter().zip(self.in_service).map(one).collect()
    }
}

/// What can be seen at once, without statistics, while keys are placed.
pub struct Now<'a> {
    /// Own load by partition, with the keys that this step has placed.
    pub own: &'a [f64],
    /// Foreign load in this step: shown by how long an insert takes.
    pub foreign: &'a [f64],
    /// Capacity in this step.
    pub capacity: &'a [f64],
}

/// A key to be placed.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Hash of the key.
    pub hash: u64,
    /// Size relative to the mean; `None`: not told, all are alike.
    pub size: Option<f64>,
}

/// How the keys of an interval are placed.
pub enum Decision {
    /// These parts of every step's keys go to each partition.
    Shares(Vec<f64>),
    /// [`Policy::place`] is asked for every key.
    EachKey,
}

/// A way of placing keys.
pub trait Policy {
    /// Decides at the beginning of a control interval.
    fn decide(&mut self, seen: &Seen<'_>) -> Decision;

    /// A step begins in which keys will be placed one by one; own load in `now` is older keys'.
    fn begin_step(&mut self, _now: &Now<'_>) {}

    /// The partition of one key; only asked after [`Decision::EachKey`].
    fn place(&mut self, _key: Key, _now: &Now<'_>) -> usize {
        0
    }

    /// Why it did what it did, in a few words.
    fn story(&self) -> String {
        String::new()
    }
}

/// The policies by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Native hash partitioning.
    Static,
    /// Smooth round robin by configured capacity.
    Swrr,
    /// Water-filling on the last measured loads, own load exact.
    Reactive,
    /// The emptier of two random partitions, by own load.
    TwoChoices,
    /// Shortest expected delay.
    Sed,
    /// pss with forecasts off.
    PssNoForecast,
    /// pss.
    Pss,
    /// Water-filling on the expectation of the process that the load really follows.
    KnowsProcess,
    /// Knows the true future.
    Oracle,
}

impl Kind {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Kind; 9] = [
        Kind::Static,
        Kind::Swrr,
        Kind::Reactive,
        Kind::TwoChoices,
        Kind::Sed,
        Kind::PssNoForecast,
        Kind::Pss,
        Kind::KnowsProcess,
        Kind::Oracle,
    ];

    /// The name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Static => "static",
            Kind::Swrr => "swrr",
            Kind::Reactive => "reactive",
            Kind::TwoChoices => "two_choices",
            Kind::Sed => "sed",
            Kind::PssNoForecast => "pss_no_forecast",
            Kind::Pss => "pss",
            Kind::KnowsProcess => "knows_process",
            Kind::Oracle => "oracle",
        }
    }

    /// Whether what it does depends on how old statistics are.
    pub fn reads_statistics(self) -> bool {
        matches!(self, Kind::Reactive | Kind::PssNoForecast | Kind::Pss | Kind::KnowsProcess)
    }

    /// The policy, new; `None` where it has no meaning.
    pub fn make(self, scene: &Scene<'_>) -> Option<Box<dyn Policy>> {
        Some(match self {
            Kind::Static => Box::new(fixed::Static),
            Kind::Swrr => Box::new(fixed::Swrr::new(scene.workload)),
            Kind::Reactive => Box::new(reactive::Reactive::default()),
            Kind::KnowsProcess => Box::new(reactive::Reactive { process: Some(scene.process?) }),
            Kind::TwoChoices => Box::new(queues::TwoChoices::default()),
            Kind::Sed => Box::new(queues::Sed::default()),
            Kind::PssNoForecast => Box::new(pss::Pss::new(scene, false)),
            Kind::Pss => Box::new(pss::Pss::new(scene, true)),
            Kind::Oracle => Box::new(oracle::Oracle::new(scene)),
        })
    }
}

/// What is played, and by which rules.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// What falls on the partitions.
    pub workload: &'a Workload,
    /// The process that foreign load follows, if it is one.
    pub process: Option<Process>,
    /// What becomes of keys.
    pub life: Life,
    /// Steps of a control interval.
    pub interval_steps: usize,
    /// Seconds by which statistics are late.
    pub delay_s: f64,
    /// First step that is scored.
    pub scored_from: usize,
    /// Keys of each step.
    pub keys_a_step: usize,
    /// Of all that is random in a play.
    pub seed: u64,
}
