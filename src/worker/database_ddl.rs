//! Keeps the workers out of the way of DDL on databases.
//!
//! DROP, RENAME, SET TABLESPACE and CREATE ... TEMPLATE fail while somebody is
//! connected to the database. Before such a statement the database's worker is
//! suspended: asked to go, and not started again before the statement's
//! transaction ends, however it ends.

use std::ffi::{CStr, c_char};
use std::sync::atomic::Ordering;

use pgrx::pg_sys;

use super::{commit, process};
use crate::clock;
use crate::shmem::databases;

/// Longest wait for a worker to go, in milliseconds: as long as PostgreSQL
/// itself waits for other sessions.
const PATIENCE_MS: i32 = 5_000;

/// To be called before every utility statement.
pub fn before_utility(statement: &pg_sys::PlannedStmt) {
    // SAFETY: a utility statement's parse tree, of the type its tag says.
    let database = unsafe { database_in_the_way(statement.utilityStmt) };
    if let Some(database) = database {
        suspend(database);
    }
}

/// To be called after every utility statement that did not fail.
pub fn after_utility(statement: &pg_sys::PlannedStmt) {
    // SAFETY: as above.
    if unsafe { concerns_extension(statement.utilityStmt) } {
        commit::nudge();
    }
}

/// Ends the lease on a database and keeps new ones away until this transaction
/// ends. Does nothing for a role that could not run DDL on the database anyway.
fn suspend(database: pg_sys::Oid) {
    if !may_alter(database) {
        return;
    }
    let Some(entry) = databases::register(database) else { return };
    // SAFETY: a plain global of the backend.
    let me = unsafe { pg_sys::MyProcPid };
    commit::suspending();
    if !entry.suspend(me) {
        // Too many at once: PostgreSQL will say that the database is in use, and why.
        return;
    }
    let deadline = clock::later(clock::now(), PATIENCE_MS);
    loop {
        let pid = entry.worker_pid.load(Ordering::Acquire);
        process::terminate(pid);
        if pid == 0 || clock::now() > deadline {
            return;
        }
        wait_for_exit(pid, deadline);
    }
}

/// Waits until process `pid` has left the list of backends.
fn wait_for_exit(pid: i32, deadline: pg_sys::TimestampTz) {
    let flags = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: the session's own latch; the look-up takes its own lock.
    unsafe {
        while !pg_sys::BackendPidGetProc(pid).is_null() && clock::now() <= deadline {
            pg_sys::WaitLatch(pg_sys::MyLatch, flags as i32, 10, pg_sys::PG_WAIT_EXTENSION);
            pg_sys::ResetLatch(pg_sys::MyLatch);
            pgrx::check_for_interrupts!();
        }
    }
}

/// Whether the session's role owns the database (superusers do).
fn may_alter(database: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up inside the utility statement's transaction.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::DATABASEOID as i32,
            pg_sys::Datum::from(database),
        );
        if tuple.is_null() {
            return false;
        }
        let owner = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_database>()).datdba;
        pg_sys::ReleaseSysCache(tuple);
        pg_sys::has_privs_of_role(pg_sys::GetUserId(), owner)
    }
}

/// The database that nobody may be connected to for this statement to succeed.
///
/// # Safety
/// `node` must be a utility statement's parse tree.
unsafe fn database_in_the_way(node: *mut pg_sys::Node) -> Option<pg_sys::Oid> {
    // SAFETY: the tag says which struct the node is.
    unsafe {
        let name: *const c_char = match (*node).type_ {
            pg_sys::NodeTag::T_DropdbStmt => (*node.cast::<pg_sys::DropdbStmt>()).dbname,
            pg_sys::NodeTag::T_RenameStmt => {
                let rename = node.cast::<pg_sys::RenameStmt>();
                if (*rename).renameType != pg_sys::ObjectType::OBJECT_DATABASE {
                    return None;
                }
                (*rename).subname
            }
            pg_sys::NodeTag::T_AlterDatabaseStmt => {
                let alter = node.cast::<pg_sys::AlterDatabaseStmt>();
                option((*alter).options, c"tablespace")?;
                (*alter).dbname
            }
            pg_sys::NodeTag::T_CreatedbStmt => {
                let create = node.cast::<pg_sys::CreatedbStmt>();
                let template = option((*create).options, c"template")?;
                if (*template).arg.is_null() {
                    return None;
                }
                pg_sys::defGetString(template)
            }
            _ => return None,
        };
        let database = pg_sys::get_database_oid(name, true);
        (database != pg_sys::InvalidOid).then_some(database)
    }
}

/// The option of that name in a list of `DefElem`.
///
/// # Safety
/// `options` must be a list of `DefElem`, or null.
unsafe fn option(options: *mut pg_sys::List, name: &CStr) -> Option<*mut pg_sys::DefElem> {
    // SAFETY: as the caller says; a list's cells are an array of `length` pointers.
    unsafe {
        let list = options.as_ref()?;
        (0..list.length as usize)
            .map(|i| (*list.elements.add(i)).ptr_value.cast::<pg_sys::DefElem>())
            .find(|option| CStr::from_ptr((**option).defname) == name)
    }
}

/// Whether the statement makes or drops an extension (or a schema or role that
/// may take one along).
///
/// # Safety
/// `node` must be a utility statement's parse tree.
unsafe fn concerns_extension(node: *mut pg_sys::Node) -> bool {
    // SAFETY: the tag says which struct the node is.
    unsafe {
        match (*node).type_ {
            pg_sys::NodeTag::T_CreateExtensionStmt => {
                let create = node.cast::<pg_sys::CreateExtensionStmt>();
                CStr::from_ptr((*create).extname) == c"pss"
            }
            pg_sys::NodeTag::T_DropStmt => {
                let kind = (*node.cast::<pg_sys::DropStmt>()).removeType;
                kind == pg_sys::ObjectType::OBJECT_EXTENSION
                    || kind == pg_sys::ObjectType::OBJECT_SCHEMA
            }
            pg_sys::NodeTag::T_DropOwnedStmt => true,
            _ => false,
        }
    }
}
