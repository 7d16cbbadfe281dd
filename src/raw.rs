//! PostgreSQL functions without pgrx's guard.
//!
//! pgrx turns an ERROR that crosses a guarded call into a Rust panic and throws
//! it again, which loses its CONTEXT lines. Hooks and plan nodes that merely
//! pass control on must let the error fly over their frames instead. Such a
//! frame holds nothing with a destructor, and calls no guarded function
//! directly. Transaction callbacks use these too: an error there that became a
//! panic would take the server down.

use std::ffi::{c_char, c_int, c_void};

use pgrx::pg_sys::*;

/// Called for each node of a tree; true ends the walk.
pub type TreeWalker = unsafe extern "C-unwind" fn(*mut Node, *mut c_void) -> bool;

unsafe extern "C-unwind" {
    pub fn standard_planner(
        parse: *mut Query,
        query_string: *const c_char,
        options: c_int,
        params: ParamListInfo,
    ) -> *mut PlannedStmt;

    pub fn standard_ProcessUtility(
        statement: *mut PlannedStmt,
        query_string: *const c_char,
        read_only_tree: bool,
        context: ProcessUtilityContext::Type,
        params: ParamListInfo,
        environment: *mut QueryEnvironment,
        dest: *mut DestReceiver,
        completion: *mut QueryCompletion,
    );

    pub fn standard_ExecutorStart(query: *mut QueryDesc, flags: c_int);
    pub fn standard_ExecutorFinish(query: *mut QueryDesc);
    pub fn standard_ExecutorEnd(query: *mut QueryDesc);

    #[cfg(not(feature = "pg18"))]
    pub fn standard_ExecutorRun(
        query: *mut QueryDesc,
        direction: ScanDirection::Type,
        count: u64,
        execute_once: bool,
    );
    #[cfg(feature = "pg18")]
    pub fn standard_ExecutorRun(query: *mut QueryDesc, direction: ScanDirection::Type, count: u64);

    /// Not in pgrx's bindings.
    pub fn get_partition_parent(relation: Oid, even_if_detached: bool) -> Oid;

    /// Not in pgrx's bindings.
    pub fn has_superclass(relation: Oid) -> bool;

    /// Not in pgrx's bindings by one name.
    #[cfg_attr(not(feature = "pg15"), link_name = "planstate_tree_walker_impl")]
    pub fn planstate_tree_walker(
        state: *mut PlanState,
        walker: unsafe extern "C-unwind" fn(*mut PlanState, *mut c_void) -> bool,
        context: *mut c_void,
    ) -> bool;

    pub fn GetCurrentTransactionNestLevel() -> c_int;
    pub fn GetCurrentTimestamp() -> TimestampTz;
    pub fn GetTopTransactionIdIfAny() -> TransactionId;
    pub fn ExecInitNode(plan: *mut Plan, estate: *mut EState, flags: c_int) -> *mut PlanState;
    pub fn ExecReScan(node: *mut PlanState);
    pub fn MemoryContextReset(context: MemoryContext);
    pub fn slot_getsomeattrs_int(slot: *mut TupleTableSlot, attnum: c_int);

    pub fn datumCopy(value: Datum, by_value: bool, length: c_int) -> Datum;
    pub fn datumGetSize(value: Datum, by_value: bool, length: c_int) -> usize;

    /// Walkers over expressions and queries; `context` goes to the walker.
    #[cfg_attr(not(feature = "pg15"), link_name = "expression_tree_walker_impl")]
    pub fn expression_tree_walker(
        node: *mut Node,
        walker: TreeWalker,
        context: *mut c_void,
    ) -> bool;
    #[cfg_attr(not(feature = "pg15"), link_name = "query_tree_walker_impl")]
    pub fn query_tree_walker(
        query: *mut Query,
        walker: TreeWalker,
        context: *mut c_void,
        flags: c_int,
    ) -> bool;
    pub fn check_functions_in_node(
        node: *mut Node,
        checker: unsafe extern "C-unwind" fn(Oid, *mut c_void) -> bool,
        context: *mut c_void,
    ) -> bool;
    pub fn func_volatile(function: Oid) -> c_char;
    pub fn DomainHasConstraints(domain: Oid) -> bool;

    pub fn LWLockAcquire(lock: *mut LWLock, mode: LWLockMode::Type) -> bool;
    pub fn LWLockConditionalAcquire(lock: *mut LWLock, mode: LWLockMode::Type) -> bool;
    pub fn LWLockRelease(lock: *mut LWLock);
    pub fn hash_search_with_hash_value(
        table: *mut HTAB,
        key: *const c_void,
        hash: u32,
        action: HASHACTION::Type,
        found: *mut bool,
    ) -> *mut c_void;
}
