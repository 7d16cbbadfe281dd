//! Moving keys from one local partition to another, and cleaning the row map of
//! what no row stands behind any more.
//!
//! - [`mover`]: the protocol: mark, wait, lock, carry
//! - [`leaf`]: waiting for a leaf's writers, its lock, its keys
//! - [`settings`]: settings that hold for a few statements
//! - [`call`]: `pss_move_key`, `CALL pss_move_keys`
//!
//! A mover must never let a writer wait for longer than its own work takes: what
//! is in its way goes first. Only keys that it has marked, in its own
//! transaction, change their home.

mod call;
mod leaf;
mod mover;
mod settings;

pub use mover::carries;
