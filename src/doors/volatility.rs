//! Whether an INSERT's rows may be read before those ahead of them have been
//! inserted. No, if something in it could see the difference: a volatile
//! function, which looks at tables as they are at that moment (a domain's check may
//! call one, too), or another statement that writes.

use std::ffi::c_void;

use pgrx::pg_sys;

use crate::raw;

/// Built-in functions that are volatile, but look at no table: random, gen_random_uuid,
/// clock_timestamp, timeofday.
const HARMLESS: [u32; 4] = [1598, 3432, 2649, 274];

/// What the walk has met.
struct Met {
    /// What makes a difference to row triggers alone: a sequence that is advanced, of which they
    /// may ask for the last value, or rows that are locked, which they may change before.
    for_triggers: bool,
}

/// Whether reading ahead makes no difference to `parse`, an INSERT; `triggers`: whether row
/// triggers run before its rows are inserted.
///
/// # Safety
/// `parse` is an analyzed query. The frame is raw: an error flies over it.
#[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
pub unsafe fn may_read_ahead(parse: *mut pg_sys::Query, triggers: bool) -> bool {
    let mut met = Met { for_triggers: false };
    let context = (&raw mut met).cast();
    // SAFETY: walks the query's own nodes; `met` outlives the walk.
    unsafe {
        let differs = (*parse).hasModifyingCTE
            || raw::query_tree_walker(parse, sees_difference, context, 0)
            || (met.for_triggers && triggers);
        !differs
    }
}

#[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
unsafe extern "C-unwind" fn sees_difference(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    // SAFETY: a node of the tree that is being walked.
    unsafe {
        if node.is_null() {
            return false;
        }
        if raw::check_functions_in_node(node, is_harmful, context) {
            return true;
        }
        let met = context.cast::<Met>();
        match (*node).type_ {
            pg_sys::NodeTag::T_NextValueExpr => (*met).for_triggers = true,
            pg_sys::NodeTag::T_CoerceToDomain => {
                let domain = (*node.cast::<pg_sys::CoerceToDomain>()).resulttype;
                if raw::DomainHasConstraints(domain) {
                    return true;
                }
            }
            pg_sys::NodeTag::T_Query => {
                let query = node.cast::<pg_sys::Query>();
                (*met).for_triggers |= !(*query).rowMarks.is_null();
                return raw::query_tree_walker(query, sees_difference, context, 0);
            }
            _ => {}
        }
        raw::expression_tree_walker(node, sees_difference, context)
    }
}

#[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
unsafe extern "C-unwind" fn is_harmful(function: pg_sys::Oid, context: *mut c_void) -> bool {
    // SAFETY: a catalog look-up; the context is that of the walk.
    unsafe {
        if function.to_u32() == pg_sys::F_NEXTVAL {
            (*context.cast::<Met>()).for_triggers = true;
            return false;
        }
        let volatile = raw::func_volatile(function) as u8 == pg_sys::PROVOLATILE_VOLATILE;
        volatile && !HARMLESS.contains(&function.to_u32())
    }
}
