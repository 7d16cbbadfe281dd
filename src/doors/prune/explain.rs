//! What EXPLAIN shows of PssAppend: the keys asked for and, of a plan that was run, how many
//! partitions were opened.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::node::AppendState;

/// # Safety
/// Called by EXPLAIN for a node of ours.
#[pg_guard]
pub unsafe extern "C-unwind" fn explain(
    node: *mut pg_sys::CustomScanState,
    ancestors: *mut pg_sys::List,
    es: *mut pg_sys::ExplainState,
) {
    // SAFETY: the node's state and plan; texts are C strings that outlive the calls.
    unsafe {
        let state = &*node.cast::<AppendState>();
        let scan = state.css.ss.ps.plan.cast::<pg_sys::CustomScan>();
        let key = (*(*(*scan).custom_exprs).elements).ptr_value;
        let context = pg_sys::set_deparse_context_plan((*es).deparse_cxt, scan.cast(), ancestors);
        let prefix = (*(*es).rtable).length > 1 || (*es).verbose;
        let keys = pg_sys::deparse_expression(key.cast(), context, prefix, false);
        let keys = CStr::from_ptr(keys).to_string_lossy();
        let keys = if state.head.is_array { format!("ANY ({keys})") } else { keys.into_owned() };
        text(es, c"Data Key", keys);
        if !(*es).analyze {
            return;
        }
        let partitions = || state.branches().iter().filter(|b| b.child.partition >= 0);
        let all = partitions().count();
        let opened = match state.whole() {
            Some(whole) if !whole.state.is_null() => all,
            _ => partitions().filter(|b| !b.state.is_null()).count(),
        };
        if (*es).format == pg_sys::ExplainFormat::EXPLAIN_FORMAT_TEXT {
            text(es, c"Partitions Opened", format!("{opened} of {all}"));
            if state.searches > 0 {
                integer(es, c"Searches of All Partitions", state.searches);
            }
        } else {
            integer(es, c"Partitions Opened", opened as u64);
            integer(es, c"Partitions", all as u64);
            integer(es, c"Searches of All Partitions", state.searches);
        }
    }
}

unsafe fn text(es: *mut pg_sys::ExplainState, label: &CStr, value: String) {
    let value = CString::new(value).unwrap_or_default();
    // SAFETY: as in `explain`.
    unsafe { pg_sys::ExplainPropertyText(label.as_ptr(), value.as_ptr(), es) };
}

unsafe fn integer(es: *mut pg_sys::ExplainState, label: &CStr, value: u64) {
    // SAFETY: as in `explain`.
    unsafe {
        pg_sys::ExplainPropertyInteger(label.as_ptr(), std::ptr::null(), value as i64, es);
    }
}
