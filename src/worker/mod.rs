//! The background processes: a launcher that knows which databases have work,
//! and leased workers that do it.
//!
//! - [`launcher`]: connected to no database; hands out leases
//! - [`lease`]: a leased worker's life: connect, run cycles, leave
//! - [`cycle`]: sample, decide, publish, score; also behind `pss_refresh()`
//! - [`memory`], [`brain`]: what a process remembers of a table, and the seam
//!   to the decisions of pss-core
//! - [`failures`], [`probe`]: partitions whose disk failed, and whether it is well again
//! - [`gauges`], [`calibration`]: what partitions use of resources; what events cost, and when that changes
//! - [`history`]: the coarse past of weeks
//! - [`adjust`]: what pss changes of its own accord, as events
//! - [`report`], [`path`]: what people see of forecasts; `pss_forecast()`
//! - [`rebalance`]: moving existing rows where an excess of load stands
//! - [`housekeeping`]: folding of samples, retention, sweep, rebuilds, ANALYZE, cleaning
//! - [`top_level`]: commands that commit by themselves
//! - [`database_ddl`], [`commit`], [`process`]: staying out of the way of DDL,
//!   acting at commit, signals and transactions
//!
//! Nothing here may ever stop an insert: without a worker, weights age out and
//! keys are placed by capacity.

mod adjust;
mod brain;
mod calibration;
mod commit;
mod cycle;
mod database_ddl;
mod failures;
mod gauges;
mod history;
mod housekeeping;
mod launcher;
mod lease;
mod memory;
mod path;
mod probe;
mod process;
mod rebalance;
#[cfg(feature = "in_server_tests")]
mod replay_test;
mod report;
#[cfg(feature = "in_server_tests")]
mod retention_test;
mod top_level;

pub use commit::{nudge, set_state_at_commit};
pub use database_ddl::{after_utility, before_utility};
#[cfg(feature = "in_server_tests")]
pub use replay_test::replay_restores_what_was_known;
#[cfg(feature = "in_server_tests")]
pub use retention_test::{a_dropped_table_leaves_nothing, nothing_is_kept_for_ever};

/// Registers the launcher and the transaction callbacks; only from
/// shared_preload_libraries.
pub fn init() {
    commit::init();
    launcher::register();
}
