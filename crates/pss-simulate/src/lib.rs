//! Plays workloads against pss's own controller and dispatch, and against its rivals, without a
//! server.
//!
//! Everything is a function of the case and its seed. It must never decide anything about
//! placement that `pss_core` decides: what is measured here is what the worker runs.

/// Recorded loads, read from CSV files.
pub mod series;
/// What falls on the partitions, step by step.
pub mod workload;
/// The workloads W0 to W11, and those of files.
pub mod workloads;

/// How the load of a key runs after it was placed.
pub mod life;
/// Ways of placing keys: pss, its rivals, and the oracle.
pub mod policies;

/// One policy under one workload.
pub mod play;
/// From the loads of a play to its figures.
pub mod score;

/// Which workloads, constraints, sizes and delays are played.
pub mod cases;
/// Plays all cases on all processors.
pub mod run;
/// The figures of all seeds of a case.
pub mod summary;
/// What one processor places in a second.
pub mod throughput;

/// The figures as JSON.
pub mod json;
/// The figures as a page of plots.
pub mod plots;
/// The figures for people.
pub mod table;
