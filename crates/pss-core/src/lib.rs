//! The decisions of pss, as functions over values.
//!
//! No clock, no I/O, no PostgreSQL: time, randomness and configuration come in
//! as arguments, and a decision comes out with its reason. What the background
//! worker decides on a server can be replayed here without one.
#![forbid(unsafe_code)]

/// What events cost, learnt from the time that statements took.
pub mod calibrate;
/// What each kind of event costs.
pub mod cost;
/// Forecasts of one series, a few steps ahead, with an interval.
pub mod forecast;
/// Which horizons are forecast, in steps, for a given sampling interval.
pub mod horizons;
/// Counters to use of resources: time, blocks, bytes, working set.
pub mod load_vector;
/// Amounts of cpu, blocks, bytes, memory and storage; the scarcest of them.
pub mod resources;
/// Counters to load: differences, rates, what is missing.
pub mod series;

/// Keys and their load by age.
pub mod age;
/// What a server can carry, learned from how it does under load.
pub mod capacity;
/// The claim protocol by which concurrent sessions agree on a new key's partition.
pub mod claim;
/// Expected load of a key by its age, and the load of keys placed earlier.
pub mod cohort;
/// One control step: forecasts and cohorts in, shares of new keys out.
pub mod control;
/// The fast loop: which partitions are too slow at the moment.
pub mod delay;
/// Which file of a relation a message of the server names.
pub mod disk_error;
/// Quota dispatch: which partition the next new key goes to.
pub mod dispatch;
/// Heavy hitters: the keys that bring a large part of the rows lately.
pub mod heavy;
/// Hashes of data keys that keep neighbours together.
pub mod key_hash;
/// Dispatch to the partition whose peaks a key raises least.
pub mod level;
/// Statements under way, and the time that is their own.
pub mod own_time;
/// Which existing rows are worth moving, and why none are.
pub mod rebalance;
/// Shadow scores: what other placements would have achieved.
pub mod score;
/// A set of hashes that never forgets a member.
pub mod seen;
/// Taking partitions out of service between two decisions.
pub mod service;
/// Slot mode: the homes that slots have had, and epochs that give them few new ones.
pub mod slot_history;
/// The slot table: virtual key space to partitions, in proportion to weight.
pub mod slots;
/// The story of one decision, in sentences.
pub mod story;
/// Nodes and tablespaces, whose capacity partitions share.
pub mod topology;
/// The 64-bit virtual shard key.
pub mod virtual_key;
/// Water-filling, clamping and damping of shares.
pub mod weights;
