//! Watches the errors that processes of the server report for those of a partition's disk: full,
//! lost, or not readable.
//!
//! A hook of the server's log: it sees the error as it is reported, in a transaction that is about
//! to be rolled back. Must never allocate, raise an error, or believe what a user can say: only the
//! code that reads and writes relation files names them here.

use std::ffi::{CStr, c_char, c_int};

use pgrx::prelude::*;
use pss_core::disk_error::{RelationFile, relation_file};

use crate::raw;
use crate::shmem::failures::{self, Unwell};

/// Raw declaration: the hook must not go through the guards of `pg_sys`.
mod system {
    unsafe extern "C" {
        pub fn access(path: *const std::ffi::c_char, mode: std::ffi::c_int) -> std::ffi::c_int;
    }
}

const FILE_EXISTS: c_int = 0;

/// Longest path of a directory of relation files that is looked at.
const LONGEST: usize = 128;

/// Errors of a disk, as PostgreSQL maps them from the system's: no space, no such file, input or
/// output failed, and a file system that may no longer be written to.
const OF_DISKS: [PgSqlErrorCode; 4] = [
    PgSqlErrorCode::ERRCODE_DISK_FULL,
    PgSqlErrorCode::ERRCODE_UNDEFINED_FILE,
    PgSqlErrorCode::ERRCODE_IO_ERROR,
    PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
];

static mut PREVIOUS: pg_sys::emit_log_hook_type = None;

/// Installs the hook; only where there is shared memory to leave word in.
pub fn init() {
    // SAFETY: _PG_init runs single-threaded; the hook chains to the previous one.
    unsafe {
        PREVIOUS = pg_sys::emit_log_hook;
        pg_sys::emit_log_hook = Some(report);
    }
}

#[allow(ffi_unwind_calls, reason = "a frame without destructors")]
unsafe extern "C-unwind" fn report(error: *mut pg_sys::ErrorData) {
    // SAFETY: the error that is being reported; the argument is passed on as it came.
    unsafe {
        if let Some(seen) = error.as_ref() {
            see(seen);
        }
        if let Some(previous) = PREVIOUS {
            previous(error);
        }
    }
}

/// Takes the partition out of service that the error is about, if it is one of a disk.
unsafe fn see(error: &pg_sys::ErrorData) {
    let of_disk = OF_DISKS.iter().any(|&code| code as i32 == error.sqlerrcode);
    if error.elevel < PgLogLevel::ERROR as i32 || !of_disk {
        return;
    }
    // SAFETY: a static string with the name of a source file, or null.
    if !unsafe { is_of_storage(error.filename) } {
        return;
    }
    if error.message.is_null() {
        return;
    }
    // SAFETY: the text of the message, NUL-terminated.
    let message = unsafe { CStr::from_ptr(error.message) }.to_bytes();
    let Some(file) = relation_file(message) else { return };
    let full = error.sqlerrcode == PgSqlErrorCode::ERRCODE_DISK_FULL as i32;
    let unwell = Unwell {
        database: file.database,
        tablespace: file.tablespace,
        filenode: file.node,
        whole: full || is_gone(&file),
    };
    // SAFETY: reads the clock.
    #[allow(ffi_unwind_calls, reason = "raises no error")]
    let now = unsafe { raw::GetCurrentTimestamp() };
    failures::take_out(unwell, error.sqlerrcode, now);
}

/// Whether the error comes from the code that reads and writes the files of relations.
unsafe fn is_of_storage(source: *const c_char) -> bool {
    if source.is_null() {
        return false;
    }
    // SAFETY: NUL-terminated, as given by the compiler.
    let source = unsafe { CStr::from_ptr(source) }.to_bytes();
    source.rsplit(|&c| c == b'/').next() == Some(b"md.c")
}

/// Whether the directory of the file is not there: then all that was in it is lost.
fn is_gone(file: &RelationFile<'_>) -> bool {
    let mut path = [0u8; LONGEST];
    let Some(room) = path.get_mut(..file.directory.len()).filter(|room| room.len() < LONGEST)
    else {
        return false;
    };
    room.copy_from_slice(file.directory);
    // SAFETY: a NUL-terminated path, relative to the data directory, where the server's processes
    // work.
    unsafe { system::access(path.as_ptr().cast(), FILE_EXISTS) != 0 }
}
