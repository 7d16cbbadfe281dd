//! The four doors through which rows come to the router: call, planner, COPY
//! and the inbox trigger. This file installs their hooks.
//!
//! A hook's outer frame is unguarded, so that an error which merely passes
//! keeps its CONTEXT (pgrx would throw it anew); our own work is done in
//! guarded helpers before and after.

pub mod call;
pub mod copy;
pub mod explain;
pub mod frame;
mod guard;
mod kept;
mod leaf;
mod merge;
mod node;
pub mod planner;
mod prune;
mod read_ahead;
mod rehome_node;
mod rewrite;
pub mod route_node;
mod route_plan;
mod schema_info;
pub mod trigger;
mod trigger_call;
mod view;
mod volatility;

use std::ffi::{c_char, c_int};

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::raw;
use copy::Prepared;
use frame::Frame;

static mut PREVIOUS_PLANNER: pg_sys::planner_hook_type = None;
static mut PREVIOUS_UTILITY: pg_sys::ProcessUtility_hook_type = None;
static mut PREVIOUS_RUN: pg_sys::ExecutorRun_hook_type = None;

/// Installs the hooks and registers the plan nodes.
pub fn init() {
    route_node::register();
    rehome_node::register();
    prune::init();
    // SAFETY: _PG_init runs single-threaded; every hook chains to the previous one.
    unsafe {
        PREVIOUS_PLANNER = pg_sys::planner_hook;
        pg_sys::planner_hook = Some(plan);
        PREVIOUS_UTILITY = pg_sys::ProcessUtility_hook;
        pg_sys::ProcessUtility_hook = Some(run_utility);
        PREVIOUS_RUN = pg_sys::ExecutorRun_hook;
        pg_sys::ExecutorRun_hook = Some(run_executor);
    }
}

#[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
unsafe extern "C-unwind" fn plan(
    parse: *mut pg_sys::Query,
    query: *const c_char,
    options: c_int,
    params: pg_sys::ParamListInfo,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: arguments are passed on as they came; helpers are guarded.
    unsafe {
        let read_ahead = before_plan(parse);
        let outer = prune::begin_planning(options);
        let statement = match PREVIOUS_PLANNER {
            Some(previous) => previous(parse, query, options, params),
            None => raw::standard_planner(parse, query, options, params),
        };
        prune::end_planning(outer);
        after_plan(statement, read_ahead);
        statement
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn before_plan(parse: *mut pg_sys::Query) -> bool {
    // SAFETY: the parse tree that the planner is about to get.
    unsafe { planner::check(parse) }
}

#[pg_guard]
unsafe extern "C-unwind" fn after_plan(statement: *mut pg_sys::PlannedStmt, read_ahead: bool) {
    // SAFETY: the finished plan, ours to amend before anybody copies it.
    unsafe {
        prune::name_row_identities(statement);
        planner::insert_route_nodes(statement, read_ahead);
    }
}

#[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
unsafe extern "C-unwind" fn run_utility(
    statement: *mut pg_sys::PlannedStmt,
    query: *const c_char,
    read_only_tree: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    dest: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: arguments are passed on; `before_utility` may give another statement.
    unsafe {
        let outer = frame::open(is_copy_from(statement));
        let prepared = before_utility(statement);
        let statement = prepared.statement;
        match PREVIOUS_UTILITY {
            Some(previous) => previous(
                statement,
                query,
                read_only_tree,
                context,
                params,
                environment,
                dest,
                completion,
            ),
            None => raw::standard_ProcessUtility(
                statement,
                query,
                read_only_tree,
                context,
                params,
                environment,
                dest,
                completion,
            ),
        }
        after_utility(prepared, completion, outer);
    }
}

/// Whether the statement is a COPY ... FROM, which calls row triggers by itself.
unsafe fn is_copy_from(statement: *mut pg_sys::PlannedStmt) -> bool {
    // SAFETY: a utility statement's node begins with its tag.
    unsafe {
        let utility = (*statement).utilityStmt;
        planner::is(utility, pg_sys::NodeTag::T_CopyStmt)
            && (*utility.cast::<pg_sys::CopyStmt>()).is_from
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn before_utility(statement: *mut pg_sys::PlannedStmt) -> Prepared {
    // SAFETY: the statement about to be run.
    unsafe {
        crate::worker::before_utility(&*statement);
        copy::prepare(statement)
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn after_utility(
    prepared: Prepared,
    completion: *mut pg_sys::QueryCompletion,
    outer: Frame,
) {
    // SAFETY: the statement that was run, and its completion, if any.
    unsafe {
        let (carried, kept) = frame::close(outer);
        kept::release(kept);
        copy::complete(prepared, completion, carried);
        crate::worker::after_utility(&*prepared.statement);
    }
}

#[cfg(not(feature = "pg18"))]
#[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
unsafe extern "C-unwind" fn run_executor(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
    execute_once: bool,
) {
    // SAFETY: arguments are passed on as they came.
    unsafe {
        let outer = frame::open(true);
        match PREVIOUS_RUN {
            Some(previous) => previous(query, direction, count, execute_once),
            None => raw::standard_ExecutorRun(query, direction, count, execute_once),
        }
        after_run(query, outer);
    }
}

#[cfg(feature = "pg18")]
#[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
unsafe extern "C-unwind" fn run_executor(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
) {
    // SAFETY: arguments are passed on as they came.
    unsafe {
        let outer = frame::open(true);
        match PREVIOUS_RUN {
            Some(previous) => previous(query, direction, count),
            None => raw::standard_ExecutorRun(query, direction, count),
        }
        after_run(query, outer);
    }
}

/// A row that the inbox carried on is a row inserted: the count that the
/// client sees includes it.
unsafe fn after_run(query: *mut pg_sys::QueryDesc, outer: Frame) {
    let (carried, kept) = frame::close(outer);
    // SAFETY: the executor state of a query that has just run, and what its triggers kept.
    unsafe {
        if !kept.is_null() {
            release(kept);
        }
        let state = (*query).estate;
        if carried > 0 && (*query).operation == pg_sys::CmdType::CMD_INSERT && !state.is_null() {
            (*state).es_processed += carried;
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn release(kept: *mut kept::Kept) {
    // SAFETY: the frame that kept it has been closed.
    unsafe { kept::release(kept) }
}
