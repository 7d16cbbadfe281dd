//! pss: predictive sharding for PostgreSQL.
//!
//! # Layout, in reading order
//!
//! - [`guc`], [`error`], [`clock`], [`catalog`], [`shmem`]: settings, errors, time,
//!   typed SQL on schema pss, shared state
//! - `map`, `router`: the row map, and the one router that places keys
//! - `homes`: where a reader has to look for the rows of a key
//! - `multi_home`: keys that are spread over several partitions
//! - `hot_keys`: which keys bring much of a table's rows
//! - `doors`: call, trigger, planner and COPY lead rows to the router
//! - `partitions`: making and unmaking sharded tables, rebuilding, checking
//! - `moves`: carrying keys to another partition, and cleaning the row map
//! - `disk_errors`: partitions whose disk fails take no more new keys
//! - `capacity`: what partitions, nodes and tablespaces can carry
//! - `statements`: what the server runs, by partition
//! - `costs`: what events cost
//! - `inputs`: what applications and administrators tell about load
//! - `sampler`, `worker`: from pg_stat views to published epochs
//! - `query_log`: past load from the server's query log
//!
//! Decisions are made in the crate `pss-core`, which cannot see PostgreSQL.
#![cfg_attr(not(panic = "unwind"), allow(unused))]

#[cfg(not(panic = "unwind"))]
compile_error!("pss must be compiled with -Cpanic=unwind");

mod capacity;
mod catalog;
mod clock;
mod compat;
mod costs;
mod disk_errors;
mod doors;
mod error;
mod guc;
mod homes;
mod hot_keys;
#[cfg(feature = "in_server_tests")]
mod in_server;
mod inputs;
mod key;
mod latest;
mod leaves;
mod map;
mod meta;
mod moves;
mod multi_home;
mod partitions;
mod query_log;
mod raw;
mod rights;
mod router;
mod sampler;
mod shmem;
mod slot;
mod stat;
mod statements;
mod subtransaction;
mod worker;
mod xact;

use pgrx::prelude::*;

::pgrx::pg_module_magic!(name, version);

#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    // SAFETY: plain globals of the postmaster or backend.
    let (upgrading, preloading) =
        unsafe { (pg_sys::IsBinaryUpgrade, pg_sys::process_shared_preload_libraries_in_progress) };
    if upgrading {
        return;
    }
    // pgrx would put a backtrace into the DETAIL of every error.
    // SAFETY: PostgreSQL processes have one thread.
    unsafe { std::env::remove_var("RUST_BACKTRACE") };
    guc::init();
    if preloading {
        guc::init_for_start();
    }
    guc::reserve_prefix();
    xact::init();
    doors::init();
    statements::init();
    if preloading {
        shmem::init();
        disk_errors::init();
        worker::init();
    }
}
