//! Cumulative counters of one partition to what it uses of each resource.
//!
//! Times and reads are counted by the server; writes, bytes and memory are estimated from counts
//! and sizes, because no major of PostgreSQL counts them by relation (pg_stat_io of 16 and later
//! counts by kind of process). As in [`crate::series`], what two samples do not bound is not
//! known: never zero, never a spike.

use crate::resources::Resources;
use crate::series::Counters;

/// Bytes of a block, as the server is usually built.
const BLOCK: f64 = 8192.0;

/// A block that was used within this many seconds belongs to the working set, and one that is
/// changed again within them is written once: the five-minute rule (Gray and Putzolu 1987), and
/// PostgreSQL's default checkpoint_timeout.
const WINDOW_S: f64 = 300.0;

/// An interval longer than this many nominal ones is a gap, and missing.
const GAP_INTERVALS: f64 = 3.0;

/// Cumulative counts of one partition that resources follow from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Activity {
    /// Counts of events.
    pub counters: Counters,
    /// Blocks found in memory.
    pub blocks_hit: u64,
    /// Microseconds of execution of all statements.
    pub statement_us: u64,
}

/// How large a partition is; NaN: not known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Extent {
    /// Bytes on disk, with indexes and TOAST.
    pub stored_bytes: f64,
    /// Mean size of a row in bytes.
    pub row_bytes: f64,
    /// Number of its indexes.
    pub indexes: u32,
}

impl Default for Extent {
    fn default() -> Self {
        Extent { stored_bytes: f64::NAN, row_bytes: f64::NAN, indexes: 0 }
    }
}

/// Turns samples of one partition into resources. Call [`VectorMeter::sample`] once a sampling.
#[derive(Debug, Clone)]
pub struct VectorMeter {
    nominal_us: f64,
    last: Option<(i64, Activity)>,
    /// Accesses to blocks, those long ago faded out; NaN before the first interval.
    accesses: f64,
    /// What the last interval came to.
    rates: Resources,
}

impl VectorMeter {
    /// A meter for samples nominally `nominal_us` microseconds apart (at least 1).
    pub fn new(nominal_us: i64) -> Self {
        VectorMeter {
            nominal_us: nominal_us.max(1) as f64,
            last: None,
            accesses: f64::NAN,
            rates: Resources::UNKNOWN,
        }
    }

    /// Takes a sample at `time_us` microseconds; returns what the partition uses.
    ///
    /// Rates are those since the sample before; not known after a counter that went backwards, a
    /// clock that did, or a gap of more than three nominal intervals. A sample at the very time of
    /// the last one changes nothing.
    pub fn sample(&mut self, time_us: i64, now: &Activity, extent: &Extent) -> Resources {
        match self.last {
            Some((last_us, _)) if last_us == time_us => {}
            last => {
                self.last = Some((time_us, *now));
                self.rates = last
                    .and_then(|(last_us, then)| {
                        self.interval(time_us.saturating_sub(last_us), &then, now, extent)
                    })
                    .unwrap_or(Resources::UNKNOWN);
            }
        }
        Resources {
            memory: distinct(self.accesses, extent.stored_bytes / BLOCK) * BLOCK,
            storage: extent.stored_bytes,
            ..self.rates
        }
    }

    fn interval(
        &mut self,
        elapsed_us: i64,
        then: &Activity,
        now: &Activity,
        extent: &Extent,
    ) -> Option<Resources> {
        if elapsed_us <= 0 {
            return None;
        }
        let seconds = elapsed_us as f64 / 1e6;
        let events = now.counters.since(&then.counters)?;
        let hit = now.blocks_hit.checked_sub(then.blocks_hit)?;
        let busy_us = now.statement_us.checked_sub(then.statement_us)?;
        // Accesses stay comparable over a gap: only when they were is not known.
        let faded = if self.accesses.is_nan() { 0.0 } else { self.accesses };
        let accesses = hit.saturating_add(events.blocks_read) as f64;
        self.accesses = faded * (-seconds / WINDOW_S).exp() + accesses;
        if elapsed_us as f64 > GAP_INTERVALS * self.nominal_us {
            return None;
        }
        let bytes = (events.inserted as f64 + events.updated as f64) * extent.row_bytes / seconds;
        Some(Resources {
            cpu: busy_us as f64 / seconds,
            read: events.blocks_read as f64 / seconds,
            write: bytes / BLOCK + rewritten(&events, extent, seconds),
            bytes,
            ..Resources::UNKNOWN
        })
    }
}

/// Blocks per second that are written because something in them changed: the block of each
/// updated or deleted row, and one of each index for a new version of a row.
fn rewritten(events: &Counters, extent: &Extent, seconds: f64) -> f64 {
    let (updated, deleted) = (events.updated as f64, events.deleted as f64);
    let entries = (events.inserted as f64 + updated) * f64::from(extent.indexes);
    let changed = (updated + deleted + entries) / seconds;
    distinct(changed * WINDOW_S, extent.stored_bytes / BLOCK) / WINDOW_S
}

/// Blocks of `blocks` that `accesses` random ones meet: n (1 - e^(-a/n)), which is a where blocks
/// are many (Cardenas 1975, in the limit). An upper bound: accesses that keep to few blocks, as
/// those of the root of an index, meet fewer.
fn distinct(accesses: f64, blocks: f64) -> f64 {
    if accesses == 0.0 {
        return 0.0;
    }
    // What is touched has a block at least, even if it had none when sizes were read.
    let blocks = if blocks < 1.0 { 1.0 } else { blocks };
    -blocks * (-accesses / blocks).exp_m1()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Resource;
    use proptest::prelude::*;

    const SECOND: i64 = 1_000_000;
    const EXTENT: Extent = Extent { stored_bytes: 8192e3, row_bytes: 100.0, indexes: 1 };

    fn meter() -> VectorMeter {
        VectorMeter::new(10 * SECOND)
    }

    #[test]
    fn each_resource_follows_its_counter() {
        let mut m = meter();
        let first = m.sample(0, &Activity::default(), &EXTENT);
        assert_eq!((first.get(Resource::Cpu), first.storage), (None, 8192e3));
        assert_eq!(first.get(Resource::Memory), None, "nothing was seen to be used or not");

        let reads = Counters { blocks_read: 50, ..Counters::default() };
        let activity = Activity { counters: reads, blocks_hit: 150, statement_us: 3_000_000 };
        let read = m.sample(10 * SECOND, &activity, &EXTENT);
        assert_eq!((read.cpu, read.read, read.write, read.bytes), (300_000.0, 5.0, 0.0, 0.0));
        // 200 accesses among 1000 blocks meet 181.
        assert!((read.memory / BLOCK - 181.27).abs() < 0.01, "{}", read.memory / BLOCK);
        assert_eq!(m.sample(10 * SECOND, &activity, &EXTENT).cpu, read.cpu, "the same time again");

        let inserts = Counters { inserted: 8192, ..reads };
        let activity = Activity { counters: inserts, ..activity };
        let written = m.sample(20 * SECOND, &activity, &EXTENT);
        assert_eq!((written.cpu, written.read, written.bytes), (0.0, 0.0, 81_920.0));
        // Ten blocks of rows; and 819.2 changes a second rewrite each of the 1000 blocks of the
        // index and the table once a window.
        assert!((written.write - 10.0 - 1000.0 / 300.0).abs() < 1e-9);
        assert!(written.memory < read.memory, "what is not used fades");
    }

    #[test]
    fn few_changes_write_a_block_each() {
        let mut m = meter();
        let table = Extent { stored_bytes: 8192e9, indexes: 0, ..EXTENT };
        m.sample(0, &Activity::default(), &table);
        let changes = Counters { updated: 20, deleted: 10, ..Counters::default() };
        let activity = Activity { counters: changes, ..Activity::default() };
        let write = m.sample(10 * SECOND, &activity, &table).write;
        assert!((write - 3.0 - 200.0 / 8192.0).abs() < 1e-5, "{write}");
    }

    #[test]
    fn reset_and_gap_are_not_known() {
        let busy = |us| Activity { statement_us: us, ..Activity::default() };
        let mut m = meter();
        m.sample(0, &busy(1_000_000), &EXTENT);
        assert!(m.sample(10 * SECOND, &busy(5), &EXTENT).cpu.is_nan(), "counted anew");
        assert_eq!(m.sample(20 * SECOND, &busy(105), &EXTENT).cpu, 10.0);
        assert!(m.sample(51 * SECOND, &busy(905), &EXTENT).cpu.is_nan(), "a gap");
        assert_eq!(m.sample(61 * SECOND, &busy(1005), &EXTENT).cpu, 10.0);
        assert!(m.sample(60 * SECOND, &busy(1015), &EXTENT).cpu.is_nan(), "a clock set back");
        let fewer = Activity { blocks_hit: 7, ..busy(1025) };
        m.sample(70 * SECOND, &fewer, &EXTENT);
        assert!(m.sample(80 * SECOND, &busy(1035), &EXTENT).cpu.is_nan(), "statistics reset");
    }

    #[test]
    fn what_follows_from_an_unknown_size_is_not_known() {
        let mut m = meter();
        m.sample(0, &Activity::default(), &Extent::default());
        let counters = Counters { inserted: 10, blocks_read: 20, ..Counters::default() };
        let activity = Activity { counters, ..Activity::default() };
        let used = m.sample(10 * SECOND, &activity, &Extent::default());
        assert_eq!((used.cpu, used.read), (0.0, 2.0));
        for resource in [Resource::Write, Resource::Bytes, Resource::Memory, Resource::Storage] {
            assert_eq!(used.get(resource), None, "{}", resource.name());
        }
    }

    proptest! {
        /// Whatever the counters do: what is known is finite and not negative, and no more memory
        /// is used than there are bytes.
        #[test]
        fn resources_are_finite_and_not_negative(
            samples in prop::collection::vec(
                (any::<i64>(), any::<[u32; 6]>(), any::<u64>(), any::<u64>(), 0u32..1_000_000_000, 0u32..100_000),
                1..40),
        ) {
            let mut m = meter();
            for (time, c, blocks_hit, statement_us, stored, row) in samples {
                let counters = Counters {
                    inserted: c[0].into(), updated: c[1].into(), deleted: c[2].into(),
                    index_fetched: c[3].into(), sequentially_read: c[4].into(),
                    blocks_read: c[5].into(), busy_us: 0,
                };
                let extent = Extent { stored_bytes: stored.into(), row_bytes: row.into(), indexes: row % 9 };
                let used = m.sample(time, &Activity { counters, blocks_hit, statement_us }, &extent);
                for amount in used.as_array() {
                    prop_assert!(amount.is_nan() || amount.is_finite() && amount >= 0.0);
                }
                prop_assert!(used.memory.is_nan() || used.memory <= f64::from(stored).max(BLOCK));
            }
        }
    }
}
