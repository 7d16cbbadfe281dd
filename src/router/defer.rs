//! Entries that are written later, together: COPY brings its rows one at a time, and a row of the
//! map alone costs twice what it costs in a batch.
//!
//! The claims of such keys stay pinned until their entries are physical: other sessions that come
//! to them meanwhile take the partition decided, and movers pass over them, as always between
//! deciding and recording. Before this session waits for anything, and when the statement ends, it
//! writes them. Must not be used where the statement itself could look at the map in between.

use pgrx::pg_sys;
use pss_core::claim::Claimed;
use pss_core::key_hash::{RUN_BITS, run_of};

use super::record::Asked;
use super::tally::Found;
use super::{Door, Router, own_snapshot};
use crate::error::Result;
use crate::map::{Entry, Map};
use crate::shmem::claims::{self, DEFERRED_PER_SESSION};
use crate::shmem::generations;
use crate::shmem::tables::TableShared;

/// Entries that a router has yet to write.
#[derive(Default)]
pub struct Deferred {
    /// Their claims are the first that the session holds.
    entries: Vec<Entry>,
    run: Option<Run>,
    last_run: u64,
    /// Of leaves that were written to, by position: whether row triggers run at INSERT.
    triggers: Vec<Option<bool>>,
}

/// What is known of a run of neighbouring keys: it was read whole.
#[derive(Clone, Copy)]
struct Run {
    run: u64,
    counter: usize,
    generation: u32,
    /// Keys that had any entry, dead ones too, a bit each.
    present: u64,
}

/// A key's bit in what is known of its run.
fn bit(hash48: u64) -> u64 {
    1 << (hash48 & ((1 << RUN_BITS) - 1))
}

impl Deferred {
    fn home_of(&self, hash48: u64) -> Option<u16> {
        let entry = self.entries.iter().rev().find(|entry| entry.hash48 == hash48);
        entry.map(|entry| entry.partition)
    }

    /// Whether the map has certainly no entry for a key that has been claimed: its run was read,
    /// and nobody has added an entry since.
    fn knows_absent(&self, hash48: u64) -> bool {
        self.run.is_some_and(|known| {
            known.run == run_of(hash48)
                && known.present & bit(hash48) == 0
                && generations::read(known.counter) == Some(known.generation)
        })
    }

    /// Takes note of entries of our own, about to be inserted: of what they add to the count.
    fn note(&mut self, map: pg_sys::Oid) {
        let Some(known) = &mut self.run else { return };
        for run in self.entries.chunk_by(|a, b| run_of(a.hash48) == run_of(b.hash48)) {
            if generations::counter_of(map, run_of(run[0].hash48)) == known.counter {
                known.generation = known.generation.wrapping_add(1);
            }
            if run_of(run[0].hash48) == known.run {
                known.present |= run.iter().fold(0, |bits, entry| bits | bit(entry.hash48));
            }
        }
    }
}

impl Router {
    /// As [`Router::route`], but the entry of a new key is written later: at the latest by
    /// [`Router::write_deferred`], which must be called when the statement ends.
    pub fn route_deferring(&mut self, key: Option<pg_sys::Datum>, door: Door) -> Result<u16> {
        let key = key.ok_or_else(|| self.null_key())?;
        self.refresh()?;
        if self.maps_by_slot() {
            return self.place_by_slot(key, None, None, door);
        }
        let asked = self.asked(key);
        self.expect_neighbour(asked.hash);
        if self.is_spread(asked.hash)
            && let Some(home) = self.place_spread(asked.hash, None, door)?
        {
            return Ok(home);
        }
        let (home, found) = match self.known(asked.hash)? {
            Some(home) => (home, Found::Cached),
            None => {
                let asked = self.settle_deferring(asked)?;
                self.memo.put(asked.hash48, asked.home);
                (asked.home, asked.found)
            }
        };
        self.tally.count(&self.meta, asked.hash, home, false, door, found);
        Ok(home)
    }

    fn settle_deferring(&mut self, mut asked: Asked) -> Result<Asked> {
        if let Some(home) = self.deferred.home_of(asked.hash48) {
            (asked.home, asked.found) = (home, Found::Cached);
            return Ok(asked);
        }
        // Nested in a statement that holds claims, or in too many savepoints to tell claims apart.
        if claims::held() > self.deferred.entries.len() || !claims::outlast_savepoints() {
            return self.settle_one(asked);
        }
        if self.deferred.entries.len() == DEFERRED_PER_SESSION {
            self.write_deferred()?;
        }
        let tag = self.meta.shared.map(TableShared::cache_tag);
        let claimed = claims::claim(self.claim_key(&asked));
        if claimed == Claimed::Moving {
            return self.settle_after_move(asked);
        }
        asked.claimed = Some(claimed);
        let mut map = self.open_map()?;
        self.look(&mut map, &mut asked);
        self.decide(&mut asked);
        let entry = self.entry_of(&map, &asked, tag)?;
        match entry {
            Some(entry) if !self.has_row_triggers(asked.home) => self.deferred.entries.push(entry),
            Some(entry) => {
                map.insert(&[entry]);
                claims::unpin_newest();
            }
            None => claims::unpin_newest(),
        }
        self.map = Some(map);
        Ok(asked)
    }

    /// Whether triggers of a leaf, which is locked, run for rows that are inserted: they could look
    /// at the map.
    fn has_row_triggers(&mut self, partition: u16) -> bool {
        let Some(position) = self.meta.position(partition) else { return true };
        let triggers = &mut self.deferred.triggers;
        triggers.resize(self.meta.table.partitions.len(), None);
        *triggers[position].get_or_insert_with(|| {
            let leaf = self.meta.table.partitions[position].leaf;
            // SAFETY: our reference to the leaf ends here.
            unsafe {
                let relation = pg_sys::RelationIdGetRelation(leaf);
                let description = (*relation).trigdesc.as_ref();
                let found = description
                    .is_some_and(|d| d.trig_insert_before_row || d.trig_insert_after_row);
                pg_sys::RelationClose(relation);
                found
            }
        })
    }

    /// Looks for the entry of a claimed key. The second key of a run that comes has the run read
    /// whole: then of the others one look at its generation is enough.
    fn look(&mut self, map: &mut Map, asked: &mut Asked) {
        let run = run_of(asked.hash48);
        let complete = self.meta.table.map_complete;
        if asked.claimed != Some(Claimed::Tentative) || !complete || self.deferred.last_run != run {
            self.deferred.last_run = run;
            return self.probe(map, std::slice::from_mut(asked));
        }
        if self.deferred.knows_absent(asked.hash48) {
            return;
        }
        let counter = generations::counter_of(map.relation(), run);
        let generation = generations::read(counter);
        let mut present = 0;
        asked.hit = map.probe_dirty_in_run(asked.hash48, own_snapshot(), |hash48| {
            present |= bit(hash48);
        });
        self.deferred.run = generation.map(|generation| Run { run, counter, generation, present });
    }

    /// Writes what was deferred, and gives up its claims.
    pub fn write_deferred(&mut self) -> Result<()> {
        if self.deferred.entries.is_empty() {
            return Ok(());
        }
        let mut map = self.open_map()?;
        self.deferred.entries.sort_unstable_by_key(|entry| entry.hash48);
        self.deferred.note(map.relation());
        map.insert(&self.deferred.entries);
        self.map = Some(map);
        claims::unpin_oldest(self.deferred.entries.len());
        self.deferred.entries.clear();
        Ok(())
    }
}
