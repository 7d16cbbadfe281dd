//! An open row map. Written and probed through the table and index access
//! methods, not SQL: as part of the user's insert, whatever the user's rights.
//!
//! What it makes for its scans and inserts it keeps, because a statement probes
//! again and again.

use std::cell::Cell;
use std::mem::size_of;
use std::ptr::null_mut;

use pgrx::pg_sys;
use pss_core::key_hash::{RUN_BITS, run_of};

use super::upkeep;
use super::write::Writer;
use crate::compat;

/// What a probe found for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    pub partition: u16,
    pub virtual_key: i64,
    /// Whether the entry's transaction is over, or is our own.
    pub settled: bool,
    /// Whether our own transaction wrote it.
    pub own: bool,
}

/// An entry to be written.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub hash48: u64,
    pub partition: u16,
    pub virtual_key: i64,
}

/// An open row map. Closed when dropped, its lock kept until the transaction ends. After an ERROR
/// it must be forgotten instead: PostgreSQL has then released what it held.
pub struct Map {
    pub(super) heap: pg_sys::Relation,
    /// The index on `e` that scans use.
    pub(super) index: pg_sys::Relation,
    /// While one of them is being rebuilt there are others, which take entries, too.
    pub(super) others: Vec<(pg_sys::Relation, *mut pg_sys::IndexInfo)>,
    /// Where all that is below lives. It is made when it is needed, and null until then.
    pub(super) context: pg_sys::MemoryContext,
    slot: Cell<*mut pg_sys::TupleTableSlot>,
    pub(super) index_info: *mut pg_sys::IndexInfo,
    dirty: *mut DirtyScan,
    pub(super) writer: *mut Writer,
}

/// A scan under a dirty snapshot, which tells of transactions in progress by its fields.
#[repr(C)]
struct DirtyScan {
    snapshot: pg_sys::SnapshotData,
    scan: pg_sys::IndexScanDesc,
    keys: [pg_sys::ScanKeyData; 2],
}

impl Drop for Map {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // An ERROR passes: the abort that follows releases everything.
            return;
        }
        // SAFETY: all of it was made by this map, and is released once.
        unsafe {
            Writer::close(self.writer);
            if let Some(dirty) = self.dirty.as_ref() {
                pg_sys::index_endscan(dirty.scan);
                pg_sys::pfree(self.dirty.cast());
            }
            if !self.slot.get().is_null() {
                pg_sys::ExecDropSingleTupleTableSlot(self.slot.get());
            }
            for (index, _) in self.others.drain(..) {
                pg_sys::index_close(index, pg_sys::NoLock as i32);
            }
            pg_sys::index_close(self.index, pg_sys::NoLock as i32);
            pg_sys::table_close(self.heap, pg_sys::NoLock as i32);
        }
    }
}

/// Column `e`: the first partition number of a key's range.
pub(super) fn range_start(hash48: u64) -> i64 {
    (hash48 << 16) as i64
}

/// The scan keys of a key's range, to be completed by [`set_range`].
pub(super) fn range_keys() -> [pg_sys::ScanKeyData; 2] {
    let bounds = [
        (pg_sys::BTGreaterEqualStrategyNumber, pg_sys::F_INT8GE),
        (pg_sys::BTLessEqualStrategyNumber, pg_sys::F_INT8LE),
    ];
    let mut keys: [pg_sys::ScanKeyData; 2] = Default::default();
    for (key, (strategy, function)) in keys.iter_mut().zip(bounds) {
        // SAFETY: fills the key in; the comparison functions exist.
        unsafe { pg_sys::ScanKeyInit(key, 1, strategy as u16, function.into(), 0.into()) };
    }
    keys
}

pub(super) fn set_range(keys: &mut [pg_sys::ScanKeyData; 2], hash48: u64) {
    let first = range_start(hash48);
    keys[0].sk_argument = first.into();
    keys[1].sk_argument = (first | 0xFFFF).into();
}

impl Map {
    /// Opens a map for writing or, with an access share lock, for reading. It may be kept as long
    /// as `context`, in which all lives that it makes.
    pub fn open(map: pg_sys::Oid, writing: bool, context: pg_sys::MemoryContext) -> Self {
        let lock = if writing { pg_sys::RowExclusiveLock } else { pg_sys::AccessShareLock } as i32;
        // SAFETY: the relation is one of our maps; all its indexes are on `e`, one is valid.
        unsafe {
            let before = pg_sys::MemoryContextSwitchTo(context);
            let heap = pg_sys::table_open(map, lock);
            let (index, others) = upkeep::open_indexes(heap, lock);
            pg_sys::MemoryContextSwitchTo(before);
            Self {
                heap,
                index,
                others,
                context,
                slot: Cell::new(null_mut()),
                index_info: null_mut(),
                dirty: null_mut(),
                writer: null_mut(),
            }
        }
    }

    /// The slot of our scans.
    fn slot(&self) -> *mut pg_sys::TupleTableSlot {
        if self.slot.get().is_null() {
            // SAFETY: a slot for the open heap, in the map's own memory.
            unsafe {
                let before = pg_sys::MemoryContextSwitchTo(self.context);
                self.slot.set(pg_sys::table_slot_create(self.heap, null_mut()));
                pg_sys::MemoryContextSwitchTo(before);
            }
        }
        self.slot.get()
    }

    /// Its relation.
    pub fn relation(&self) -> pg_sys::Oid {
        // SAFETY: an open relation.
        unsafe { (*self.heap).rd_id }
    }

    /// Opens a map for a use that ends before the current memory context does.
    pub fn open_here(map: pg_sys::Oid, writing: bool) -> Self {
        // SAFETY: a plain global of the backend.
        Self::open(map, writing, unsafe { pg_sys::CurrentMemoryContext })
    }

    /// An entry of a key in any state but aborted, whoever wrote it. Never waits.
    pub fn probe_dirty(&mut self, hash48: u64, prefer_own: bool) -> Option<Hit> {
        let mut hit = [None];
        self.probe_dirty_run(&[hash48], prefer_own, &mut hit);
        hit[0]
    }

    /// An entry of each of some keys that are close together in the map, in ascending order, by
    /// one scan from the first to the last; in any state but aborted, whoever wrote it. Never waits.
    ///
    /// All entries of a key agree; a settled one is preferred, and with `prefer_own`
    /// one of our own, because relying on it spares writing one more.
    pub fn probe_dirty_run(&mut self, hashes: &[u64], prefer_own: bool, hits: &mut [Option<Hit>]) {
        let (Some(&first), Some(&last)) = (hashes.first(), hashes.last()) else { return };
        let enough = |hit: Hit| hit.own || hit.settled && !prefer_own;
        let hits = std::cell::RefCell::new(hits);
        let position = |hash48: u64| hashes.binary_search(&hash48).ok();
        let wanted =
            |hash48| position(hash48).is_some_and(|at| !hits.borrow()[at].is_some_and(enough));
        self.scan_dirty(first, last, wanted, |hash48, hit| {
            let Some(at) = position(hash48) else { return };
            let best = &mut hits.borrow_mut()[at];
            if best.is_none_or(|known| enough(hit) || hit.settled && !known.settled) {
                *best = Some(hit);
            }
        });
    }

    /// As [`Map::probe_dirty`], and calls `met` for each key of the same run that has an entry in
    /// any state, even aborted.
    pub fn probe_dirty_in_run(
        &mut self,
        hash48: u64,
        prefer_own: bool,
        mut met: impl FnMut(u64),
    ) -> Option<Hit> {
        let enough = |hit: Hit| hit.own || hit.settled && !prefer_own;
        let best = Cell::new(None::<Hit>);
        let first = run_of(hash48) << RUN_BITS;
        let wanted = |other| {
            met(other);
            other == hash48 && !best.get().is_some_and(enough)
        };
        self.scan_dirty(first, first | ((1 << RUN_BITS) - 1), wanted, |_, hit| {
            if best.get().is_none_or(|known| enough(hit) || hit.settled && !known.settled) {
                best.set(Some(hit));
            }
        });
        best.get()
    }

    /// The entries of keys from `first` to `last` in any state but aborted. Those of keys that are
    /// not `wanted` are passed over without a look at their state.
    pub(super) fn scan_dirty(
        &mut self,
        first: u64,
        last: u64,
        mut wanted: impl FnMut(u64) -> bool,
        mut take: impl FnMut(u64, Hit),
    ) {
        let dirty = self.dirty_scan();
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        // SAFETY: scan and snapshot live as long as the map, whose columns are two int8, never null.
        unsafe {
            (*dirty).keys[0].sk_argument = range_start(first).into();
            (*dirty).keys[1].sk_argument = (range_start(last) | 0xFFFF).into();
            let scan = (*dirty).scan;
            // The scan keeps what it allocates, also for the rescan, maybe beyond the row that asks.
            let before = pg_sys::MemoryContextSwitchTo(self.context);
            pg_sys::index_rescan(scan, (*dirty).keys.as_mut_ptr(), 2, null_mut(), 0);
            while !pg_sys::index_getnext_tid(scan, forward).is_null() {
                let (hash48, partition) = indexed((*scan).xs_itup);
                let mut fetch = wanted(hash48);
                while fetch {
                    let slot = self.slot();
                    if pg_sys::index_fetch_heap(scan, slot) {
                        take(hash48, dirty_hit(slot, &(*dirty).snapshot, partition));
                    }
                    fetch = (*scan).xs_heap_continue;
                }
            }
            if !self.slot.get().is_null() {
                crate::slot::clear(self.slot.get());
            }
            pg_sys::MemoryContextSwitchTo(before);
        }
    }

    /// The first entry of a key that `snapshot` sees and `accept` takes. Scans
    /// regardless of visibility and applies it afterwards, so that look-ups of
    /// different keys never conflict under SERIALIZABLE.
    pub fn probe_visible(
        &self,
        hash48: u64,
        snapshot: pg_sys::Snapshot,
        mut accept: impl FnMut(u16) -> bool,
    ) -> Option<Hit> {
        self.scan_visible(hash48, snapshot, |hit| accept(hit.partition).then_some(hit))
    }

    /// The same, by all that an entry says.
    pub(super) fn scan_visible(
        &self,
        hash48: u64,
        snapshot: pg_sys::Snapshot,
        mut take: impl FnMut(Hit) -> Option<Hit>,
    ) -> Option<Hit> {
        let mut keys = range_keys();
        set_range(&mut keys, hash48);
        // SAFETY: the scan is begun and ended here, on relations that are open.
        unsafe {
            let any = &raw mut pg_sys::SnapshotAnyData;
            let scan = compat::index_beginscan(self.heap, self.index, any, 2);
            pg_sys::index_rescan(scan, keys.as_mut_ptr(), 2, null_mut(), 0);
            let found =
                next_entry(
                    scan,
                    self.slot(),
                    |entry| {
                        if self.sees(snapshot) { take(entry) } else { None }
                    },
                );
            pg_sys::index_endscan(scan);
            found
        }
    }

    /// Whether `snapshot` sees the tuple in our slot.
    fn sees(&self, snapshot: pg_sys::Snapshot) -> bool {
        // SAFETY: the slot holds a tuple of this heap, pinned by the scan.
        unsafe {
            let satisfies = (*(*self.heap).rd_tableam).tuple_satisfies_snapshot;
            #[allow(ffi_unwind_calls, reason = "guarded by pg_guard_ffi_boundary")]
            satisfies.is_some_and(|f| {
                pg_sys::submodules::ffi::pg_guard_ffi_boundary(|| {
                    f(self.heap, self.slot(), snapshot)
                })
            })
        }
    }

    fn dirty_scan(&mut self) -> *mut DirtyScan {
        if self.dirty.is_null() {
            // SAFETY: the scan keeps the snapshot's address, which stays while the context lives.
            unsafe {
                let before = pg_sys::MemoryContextSwitchTo(self.context);
                let dirty = pg_sys::palloc0(size_of::<DirtyScan>()).cast::<DirtyScan>();
                (*dirty).snapshot.snapshot_type = pg_sys::SnapshotType::SNAPSHOT_DIRTY;
                (*dirty).keys = range_keys();
                let snapshot = &raw mut (*dirty).snapshot;
                (*dirty).scan = compat::index_beginscan(self.heap, self.index, snapshot, 2);
                // The index alone says whose entry it is.
                (*(*dirty).scan).xs_want_itup = true;
                pg_sys::MemoryContextSwitchTo(before);
                self.dirty = dirty;
            }
        }
        self.dirty
    }
}

/// Key hash and partition of an index tuple.
///
/// # Safety
/// A tuple of a map's index: one int8, never null, behind the header.
unsafe fn indexed(tuple: pg_sys::IndexTuple) -> (u64, u16) {
    // SAFETY: as stated; index tuples are aligned to eight bytes.
    let e = unsafe { *tuple.cast::<u8>().add(size_of::<pg_sys::IndexTupleData>()).cast::<i64>() };
    (e.cast_unsigned() >> 16, e as u16)
}

/// What a dirty scan has found in the slot.
///
/// # Safety
/// The slot holds a tuple of the map; the snapshot says what the scan has said of it.
unsafe fn dirty_hit(
    slot: *mut pg_sys::TupleTableSlot,
    snapshot: &pg_sys::SnapshotData,
    partition: u16,
) -> Hit {
    let none = pg_sys::InvalidTransactionId;
    let settled = snapshot.xmin == none && snapshot.xmax == none;
    // SAFETY: as stated.
    let virtual_key = unsafe {
        crate::slot::deform(slot, 2);
        (*(*slot).tts_values.add(1)).value() as i64
    };
    Hit { partition, virtual_key, settled, own: settled && written_by_us(slot) }
}

/// The first entry of a scan that `take` takes. Afterwards the scan holds no pin.
///
/// # Safety
/// A scan of a map's index that has been given its range; `slot` is of the map's heap.
unsafe fn next_entry(
    scan: pg_sys::IndexScanDesc,
    slot: *mut pg_sys::TupleTableSlot,
    mut take: impl FnMut(Hit) -> Option<Hit>,
) -> Option<Hit> {
    let forward = pg_sys::ScanDirection::ForwardScanDirection;
    // SAFETY: the map's columns are two int8, never null.
    unsafe {
        while pg_sys::index_getnext_slot(scan, forward, slot) {
            crate::slot::deform(slot, 2);
            let values = (*slot).tts_values;
            let entry = Hit {
                partition: (*values).value() as u16,
                virtual_key: (*values.add(1)).value() as i64,
                settled: true,
                own: false,
            };
            let found = take(entry);
            if found.is_some() {
                // To its end, where it lets go of the index page; nothing more is fetched.
                while !pg_sys::index_getnext_tid(scan, forward).is_null() {}
                crate::slot::clear(slot);
                return found;
            }
        }
        None
    }
}

/// Whether the current transaction inserted the slot's tuple.
fn written_by_us(slot: *mut pg_sys::TupleTableSlot) -> bool {
    let mut null = false;
    // SAFETY: the slot holds a heap tuple, whose system columns exist.
    unsafe {
        let get = (*(*slot).tts_ops).getsysattr;
        let attribute = pg_sys::MinTransactionIdAttributeNumber;
        #[allow(ffi_unwind_calls, reason = "guarded by pg_guard_ffi_boundary")]
        let xmin = get.map_or(pg_sys::Datum::from(0), |f| {
            pg_sys::submodules::ffi::pg_guard_ffi_boundary(|| f(slot, attribute, &mut null))
        });
        pg_sys::TransactionIdIsCurrentTransactionId((xmin.value() as u32).into())
    }
}

const _: () = assert!(size_of::<pg_sys::Datum>() == 8, "entries are passed by value");
