//! Drawing a partition and a virtual key for a key that is new: the only place
//! that chooses.

use std::cell::RefCell;
use std::sync::atomic::Ordering;

use pgrx::pg_sys;
use pss_core::dispatch::{self, Choice, DEFAULT_BOUND, Request};
use pss_core::level::{self, AHEAD, CLASSES, Fill};
use pss_core::virtual_key::VirtualKey;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

use super::Router;
use crate::clock;
use crate::meta::Meta;
use crate::shmem::tables::{PartitionShared, TableShared};
use crate::xact;

thread_local! {
    /// Seeded with the first draw, after fork: backends must not draw alike.
    static RANDOM: RefCell<Option<SmallRng>> = const { RefCell::new(None) };
}

pub(super) fn random() -> u64 {
    RANDOM.with_borrow_mut(|random| random.get_or_insert_with(SmallRng::from_os_rng).next_u64())
}

/// What the draws of one statement know of the partitions, by position.
pub struct Drawer {
    sent: Vec<f64>,
    fill: Fill,
    /// Until when `fill` is good, which also tells one publication from the next.
    fill_until: pg_sys::TimestampTz,
    /// The state of the partitions' disks that it goes by.
    failures: u32,
}

impl Drawer {
    fn new(partitions: usize) -> Self {
        let fill = Fill {
            levels: Vec::with_capacity(partitions),
            keys: [[0.0; AHEAD]; CLASSES],
            capacity: Vec::with_capacity(partitions),
            scale: [1.0; AHEAD],
        };
        Self { sent: vec![0.0; partitions], fill, fill_until: 0, failures: 0 }
    }

    /// Brings `fill` up to what is published; false if nothing fresh is.
    fn read_fill(&mut self, shared: &TableShared, meta: &Meta) -> bool {
        let until = shared.fill_until();
        if clock::now() > until {
            return false;
        }
        let failures = shared.failures();
        if until != self.fill_until || failures != self.failures {
            (self.fill_until, self.failures) = (until, failures);
            if !shared.read_fill(meta.table.numbers(), &mut self.fill) {
                self.fill_until = 0;
            }
            if meta.is_rerouted() {
                let out = |position: &usize| !meta.serves(*position);
                let capacity = &mut self.fill.capacity;
                (0..capacity.len()).filter(out).for_each(|position| capacity[position] = 0.0);
            }
        }
        self.fill_until != 0
    }
}

impl Router {
    /// A virtual key for a key that is moved to `partition`: of a slot that belongs to it, if it
    /// has any in this epoch.
    pub fn virtual_key_in(&mut self, hash: u64, partition: u16) -> VirtualKey {
        self.draw(hash, None, Some(partition)).1
    }

    /// Draws a partition and a virtual key for a new key: to a level while the load expected of
    /// each partition is known, else by quota. `named`: the partition is given.
    pub(super) fn draw(
        &mut self,
        hash: u64,
        size: Option<u64>,
        named: Option<u16>,
    ) -> (u16, VirtualKey) {
        let meta = &*self.meta;
        let (epoch, fallback) = meta.epoch();
        let slots = epoch.slots.len() as u32;
        let bytes = size.unwrap_or(meta.row_bytes as u64);
        let draw = |_| VirtualKey::draw(hash, bytes, epoch.salt, random(), epoch.number, slots);
        if let Some(number) = named {
            let drawn = draw(0);
            let owned = |p| epoch.slots.slot_of(p as u16, drawn.slot());
            let slot = meta.position(number).and_then(owned);
            return (number, slot.map_or(drawn, |s| drawn.with_slot(s)));
        }
        let n = meta.table.partitions.len();
        let drawer = self.drawer.get_or_insert_with(|| Box::new(Drawer::new(n)));
        let choice = match meta.shared.filter(|_| !fallback) {
            Some(shared) if drawer.read_fill(shared, meta) => {
                let partition = |p: usize| shared.partition(meta.table.partitions[p].number);
                let sent =
                    |p: usize| partition(p).map_or([0; CLASSES], PartitionShared::since_fill);
                let class = size_class(shared, size);
                level::choose(drawer.fill.expected(), sent, class, &epoch.slots, draw)
            }
            _ => {
                let unit = if meta.table.quota_bytes { meta.row_bytes } else { 1.0 };
                if let Some(shared) = meta.shared {
                    for (sent, number) in drawer.sent.iter_mut().zip(meta.table.numbers()) {
                        let partition = shared.partition(number);
                        *sent = partition.map_or(0.0, |p| p.sent.load(Ordering::Relaxed) as f64);
                    }
                }
                let request = Request {
                    slots: &epoch.slots,
                    shares: &epoch.weights,
                    sent: &drawer.sent,
                    unit: if meta.table.quota_bytes { bytes.max(1) as f64 } else { 1.0 },
                    bound: DEFAULT_BOUND * unit,
                };
                dispatch::choose(request, draw)
            }
        };
        let Choice { virtual_key, partition, redraws, .. } = choice;
        if let Some(shared) = meta.shared {
            if redraws > 0 {
                shared.redraws.fetch_add(u64::from(redraws), Ordering::Relaxed);
            }
            if fallback {
                shared.fallbacks.fetch_add(1, Ordering::Relaxed);
            }
        }
        (meta.table.partitions[usize::from(partition)].number, virtual_key)
    }

    /// Counts a key that has been placed, at once: the next draw must know of it.
    pub(super) fn count_new_key(&mut self, partition: u16, size: Option<u64>) {
        let meta = &*self.meta;
        let Some(position) = meta.position(partition) else { return };
        let units =
            if meta.table.quota_bytes { size.unwrap_or(meta.row_bytes as u64).max(1) } else { 1 };
        if let Some(shared) = meta.shared {
            shared.new_keys.fetch_add(1, Ordering::Relaxed);
            let class = size_class(shared, size);
            if let Some(size) = size {
                shared.learn_size(size);
            }
            if let Some(counters) = shared.partition(partition) {
                xact::count_new_key(counters, class, units);
            }
        } else if let Some(drawer) = &mut self.drawer {
            drawer.sent[position] += units as f64;
        }
    }
}

fn size_class(shared: &TableShared, size: Option<u64>) -> usize {
    level::size_class(size.unwrap_or(0) as f64, shared.size_reference())
}
