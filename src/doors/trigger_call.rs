//! One call of a row trigger of ours: what it was called for, checked before use.

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::{PssError, Result, not_preloaded};
use crate::shmem;

/// When a trigger must be called, as PostgreSQL's flags say it.
#[derive(Clone, Copy)]
pub struct Event {
    flags: u32,
    pub name: &'static str,
}

pub const BEFORE_INSERT: Event = Event {
    flags: pg_sys::TRIGGER_EVENT_INSERT | pg_sys::TRIGGER_EVENT_ROW | pg_sys::TRIGGER_EVENT_BEFORE,
    name: "BEFORE INSERT",
};
pub const AFTER_INSERT: Event = Event {
    flags: pg_sys::TRIGGER_EVENT_INSERT | pg_sys::TRIGGER_EVENT_ROW | pg_sys::TRIGGER_EVENT_AFTER,
    name: "AFTER INSERT",
};
pub const BEFORE_UPDATE: Event = Event {
    flags: pg_sys::TRIGGER_EVENT_UPDATE | pg_sys::TRIGGER_EVENT_ROW | pg_sys::TRIGGER_EVENT_BEFORE,
    name: "BEFORE UPDATE",
};
pub const INSTEAD_OF_INSERT: Event = Event {
    flags: pg_sys::TRIGGER_EVENT_INSERT | pg_sys::TRIGGER_EVENT_ROW | pg_sys::TRIGGER_EVENT_INSTEAD,
    name: "INSTEAD OF INSERT",
};

/// Operation, level and time; what else the flags say is the trigger manager's business.
const EVENT_MASK: u32 =
    pg_sys::TRIGGER_EVENT_OPMASK | pg_sys::TRIGGER_EVENT_ROW | pg_sys::TRIGGER_EVENT_TIMINGMASK;

/// A call of a row trigger.
pub struct Call {
    data: *mut pg_sys::TriggerData,
}

impl Call {
    /// The call, if it is one for `event`; an error (39P01) with `hint` otherwise.
    ///
    /// # Safety
    /// `call` is what the function manager called `function` with.
    pub unsafe fn of(
        call: pg_sys::FunctionCallInfo,
        function: &str,
        event: Event,
        hint: &str,
    ) -> Result<Self> {
        // SAFETY: as stated; the context is null or a node, which begins with its tag.
        let data = unsafe {
            let data = (*call).context.cast::<pg_sys::TriggerData>();
            (*call).isnull = false;
            (super::planner::is(data, pg_sys::NodeTag::T_TriggerData)
                && (*data).tg_event & EVENT_MASK == event.flags)
                .then_some(data)
        };
        let Some(data) = data else {
            return Err(PssError::new(
                PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
                format!("{function} can only be called as a trigger, {} FOR EACH ROW", event.name),
            )
            .hint(hint));
        };
        if !shmem::available() {
            return Err(not_preloaded());
        }
        Ok(Self { data })
    }

    /// The relation that the trigger was fired for; open as long as the call.
    pub fn relation(&self) -> pg_sys::Relation {
        // SAFETY: the trigger data outlives the call.
        unsafe { (*self.data).tg_relation }
    }

    pub fn relation_oid(&self) -> pg_sys::Oid {
        // SAFETY: an open relation.
        unsafe { (*self.relation()).rd_id }
    }

    pub fn trigger(&self) -> &pg_sys::Trigger {
        // SAFETY: the trigger data outlives the call.
        unsafe { &*(*self.data).tg_trigger }
    }

    /// The row of an INSERT, the old row of an UPDATE.
    pub fn row(&self) -> *mut pg_sys::TupleTableSlot {
        // SAFETY: as above.
        unsafe { (*self.data).tg_trigslot }
    }

    /// The new row of an UPDATE.
    pub fn new_row(&self) -> *mut pg_sys::TupleTableSlot {
        // SAFETY: as above.
        unsafe { (*self.data).tg_newslot }
    }

    /// What the trigger returns to let the row pass as it is.
    pub fn unchanged(&self) -> pg_sys::Datum {
        // SAFETY: as above; only an UPDATE has a new tuple.
        unsafe {
            let data = &*self.data;
            let tuple = match data.tg_newtuple.is_null() {
                true => data.tg_trigtuple,
                false => data.tg_newtuple,
            };
            pg_sys::Datum::from(tuple)
        }
    }
}
