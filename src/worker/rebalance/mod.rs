//! Rebalancing: moving existing rows where an excess of load stands.
//!
//! - [`survey`]: what the planner of pss-core is told of a table
//! - [`store`]: plans that are being carried out, in pss.rebalance; what moves under way will bring
//! - [`step`]: one batch, a transaction of its own
//! - [`duty`]: what the worker does about it between two cycles
//! - [`api`]: `pss_rebalance_plan`, `_start`, `_stop`, `_status`
//!
//! A plan is data: whoever dies between two batches leaves the next one to whoever comes after. A
//! batch is one transaction with its progress. It must never make a user wait for longer than a
//! batch takes, and gives way to load that is not its own.

mod api;
mod duty;
mod step;
mod store;
mod survey;

pub use duty::Duty;
pub use store::{Carried, carried_since, with_moves};
