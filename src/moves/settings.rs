//! Settings that hold for as long as a closure runs. An ERROR puts them back, too.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::error::Result;

/// Runs `f` with settings (name, value); those that this server does not know are left out.
pub fn with<R>(settings: &[(&CStr, &CStr)], f: impl FnOnce() -> Result<R>) -> Result<R> {
    // SAFETY: a level of settings is opened and closed in pairs; the abort closes it after an ERROR.
    unsafe {
        let level = pg_sys::NewGUCNestLevel();
        for (name, value) in settings {
            if pg_sys::GetConfigOption(name.as_ptr(), true, false).is_null() {
                continue;
            }
            pg_sys::set_config_option(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_SUSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
        }
        let result = f();
        pg_sys::AtEOXact_GUC(true, level);
        result
    }
}
