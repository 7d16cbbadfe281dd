//! Claims in shared memory: the short-lived entries by which sessions that
//! insert the same new key at once agree on its partition (`pss_core::claim`
//! is the state machine). Entries are guarded by striped locks; no I/O, no SQL
//! and nothing that can raise an error happens under one.
//!
//! A session pins a bounded number of claims at a time, the last one taken on top, and always
//! releases them: after recording, or, when an error came between, in the
//! transaction callbacks, which may neither allocate nor fail. The marks of a
//! mover stay until its transaction ends, or until it gives way.

use std::cell::{Cell, UnsafeCell};
use std::mem::size_of;
use std::sync::atomic::Ordering::Relaxed;

use pgrx::pg_sys;
use pss_core::claim::{self, Claimed, Entry};

use super::{FIRST_STRIPE, header, lwlock};
use crate::map::BATCH;
use crate::raw;

/// Locks over the claim table; dynahash's partitions.
pub const STRIPES: usize = 128;

/// Claims one session may hold at once of entries that it writes later, together.
pub const DEFERRED_PER_SESSION: usize = 64;

/// Claims one session may hold at once: those, and those of a batch of rows.
const CLAIMS_PER_SESSION: usize = DEFERRED_PER_SESSION + BATCH;

/// Nested savepoints whose claims are told apart.
const MAX_LEVELS: usize = 32;

/// Marks one session may hold at once.
pub const MARKS_PER_SESSION: usize = 8192;

/// Marks all sessions together may hold.
const MARKS: usize = 2 * MARKS_PER_SESSION;

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

/// Keys of this session, the newest last.
struct Keys<const N: usize> {
    keys: [ClaimKey; N],
    n: usize,
}

impl<const N: usize> Keys<N> {
    const EMPTY: Self = Self { keys: [ClaimKey { database: 0, relation: 0, hash48: 0 }; N], n: 0 };

    fn push(&mut self, key: ClaimKey) {
        self.keys[self.n] = key;
        self.n += 1;
    }

    fn pop(&mut self) -> Option<ClaimKey> {
        self.n = self.n.checked_sub(1)?;
        Some(self.keys[self.n])
    }
}

struct OwnKeys<const N: usize>(UnsafeCell<Keys<N>>);
// SAFETY: a backend is single-threaded; no reference to the inside outlives a call.
unsafe impl<const N: usize> Sync for OwnKeys<N> {}

impl<const N: usize> OwnKeys<N> {
    #[allow(clippy::mut_from_ref, reason = "the only access, and single-threaded")]
    fn get(&self) -> &mut Keys<N> {
        // SAFETY: as above.
        unsafe { &mut *self.0.get() }
    }
}

struct Levels([Cell<usize>; MAX_LEVELS]);
// SAFETY: a backend is single-threaded.
unsafe impl Sync for Levels {}

/// How many claims the session held when the savepoint of each level began.
static HELD_BEFORE: Levels = Levels([const { Cell::new(0) }; MAX_LEVELS]);

static HELD: OwnKeys<CLAIMS_PER_SESSION> = OwnKeys(UnsafeCell::new(Keys::EMPTY));
static MARKED: OwnKeys<MARKS_PER_SESSION> = OwnKeys(UnsafeCell::new(Keys::EMPTY));

fn capacity() -> i64 {
    // SAFETY: MaxBackends is set before shared memory is requested (PostgreSQL 15 on).
    let backends = unsafe { pg_sys::MaxBackends };
    i64::from(backends) * CLAIMS_PER_SESSION as i64 + MARKS as i64
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
    // it cannot be: sessions hold a bounded number of claims, and together of marks.
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
pub fn claim(key: ClaimKey) -> Claimed {
    let held = HELD.get();
    assert!(held.n < CLAIMS_PER_SESSION, "a session claims a bounded number of keys");
    let own = own_transaction();
    let claimed = with_entry(&key, |entry| claim::claim(entry, own));
    if claimed != Claimed::Moving {
        held.push(key);
    }
    claimed
}

/// Settles a claimed key's partition after the probe; returns what stands.
pub fn decide(key: &ClaimKey, partition: u16) -> u16 {
    with_entry(key, |entry| entry.as_mut().map_or(partition, |e| claim::decide(e, partition)))
}

/// Releases the newest claim of this session.
pub fn unpin_newest() {
    if let Some(key) = HELD.get().pop() {
        with_entry(&key, claim::unpin);
    }
}

/// How many claims this session holds.
pub fn held() -> usize {
    HELD.get().n
}

/// Releases the newest claims of this session, down to `n`.
pub fn unpin_down_to(n: usize) {
    while held() > n {
        unpin_newest();
    }
}

/// Releases the `n` oldest claims of this session, and keeps those that are newer.
pub fn unpin_oldest(n: usize) {
    let held = HELD.get();
    let n = n.min(held.n);
    for key in &held.keys[..n] {
        with_entry(key, claim::unpin);
    }
    held.keys.copy_within(n..held.n, 0);
    held.n -= n;
}

/// Whether a savepoint that begins now, and is rolled back, leaves the claims that are held now.
pub fn outlast_savepoints() -> bool {
    // SAFETY: a plain getter that raises nothing.
    #[allow(ffi_unwind_calls, reason = "raises no error")]
    let level = unsafe { raw::GetCurrentTransactionNestLevel() };
    (level as usize) < MAX_LEVELS - 1
}

/// A savepoint of nesting level `level` begins.
pub fn at_savepoint(level: usize) {
    if let Some(before) = HELD_BEFORE.0.get(level) {
        before.set(held());
    }
}

/// The savepoint of nesting level `level` is rolled back: an error has ended what took claims in it.
pub fn at_savepoint_abort(level: usize) {
    unpin_down_to(HELD_BEFORE.0[level.min(MAX_LEVELS - 1)].get());
}

/// Another transaction that is moving a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mover {
    pub xid: u32,
    /// It keeps the mark until it ends; else it may give way at any time.
    pub held: bool,
}

/// Who else is moving the key.
pub fn mover(key: &ClaimKey) -> Option<Mover> {
    let entry = with_entry(key, |entry| *entry)?;
    let other = entry.mover != 0 && entry.mover != own_transaction();
    other.then_some(Mover { xid: entry.mover, held: entry.held })
}

/// What became of marking a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    Yes,
    /// Somebody claims it now, or moves it.
    Busy,
    /// This session, or all together, hold as many marks as there is room for.
    Full,
}

/// Marks a key as being moved by the current transaction `xid`, until that ends or
/// [`unmark_down_to`].
pub fn mark(key: ClaimKey, xid: u32) -> Marked {
    if with_entry(&key, |entry| entry.is_some_and(|e| e.mover == xid)) {
        return Marked::Yes;
    }
    let marked = MARKED.get();
    if marked.n == MARKS_PER_SESSION || !reserve_mark() {
        return Marked::Full;
    }
    if !with_entry(&key, |entry| claim::mark(entry, xid)) {
        release_mark();
        return Marked::Busy;
    }
    marked.push(key);
    Marked::Yes
}

/// Whether the current transaction has marked the key.
pub fn marked_by_us(key: &ClaimKey) -> bool {
    let own = own_transaction();
    own != 0 && with_entry(key, |entry| entry.is_some_and(|e| e.mover == own))
}

/// Marks that this session holds.
pub fn marks() -> usize {
    MARKED.get().n
}

/// Says of all marks of this session beyond the oldest `n` that they stay to the transaction's end.
pub fn hold_beyond(n: usize) {
    let own = own_transaction();
    let marked = MARKED.get();
    for key in marked.keys.get(n..marked.n).unwrap_or_default() {
        with_entry(key, |entry| claim::hold(entry, own));
    }
}

/// Takes marks of this session off, the newest first, until `n` are left. Raises nothing,
/// allocates nothing: transaction callbacks call it.
pub fn unmark_down_to(n: usize) {
    let marked = MARKED.get();
    while marked.n > n {
        let Some(key) = marked.pop() else { return };
        with_entry(&key, |entry| {
            // Only the session that marked it has the key in its list.
            let mover = entry.map_or(0, |e| e.mover);
            claim::unmark(entry, mover);
        });
        release_mark();
    }
}

fn reserve_mark() -> bool {
    let room = |n: u32| ((n as usize) < MARKS).then_some(n + 1);
    header().is_some_and(|h| h.marks.fetch_update(Relaxed, Relaxed, room).is_ok())
}

fn release_mark() {
    if let Some(header) = header() {
        header.marks.fetch_sub(1, Relaxed);
    }
}

/// The top-level transaction; 0: it has no number yet.
fn own_transaction() -> u32 {
    // SAFETY: a plain getter that raises nothing.
    #[allow(ffi_unwind_calls, reason = "raises no error")]
    unsafe {
        raw::GetTopTransactionIdIfAny().into_inner()
    }
}
