//! Which existing rows are worth moving, and why none are.
//!
//! Placing new keys is what levels load; rows are moved only for an excess that *stands*: the mean
//! of what placement cannot change, over a quarter of a key's life and two periods at least, is above
//! the level, will not decay by itself soon, and pays back what its moves cost. A move never chases a
//! cycle, never makes a partition fuller than the level, and leaves the balance better than before
//! wherever it is stopped.
//!
//! - `standing`: what of the load stands; `plan`: the moves; `say`: reasons in words
//! - `history`: what past moves tell of the next ones; `going`: whether a batch may go now
//!
//! It must never see a key: which ones go is for whoever carries them.

mod going;
mod history;
mod plan;
mod say;
mod standing;
#[cfg(test)]
mod tests;

pub use going::{Wait, batch_keys, may_go};
pub use history::{Past, Speed};
pub use plan::plan;
pub use standing::{TWO_DAYS, is_daily, needed_s, remaining_life_s};

/// Excess above the level that is worth a move, as a part of the level.
pub const WORTH: f64 = 0.05;

/// One partition, as the planner sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Partition {
    /// Its number, for words alone.
    pub number: u16,
    /// Load it can carry (any unit, common to all); 0: out of service.
    pub capacity: f64,
    /// Whether keys can be moved out of it and into it: it is stored on this server.
    pub local: bool,
    /// Foreign load (cost units/s) in equal spans of the window, oldest first, as many for each
    /// partition; not a number where it was not measured.
    pub foreign: Vec<f64>,
    /// Load (cost units/s) of keys placed earlier, in the next moment.
    pub committed: f64,
    /// What of it will be left when patience has ended.
    pub committed_later: f64,
    /// Part of the load (cost units/s) that stays whatever keys leave: metrics, hot keys.
    pub fixed: f64,
    /// Data keys.
    pub keys: f64,
    /// Rows.
    pub rows: f64,
    /// Bytes of the rows, as stored.
    pub bytes: f64,
}

/// A sharded table, as the planner sees it.
#[derive(Debug, Clone)]
pub struct Table<'a> {
    /// All its partitions.
    pub partitions: &'a [Partition],
    /// Load (cost units/s) of keys still to come, when patience has ended: placing them is free.
    pub controllable: f64,
    /// Time that the spans cover, in seconds.
    pub observed_s: f64,
    /// Time they have to cover: [`needed_s`].
    pub needed_s: f64,
    /// The longest cycle found in the loads, in seconds.
    pub period_s: Option<f64>,
    /// An excess that will be gone sooner, in seconds, is left to time.
    pub patience_s: f64,
    /// How long moved keys will go on bringing load, in seconds: [`remaining_life_s`].
    pub life_s: f64,
    /// What moves cost.
    pub cost: Cost,
    /// What past moves tell.
    pub speed: &'a Speed,
}

/// What moves cost, before any has been measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Cost units of a row that leaves one partition and comes to another.
    pub row: f64,
    /// Cost units of a row of the source that a batch only reads.
    pub scanned_row: f64,
    /// Rows of a batch.
    pub batch_rows: f64,
    /// Rows that may be moved in a second; infinite: no limit.
    pub rows_per_s: f64,
}

/// One move: so many keys from one partition to another, spread evenly over those it has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Move {
    /// Position of the source.
    pub from: usize,
    /// Position of the destination.
    pub to: usize,
    /// Keys to move.
    pub keys: u64,
    /// Their rows, expected.
    pub rows: f64,
    /// Bytes of the rows, expected.
    pub bytes: f64,
    /// How long it takes, in seconds.
    pub seconds: f64,
    /// What it costs, in cost units.
    pub cost: f64,
    /// Load above the level that it takes away (cost units/s): all that goes with the keys, for a
    /// source stays above the level and a destination below it.
    pub gain: f64,
    /// Cost over gain: after so many seconds it has paid.
    pub payback_s: f64,
}

/// What to move, or why nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// In the order in which they are to be made.
    pub moves: Vec<Move>,
    /// Why these, or why none.
    pub reason: Reason,
    /// Load over capacity that all partitions would have, if rows could be anywhere.
    pub level: f64,
    /// Standing load of each partition (cost units/s); not a number where unknown.
    pub load: Vec<f64>,
}

/// Why rows are to be moved, or why not. `partition` is a number, parts are of the level, times in
/// seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs, reason = "the fields are what the line above them says")]
pub enum Reason {
    /// A standing excess, so much above the level, that moving takes away.
    Pays { partition: u16, excess: f64 },
    /// Too little has been seen.
    ShortHistory { observed_s: f64, needed_s: f64 },
    /// There is no load, or no partition whose load is known.
    NoLoad,
    /// No partition stands above the level by enough.
    Level { excess: f64 },
    /// What is above the level now is below it on the other side of the cycle.
    Periodic { period_s: f64, partition: u16, below: f64 },
    /// What is above the level now is not on average.
    Passing { partition: u16, now: f64, mean: f64 },
    /// The excess has not stood in both halves of the time looked at.
    Recent { partition: u16, window_s: f64 },
    /// The keys that make it will have gone.
    Decays { partition: u16, within_s: f64 },
    /// It would cost more than it saves in a quarter of the time that the keys last.
    Dear { partition: u16, payback_s: f64, quarter_s: f64 },
    /// No other partition that is stored here has room.
    NoRoom { partition: u16 },
    /// One key brings more than the excess, or the load does not go with keys.
    Indivisible { partition: u16 },
}
