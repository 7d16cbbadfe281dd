//! The launcher: knows the databases, and leases workers to those with work.
//!
//! It is connected to no database, so it is never in the way of DDL on one. It
//! reads pg_database only; whether a database has the extension a short probe
//! (a lease like any other) finds out, once, and then again when nudged.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pgrx::bgworkers::BackgroundWorkerBuilder;
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::process;
use crate::clock;
use crate::guc;
use crate::shmem::databases::{self, DatabaseShared, State};
use crate::shmem::header;

/// Longest sleep; nudges and ends of leases wake the launcher sooner.
const NAP: Duration = Duration::from_secs(10);
/// Sleep while databases wait for their turn, or for a pause to end.
const SHORT_NAP: Duration = Duration::from_secs(1);
/// How often a database without sharded tables is looked at, in milliseconds.
const EMPTY_RECHECK_MS: i32 = 60_000;
/// Pause before a new lease after one that did nothing, in milliseconds.
const PAUSE_MS: i32 = 5_000;

/// Has the postmaster start the launcher; a standby's starts on promotion.
pub fn register() {
    BackgroundWorkerBuilder::new("pss launcher")
        .set_type("pss launcher")
        .set_library("pss")
        .set_function("pss_launcher_main")
        .enable_spi_access()
        .set_restart_time(Some(Duration::from_secs(5)))
        .load();
}

/// A lease handed out.
struct Lease {
    database: &'static DatabaseShared,
    worker: *mut pg_sys::BackgroundWorkerHandle,
    cycles_before: u64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        // SAFETY: allocated by RegisterDynamicBackgroundWorker, for this lease alone.
        unsafe { pg_sys::pfree(self.worker.cast()) };
    }
}

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pss_launcher_main(_arg: pg_sys::Datum) {
    process::attach_signals();
    let Some(header) = header() else { return };
    // SAFETY: connects to shared catalogs only; the callback is static.
    unsafe {
        pg_sys::before_shmem_exit(Some(on_exit), pg_sys::Datum::from(0));
        pg_sys::BackgroundWorkerInitializeConnection(std::ptr::null(), std::ptr::null(), 0);
        header.launcher_pid.store(pg_sys::MyProcPid, Ordering::Release);
        pg_sys::pgstat_report_appname(c"pss launcher".as_ptr());
    }
    let mut leases: Vec<Lease> = Vec::new();
    let mut complained = false;
    while !process::shutdown_requested() {
        leases.retain(|lease| !ended(lease));
        match process::transaction(|| Ok(databases_to_serve())) {
            Ok(served) => {
                let crowded = round(&served, &mut leases, &mut complained);
                process::report_activity(None);
                process::wait(if crowded { SHORT_NAP } else { NAP });
            }
            Err(_) if process::shutdown_requested() => {}
            Err(failure) => {
                pgrx::warning!("pss launcher could not read pg_database: {}", failure.message);
                process::wait(NAP);
            }
        }
    }
    // Exit code 1: the postmaster starts the launcher again, unless it is going itself.
    // SAFETY: leaves the process; nothing here has a destructor that matters.
    unsafe { pg_sys::proc_exit(1) };
}

#[pg_guard]
unsafe extern "C-unwind" fn on_exit(_code: i32, _arg: pg_sys::Datum) {
    if let Some(header) = header() {
        header.launcher_pid.store(0, Ordering::Release);
    }
}

/// One round: registers and frees databases, hands out leases. True if some
/// database has to wait.
fn round(served: &[pg_sys::Oid], leases: &mut Vec<Lease>, complained: &mut bool) -> bool {
    for database in databases::registered() {
        if !served.contains(&database.database()) {
            match database.worker_pid.load(Ordering::Acquire) {
                0 if !leased(leases, database) => database.free(),
                pid => process::terminate(pid),
            }
        }
    }
    for &database in served {
        databases::register(database);
    }
    let now = clock::now();
    let mut due: Vec<&'static DatabaseShared> = databases::registered()
        .filter(|d| served.contains(&d.database()) && !d.suspended() && !leased(leases, d))
        .filter(|d| wants_lease(d, now))
        .collect();
    due.sort_by_key(|d| d.lease_ended.load(Ordering::Relaxed));
    let busy = |leases: &[Lease]| databases::registered().filter(|d| leased(leases, d)).count();
    let mut crowded = false;
    for database in due {
        database.waiting.store(0, Ordering::Relaxed);
        if now < database.not_before.load(Ordering::Relaxed) {
            crowded = true;
        } else if busy(leases) < guc::MAX_WORKERS.get() as usize {
            match lease(database) {
                Some(lease) => {
                    leases.push(lease);
                    *complained = false;
                }
                None => {
                    database.not_before.store(clock::later(now, PAUSE_MS), Ordering::Relaxed);
                    crowded = true;
                    complain_of_slots(complained);
                }
            }
        } else {
            database.waiting.store(1, Ordering::Relaxed);
            crowded = true;
        }
    }
    crowded
}

fn leased(leases: &[Lease], database: &DatabaseShared) -> bool {
    // A worker that outlived a launcher has a process, but no lease in this list.
    database.worker_pid.load(Ordering::Acquire) != 0
        || leases.iter().any(|l| std::ptr::eq(l.database, database))
}

fn wants_lease(database: &DatabaseShared, now: pg_sys::TimestampTz) -> bool {
    match database.state() {
        State::Unknown | State::Active => true,
        State::Absent => false,
        State::Empty => {
            let ended = database.lease_ended.load(Ordering::Relaxed);
            now > clock::later(ended, EMPTY_RECHECK_MS)
        }
    }
}

fn lease(database: &'static DatabaseShared) -> Option<Lease> {
    // SAFETY: a plain global of the process.
    let me = unsafe { pg_sys::MyProcPid };
    let builder = BackgroundWorkerBuilder::new("pss worker")
        .set_type("pss worker")
        .set_library("pss")
        .set_function("pss_worker_main")
        .enable_spi_access()
        .set_restart_time(None)
        .set_notify_pid(me)
        .set_argument(Some(pg_sys::Datum::from(database.database())));
    let mut registration = pg_sys::BackgroundWorker::from(&builder);
    let mut worker = std::ptr::null_mut();
    // SAFETY: outside a transaction, the handle lives until the lease frees it.
    let registered =
        unsafe { pg_sys::RegisterDynamicBackgroundWorker(&mut registration, &mut worker) };
    let cycles_before = database.cycles.load(Ordering::Relaxed);
    registered.then_some(Lease { database, worker, cycles_before })
}

/// Whether the lease is over. One that got nothing done is followed by a pause.
fn ended(lease: &Lease) -> bool {
    use pg_sys::BgwHandleStatus::*;
    let mut pid = 0;
    // SAFETY: the handle that the lease holds.
    let status = unsafe { pg_sys::GetBackgroundWorkerPid(lease.worker, &mut pid) };
    let over = status == BGWH_STOPPED || status == BGWH_POSTMASTER_DIED;
    if over {
        let (now, database) = (clock::now(), lease.database);
        database.lease_ended.store(now, Ordering::Relaxed);
        let idle = database.cycles.load(Ordering::Relaxed) == lease.cycles_before;
        if idle && !database.suspended() {
            let pause = clock::later(now, PAUSE_MS);
            database.not_before.store(pause, Ordering::Relaxed);
        }
    }
    over
}

fn complain_of_slots(complained: &mut bool) {
    if !std::mem::replace(complained, true) {
        crate::error::PssError::new(
            PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
            "pss could not start a worker",
        )
        .detail("All slots for background workers are in use.")
        .hint("Raise max_worker_processes and restart the server.")
        .warn();
    }
}

/// The databases that may have a worker: those that allow connections and are
/// no templates (a worker on a template would block CREATE DATABASE).
fn databases_to_serve() -> Vec<pg_sys::Oid> {
    let mut served = Vec::new();
    // SAFETY: a sequential scan of a shared catalog, as autovacuum's launcher
    // does; closed below, or by the transaction's abort.
    unsafe {
        let relation = pg_sys::table_open(pg_sys::DatabaseRelationId, ACCESS_SHARE);
        let scan = pg_sys::table_beginscan_catalog(relation, 0, std::ptr::null_mut());
        loop {
            let tuple = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if tuple.is_null() {
                break;
            }
            let form = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_database>();
            // A connection limit of -2 marks a database whose DROP was interrupted.
            if form.datallowconn && !form.datistemplate && form.datconnlimit != -2 {
                served.push(form.oid);
            }
        }
        pg_sys::heap_endscan(scan);
        pg_sys::table_close(relation, ACCESS_SHARE);
    }
    served
}

const ACCESS_SHARE: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
