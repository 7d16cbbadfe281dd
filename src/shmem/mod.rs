//! Shared memory: counters, published epoch numbers, the worker registry, the
//! writers' cache and the claims. All of it is a cache or a count: losing it in
//! a crash loses no row and no mapping.
//!
//! One allocation, laid out once at start. Everything is atomic except the
//! registration of tables, which takes the registry lock, and the claims, which
//! take one of their stripes.

pub mod cache;
pub mod claims;
pub mod databases;
pub mod failures;
pub mod generations;
pub mod hot_keys;
pub mod statements;
pub mod tables;
pub mod written;

use std::mem::{align_of, size_of};
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::guc;

/// Named LWLock tranche: lock 0 guards registration, 1 hot keys, the rest are claim stripes.
const TRANCHE: &std::ffi::CStr = c"pss";
const REGISTRY_LOCK: usize = 0;
const HOT_KEYS_LOCK: usize = 1;
const FIRST_STRIPE: usize = 2;

/// Head of the allocation; the arrays follow it in the order of `Layout`.
#[repr(C)]
pub struct Header {
    /// Latch owner of the launcher; 0 while it is not running.
    pub launcher_pid: AtomicI32,
    next_cache_tag: AtomicU32,
    /// Marks that movers hold.
    marks: AtomicU32,
    tables: u32,
    partitions: u32,
    cache_words: u32,
    /// Hot keys tracked of each table.
    hot_keys: u32,
    generations: generations::Counters,
}

static HEADER: AtomicPtr<Header> = AtomicPtr::new(std::ptr::null_mut());

/// The locks of the tranche: PostgreSQL looks them up by its name.
static LOCKS: AtomicPtr<pg_sys::LWLockPadded> = AtomicPtr::new(std::ptr::null_mut());

/// Byte offsets of the arrays behind the header.
struct Layout {
    tables: usize,
    partitions: usize,
    databases: usize,
    hot_heads: usize,
    hot_counters: usize,
    cache: usize,
    total: usize,
}

/// How much of what there is, as configured.
#[derive(Clone, Copy)]
struct Sizes {
    tables: usize,
    partitions: usize,
    cache_words: usize,
    hot_keys: usize,
}

impl Layout {
    fn new(sizes: Sizes) -> Self {
        let Sizes { tables, partitions, cache_words, hot_keys } = sizes;
        let align = |n: usize| n.next_multiple_of(64);
        let tables_at = align(size_of::<Header>());
        let partitions_at = align(tables_at + tables * size_of::<tables::TableShared>());
        let databases_at = align(partitions_at + partitions * size_of::<tables::PartitionShared>());
        let hot_heads_at =
            align(databases_at + databases::MAX_DATABASES * size_of::<databases::DatabaseShared>());
        let hot_counters_at = align(hot_heads_at + tables * size_of::<hot_keys::HeadShared>());
        let hot_counters_size = tables * hot_keys * size_of::<hot_keys::CounterShared>();
        let cache_at = align(hot_counters_at + hot_counters_size);
        let total = cache_at + cache_words * size_of::<u64>();
        const { assert!(align_of::<tables::TableShared>() <= 64) };
        Self {
            tables: tables_at,
            partitions: partitions_at,
            databases: databases_at,
            hot_heads: hot_heads_at,
            hot_counters: hot_counters_at,
            cache: cache_at,
            total,
        }
    }

    fn of(header: &Header) -> Self {
        Self::new(Sizes {
            tables: header.tables as usize,
            partitions: header.partitions as usize,
            cache_words: header.cache_words as usize,
            hot_keys: header.hot_keys as usize,
        })
    }
}

/// Words of the writers' cache, a power of two.
fn cache_words() -> usize {
    let words = guc::CACHE_SIZE.get() as usize * 1024 / size_of::<u64>();
    ((words + 1).next_power_of_two() / 2).max(cache::MIN_WORDS)
}

fn sizes() -> Sizes {
    Sizes {
        tables: guc::MAX_TABLES.get() as usize,
        partitions: guc::MAX_PARTITIONS.get() as usize,
        cache_words: cache_words(),
        hot_keys: guc::HOT_KEYS_TRACKED.get() as usize,
    }
}

/// Whether shared memory is there: pss was in shared_preload_libraries.
pub fn available() -> bool {
    !HEADER.load(Ordering::Relaxed).is_null()
}

pub fn header() -> Option<&'static Header> {
    // SAFETY: set once, by `startup`, to an initialized Header in shared
    // memory that lives as long as the server.
    unsafe { HEADER.load(Ordering::Relaxed).as_ref() }
}

/// The array of `n` elements of `T` at `offset` behind the header.
///
/// # Safety
/// `offset` and `n` must be those of `Layout` for `T`.
unsafe fn array<T>(header: &'static Header, offset: usize, n: usize) -> &'static [T] {
    let base = std::ptr::from_ref(header).cast::<u8>();
    // SAFETY: the allocation is `Layout::total` bytes, zeroed at start; all
    // element types are made of atomics and plain integers, for which zero is valid.
    unsafe { std::slice::from_raw_parts(base.add(offset).cast::<T>(), n) }
}

static mut PREVIOUS_REQUEST: pg_sys::shmem_request_hook_type = None;
static mut PREVIOUS_STARTUP: pg_sys::shmem_startup_hook_type = None;

/// Installs the shared memory hooks; only from shared_preload_libraries.
pub fn init() {
    // SAFETY: _PG_init runs single-threaded in the postmaster; both hooks chain.
    unsafe {
        PREVIOUS_REQUEST = pg_sys::shmem_request_hook;
        pg_sys::shmem_request_hook = Some(request);
        PREVIOUS_STARTUP = pg_sys::shmem_startup_hook;
        pg_sys::shmem_startup_hook = Some(startup);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn request() {
    // SAFETY: called by the postmaster when shared memory may be requested.
    unsafe {
        if let Some(previous) = PREVIOUS_REQUEST {
            #[allow(ffi_unwind_calls, reason = "guarded by pg_guard_ffi_boundary")]
            pg_sys::submodules::ffi::pg_guard_ffi_boundary(|| previous());
        }
        pg_sys::RequestAddinShmemSpace(Layout::new(sizes()).total);
        pg_sys::RequestAddinShmemSpace(claims::shared_size());
        pg_sys::RequestNamedLWLockTranche(
            TRANCHE.as_ptr(),
            (FIRST_STRIPE + claims::STRIPES) as i32,
        );
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn startup() {
    // SAFETY: called once per process start of the postmaster (and by each
    // backend under EXEC_BACKEND); AddinShmemInitLock (number 21 in all supported
    // versions) serializes the first initialization.
    unsafe {
        if let Some(previous) = PREVIOUS_STARTUP {
            #[allow(ffi_unwind_calls, reason = "guarded by pg_guard_ffi_boundary")]
            pg_sys::submodules::ffi::pg_guard_ffi_boundary(|| previous());
        }
        let lock = &raw mut (*pg_sys::MainLWLockArray.add(21)).lock;
        pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
        let sizes = sizes();
        let total = Layout::new(sizes).total;
        let mut found = false;
        let header = pg_sys::ShmemInitStruct(c"pss".as_ptr(), total, &mut found).cast::<Header>();
        if !found {
            std::ptr::write_bytes(header.cast::<u8>(), 0, total);
            header.write(Header {
                launcher_pid: AtomicI32::new(0),
                next_cache_tag: AtomicU32::new(1),
                marks: AtomicU32::new(0),
                tables: sizes.tables as u32,
                partitions: sizes.partitions as u32,
                cache_words: sizes.cache_words as u32,
                hot_keys: sizes.hot_keys as u32,
                generations: generations::none(),
            });
        }
        claims::attach();
        LOCKS.store(pg_sys::GetNamedLWLockTranche(TRANCHE.as_ptr()), Ordering::Relaxed);
        HEADER.store(header, Ordering::Relaxed);
        pg_sys::LWLockRelease(lock);
    }
}

/// Lock `n` of the tranche.
fn lwlock(n: usize) -> *mut pg_sys::LWLock {
    // SAFETY: the tranche was requested with FIRST_STRIPE + STRIPES locks; whoever locks has found
    // shared memory there.
    unsafe { &raw mut (*LOCKS.load(Ordering::Relaxed).add(n)).lock }
}

/// Runs `f` under the registry lock. `f` must not raise errors: it only
/// touches shared memory.
fn with_registry<R>(f: impl FnOnce() -> R) -> R {
    let lock = lwlock(REGISTRY_LOCK);
    // SAFETY: a lock of our tranche; released on the only way out (a PostgreSQL
    // error in between would release all LWLocks on abort).
    unsafe {
        pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
        let result = f();
        pg_sys::LWLockRelease(lock);
        result
    }
}
