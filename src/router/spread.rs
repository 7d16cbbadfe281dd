//! Spread keys: a row goes to one of several homes, in proportion to their shares of new keys.
//!
//! A row may be stored in a home only if an entry of the row map says that it is one, and the
//! entry was committed before, or is of the same transaction: so whoever sees the row sees the
//! entry. A writer that finds none writes its own, but only with the leaf's lock and if the list
//! says so at that time: whoever takes a home away locks its leaf exclusively until it is off the
//! list. Never is one home of a spread key remembered as the only one.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use pgrx::pg_sys;
use pss_core::claim::Claimed;

use super::draw::random;
use super::tally::Found;
use super::{Door, Router, hash48, own_snapshot, wait};
use crate::error::Result;
use crate::map::slots::Known;
use crate::map::{Entry, Map};
use crate::multi_home;
use crate::shmem::claims::{self, ClaimKey};

/// Rows after which the shares of the homes are looked up anew.
const ASK_EVERY: u32 = 64;

/// What a statement knows of one spread key.
pub struct SpreadKey {
    hash48: u64,
    /// Its homes, each with the sum of its own and the earlier ones' shares.
    shares: Vec<(u16, f64)>,
    /// How many rows `shares` is still good for.
    rows: u32,
    /// Homes that this statement has locked, with an entry to rely on.
    sure: Vec<u16>,
}

impl SpreadKey {
    fn new(hash48: u64) -> Self {
        Self { hash48, shares: Vec::new(), rows: 0, sure: Vec::new() }
    }
}

/// Where the session is on its way through the homes, as a fraction of 2^64.
static POINT: AtomicU64 = AtomicU64::new(0);

/// The next point in [0, 1): evenly spread however many are taken (multiples of the golden ratio).
fn next_point() -> f64 {
    let last = match POINT.load(Relaxed) {
        0 => random() | 1,
        last => last,
    };
    POINT.store(last.wrapping_add(0x9E37_79B9_7F4A_7C15), Relaxed);
    last as f64 / 2f64.powi(64)
}

/// Serializable transactions use a key's first home alone: one that looked for the key before it
/// was spread knows no other, and an insert has to meet its predicate locks.
fn is_serializable() -> bool {
    // SAFETY: a plain global of the backend.
    unsafe { pg_sys::XactIsoLevel == pg_sys::XACT_SERIALIZABLE as i32 }
}

impl Router {
    /// Whether the key is spread, as far as this session knows.
    #[inline]
    pub(super) fn is_spread(&self, hash: u64) -> bool {
        !self.meta.table.spread.is_empty() && self.meta.table.homes_of(hash48(hash)).is_some()
    }

    /// The partition of a row of a spread key: the one it names if that is a home, else the home
    /// whose turn it is. `None`: it is spread no more.
    pub(super) fn place_spread(
        &mut self,
        hash: u64,
        named: Option<u16>,
        door: Door,
    ) -> Result<Option<u16>> {
        let Some(home) = self.home_to_use(hash48(hash), named) else { return Ok(None) };
        let sure = self.is_sure(hash48(hash), home);
        if !sure && !self.make_sure(hash48(hash), home)? {
            return Ok(None);
        }
        let found = if sure { Found::Cached } else { Found::Mapped };
        self.tally.count(&self.meta, hash, home, named.is_some(), door, found);
        Ok(Some(home))
    }

    /// Sees to it that rows of a spread key may be in a partition. False: it is no home, or the key
    /// is spread no more.
    pub(super) fn allow_spread(&mut self, hash: u64, partition: u16) -> Result<bool> {
        let hash48 = hash48(hash);
        let homes = self.meta.table.homes_of(hash48);
        let is_home = homes.is_some_and(|homes| homes.contains(&partition));
        Ok(is_home && (self.is_sure(hash48, partition) || self.make_sure(hash48, partition)?))
    }

    /// Whether the key is spread by now, and the partition one of its homes, for a transaction that
    /// may use any of them.
    pub(super) fn is_spread_to(&self, hash48: u64, home: u16) -> bool {
        !is_serializable() && multi_home::allows(self.meta.table.relation, hash48, home)
    }

    fn is_sure(&self, hash48: u64, home: u16) -> bool {
        self.spread.iter().any(|key| key.hash48 == hash48 && key.sure.contains(&home))
    }

    /// The home that is named or, if none is or it is no home, that whose turn it is.
    fn home_to_use(&mut self, hash48: u64, named: Option<u16>) -> Option<u16> {
        let homes = self.meta.table.homes_of(hash48)?;
        let there = |home: &u16| self.meta.position(*home).is_some();
        if let Some(named) = named.filter(|named| homes.contains(named) && there(named)) {
            return Some(named);
        }
        if is_serializable() {
            return homes.iter().copied().find(there);
        }
        let at = match self.spread.iter().position(|key| key.hash48 == hash48) {
            Some(at) => at,
            None => {
                self.spread.push(SpreadKey::new(hash48));
                self.spread.len() - 1
            }
        };
        if self.spread[at].rows == 0 {
            self.spread[at].shares = self.shares_of(homes);
            self.spread[at].rows = ASK_EVERY;
        }
        let key = &mut self.spread[at];
        key.rows -= 1;
        let (last, all) = *key.shares.last()?;
        let point = next_point() * all;
        let next = key.shares.iter().find(|(_, upto)| point < *upto);
        Some(next.map_or(last, |(home, _)| *home))
    }

    /// The shares of new keys that the homes have, summed up; alike where none has any.
    fn shares_of(&self, homes: &[u16]) -> Vec<(u16, f64)> {
        let (epoch, _) = self.meta.epoch();
        let share = |home: u16| {
            let position = self.meta.position(home);
            position.and_then(|p| epoch.weights.get(p).copied()).unwrap_or(0.0)
        };
        let there = || homes.iter().filter(|&&home| self.meta.position(home).is_some());
        let none = there().all(|&home| share(home) <= 0.0);
        let mut upto = 0.0;
        let summed = |&home: &u16| {
            upto += if none { 1.0 } else { share(home) };
            (home, upto)
        };
        there().map(summed).collect()
    }

    /// Locks the home's leaf and makes sure of its entry. False: the list no longer has it.
    fn make_sure(&mut self, hash48: u64, home: u16) -> Result<bool> {
        self.write_deferred()?;
        let claim = ClaimKey::new(self.meta.table.relation, hash48);
        let outer = claims::held();
        while claims::claim(claim) == Claimed::Moving {
            wait::for_mover(&claim);
        }
        // First the lock, then the look: from here on no mover takes the home away. (The claim is
        // for the mover's sake: it comes to an end with those it waits for.)
        self.lock_leaf(home)?;
        let mut map = self.open_map()?;
        let sure = self.has_entry(&mut map, hash48, home);
        self.map = Some(map);
        claims::unpin_down_to(outer);
        if sure {
            match self.spread.iter_mut().find(|key| key.hash48 == hash48) {
                Some(key) => key.sure.push(home),
                None => {
                    self.spread.push(SpreadKey { sure: vec![home], ..SpreadKey::new(hash48) });
                }
            }
        }
        Ok(sure)
    }

    /// Whether an entry says that the home is one; writes it if none can be relied on.
    fn has_entry(&mut self, map: &mut Map, hash48: u64, home: u16) -> bool {
        let known = map.home(hash48, home);
        let enough = match known {
            Known::No => false,
            Known::Ours => true,
            // Who keeps one snapshot must see the entry by it, to find the row again.
            Known::Settled => {
                // SAFETY: the transaction's snapshot, registered by the transaction itself.
                !own_snapshot()
                    || unsafe { map.sees_home(hash48, home, pg_sys::GetTransactionSnapshot()) }
            }
        };
        if enough {
            return true;
        }
        if known == Known::No && !multi_home::allows(self.meta.table.relation, hash48, home) {
            return false;
        }
        let virtual_key = self.virtual_key_in(hash48, home).to_i64();
        map.insert(&[Entry { hash48, partition: home, virtual_key }]);
        true
    }
}
