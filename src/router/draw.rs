//! Drawing a partition and a virtual key for a key that may be new: the only
//! place that chooses. What it draws stands only if nobody knows a home of the key.

use std::sync::atomic::Ordering;

use pss_core::dispatch::{self, Choice, DEFAULT_BOUND, Request};
use pss_core::level::{self, CLASSES};
use pss_core::virtual_key::VirtualKey;
use rand::RngCore;

use super::{Router, size_class};
use crate::clock;
use crate::shmem::tables::PartitionShared;

impl Router {
    /// Draws a partition and a virtual key for a key that may be new: to a
    /// level while the load expected of each partition is known, else by quota.
    pub(super) fn draw(
        &mut self,
        hash: u64,
        size: Option<u64>,
        forced: Option<u16>,
    ) -> (u16, VirtualKey) {
        let meta = self.meta.clone();
        let (epoch, fallback) = meta.epoch();
        let slots = epoch.slots.len() as u32;
        let bytes = size.unwrap_or(meta.row_bytes as u64);
        let random = &mut self.random;
        let mut draw =
            |_| VirtualKey::draw(hash, bytes, epoch.salt, random.next_u64(), epoch.number, slots);
        if let Some(number) = forced {
            let drawn = draw(0);
            let owned = |p| epoch.slots.slot_of(p as u16, drawn.slot());
            let slot = meta.position(number).and_then(owned);
            return (number, slot.map_or(drawn, |s| drawn.with_slot(s)));
        }
        let now = clock::now();
        let shared = meta.shared.filter(|_| !fallback);
        let choice = match shared {
            Some(shared) if shared.read_fill(meta.table.numbers(), &mut self.fill, now) => {
                let partition = |p: usize| shared.partition(meta.table.partitions[p].number);
                let sent =
                    |p: usize| partition(p).map_or([0; CLASSES], PartitionShared::since_fill);
                let class = size_class(shared, size);
                level::choose(self.fill.expected(), sent, class, &epoch.slots, draw)
            }
            _ => {
                let unit = if meta.table.quota_bytes { meta.row_bytes } else { 1.0 };
                if let Some(shared) = meta.shared {
                    for (sent, number) in self.sent.iter_mut().zip(meta.table.numbers()) {
                        let partition = shared.partition(number);
                        *sent = partition.map_or(0.0, |p| p.sent.load(Ordering::Relaxed) as f64);
                    }
                }
                let request = Request {
                    slots: &epoch.slots,
                    shares: &epoch.weights,
                    sent: &self.sent,
                    unit: if meta.table.quota_bytes { bytes.max(1) as f64 } else { 1.0 },
                    bound: DEFAULT_BOUND * unit,
                };
                dispatch::choose(request, draw)
            }
        };
        let Choice { virtual_key, partition, redraws, .. } = choice;
        if let Some(shared) = meta.shared {
            shared.redraws.fetch_add(u64::from(redraws), Ordering::Relaxed);
            if fallback {
                shared.fallbacks.fetch_add(1, Ordering::Relaxed);
            }
        }
        (meta.table.partitions[usize::from(partition)].number, virtual_key)
    }
}
