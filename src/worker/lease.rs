//! A leased worker: serves one database for as long as there is work and
//! nobody else waits for a turn, then leaves.
//!
//! Statement errors never end it: each is caught with its table, logged once,
//! counted, and the table left alone for a while.

use std::collections::HashMap;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Duration;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::process::{self, Failure, transaction};
use super::rebalance::Duty;
use super::{cycle, housekeeping, memory, top_level};
use crate::capacity::learn;
use crate::moves::reindex;
use crate::shmem::databases::{self, DatabaseShared, State};
use crate::{catalog, clock, guc};

/// First pause of a table that failed, in milliseconds; doubles with each failure in a row.
const BACK_OFF_MS: i32 = 1_000;
/// Doublings of the pause: it ends at about four minutes.
const MAX_DOUBLINGS: u32 = 8;
/// Time between two rounds of housekeeping, in milliseconds.
const HOUSEKEEPING_MS: i32 = 60_000;

/// Time before a map that stayed incomplete (its rows contradict each other)
/// is rebuilt again, in milliseconds.
const REBUILD_AGAIN_MS: i32 = 600_000;
/// The same after one that failed: a lock was not to be had, say.
const REBUILD_FAILED_MS: i32 = 60_000;

static ENTRY: AtomicPtr<DatabaseShared> = AtomicPtr::new(std::ptr::null_mut());

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pss_worker_main(database: pg_sys::Datum) {
    process::attach_signals();
    let database = pg_sys::Oid::from(database.value() as u32);
    let Some(entry) = databases::find(database) else { return };
    if entry.suspended() || process::shutdown_requested() || !enter(entry) {
        return;
    }
    // SAFETY: connects as the bootstrap superuser; what is done for a table is
    // done as its owner, and what is done to the catalog as the extension's.
    unsafe {
        pg_sys::BackgroundWorkerInitializeConnectionByOid(database, pg_sys::InvalidOid, 0);
        pg_sys::pgstat_report_appname(c"pss worker".as_ptr());
    }
    pin_settings();
    Lease::new(entry).run();
}

/// Enters this process as the database's worker. False: there is one already.
fn enter(entry: &'static DatabaseShared) -> bool {
    // SAFETY: a static callback; the process's own id.
    unsafe {
        ENTRY.store(std::ptr::from_ref(entry).cast_mut(), Ordering::Relaxed);
        pg_sys::before_shmem_exit(Some(on_exit), pg_sys::Datum::from(0));
        entry
            .worker_pid
            .compare_exchange(0, pg_sys::MyProcPid, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_exit(_code: i32, _arg: pg_sys::Datum) {
    // SAFETY: null, or an entry in shared memory, which outlives the process.
    if let Some(entry) = unsafe { ENTRY.load(Ordering::Relaxed).as_ref() } {
        // SAFETY: a plain global of the process.
        let me = unsafe { pg_sys::MyProcPid };
        let _ = entry.worker_pid.compare_exchange(me, 0, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// Settings that must not come from the database or the server's configuration.
fn pin_settings() {
    let settings = [
        (c"search_path", c"pg_catalog, pg_temp"),
        (c"default_transaction_isolation", c"read committed"),
        (c"default_transaction_read_only", c"off"),
        (c"default_transaction_deferrable", c"off"),
        (c"statement_timeout", c"0"),
        (c"idle_in_transaction_session_timeout", c"0"),
        (c"row_security", c"on"),
        // Less than deadlock_timeout: whoever waits for us goes first.
        (c"lock_timeout", c"500"),
        // Observations may be lost in a crash; waiting for a standby must not delay them.
        (c"synchronous_commit", c"off"),
        // Each look at a statistic sees today's.
        (c"stats_fetch_consistency", c"none"),
        (c"jit", c"off"),
    ];
    for (name, value) in settings {
        // SAFETY: static strings; outside a transaction, for the whole process.
        unsafe {
            pg_sys::SetConfigOption(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_SUSET,
                pg_sys::GucSource::PGC_S_OVERRIDE,
            );
        }
    }
}

/// A table that failed is left alone for a while.
#[derive(Default)]
struct Trouble {
    in_a_row: u32,
    until: pg_sys::TimestampTz,
    last: Option<Failure>,
}

struct Lease {
    entry: &'static DatabaseShared,
    troubles: HashMap<pg_sys::Oid, Trouble>,
    /// When the map of a table may be rebuilt again.
    next_rebuild: HashMap<pg_sys::Oid, pg_sys::TimestampTz>,
    began: pg_sys::TimestampTz,
    next_sample: pg_sys::TimestampTz,
    next_decision: pg_sys::TimestampTz,
    next_housekeeping: pg_sys::TimestampTz,
    rebalancing: Duty,
}

impl Lease {
    fn new(entry: &'static DatabaseShared) -> Self {
        Lease {
            entry,
            troubles: HashMap::new(),
            next_rebuild: HashMap::new(),
            began: clock::now(),
            // A lease that follows another keeps its pace.
            next_sample: due_after(entry),
            next_decision: 0,
            next_housekeeping: 0,
            rebalancing: Duty::default(),
        }
    }

    fn run(&mut self) {
        while !self.must_leave() {
            let Some(tables) = self.tables() else { return };
            let now = clock::now();
            self.keep_within_intervals(now);
            if now >= self.next_sample {
                process::report_activity(Some(c"pss cycle"));
                self.cycle(&tables, now);
            }
            // Also when woken between two cycles: a table may just have come with rows.
            tables.iter().for_each(|&relation| self.rebuild(relation));
            process::report_activity(None);
            let next_batch = self.rebalancing.run(&tables);
            if others_wait() && now >= self.began.saturating_add(turn_us()) {
                self.entry.not_before.store(due_after(self.entry), Ordering::Relaxed);
                return;
            }
            let pause = (self.next_sample.min(next_batch) - clock::now()).max(0) as u64;
            process::wait(Duration::from_micros(pause) + Duration::from_millis(1));
        }
    }

    /// A shorter interval in a reloaded configuration holds at once.
    fn keep_within_intervals(&mut self, now: pg_sys::TimestampTz) {
        self.next_sample = self.next_sample.min(clock::later(now, guc::SAMPLE_INTERVAL.get()));
        self.next_decision = self.next_decision.min(clock::later(now, guc::REFRESH_INTERVAL.get()));
    }

    fn must_leave(&self) -> bool {
        process::shutdown_requested() || self.entry.suspended()
    }

    /// The sharded tables; `None` if there are none, or nobody can tell: the lease is over.
    fn tables(&mut self) -> Option<Vec<pg_sys::Oid>> {
        let found = transaction(|| {
            if !catalog::installed() {
                return Ok(None);
            }
            catalog::sharded_tables().map(Some)
        });
        match found {
            Ok(None) => self.entry.set_state(State::Absent),
            Ok(Some(tables)) if tables.is_empty() => {
                self.sweep();
                self.entry.set_state(State::Empty);
            }
            Ok(Some(tables)) => {
                self.entry.set_state(State::Active);
                return Some(tables);
            }
            // Dropped between the question and the look.
            Err(_) if gone() => self.entry.set_state(State::Absent),
            Err(failure) if !self.must_leave() => {
                self.entry.errors.fetch_add(1, Ordering::Relaxed);
                warn("pss worker could not read its catalog", &failure);
            }
            Err(_) => {}
        }
        None
    }

    /// One cycle of all tables.
    fn cycle(&mut self, tables: &[pg_sys::Oid], now: pg_sys::TimestampTz) {
        let decide = now >= self.next_decision;
        self.next_sample = after(self.next_sample, guc::SAMPLE_INTERVAL.get(), now);
        if decide {
            self.next_decision = after(self.next_decision, guc::REFRESH_INTERVAL.get(), now);
        }
        memory::forget_others(tables);
        self.troubles.retain(|relation, _| tables.contains(relation));
        self.next_rebuild.retain(|relation, _| tables.contains(relation));
        for &relation in tables {
            if self.must_leave() {
                return;
            }
            self.guarded(relation, "cycle", || cycle::run(relation, decide, false).map(drop));
        }
        self.guarded(pg_sys::InvalidOid, "learning of capacity", learn::observe);
        if now >= self.next_housekeeping {
            self.next_housekeeping = clock::later(now, HOUSEKEEPING_MS);
            self.keep_house(tables);
        }
        self.entry.last_cycle.store(clock::now(), Ordering::Relaxed);
        self.entry.cycles.fetch_add(1, Ordering::Relaxed);
    }

    fn rebuild(&mut self, relation: pg_sys::Oid) {
        let due = self.next_rebuild.get(&relation).copied().unwrap_or(0);
        if self.must_leave() || clock::now() < due {
            return;
        }
        let mut pause = REBUILD_FAILED_MS;
        self.guarded(relation, "rebuilding the map", || {
            let was_incomplete = housekeeping::rebuild_incomplete_map(relation)?;
            pause = if was_incomplete { REBUILD_AGAIN_MS } else { 0 };
            Ok(())
        });
        self.next_rebuild.insert(relation, clock::later(clock::now(), pause));
    }

    /// What needs no table to be there.
    fn sweep(&mut self) {
        for task in housekeeping::DATABASE_TASKS {
            self.guarded(pg_sys::InvalidOid, task.name, task.run);
        }
    }

    fn keep_house(&mut self, tables: &[pg_sys::Oid]) {
        self.sweep();
        for &relation in tables {
            for task in housekeeping::TABLE_TASKS {
                if self.must_leave() {
                    return;
                }
                self.guarded(relation, task.name, || (task.run)(relation));
            }
            self.rebuild_index(relation);
        }
    }

    /// Rebuilds the index of the table's row map if it is bloated.
    fn rebuild_index(&mut self, relation: pg_sys::Oid) {
        let Ok(commands) = transaction(|| reindex::due(relation)) else { return };
        for command in commands {
            if self.must_leave() {
                return;
            }
            self.guarded(relation, "rebuilding the map's index", || {
                reindex::write_down(relation, false)
            });
            process::report_activity(Some(c"pss map reindex"));
            let outcome = top_level::run(&command.text);
            self.guarded(relation, "rebuilding the map's index", || match outcome {
                Ok(()) if command.rebuilds => reindex::write_down(relation, true),
                Ok(()) => Ok(()),
                Err(failure) => Err(failure.into()),
            });
        }
    }

    /// Runs `work` in a transaction of its own. A failure is logged unless the
    /// same one was logged last, and the table is left alone for a while.
    fn guarded(
        &mut self,
        relation: pg_sys::Oid,
        name: &str,
        work: impl FnOnce() -> crate::error::Result<()>,
    ) {
        let trouble = self.troubles.entry(relation).or_default();
        if clock::now() < trouble.until {
            return;
        }
        match transaction(work) {
            Ok(()) => *trouble = Trouble { last: trouble.last.take(), ..Trouble::default() },
            Err(_) if self.entry.suspended() || process::shutdown_requested() => {}
            // Dropped under our hands.
            Err(_) if gone() || dropped(relation) => {}
            Err(failure) => {
                let pause = BACK_OFF_MS << trouble.in_a_row.min(MAX_DOUBLINGS);
                trouble.in_a_row += 1;
                trouble.until = clock::later(clock::now(), pause);
                // Somebody is changing the catalog (DROP EXTENSION, say): they go first.
                if failure.code == PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE {
                    return;
                }
                self.entry.errors.fetch_add(1, Ordering::Relaxed);
                if trouble.last.as_ref() != Some(&failure) {
                    report_failure(relation, name, &failure);
                    trouble.last = Some(failure);
                }
            }
        }
    }
}

/// Whether the extension is not, or no longer, installed.
fn gone() -> bool {
    transaction(|| Ok(catalog::installed())) == Ok(false)
}

/// Whether a table was dropped (`InvalidOid` stands for none in particular).
fn dropped(relation: pg_sys::Oid) -> bool {
    // SAFETY: a look-up in the system cache, inside a transaction.
    let exists = || unsafe {
        let none = pg_sys::Datum::from(0);
        let cache = pg_sys::SysCacheIdentifier::RELOID as i32;
        pg_sys::SearchSysCacheExists(cache, relation.into(), none, none, none)
    };
    relation != pg_sys::InvalidOid && transaction(|| Ok(exists())) == Ok(false)
}

/// When the database's next sample is due, by its last cycle.
fn due_after(entry: &DatabaseShared) -> pg_sys::TimestampTz {
    clock::later(entry.last_cycle.load(Ordering::Relaxed), guc::SAMPLE_INTERVAL.get())
}

/// The next time on a grid of `interval_ms`; a grid that was missed starts anew.
fn after(
    due: pg_sys::TimestampTz,
    interval_ms: i32,
    now: pg_sys::TimestampTz,
) -> pg_sys::TimestampTz {
    let next = clock::later(due, interval_ms);
    if next > now { next } else { clock::later(now, interval_ms) }
}

/// Length of a turn, in microseconds, where databases have to wait: so short
/// that each has two turns before its weights are too old to be used. (Not
/// shorter: a lease begins with reading samples back.) A database that nobody
/// has looked at yet is let in at once.
fn turn_us() -> i64 {
    let waits = |d: &databases::DatabaseShared| d.waiting.load(Ordering::Relaxed) != 0;
    if databases::registered().any(|d| waits(d) && d.state() == State::Unknown) {
        return 0;
    }
    let active = databases::registered().filter(|d| d.state() == State::Active).count() as i64;
    let workers = i64::from(guc::MAX_WORKERS.get());
    i64::from(guc::WEIGHTS_TTL.get()) * 1000 / 2 * workers / active.max(1)
}

fn others_wait() -> bool {
    databases::registered().any(|d| d.waiting.load(Ordering::Relaxed) != 0)
}

fn report_failure(relation: pg_sys::Oid, name: &str, failure: &Failure) {
    let known = (relation != pg_sys::InvalidOid).then_some(relation);
    let table = known.and_then(|r| transaction(|| Ok(catalog::relation_name(r))).ok());
    let what = match table {
        Some(table) => format!("pss worker: {name} of table \"{table}\" failed"),
        None => format!("pss worker: {name} failed"),
    };
    warn(&what, failure);
    let message = format!("{name} failed: {} ({})", failure.message, failure.sqlstate());
    // The event is a courtesy: if even that fails, the server log has said it.
    let _ = transaction(|| catalog::log_event(known, "error", &message, None));
}

fn warn(what: &str, failure: &Failure) {
    crate::error::PssError::new(failure.code, what)
        .detail(format!("{} (SQLSTATE {}).", failure.message, failure.sqlstate()))
        .hint("The worker tries again later; SELECT * FROM pss.stat_worker shows its state.")
        .warn();
}
