//! The worker registry: one entry a database, by which the launcher knows
//! where work is, and sessions can nudge or suspend a database's worker.
//!
//! Everything here is safe in a commit or abort callback: atomics only, no
//! allocation, no errors (`register` apart, which takes the registry lock).

use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering};

use pgrx::pg_sys;

use super::{Layout, array, header, with_registry};

/// Databases the registry has room for; others get no worker.
pub const MAX_DATABASES: usize = 256;

/// Sessions that can hold up the worker of one database at the same time.
const MAX_SUSPENDERS: usize = 8;

/// What is known about a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// Not looked at since the server started, or since the last nudge.
    Unknown = 0,
    /// The extension is not installed: left alone until nudged.
    Absent = 1,
    /// Installed, but nothing is sharded: looked at now and then (a restore nudges nobody).
    Empty = 2,
    /// Has sharded tables: gets leases.
    Active = 3,
}

impl State {
    fn from_u32(n: u32) -> State {
        match n {
            1 => State::Absent,
            2 => State::Empty,
            3 => State::Active,
            _ => State::Unknown,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            State::Unknown => "unknown",
            State::Absent => "absent",
            State::Empty => "idle",
            State::Active => "active",
        }
    }
}

/// One database. All zero: free.
#[repr(C)]
pub struct DatabaseShared {
    database: AtomicU32,
    state: AtomicU32,
    /// The leased worker's process; 0: none.
    pub worker_pid: AtomicI32,
    /// Work is due, but all workers are busy elsewhere.
    pub waiting: AtomicU32,
    /// TimestampTz of the end of the last lease: whose turn is next.
    pub lease_ended: AtomicI64,
    /// TimestampTz before which no new lease begins.
    pub not_before: AtomicI64,
    /// TimestampTz of the last finished cycle.
    pub last_cycle: AtomicI64,
    pub cycles: AtomicU64,
    pub errors: AtomicU64,
    /// Sessions whose DDL on the database is under way: no worker may start.
    suspenders: [AtomicI32; MAX_SUSPENDERS],
}

impl DatabaseShared {
    pub fn database(&self) -> pg_sys::Oid {
        pg_sys::Oid::from(self.database.load(Ordering::Acquire))
    }

    pub fn state(&self) -> State {
        State::from_u32(self.state.load(Ordering::Acquire))
    }

    pub fn set_state(&self, state: State) {
        self.state.store(state as u32, Ordering::Release);
    }

    pub fn suspended(&self) -> bool {
        self.suspenders.iter().any(|s| s.load(Ordering::Acquire) != 0)
    }

    /// Enters session `pid` among those that hold up the worker. False: no room.
    pub fn suspend(&self, pid: i32) -> bool {
        let take =
            |s: &AtomicI32| s.compare_exchange(0, pid, Ordering::AcqRel, Ordering::Acquire).is_ok();
        self.suspenders.iter().any(|s| s.load(Ordering::Acquire) == pid)
            || self.suspenders.iter().any(take)
    }

    /// Ends what [`DatabaseShared::suspend`] began; does nothing if it did not.
    pub fn resume(&self, pid: i32) {
        for suspender in &self.suspenders {
            let _ = suspender.compare_exchange(pid, 0, Ordering::AcqRel, Ordering::Acquire);
        }
    }

    /// Frees the entry of a database that is gone.
    pub fn free(&self) {
        self.database.store(0, Ordering::Release);
    }

    fn clear(&self) {
        self.set_state(State::Unknown);
        self.worker_pid.store(0, Ordering::Relaxed);
        self.waiting.store(0, Ordering::Relaxed);
        for time in [&self.lease_ended, &self.not_before, &self.last_cycle] {
            time.store(0, Ordering::Relaxed);
        }
        self.cycles.store(0, Ordering::Relaxed);
        self.errors.store(0, Ordering::Relaxed);
        for suspender in &self.suspenders {
            suspender.store(0, Ordering::Relaxed);
        }
    }
}

fn all() -> &'static [DatabaseShared] {
    let Some(header) = header() else { return &[] };
    // SAFETY: offset and count of the layout's database array.
    unsafe { array(header, Layout::of(header).databases, MAX_DATABASES) }
}

/// The entries in use.
pub fn registered() -> impl Iterator<Item = &'static DatabaseShared> {
    all().iter().filter(|d| d.database() != pg_sys::InvalidOid)
}

/// The entry of a database, if it has one.
pub fn find(database: pg_sys::Oid) -> Option<&'static DatabaseShared> {
    registered().find(|d| d.database() == database)
}

/// The entry of a database, made if need be. `None`: no room, or no shared memory.
pub fn register(database: pg_sys::Oid) -> Option<&'static DatabaseShared> {
    if let Some(entry) = find(database) {
        return Some(entry);
    }
    header()?;
    with_registry(|| {
        if let Some(entry) = find(database) {
            return Some(entry);
        }
        let entry = all().iter().find(|d| d.database() == pg_sys::InvalidOid)?;
        entry.clear();
        entry.database.store(database.to_u32(), Ordering::Release);
        Some(entry)
    })
}
