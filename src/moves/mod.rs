//! Moving keys from one local partition to another, and cleaning the row map of
//! what no row stands behind any more.
//!
//! - [`mover`]: the protocol: mark, wait, lock, carry
//! - [`leaf`]: waiting for a leaf's writers, its lock, its keys
//! - [`clean`]: orphaned and duplicate entries of the row map; [`state`] remembers how far it came
//! - [`reindex`]: when the index of a row map is rebuilt
//! - [`settings`]: settings that hold for a few statements
//! - [`batch`], [`cost`]: one batch of keys in the order of the map, and what it cost
//! - [`call`]: `pss_move_key`, `CALL pss_move_keys`
//! - [`gather`]: moving all rows of a key that is spread to one partition
//! - [`spread`]: `pss_spread_key`, `pss_unspread_key`
//!
//! A mover must never let a writer wait for longer than its own work takes: what
//! is in its way goes first. Only keys that it has marked, in its own
//! transaction, change their home.

pub mod batch;
mod call;
mod clean;
mod cost;
mod gather;
mod leaf;
mod mover;
pub mod reindex;
mod settings;
mod spread;
mod state;

pub use clean::clean_if_due;
pub use mover::{carries, is_local};
