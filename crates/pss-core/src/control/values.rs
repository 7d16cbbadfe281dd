//! What goes into a control step and what comes out: plain values, without a decision in them.

use super::Adjustment;
use crate::level::{CLASSES, Fill};
use crate::weights::Damping;

/// What one cycle brought, by partition.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// Load of keys pss placed (cost units/s), exact.
    pub own: &'a [f64],
    /// All other load (cost units/s); `None` = not measured.
    pub foreign: &'a [Option<f64>],
    /// What of the foreign load had been declared (cost units/s, mean over the time measured);
    /// empty: nothing.
    pub declared: &'a [f64],
    /// New keys placed in this cycle, by partition and size class (`level::size_class`).
    pub placed: &'a [[f64; CLASSES]],
    /// Load that the partition can carry (any unit, common to all).
    pub capacity: &'a [f64],
    /// Whether it may take new keys.
    pub in_service: &'a [bool],
}

/// How to plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Off: load is expected to stay as it was last measured.
    pub forecast: bool,
    /// Keys that live on are placed by a plan over their life where that has been best lately.
    pub planning: bool,
    /// Cycles by which measured foreign load is older than own load.
    pub staleness: usize,
    /// Cycles without a measured foreign load after which a partition's is unknown.
    pub time_to_live: usize,
    /// Cycles before anything but capacity decides.
    pub warm_up: usize,
    /// Relative gain over capacity shares that a policy must have shown.
    pub margin: f64,
    /// How shares may change.
    pub damping: Damping,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            forecast: true,
            planning: true,
            staleness: 0,
            time_to_live: 6,
            warm_up: 12,
            margin: 0.02,
            damping: Damping::default(),
        }
    }
}

/// Why the shares are what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Fewer cycles than `warm_up` have been seen.
    WarmingUp,
    /// No partition's foreign load has been measured lately.
    NoFreshData,
    /// Nothing has beaten capacity shares lately.
    NoSkill,
    /// As without skill, but a load is declared: shares by capacity over what it leaves.
    Declared,
    /// Water-filling on the last measured loads.
    Reactive,
    /// Water-filling on forecasts.
    Forecast,
    /// A plan over the time that keys live, on forecasts.
    Planned,
}

impl Reason {
    /// The reason in words, for views and the decision log.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::WarmingUp => "warming up: shares by capacity",
            Reason::NoFreshData => "no fresh data: shares by capacity",
            Reason::NoSkill => "no skill: shares by capacity",
            Reason::Declared => "no skill: shares by capacity over declared loads",
            Reason::Reactive => "filling to a level by the last measured loads",
            Reason::Forecast => "filling to a level by forecasts",
            Reason::Planned => "planned over the life of keys by forecasts",
        }
    }

    /// The policy that sets the shares, by the name that its scores have.
    pub fn policy(self) -> &'static str {
        match self {
            Reason::Forecast => "forecast",
            Reason::Planned => "planned",
            Reason::Reactive => "reactive",
            Reason::WarmingUp | Reason::NoFreshData | Reason::NoSkill | Reason::Declared => {
                "capacity"
            }
        }
    }
}

/// Expected loads of one partition, mean over the control window (cost units/s).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlook {
    /// Foreign load; not a number when unknown.
    pub foreign: f64,
    /// Load of keys placed earlier.
    pub committed: f64,
    /// All load, with the new keys by the plan's shares.
    pub level: f64,
    /// Bounds of `level`, from the interval of the foreign forecast.
    pub lo: f64,
    /// See `lo`.
    pub hi: f64,
}

/// What to do with the next new keys, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Share of the new keys for each partition (sum 1).
    pub shares: Vec<f64>,
    /// Whether the shares differ enough from the last published ones to begin an epoch.
    pub epoch_changed: bool,
    /// By partition.
    pub outlook: Vec<Outlook>,
    /// What is expected of each partition and key, for dispatch to a level; `None` where shares
    /// by capacity are all there is to go by.
    pub fill: Option<Fill>,
    /// Part of the expected differences in foreign load that dispatch to a level counts on, 0 to
    /// 1, by how far they lately came true.
    pub trust: f64,
    /// Control window in cycles.
    pub window: usize,
    /// kappa: controllable part of the load over the control window.
    pub authority: f64,
    /// lambda - 1 expected with these shares, or that which the hottest key alone makes: below it
    /// new keys cannot bring the table.
    pub floor: f64,
    /// Why these shares.
    pub reason: Reason,
    /// What was changed since the last plan in how plans are made.
    pub adjustments: Vec<Adjustment>,
}
