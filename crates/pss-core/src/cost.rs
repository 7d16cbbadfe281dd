//! The events that make load, by name, and what each costs.
//!
//! A cost is relative to that of one inserted row, which is the unit, 1. Costs decide what load
//! *is*: loads that were measured with different costs must never meet in one series.

use crate::series::{CostModel, Counters};

/// What the server counts of a partition, and a cost stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A tuple inserted: the unit.
    Insert,
    /// A tuple updated.
    Update,
    /// A tuple deleted.
    Delete,
    /// A tuple fetched by index.
    IndexFetch,
    /// A tuple read by a sequential scan.
    SequentialRead,
    /// A block read from disk.
    BlockRead,
}

/// Number of kinds of events.
pub const EVENTS: usize = 6;

/// A figure of each kind of event, in the order of [`Event::ALL`].
pub type ByEvent<T> = [T; EVENTS];

impl Event {
    /// All of them; position 0 is the unit.
    pub const ALL: ByEvent<Event> = [
        Event::Insert,
        Event::Update,
        Event::Delete,
        Event::IndexFetch,
        Event::SequentialRead,
        Event::BlockRead,
    ];

    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Event::Insert => "insert",
            Event::Update => "update",
            Event::Delete => "delete",
            Event::IndexFetch => "index_fetch",
            Event::SequentialRead => "sequential_read",
            Event::BlockRead => "block_read",
        }
    }

    /// The event of this name in SQL.
    pub fn from_name(name: &str) -> Option<Event> {
        Event::ALL.into_iter().find(|event| event.name() == name)
    }
}

impl CostModel {
    /// Costs by event.
    pub fn by_event(&self) -> ByEvent<f64> {
        [
            self.insert,
            self.update,
            self.delete,
            self.index_fetch,
            self.sequential_read,
            self.block_read,
        ]
    }

    /// The same, but for costs of events, which are given.
    pub fn with_events(self, costs: ByEvent<f64>) -> CostModel {
        let [insert, update, delete, index_fetch, sequential_read, block_read] = costs;
        CostModel { insert, update, delete, index_fetch, sequential_read, block_read, ..self }
    }
}

impl Counters {
    /// Counts by event.
    pub fn by_event(&self) -> ByEvent<u64> {
        [
            self.inserted,
            self.updated,
            self.deleted,
            self.index_fetched,
            self.sequentially_read,
            self.blocks_read,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again_and_an_insert_is_the_unit() {
        for event in Event::ALL {
            assert_eq!(Event::from_name(event.name()), Some(event));
        }
        assert_eq!(Event::from_name("truncate"), None);
        assert_eq!(CostModel::default().by_event()[0], 1.0);
    }

    #[test]
    fn costs_go_through_arrays_unchanged() {
        let costs = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let model = CostModel { busy_us: 0.5, ..CostModel::default() }.with_events(costs);
        assert_eq!(model.by_event(), costs);
        assert_eq!((model.sequential_read, model.block_read, model.busy_us), (5.0, 6.0, 0.5));
        let counters = Counters { inserted: 1, blocks_read: 9, busy_us: 7, ..Counters::default() };
        assert_eq!(counters.by_event(), [1, 0, 0, 0, 0, 9]);
    }
}
