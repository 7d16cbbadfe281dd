//! What partitions, nodes and tablespaces can carry: configured, discovered, learned.
//!
//! - `limits`: what is configured of nodes and tablespaces, as a tree that is filled
//! - `settings`: the functions that configure
//! - `discover`: processors, memory and disks of this server
//! - `learn`: what showed under load
//!
//! How capacities count is decided in pss-core. What is discovered or learned is shown; placement goes
//! by what is configured, so that nothing changes behind an administrator's back.

pub mod discover;
pub mod learn;
mod limits;
mod settings;

pub use limits::Limits;
