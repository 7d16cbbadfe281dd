//! A COPY statement as the parser left it: what it says, and an amended copy of it.
//!
//! Never changes the tree that it was given: a cached plan may run it again.

use std::ffi::{CStr, c_char};
use std::mem::size_of;
use std::ptr::null_mut;

use pgrx::pg_sys;

use crate::doors::planner::entries;

/// A COPY of a table (not of a query).
pub struct Copy {
    statement: *mut pg_sys::PlannedStmt,
    copy: *mut pg_sys::CopyStmt,
}

/// Makes a node of the parser's.
///
/// # Safety
/// `T` is the struct of nodes with this tag.
pub unsafe fn make<T>(tag: pg_sys::NodeTag) -> *mut T {
    // SAFETY: zeroed memory is what makeNode gives.
    unsafe {
        let node = pg_sys::palloc0(size_of::<T>()).cast::<T>();
        (*node.cast::<pg_sys::Node>()).type_ = tag;
        node
    }
}

impl Copy {
    /// # Safety
    /// `statement` is about to be run by ProcessUtility, or has just been.
    pub unsafe fn of(statement: *mut pg_sys::PlannedStmt) -> Option<Self> {
        // SAFETY: a utility statement's node begins with its tag.
        unsafe {
            let utility = (*statement).utilityStmt;
            if utility.is_null() || (*utility).type_ != pg_sys::NodeTag::T_CopyStmt {
                return None;
            }
            let copy = utility.cast::<pg_sys::CopyStmt>();
            (!(*copy).relation.is_null()).then_some(Self { statement, copy })
        }
    }

    fn get(&self) -> &pg_sys::CopyStmt {
        // SAFETY: the node lives as long as the statement that is being run.
        unsafe { &*self.copy }
    }

    pub fn is_from(&self) -> bool {
        self.get().is_from
    }

    /// The relation that it names, locked; InvalidOid: there is none.
    pub fn relation(&self, lock: u32) -> pg_sys::Oid {
        let missing_ok = pg_sys::RVROption::RVR_MISSING_OK;
        // SAFETY: the range variable of a parsed COPY.
        unsafe {
            let name = self.get().relation;
            pg_sys::RangeVarGetRelidExtended(name, lock as i32, missing_ok, None, null_mut())
        }
    }

    pub fn has_columns(&self) -> bool {
        !self.get().attlist.is_null()
    }

    /// Whether it has a WHERE of the user's.
    pub fn has_condition(&self) -> bool {
        !self.get().whereClause.is_null()
    }

    /// Whether its column list has the column.
    pub fn names(&self, column: &CStr) -> bool {
        // SAFETY: a column list of strings.
        entries::<pg_sys::String>(self.get().attlist)
            .any(|name| unsafe { CStr::from_ptr((*name).sval) } == column)
    }

    /// A copy to be amended.
    pub fn amended(&self) -> Amended {
        // SAFETY: copies the whole tree into the current memory context.
        unsafe {
            let statement =
                pg_sys::copyObjectImpl(self.statement.cast()).cast::<pg_sys::PlannedStmt>();
            Amended { statement, copy: (*statement).utilityStmt.cast() }
        }
    }
}

/// A COPY statement of our own making.
pub struct Amended {
    statement: *mut pg_sys::PlannedStmt,
    copy: *mut pg_sys::CopyStmt,
}

impl Amended {
    pub fn statement(self) -> *mut pg_sys::PlannedStmt {
        self.statement
    }

    fn get(&mut self) -> &mut pg_sys::CopyStmt {
        // SAFETY: our own copy, in a context that outlives the statement.
        unsafe { &mut *self.copy }
    }

    pub fn set_columns(&mut self, names: &[*mut c_char]) {
        // SAFETY: builds a list of strings.
        self.get().attlist = names.iter().fold(null_mut(), |list, name| unsafe {
            pg_sys::lappend(list, pg_sys::makeString(*name).cast())
        });
    }

    /// Adds to WHERE what is evaluated for each row that passes the user's own condition.
    pub fn add_condition(&mut self, condition: *mut pg_sys::Node) {
        let copy = self.get();
        copy.whereClause = match copy.whereClause.is_null() {
            true => condition,
            // SAFETY: as the parser writes `x AND y`.
            false => unsafe {
                let both = pg_sys::lappend(null_mut(), copy.whereClause.cast());
                let both = pg_sys::lappend(both, condition.cast());
                pg_sys::makeBoolExpr(pg_sys::BoolExprType::AND_EXPR, both, -1).cast()
            },
        };
    }

    /// Makes `COPY t (columns) TO` a `COPY (SELECT columns FROM t) TO`.
    pub fn select_columns(&mut self) {
        use pg_sys::NodeTag::{T_ColumnRef, T_ResTarget, T_SelectStmt};
        let copy = self.get();
        // SAFETY: builds the tree that the parser makes of that query.
        unsafe {
            let select = make::<pg_sys::SelectStmt>(T_SelectStmt);
            for name in entries::<pg_sys::Node>(copy.attlist) {
                let column = make::<pg_sys::ColumnRef>(T_ColumnRef);
                (*column).fields = pg_sys::lappend(null_mut(), name.cast());
                (*column).location = -1;
                let target = make::<pg_sys::ResTarget>(T_ResTarget);
                (*target).val = column.cast();
                (*target).location = -1;
                (*select).targetList = pg_sys::lappend((*select).targetList, target.cast());
            }
            (*select).fromClause = pg_sys::lappend(null_mut(), copy.relation.cast());
            copy.query = select.cast();
        }
        copy.relation = null_mut();
        copy.attlist = null_mut();
    }
}
