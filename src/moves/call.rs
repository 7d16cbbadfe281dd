//! Moves by hand: `pss_move_key` in the caller's transaction, and the procedure
//! `pss_move_keys`, which commits batch by batch. They check arguments and
//! rights, try until it works or patience ends, and write down what was moved.

use std::time::{Duration, Instant};

use pgrx::datum::Interval;
use pgrx::prelude::*;
use pgrx::{AnyElement, PgMemoryContexts};

use super::batch::{self, Batch, Place};
use super::mover::{Moved, Mover};
use super::{cost, leaf, settings, spread};
use crate::catalog::{self, relation_name};
use crate::doors::call::Key;
use crate::error::{self, OrRaise, PssError, Result, null_argument};
use crate::partitions::owned;
use crate::rights::require_read_write;
use crate::router::{self, hash48, wait};
use crate::shmem::{self, claims};

/// How long a move is tried before it is given up, where lock_timeout does not say.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn patience() -> Duration {
    // SAFETY: the variable behind lock_timeout, milliseconds; 0: none.
    match u64::try_from(unsafe { pg_sys::LockTimeout }) {
        Ok(milliseconds) if milliseconds > 0 => Duration::from_millis(milliseconds),
        _ => PATIENCE,
    }
}

#[pg_extern(sql = false)]
fn pss_move_key(
    relation: Option<pg_sys::Oid>,
    data_key: Option<AnyElement>,
    partition: Option<i32>,
) -> i64 {
    move_key(relation, data_key.map(Key::Typed), partition).or_raise()
}

#[pg_extern(sql = false)]
fn pss_move_key_text(
    relation: Option<pg_sys::Oid>,
    data_key: Option<&str>,
    partition: Option<i32>,
) -> i64 {
    move_key(relation, data_key.map(Key::Text), partition).or_raise()
}

fn move_key(
    relation: Option<pg_sys::Oid>,
    key: Option<Key<'_>>,
    partition: Option<i32>,
) -> Result<i64> {
    let relation = movable(relation)?;
    let key = key.ok_or_else(|| null_argument("data_key"))?;
    let partition = partition.ok_or_else(|| null_argument("partition"))?;
    let mut mover = Mover::open(relation)?;
    let to = mover.check_target(partition)?;
    let hash = mover.meta().key.hash(key.datum(mover.meta())?);
    if mover.table().homes_of(hash48(hash)).is_some() {
        return spread::bring_together(&mut mover, relation, hash48(hash), to);
    }
    let began = Instant::now();
    loop {
        let first_mark = claims::marks();
        if mover.mark(hash48(hash))? {
            let Some(hit) = mover.map().probe_dirty(hash48(hash), false) else {
                claims::unmark_down_to(first_mark);
                return Ok(0);
            };
            if hit.partition == to {
                claims::unmark_down_to(first_mark);
                return Ok(0);
            }
            let from = mover.check_local(i32::from(hit.partition))?;
            let leaves = (mover.leaf(from), mover.leaf(to));
            let before = (cost::so_far(leaves.0)?, cost::so_far(leaves.1)?);
            if let Some(moved) = mover.carry(&[hash48(hash)], (from, to), first_mark)? {
                let cost = (cost::so_far(leaves.0)? - before.0, cost::so_far(leaves.1)? - before.1);
                batch::write_down(relation, (from, to), moved, cost, began)?;
                log(relation, (i32::from(from), partition), moved)?;
                return Ok(moved.rows);
            }
        }
        claims::unmark_down_to(first_mark);
        if began.elapsed() > patience() {
            return Err(in_the_way(relation));
        }
        leaf::back_off();
    }
}

/// The procedure. Its arguments are by value or live in the portal's memory: it may commit.
#[pg_extern(sql = false)]
fn pss_move_keys(
    relation: Option<pg_sys::Oid>,
    from_partition: Option<i32>,
    to_partition: Option<i32>,
    keys: Option<i64>,
    batch: Option<i32>,
    pause: Option<Interval>,
    call: pg_sys::FunctionCallInfo,
) {
    let run = || {
        // SAFETY: the context of a CALL says whether it may commit.
        let atomic = unsafe {
            let context = (*call).context.cast::<pg_sys::CallContext>();
            context.is_null()
                || (*context).type_ != pg_sys::NodeTag::T_CallContext
                || (*context).atomic
        };
        if atomic {
            return Err(PssError::new(
                PgSqlErrorCode::ERRCODE_INVALID_TRANSACTION_TERMINATION,
                "pss_move_keys cannot run inside a transaction block or function",
            )
            .detail("It commits after each batch.")
            .hint("CALL it by itself, or move single keys with pss_move_key."));
        }
        let batch = batch.ok_or_else(|| null_argument("batch"))?;
        let batch = usize::try_from(batch).unwrap_or(0);
        if !(1..=claims::MARKS_PER_SESSION).contains(&batch) {
            return Err(error::invalid_argument(format!(
                "batch must be between 1 and {}",
                claims::MARKS_PER_SESSION
            )));
        }
        if keys.is_some_and(|keys| keys < 0) {
            return Err(error::invalid_argument("keys must not be negative"));
        }
        let pause = pause.map_or(0, |pause| pause.as_micros() / 1000).clamp(0, 3_600_000) as i64;
        let task = Task {
            relation: movable(relation)?,
            from: from_partition.ok_or_else(|| null_argument("from_partition"))?,
            to: to_partition.ok_or_else(|| null_argument("to_partition"))?,
            batch,
            pause,
        };
        if task.from == task.to {
            return Err(error::invalid_argument("from_partition and to_partition are the same"));
        }
        task.run(keys.map_or(u64::MAX, |keys| keys as u64))
    };
    run().or_raise();
}

struct Task {
    relation: pg_sys::Oid,
    from: i32,
    to: i32,
    batch: usize,
    /// Milliseconds between two batches.
    pause: i64,
}

impl Task {
    /// Moves up to `keys` keys, batch by batch, each in a transaction of its own. What is moved
    /// stays moved, however this ends; to go on, CALL again.
    fn run(&self, mut keys: u64) -> Result<()> {
        let mut total = Moved::default();
        let mut place = Place::START;
        let mut waiting_since = Instant::now();
        // SAFETY: a connection that may commit, until SPI_finish (or the abort).
        unsafe { pg_sys::SPI_connect_ext(pg_sys::SPI_OPT_NONATOMIC as i32) };
        while keys > 0 {
            let n = self.batch.min(usize::try_from(keys).unwrap_or(usize::MAX));
            let mut memory = PgMemoryContexts::new("pss moves");
            // SAFETY: a context of our own, which outlives the transaction and goes with the batch.
            let outcome = in_transaction(|| unsafe { memory.switch_to(|_| self.batch(n, place)) })?;
            drop(memory);
            match outcome {
                Batch::NothingLeft => break,
                Batch::InTheWay if waiting_since.elapsed() > patience() => {
                    return Err(in_the_way(self.relation));
                }
                Batch::InTheWay => {
                    leaf::back_off();
                    continue;
                }
                Batch::Busy(next) => place = next,
                Batch::Moved(moved, next) => {
                    place = next;
                    keys -= moved.keys.min(keys);
                    total.keys += moved.keys;
                    total.rows += moved.rows;
                    total.bytes += moved.bytes;
                }
            }
            wait::nap(self.pause.max(1));
            waiting_since = Instant::now();
        }
        if total.keys > 0 {
            in_transaction(|| log(self.relation, (self.from, self.to), total))?;
        }
        // SAFETY: the connection from above.
        unsafe { pg_sys::SPI_finish() };
        notice!(
            "moved {} keys ({} rows, {} bytes) from partition {} to partition {}",
            total.keys,
            total.rows,
            total.bytes,
            self.from,
            self.to
        );
        Ok(())
    }

    fn batch(&self, n: usize, place: Place) -> Result<Batch> {
        batch::carry(self.relation, (self.from, self.to), n, place, |_, _| true)
    }
}

/// Runs `f` with search_path pinned and a snapshot, then commits.
fn in_transaction<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    // SAFETY: the snapshot is pushed and popped in pairs; on an ERROR the abort pops it.
    unsafe {
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        let result = settings::with(&[(c"search_path", c"pg_catalog, pg_temp")], f)?;
        pg_sys::PopActiveSnapshot();
        pg_sys::SPI_commit();
        Ok(result)
    }
}

/// The sharded table, if the caller may move its keys now.
pub fn movable(relation: Option<pg_sys::Oid>) -> Result<pg_sys::Oid> {
    let relation = owned(relation)?;
    if !shmem::available() {
        return Err(error::not_preloaded());
    }
    require_read_write(c"moving data keys");
    if router::in_use() {
        return Err(PssError::new(
            PgSqlErrorCode::ERRCODE_OBJECT_IN_USE,
            "cannot move data keys while a statement of this session is inserting rows",
        )
        .detail("Rows that it has routed already would go to the partition that was left.")
        .hint("Move them in a statement of its own."));
    }
    if router::own_snapshot() {
        return Err(PssError::new(
            PgSqlErrorCode::ERRCODE_ACTIVE_SQL_TRANSACTION,
            "cannot move data keys in a REPEATABLE READ or SERIALIZABLE transaction",
        )
        .detail("Rows that were committed after its snapshot would stay behind.")
        .hint("Move them in a READ COMMITTED transaction."));
    }
    Ok(relation)
}

pub(super) fn in_the_way(relation: pg_sys::Oid) -> PssError {
    let name = relation_name(relation);
    PssError::new(
        PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
        format!("could not move data keys of table {name}: other transactions are writing"),
    )
    .detail("A mover waits for nobody longer than moments, so that nobody waits for it.")
    .hint("Try again when they have ended; pg_locks and pg_prepared_xacts show who writes to the partition.")
}

/// The event of a call.
fn log(relation: pg_sys::Oid, (from, to): (i32, i32), moved: Moved) -> Result<()> {
    let Moved { keys, rows, bytes } = moved;
    let message =
        format!("{keys} keys ({rows} rows, {bytes} bytes) moved from partition {from} to {to}");
    catalog::log_event(Some(relation), "move", &message, None)
}
