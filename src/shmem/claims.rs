//! Claims in shared memory: the short-lived entries by which sessions that
//! insert the same new key at once agree on its partition (`pss_core::claim`
//! is the state machine). Entries are guarded by striped locks; no I/O, no SQL
//! and nothing that can raise an error happens under one.
//!
//! A session pins at most a few claims at a time and always releases them:
//! after recording, or, when an error came between, in the transaction
//! callbacks, which may neither allocate nor fail.

use std::cell::{Cell, UnsafeCell};
use std::mem::size_of;

use pgrx::pg_sys;
use pss_core::claim::{self, Claimed, Entry};

use super::{FIRST_STRIPE, lwlock};
use crate::raw;

/// Locks over the claim table; dynahash's partitions.
pub const STRIPES: usize = 128;

/// Claims one session may hold at once.
const MAX_HELD: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct ClaimKey {
    database: u32,
    relation: u32,
    hash48: u64,
}

#[repr(C)]
struct Slot {
    key: ClaimKey,
    entry: Entry,
}

struct Table(Cell<*mut pg_sys::HTAB>);
// SAFETY: a backend is single-threaded; the cell is set once at start.
unsafe impl Sync for Table {}
static TABLE: Table = Table(Cell::new(std::ptr::null_mut()));

struct Held {
    keys: [ClaimKey; MAX_HELD],
    n: usize,
}
struct HeldCell(UnsafeCell<Held>);
// SAFETY: a backend is single-threaded; no reference to the inside outlives a call.
unsafe impl Sync for HeldCell {}
static HELD: HeldCell = HeldCell(UnsafeCell::new(Held {
    keys: [ClaimKey { database: 0, relation: 0, hash48: 0 }; MAX_HELD],
    n: 0,
}));

fn capacity() -> i64 {
    // SAFETY: MaxBackends is set before shared memory is requested (PostgreSQL 15 on).
    let backends = unsafe { pg_sys::MaxBackends };
    i64::from(backends) * MAX_HELD as i64
}

pub fn shared_size() -> usize {
    // SAFETY: pure arithmetic.
    unsafe { pg_sys::hash_estimate_size(capacity() as _, size_of::<Slot>()) }
}

/// Creates or attaches to the claim table; under AddinShmemInitLock.
pub(super) fn attach() {
    let mut control = pg_sys::HASHCTL {
        keysize: size_of::<ClaimKey>(),
        entrysize: size_of::<Slot>(),
        num_partitions: STRIPES as _,
        ..Default::default()
    };
    let flags =
        pg_sys::HASH_ELEM | pg_sys::HASH_BLOBS | pg_sys::HASH_PARTITION | pg_sys::HASH_FIXED_SIZE;
    // SAFETY: shared memory of this size was requested; key and entry are plain data.
    let table = unsafe {
        pg_sys::ShmemInitHash(
            c"pss claims".as_ptr(),
            capacity() as _,
            capacity() as _,
            &mut control,
            flags as i32,
        )
    };
    TABLE.0.set(table);
}

impl ClaimKey {
    pub fn new(relation: pg_sys::Oid, hash48: u64) -> Self {
        // SAFETY: a plain global of the backend.
        let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
        Self { database, relation: relation.to_u32(), hash48 }
    }

    fn hash(&self) -> u32 {
        // Key hashes are uniform already; the table's number spreads tables.
        (self.hash48 ^ (self.hash48 >> 32)) as u32 ^ self.relation.wrapping_mul(0x9E37_79B9)
    }
}

/// Runs `f` on the key's entry under its stripe lock.
fn with_entry<R>(key: &ClaimKey, f: impl FnOnce(&mut Option<Entry>) -> R) -> R {
    let hash = key.hash();
    let lock = lwlock(FIRST_STRIPE + hash as usize % STRIPES);
    let table = TABLE.0.get();
    let key_ptr = std::ptr::from_ref(key).cast();
    use pg_sys::HASHACTION::{HASH_ENTER_NULL, HASH_FIND, HASH_REMOVE};
    // SAFETY: the stripe lock guards this dynahash partition; `slot` points into
    // it and is not used after the lock is released. None of the raw calls
    // raises an error: HASH_ENTER_NULL returns null when the table is full, and
    // it cannot be: every session holds at most MAX_HELD claims.
    #[allow(ffi_unwind_calls, reason = "these functions raise no errors")]
    unsafe {
        raw::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
        let slot =
            raw::hash_search_with_hash_value(table, key_ptr, hash, HASH_FIND, std::ptr::null_mut())
                .cast::<Slot>();
        let before = slot.as_ref().map(|s| s.entry);
        let mut entry = before;
        let result = f(&mut entry);
        match (before, entry) {
            (None, Some(new)) => {
                let slot = raw::hash_search_with_hash_value(
                    table,
                    key_ptr,
                    hash,
                    HASH_ENTER_NULL,
                    std::ptr::null_mut(),
                )
                .cast::<Slot>();
                if let Some(slot) = slot.as_mut() {
                    slot.entry = new;
                }
            }
            (Some(_), Some(new)) => (*slot).entry = new,
            (Some(_), None) => {
                raw::hash_search_with_hash_value(
                    table,
                    key_ptr,
                    hash,
                    HASH_REMOVE,
                    std::ptr::null_mut(),
                );
            }
            (None, None) => {}
        }
        raw::LWLockRelease(lock);
        result
    }
}

/// Claims a key; `Moving` leaves it unpinned.
pub fn claim(key: ClaimKey, drawn: u16) -> Claimed {
    // SAFETY: single-threaded; the reference ends with this block.
    let held = unsafe { &mut *HELD.0.get() };
    assert!(held.n < MAX_HELD, "a session claims one key at a time");
    let claimed = with_entry(&key, |entry| claim::claim(entry, drawn));
    if claimed != Claimed::Moving {
        held.keys[held.n] = key;
        held.n += 1;
    }
    claimed
}

/// Settles a claimed key's partition after the probe.
pub fn decide(key: &ClaimKey, hit: Option<u16>) -> Option<u16> {
    with_entry(key, |entry| entry.as_mut().map(|e| claim::decide(e, hit)))
}

/// Transaction that is moving the key; 0: none.
pub fn mover(key: &ClaimKey) -> u32 {
    with_entry(key, |entry| entry.map_or(0, |e| e.mover))
}

/// Releases the newest claim of this session.
pub fn unpin_newest() {
    // SAFETY: single-threaded; the reference ends with this block.
    let held = unsafe { &mut *HELD.0.get() };
    if held.n > 0 {
        held.n -= 1;
        let key = held.keys[held.n];
        with_entry(&key, claim::unpin);
    }
}

/// Releases all claims of this session: after an error, and at exit.
pub fn unpin_all() {
    // SAFETY: single-threaded; the reference ends with each turn.
    while unsafe { (*HELD.0.get()).n } > 0 {
        unpin_newest();
    }
}
