//! The view door: an INSTEAD OF INSERT trigger for views over a sharded table that
//! PostgreSQL cannot insert into by itself. NEW's columns go to the table's columns of the
//! same name, through the router; the others get their defaults.
//!
//! A trigger function runs with the rights of whoever inserts: they need INSERT on the
//! table. Policies of row security cannot be checked here: then the row is refused.

use std::ffi::CStr;
use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::kept::{self, Kept, Table};
use super::trigger_call::{Call, INSTEAD_OF_INSERT};
use super::{schema_info, trigger};
use crate::catalog::{self, relation_name};
use crate::error::{OrRaise, PssError, Result};
use crate::meta::PARTITION_COLUMN;
use crate::router::Door;
use crate::slot;

const MADE_BY: &str = "CREATE TRIGGER ... INSTEAD OF INSERT ON view FOR EACH ROW EXECUTE FUNCTION pss_insert_row('table').";
const CAME: &str = "The row came through a trigger of a view.";

/// A view with our trigger, and the table that its rows go to.
pub struct View {
    pub table: pg_sys::Oid,
    relation: pg_sys::Relation,
    /// The table's result relation, for triggers of statements; null: there are none.
    statement: *mut pg_sys::ResultRelInfo,
    /// Rows as the table has them.
    slot: *mut pg_sys::TupleTableSlot,
    columns: Vec<Column>,
    /// The view's columns that the table does not have, by position from 0.
    unknown: Vec<usize>,
    key_attribute: i16,
    partition_attribute: i16,
    /// What is stored may differ from what NEW says, in columns that the view shows.
    returns_stored: bool,
}

/// A column of the table, with what its value comes from.
struct Column {
    /// Position from 0 in the table.
    at: usize,
    /// Position from 0 in the view.
    view_at: Option<usize>,
    /// Null: none.
    default: *mut pg_sys::ExprState,
    /// NULL in the view means the default: the table cannot hold a NULL there.
    not_null: bool,
    /// Only PostgreSQL gives it values.
    always_generated: bool,
}

#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_pss_insert_row() -> &'static pg_sys::Pg_finfo_record {
    const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &V1
}

/// INSTEAD OF INSERT of a view: inserts NEW into the table, and returns it as it was stored.
///
/// # Safety
/// Called by the function manager.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn pss_insert_row(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: as stated; the call is checked before use.
    let call = unsafe { Call::of(call, "pss_insert_row", INSTEAD_OF_INSERT, MADE_BY) }.or_raise();
    // SAFETY: the row has the view's columns, and outlives the call.
    kept::using(|kept| unsafe { insert(kept, &call) }).or_raise()
}

unsafe fn insert(kept: &mut Kept, call: &Call) -> Result<pg_sys::Datum> {
    // SAFETY: as in `pss_insert_row`.
    unsafe {
        let oid = call.trigger().tgoid;
        let (view, table) = kept.view(oid, |kept| View::open(kept, call))?;
        view.fill(call, table)?;
        let key = slot::column(view.slot, view.key_attribute);
        let named = slot::column(view.slot, view.partition_attribute).map(|p| p.value() as i32);
        let partition = match named {
            None | Some(-1) => table.router.route(key, None, Door::Trigger)?,
            Some(named) => table.router.route_named(key, named, Door::Trigger)?,
        };
        let meta = table.router.meta().clone();
        let stored = table.writer.insert(&meta, partition, view.relation, view.slot)?;
        if !view.statement.is_null() {
            pg_sys::ExecASInsertTriggers(table.writer.estate(), view.statement, null_mut());
        }
        Ok(match stored {
            // NULL: nothing was inserted, and nothing is counted.
            None => pg_sys::Datum::from(0_usize),
            Some(_) if !view.returns_stored => call.unchanged(),
            Some(stored) => pg_sys::Datum::from(view.returned(call, stored)),
        })
    }
}

impl View {
    /// Finds out what the trigger writes to, and whether the caller may.
    unsafe fn open(kept: &mut Kept, call: &Call) -> Result<Self> {
        let oid = table_of(call)?;
        trigger::check_routing(oid)?;
        trigger::check_row_security(oid, CAME)?;
        trigger::check_transition_tables(oid, CAME)?;
        // SAFETY: the table is locked and stays open until the statement's end.
        unsafe {
            let estate = kept.table(oid)?.writer.estate();
            let outer = pg_sys::MemoryContextSwitchTo((*estate).es_query_cxt);
            let relation = pg_sys::table_open(oid, pg_sys::RowExclusiveLock as i32);
            let meta = kept.table(oid)?.router.meta().clone();
            let (columns, unknown) = columns(call, relation, estate)?;
            check_insert(oid, &columns)?;
            let triggers = (*relation).trigdesc;
            let has =
                |what: fn(&pg_sys::TriggerDesc) -> bool| !triggers.is_null() && what(&*triggers);
            let mut statement = null_mut();
            if has(|t| t.trig_insert_before_statement || t.trig_insert_after_statement) {
                statement = pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast();
                pg_sys::InitResultRelInfo(statement, relation, 0, null_mut(), 0);
                pg_sys::ExecBSInsertTriggers(estate, statement);
            }
            let returns_stored = has(|t| t.trig_insert_before_row)
                || columns.iter().any(|c| {
                    c.view_at.is_some()
                        && (!c.default.is_null()
                            || c.always_generated
                            || c.at as i16 + 1 == meta.partition_attribute)
                });
            let slot = pg_sys::MakeSingleTupleTableSlot(
                (*relation).rd_att,
                &raw const pg_sys::TTSOpsVirtual,
            );
            pg_sys::MemoryContextSwitchTo(outer);
            Ok(Self {
                table: oid,
                relation,
                statement,
                slot,
                columns,
                unknown,
                key_attribute: meta.key_attribute,
                partition_attribute: meta.partition_attribute,
                returns_stored,
            })
        }
    }

    /// Closes the table.
    ///
    /// # Safety
    /// The transaction goes on; the view is not used again.
    pub unsafe fn close(&self) {
        // SAFETY: as stated.
        unsafe {
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            pg_sys::table_close(self.relation, pg_sys::NoLock as i32);
        }
    }

    /// Fills the slot with NEW's values and with defaults.
    unsafe fn fill(&self, call: &Call, table: &mut Table) -> Result<()> {
        // SAFETY: NEW has the view's columns, the slot the table's; defaults were prepared in
        // the writer's executor state.
        unsafe {
            let row = call.row();
            slot::deform(row, (*(*row).tts_tupleDescriptor).natts as i16);
            let value =
                |at: usize| (!*(*row).tts_isnull.add(at)).then(|| *(*row).tts_values.add(at));
            if let Some(at) = self.unknown.iter().find(|at| value(**at).is_some()) {
                return Err(self.no_such_column(&column_name(call.relation(), *at)));
            }
            table.writer.begin_row();
            let estate = table.writer.estate();
            let mut expressions = (*estate).es_per_tuple_exprcontext;
            if expressions.is_null() {
                expressions = pg_sys::MakePerTupleExprContext(estate);
            }
            let slot = self.slot;
            pg_sys::ExecStoreAllNullTuple(slot);
            for column in &self.columns {
                let given = column.view_at.and_then(value);
                if given.is_some() && column.always_generated {
                    return Err(self.not_writable(column));
                }
                let mut null = given.is_none();
                let mut datum = given.unwrap_or(pg_sys::Datum::from(0_usize));
                let defaults = column.view_at.is_none() || column.not_null;
                if null && defaults && !column.default.is_null() {
                    (datum, null) = evaluate(column.default, expressions);
                }
                *(*slot).tts_values.add(column.at) = datum;
                *(*slot).tts_isnull.add(column.at) = null;
            }
            Ok(())
        }
    }

    /// NEW, with what was stored in the columns that the table has.
    unsafe fn returned(
        &self,
        call: &Call,
        stored: *mut pg_sys::TupleTableSlot,
    ) -> *mut pg_sys::HeapTupleData {
        // SAFETY: the stored row has a leaf's columns, found by name.
        unsafe {
            let row = call.row();
            let n = (*(*row).tts_tupleDescriptor).natts as usize;
            let mut values = std::slice::from_raw_parts((*row).tts_values, n).to_vec();
            let mut nulls = std::slice::from_raw_parts((*row).tts_isnull, n).to_vec();
            for column in &self.columns {
                let Some(view_at) = column.view_at else { continue };
                let name = attribute(self.relation, column.at).attname;
                let in_leaf = pg_sys::get_attnum((*stored).tts_tableOid, name.data.as_ptr());
                let value = slot::column(stored, in_leaf);
                nulls[view_at] = value.is_none();
                values[view_at] = value.unwrap_or(pg_sys::Datum::from(0_usize));
            }
            pg_sys::heap_form_tuple(
                (*row).tts_tupleDescriptor,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            )
        }
    }

    fn no_such_column(&self, column: &str) -> PssError {
        let table = relation_name(self.table);
        PssError::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("cannot insert into column \"{column}\" of the view"),
        )
        .detail(format!("Table {table} has no column of that name."))
        .hint("Leave the column out, or name it as the table does.")
    }

    fn not_writable(&self, column: &Column) -> PssError {
        // SAFETY: a column of the open relation.
        let name = unsafe { column_name(self.relation, column.at) };
        PssError::new(
            PgSqlErrorCode::ERRCODE_GENERATED_ALWAYS,
            format!("cannot insert a value into generated column \"{name}\""),
        )
        .hint("Leave the column out.")
    }
}

/// Value of an expression (and whether it is NULL), in memory of the row's.
unsafe fn evaluate(
    expression: *mut pg_sys::ExprState,
    context: *mut pg_sys::ExprContext,
) -> (pg_sys::Datum, bool) {
    // SAFETY: callers give an expression prepared for execution in the context's executor state.
    unsafe {
        let outer = pg_sys::MemoryContextSwitchTo((*context).ecxt_per_tuple_memory);
        let mut null = true;
        let value = (*expression).evalfunc.map(|function| {
            pg_sys::submodules::ffi::pg_guard_ffi_boundary(|| {
                #[allow(ffi_unwind_calls, reason = "guarded by pg_guard_ffi_boundary")]
                function(expression, context, &mut null)
            })
        });
        pg_sys::MemoryContextSwitchTo(outer);
        (value.unwrap_or(pg_sys::Datum::from(0_usize)), null)
    }
}

/// The table that the trigger names, or the only sharded table that its view reads.
fn table_of(call: &Call) -> Result<pg_sys::Oid> {
    let trigger = call.trigger();
    if trigger.tgnargs > 0 {
        // SAFETY: a trigger has as many arguments, as C strings, as it says.
        let name = unsafe { CStr::from_ptr(*trigger.tgargs) }.to_string_lossy();
        return schema_info::relation_named(&name);
    }
    let tables = sharded_tables_under(call.relation_oid())?;
    match tables[..] {
        [table] => Ok(table),
        _ => Err(PssError::new(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!(
                "view {} is over {} sharded tables",
                relation_name(call.relation_oid()),
                tables.len()
            ),
        )
        .hint("Name the table in the trigger: EXECUTE FUNCTION pss_insert_row('table_name').")),
    }
}

/// Sharded tables that the view reads.
fn sharded_tables_under(view: pg_sys::Oid) -> Result<Vec<pg_sys::Oid>> {
    catalog::read(|client| {
        let rows = client.select(
            "SELECT DISTINCT d.refobjid FROM pg_catalog.pg_rewrite r
             JOIN pg_catalog.pg_depend d ON d.objid OPERATOR(pg_catalog.=) r.oid
             JOIN pss.sharded_table t ON t.relation::pg_catalog.oid OPERATOR(pg_catalog.=) d.refobjid
             WHERE r.ev_class OPERATOR(pg_catalog.=) $1
               AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass
               AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass",
            None,
            &[view.into()],
        )?;
        let mut tables = Vec::new();
        for row in rows {
            tables.extend(row.get::<pg_sys::Oid>(1)?);
        }
        Ok(tables)
    })
}

/// The table's columns, and the positions of the view's that it does not have.
unsafe fn columns(
    call: &Call,
    table: pg_sys::Relation,
    estate: *mut pg_sys::EState,
) -> Result<(Vec<Column>, Vec<usize>)> {
    // SAFETY: both relations are open; expressions are prepared in the executor state.
    unsafe {
        let view = call.relation();
        let live = |relation: pg_sys::Relation| {
            (0..(*(*relation).rd_att).natts as usize)
                .filter(move |at| !attribute(relation, *at).attisdropped)
        };
        let mut columns = Vec::new();
        let mut unknown: Vec<usize> = live(view).collect();
        for at in live(table) {
            let column = attribute(table, at);
            let like = |view_at: &usize| {
                let name = attribute(view, *view_at).attname;
                CStr::from_ptr(name.data.as_ptr()) == CStr::from_ptr(column.attname.data.as_ptr())
            };
            let view_at = unknown.iter().position(like).map(|i| unknown.remove(i));
            if let Some(view_at) = view_at {
                check_type(attribute(view, view_at), column)?;
            }
            let partition = CStr::from_ptr(column.attname.data.as_ptr()) == PARTITION_COLUMN;
            let stored = column.attgenerated != 0;
            let expression = match stored || partition {
                true => null_mut(),
                false => pg_sys::build_column_default(table, at as i32 + 1),
            };
            let default = match expression.is_null() {
                true => null_mut(),
                false => pg_sys::ExecPrepareExpr(expression.cast(), estate),
            };
            columns.push(Column {
                at,
                view_at,
                default,
                not_null: column.attnotnull,
                always_generated: stored
                    || column.attidentity as u8 == pg_sys::ATTRIBUTE_IDENTITY_ALWAYS,
            });
        }
        Ok((columns, unknown))
    }
}

/// NEW's values are stored as they are: a view that casts a column cannot be written to.
fn check_type(
    of_view: &pg_sys::FormData_pg_attribute,
    of_table: &pg_sys::FormData_pg_attribute,
) -> Result<()> {
    if of_view.atttypid == of_table.atttypid
        && (of_view.atttypmod == of_table.atttypmod || of_table.atttypmod == -1)
    {
        return Ok(());
    }
    // SAFETY: names are C strings; type names are palloc'd.
    let (name, type_name) = unsafe {
        (
            CStr::from_ptr(of_table.attname.data.as_ptr()).to_string_lossy(),
            CStr::from_ptr(pg_sys::format_type_with_typemod(of_table.atttypid, of_table.atttypmod))
                .to_string_lossy(),
        )
    };
    Err(PssError::new(
        PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
        format!("column \"{name}\" of the view is not of the type that it has in the table"),
    )
    .detail(format!("In the table it is of type {type_name}."))
    .hint("Give the view's column that type, or another name."))
}

/// INSERT on the table, or on every column that the view gives, of the current user; if it gives
/// none, on any column, as of a row of defaults.
fn check_insert(table: pg_sys::Oid, columns: &[Column]) -> Result<()> {
    let mode = pg_sys::ACL_INSERT as pg_sys::AclMode;
    let granted = pg_sys::AclResult::ACLCHECK_OK;
    let mut given = columns.iter().filter(|c| c.view_at.is_some()).peekable();
    // SAFETY: privilege look-ups for the current user.
    let may = unsafe {
        let user = pg_sys::GetUserId();
        let any = pg_sys::AclMaskHow::ACLMASK_ANY;
        pg_sys::pg_class_aclcheck(table, user, mode) == granted
            || match given.peek() {
                None => pg_sys::pg_attribute_aclcheck_all(table, user, mode, any) == granted,
                Some(_) => given.all(|c| {
                    pg_sys::pg_attribute_aclcheck(table, c.at as i16 + 1, user, mode) == granted
                }),
            }
    };
    if may {
        return Ok(());
    }
    let table = relation_name(table);
    Err(PssError::new(
        PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
        format!("permission denied for table {table}"),
    )
    .detail("Who inserts into the view needs the INSERT privilege on the table, too: a trigger runs with their rights.")
    .hint(format!("GRANT INSERT ON {table} TO the role.")))
}

/// Attribute of an open relation, by position from 0.
unsafe fn attribute<'a>(
    relation: pg_sys::Relation,
    at: usize,
) -> &'a pg_sys::FormData_pg_attribute {
    // SAFETY: callers ask for positions below the descriptor's number of attributes.
    unsafe { &*crate::compat::attribute((*relation).rd_att, at) }
}

unsafe fn column_name(relation: pg_sys::Relation, at: usize) -> String {
    // SAFETY: a name is a C string.
    unsafe {
        CStr::from_ptr(attribute(relation, at).attname.data.as_ptr()).to_string_lossy().into_owned()
    }
}
