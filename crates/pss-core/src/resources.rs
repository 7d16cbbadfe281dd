//! Amounts of the resources of a server: what a partition uses of each, and what there is.
//!
//! One type serves load and capacity, so that utilization is a quotient of like things. What is
//! not known is NaN and takes no part; it must never be read as zero.

/// A resource that a partition uses and its node has a limited amount of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Execution time of statements: microseconds per second; 1,000,000 is one processor.
    Cpu,
    /// Blocks read from disk (or the system's cache), per second.
    Read,
    /// Blocks written, per second.
    Write,
    /// Bytes of rows written, per second.
    Bytes,
    /// Bytes of blocks in use: the working set.
    Memory,
    /// Bytes on disk.
    Storage,
}

impl Resource {
    /// All of them, in the order of [`Resources::as_array`].
    pub const ALL: [Resource; 6] = [
        Resource::Cpu,
        Resource::Read,
        Resource::Write,
        Resource::Bytes,
        Resource::Memory,
        Resource::Storage,
    ];

    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Resource::Cpu => "cpu",
            Resource::Read => "read",
            Resource::Write => "write",
            Resource::Bytes => "bytes",
            Resource::Memory => "memory",
            Resource::Storage => "storage",
        }
    }
}

/// An amount of each resource, in the units that [`Resource`] names; NaN: not known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resources {
    /// Microseconds of statement execution per second.
    pub cpu: f64,
    /// Blocks read per second.
    pub read: f64,
    /// Blocks written per second.
    pub write: f64,
    /// Bytes of rows written per second.
    pub bytes: f64,
    /// Bytes of blocks in use.
    pub memory: f64,
    /// Bytes on disk.
    pub storage: f64,
}

impl Default for Resources {
    fn default() -> Self {
        Resources::UNKNOWN
    }
}

impl Resources {
    /// Nothing is known.
    pub const UNKNOWN: Resources = Resources {
        cpu: f64::NAN,
        read: f64::NAN,
        write: f64::NAN,
        bytes: f64::NAN,
        memory: f64::NAN,
        storage: f64::NAN,
    };

    /// Amounts in the order of [`Resource::ALL`].
    pub fn from_array([cpu, read, write, bytes, memory, storage]: [f64; 6]) -> Self {
        Resources { cpu, read, write, bytes, memory, storage }
    }

    /// The amounts in the order of [`Resource::ALL`].
    pub fn as_array(&self) -> [f64; 6] {
        [self.cpu, self.read, self.write, self.bytes, self.memory, self.storage]
    }

    /// The amount of one resource; `None`: not known.
    pub fn get(&self, resource: Resource) -> Option<f64> {
        let amount = self.as_array()[resource as usize];
        amount.is_finite().then_some(amount)
    }

    /// Utilization of the scarcest resource, and which that is: the largest quotient of this load
    /// and `capacity`. Resources of which either is not known, or the capacity not positive, take
    /// no part; `None`: all of them. Of equal ones the first in [`Resource::ALL`].
    pub fn utilization(&self, capacity: &Resources) -> Option<(f64, Resource)> {
        let known = Resource::ALL.into_iter().filter_map(|resource| {
            let (load, room) = (self.get(resource)?, capacity.get(resource)?);
            (room > 0.0).then(|| (load.max(0.0) / room, resource))
        });
        known.reduce(|most, next| if next.0 > most.0 { next } else { most })
    }

    /// These amounts, and `other`'s where nothing is known here.
    pub fn or(&self, other: &Resources) -> Resources {
        let (mine, other) = (self.as_array(), other.as_array());
        let first = |i: usize| if mine[i].is_nan() { other[i] } else { mine[i] };
        Resources::from_array(std::array::from_fn(first))
    }

    /// A step of `part` of the way from these amounts to `newer`; what is known on one side alone
    /// is taken from there.
    pub fn towards(&self, newer: &Resources, part: f64) -> Resources {
        let (old, new) = (self.as_array(), newer.as_array());
        let step = |i: usize| old[i] + part * (new[i] - old[i]);
        Resources::from_array(std::array::from_fn(step)).or(self).or(newer)
    }

    /// The sum, by resource, of what is known on both sides or on one: partitions of one node add
    /// up, and one of which nothing is known adds nothing.
    pub fn plus(&self, other: &Resources) -> Resources {
        let (mine, other) = (self.as_array(), other.as_array());
        Resources::from_array(std::array::from_fn(|i| match (mine[i], other[i]) {
            (a, b) if a.is_nan() => b,
            (a, b) if b.is_nan() => a,
            (a, b) => a + b,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOAD: Resources = Resources {
        cpu: 500_000.0,
        read: 30.0,
        write: 10.0,
        bytes: f64::NAN,
        memory: 1e6,
        storage: 9e6,
    };

    #[test]
    fn the_scarcest_resource_decides() {
        let capacity = Resources {
            cpu: 2e6,
            read: 100.0,
            write: 100.0,
            bytes: 1.0,
            memory: 4e6,
            storage: 1e7,
        };
        assert_eq!(LOAD.utilization(&capacity), Some((0.9, Resource::Storage)));
        let disk_unknown = Resources { storage: f64::NAN, ..capacity };
        assert_eq!(LOAD.utilization(&disk_unknown), Some((0.3, Resource::Read)));
        let more_disks = Resources { read: 1000.0, ..disk_unknown };
        assert_eq!(
            LOAD.utilization(&more_disks),
            Some((0.25, Resource::Cpu)),
            "of equals the first"
        );
    }

    #[test]
    fn what_is_not_known_takes_no_part() {
        assert_eq!(LOAD.utilization(&Resources::UNKNOWN), None);
        assert_eq!(Resources::UNKNOWN.utilization(&LOAD), None);
        let none = Resources::from_array([0.0; 6]);
        assert_eq!(LOAD.utilization(&none), None, "no capacity is no statement about it");
        let sum = LOAD.plus(&Resources { cpu: 1.0, bytes: 7.0, ..Resources::UNKNOWN });
        assert_eq!((sum.cpu, sum.bytes, sum.read), (500_001.0, 7.0, 30.0));
        assert!(Resources::UNKNOWN.plus(&Resources::UNKNOWN).cpu.is_nan());
    }

    #[test]
    fn unknown_amounts_are_taken_from_the_other() {
        let newer = Resources { cpu: 100_000.0, bytes: 4.0, ..Resources::UNKNOWN };
        let mixed = LOAD.towards(&newer, 0.25);
        assert_eq!((mixed.cpu, mixed.read, mixed.bytes), (400_000.0, 30.0, 4.0));
        let either = newer.or(&LOAD);
        assert_eq!((either.cpu, either.read, either.bytes), (100_000.0, 30.0, 4.0));
    }

    #[test]
    fn names_and_order_agree() {
        let amounts = Resources::from_array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let by_name: Vec<_> =
            Resource::ALL.iter().map(|&r| (r.name(), amounts.get(r).unwrap())).collect();
        assert_eq!(amounts.as_array(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!((amounts.cpu, amounts.memory, amounts.storage), (1.0, 5.0, 6.0));
        assert_eq!(by_name[4], ("memory", 5.0));
    }

    proptest! {
        /// Whatever is given: no resource is more utilized than the one that is named.
        #[test]
        fn no_known_resource_is_scarcer(load in any::<[f64; 6]>(), room in any::<[f64; 6]>()) {
            let (load, room) = (Resources::from_array(load), Resources::from_array(room));
            let Some((most, scarcest)) = load.utilization(&room) else { return Ok(()) };
            prop_assert!(most >= 0.0);
            prop_assert!(load.get(scarcest).is_some() && room.get(scarcest).is_some());
            for resource in Resource::ALL {
                if let (Some(l), Some(r)) = (load.get(resource), room.get(resource)) && r > 0.0 {
                    prop_assert!(l.max(0.0) / r <= most);
                }
            }
        }
    }
}
