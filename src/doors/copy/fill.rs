//! The condition that fills pss_partition in each row of a COPY FROM.
//!
//! COPY evaluates WHERE on the slot of the row it has read, before it looks for the row's
//! partition. PostgreSQL lets a data type say how it is subscripted, and hands its code the
//! expression's context: so a subscript of type `pss.copy_row` sees that slot, writes the
//! partition into it, and is true. The type has no values; its subscript is made by
//! [`condition`] alone, is refused wherever the COPY door did not put it, and refers to no column
//! by name: COPY asks for no right that the user's own statement does not need.

use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::mem::size_of;
use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::Target;
use super::statement::make;
use crate::doors::node::RouterCell;
use crate::error::{OrRaise, PssError, Result};
use crate::guc::{self, Routing};
use crate::meta::PARTITION_COLUMN;
use crate::router::{Door, Router};

/// Who says which partition a row belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The router; of a row that names its partition, whether that is right.
    Router,
    /// The partition that the COPY names.
    Name,
}

/// What fills the rows of one COPY, as long as its statement runs.
#[repr(C)]
pub struct Filler {
    /// The statement's memory.
    context: pg_sys::MemoryContext,
    /// The sharded table.
    table: pg_sys::Oid,
    /// What the COPY names: the table, or a partition of it.
    relation: pg_sys::Oid,
    /// That partition; -1: none.
    partition: i32,
    by: By,
    /// Entries of new keys may be written together.
    defers: bool,
    key_at: usize,
    partition_at: usize,
    router: RouterCell,
}

thread_local! {
    /// The filler for the condition that is to be parsed next; null: there is none of ours.
    static EXPECTED: Cell<*mut Filler> = const { Cell::new(null_mut()) };
}

/// Says that the statement about to be run has our condition, or (null) that it has not.
pub fn expect(filler: *mut Filler) {
    EXPECTED.set(filler);
}

/// The condition, as a raw parse tree.
pub fn condition() -> Result<*mut pg_sys::Node> {
    use pg_sys::NodeTag::{T_A_Indices, T_A_Indirection, T_CaseTestExpr};
    let row_type = row_type()?;
    // SAFETY: a subscript of a placeholder, which the parser takes as it is.
    unsafe {
        let row = make::<pg_sys::CaseTestExpr>(T_CaseTestExpr);
        (*row).typeId = row_type;
        (*row).typeMod = -1;
        let subscript = make::<pg_sys::A_Indices>(T_A_Indices);
        let subscripted = make::<pg_sys::A_Indirection>(T_A_Indirection);
        (*subscripted).arg = row.cast();
        (*subscripted).indirection = pg_sys::lappend(null_mut(), subscript.cast());
        Ok(subscripted.cast())
    }
}

fn row_type() -> Result<pg_sys::Oid> {
    // SAFETY: catalog look-ups by name.
    let row_type = unsafe {
        pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::TYPENAMENSP as i32,
            pg_sys::Anum_pg_type_oid as i16,
            pg_sys::Datum::from(c"copy_row".as_ptr()),
            pg_sys::get_namespace_oid(c"pss".as_ptr(), true).into(),
            0.into(),
            0.into(),
        )
    };
    if row_type != pg_sys::InvalidOid {
        return Ok(row_type);
    }
    Err(PssError::new(
        PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
        "type \"pss.copy_row\" does not exist",
    )
    .detail("The extension's objects are older than its library.")
    .hint("ALTER EXTENSION pss UPDATE."))
}

#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_pss_copy_row_subscript() -> &'static pg_sys::Pg_finfo_record {
    const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &V1
}

static ROUTINES: pg_sys::SubscriptRoutines = pg_sys::SubscriptRoutines {
    transform: Some(transform),
    exec_setup: Some(set_up),
    fetch_strict: false,
    fetch_leakproof: false,
    store_leakproof: false,
};

#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn pss_copy_row_subscript(
    _call: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    pg_sys::Datum::from(&raw const ROUTINES)
}

/// Parse analysis: notes which relation is copied to, and how its rows are filled.
#[pg_guard]
unsafe extern "C-unwind" fn transform(
    subscripting: *mut pg_sys::SubscriptingRef,
    _indirection: *mut pg_sys::List,
    parse: *mut pg_sys::ParseState,
    _is_slice: bool,
    is_assignment: bool,
) {
    let filler = EXPECTED.replace(null_mut());
    // SAFETY: the state of a parse analysis; the range table of a COPY has one entry.
    unsafe {
        let in_copy = (*parse).p_expr_kind == pg_sys::ParseExprKind::EXPR_KIND_COPY_WHERE;
        if filler.is_null() || !in_copy || is_assignment {
            misuse().raise();
        }
        let entry = (*(*(*parse).p_rtable).elements).ptr_value.cast::<pg_sys::RangeTblEntry>();
        if (*entry).relid != (*filler).relation {
            misuse().raise();
        }
        (*subscripting).refexpr = pg_sys::makeConst(
            pg_sys::INT8OID,
            -1,
            pg_sys::InvalidOid,
            size_of::<i64>() as i32,
            filler.into(),
            false,
            true,
        )
        .cast();
        // A variable keeps it from being evaluated once, as a constant.
        let attribute = (*filler).partition_at as i16 + 1;
        let partition = pg_sys::makeVar(1, attribute, pg_sys::INT4OID, -1, pg_sys::InvalidOid, 0);
        (*subscripting).refupperindexpr = pg_sys::lappend(null_mut(), partition.cast());
        (*subscripting).refrestype = pg_sys::BOOLOID;
        (*subscripting).reftypmod = -1;
    }
}

fn misuse() -> PssError {
    PssError::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        "type pss.copy_row cannot be subscripted",
    )
    .detail("It serves COPY into a sharded table, which makes use of it by itself.")
    .hint("Use COPY without it.")
}

/// Before the first row: hands the filler to the step that uses it.
#[pg_guard]
unsafe extern "C-unwind" fn set_up(
    subscripting: *const pg_sys::SubscriptingRef,
    state: *mut pg_sys::SubscriptingRefState,
    steps: *mut pg_sys::SubscriptExecSteps,
) {
    // SAFETY: the expression is as `transform` left it.
    unsafe {
        let filler = (*(*subscripting).refexpr.cast::<pg_sys::Const>()).constvalue;
        (*state).workspace = filler.cast_mut_ptr();
        (*steps).sbs_fetch = Some(fill);
    }
}

/// Fills the partition of the row that COPY is about to store, and is true.
#[pg_guard]
unsafe extern "C-unwind" fn fill(
    _state: *mut pg_sys::ExprState,
    step: *mut pg_sys::ExprEvalStep,
    context: *mut pg_sys::ExprContext,
) {
    // SAFETY: the step that `set_up` made; the row's values have been set by COPY, all of them.
    unsafe {
        let filler = &mut *(*(*step).d.sbsref.state).workspace.cast::<Filler>();
        let row = (*context).ecxt_scantuple;
        let column = |at: usize| (!*(*row).tts_isnull.add(at)).then(|| *(*row).tts_values.add(at));
        let given = column(filler.partition_at).map_or(-1, |value| value.value() as i32);
        let partition = filler.partition(column(filler.key_at), given).or_raise();
        *(*row).tts_values.add(filler.partition_at) = partition.into();
        *(*row).tts_isnull.add(filler.partition_at) = false;
        *(*step).resvalue = true.into();
        *(*step).resnull = false;
    }
}

impl Filler {
    /// The filler of a COPY to `target`, in the current memory context: the statement's.
    pub fn new(target: &Target, by: By, defers: bool) -> *mut Self {
        let key = CString::new(target.meta.table.distribution_column.as_str()).unwrap_or_default();
        // SAFETY: the columns exist in the table and in each partition, maybe in another order.
        unsafe {
            let at =
                |column: &CStr| pg_sys::get_attnum(target.relation, column.as_ptr()) as usize - 1;
            let filler = pg_sys::palloc0(size_of::<Self>()).cast::<Self>();
            (*filler).context = pg_sys::CurrentMemoryContext;
            (*filler).table = target.meta.table.relation;
            (*filler).relation = target.relation;
            (*filler).partition = target.partition.unwrap_or(-1);
            (*filler).by = by;
            (*filler).defers = defers;
            (*filler).key_at = at(&key);
            (*filler).partition_at = at(PARTITION_COLUMN);
            filler
        }
    }

    /// The COPY has ended.
    pub fn close(&mut self) -> Result<()> {
        self.router.opened().map_or(Ok(()), Router::write_deferred)?;
        self.router.close();
        Ok(())
    }

    /// The partition of a row with this key that names partition `given` (-1: none).
    fn partition(&mut self, key: Option<pg_sys::Datum>, given: i32) -> Result<i32> {
        let named = if given == -1 { self.partition } else { given };
        // Where the planner door is shut, the inbox's trigger takes a row that names no partition.
        if self.by == By::Name || named == -1 && guc::ROUTING.get() != Routing::Planner {
            return Ok(named);
        }
        // SAFETY: the filler is in the statement's memory, and is closed when that ends.
        let router = unsafe { self.router.get(self.context, self.table) };
        let partition = match named {
            -1 if self.defers => router.route_deferring(key, Door::Copy)?,
            -1 => router.route(key, None, Door::Copy)?,
            named => router.route_named(key, named, Door::Copy)?,
        };
        Ok(partition.into())
    }
}
