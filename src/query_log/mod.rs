//! `pss_import_query_log`: the server's own query log tells the past load of each partition, so
//! that cycles of a day and a week are known on the first day.
//!
//! The log is read with the caller's rights, by the server's own functions for reading files.
//! Must never hold more of a log than one piece, stop at what it cannot read, or overwrite what
//! was measured.

mod attribute;
mod logs;
mod store;
mod syntax;
mod zones;

pub use store::imported_at;

use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_querylog::{LocalTime, Prices, Profile, Reader, Record};

use crate::catalog::{self, ShardedTable};
use crate::clock::{from_unix_us, timestamp, unix_us};
use crate::error::{OrRaise, PssError, Result};
use crate::partitions::owned;
use crate::rights;
use attribute::Attributor;
use logs::Log;
use zones::Zones;

/// Cost units of a statement where nothing else is known: those of one inserted row.
const COST_PER_STATEMENT: f64 = 1.0;

#[allow(clippy::type_complexity, reason = "the columns of the SQL function")]
#[pg_extern(sql = false)]
fn pss_import_query_log(
    relation: Option<pg_sys::Oid>,
    path: Option<&str>,
    format: Option<&str>,
    cost_per_statement: Option<f64>,
    cost_per_ms: Option<f64>,
) -> TableIterator<
    'static,
    (
        name!(logs, i64),
        name!(entries, i64),
        name!(used, i64),
        name!(skipped, i64),
        name!(buckets, i64),
        name!(earliest, TimestampWithTimeZone),
        name!(latest, TimestampWithTimeZone),
        name!(scale, f64),
    ),
> {
    let run = || {
        let table = catalog::require_sharded_table(owned(relation)?)?;
        let costs = Costs::new(cost_per_statement, cost_per_ms)?;
        rights::require_read_write(c"pss_import_query_log()");
        let mut import = Import::new(&table)?;
        let logs = logs::named(path, format)?;
        for log in &logs {
            import.read(log)?;
        }
        import.require_usable(path)?;
        let scale = import.write(&table, &costs)?;
        let Import { count, .. } = import;
        let logs = logs.len() as i64;
        let (earliest, latest) = (timestamp(count.earliest), timestamp(count.latest));
        let skipped = count.skipped;
        Ok((logs, count.entries, count.used, skipped, count.buckets, earliest, latest, scale))
    };
    TableIterator::once(run().or_raise())
}

/// What the caller says statements cost; `None`: to be found out.
struct Costs {
    per_statement: Option<f64>,
    per_ms: Option<f64>,
}

impl Costs {
    fn new(per_statement: Option<f64>, per_ms: Option<f64>) -> Result<Costs> {
        for (name, cost) in [("cost_per_statement", per_statement), ("cost_per_ms", per_ms)] {
            if cost.is_some_and(|c| !(c > 0.0 && c <= 1e9)) {
                return Err(PssError::new(
                    PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                    format!("{name} must be greater than 0, and at most 1e9"),
                )
                .hint("Leave it out to have loads brought to the scale of measured ones."));
            }
        }
        Ok(Costs { per_statement, per_ms })
    }

    /// Whether loads are wanted as they come of the prices.
    fn given(&self) -> bool {
        self.per_statement.is_some() || self.per_ms.is_some()
    }

    /// A statement of mean duration costs what one of unknown duration does.
    fn prices(&self, mean_ms: Option<f64>) -> Prices {
        let per_statement = self.per_statement.unwrap_or(COST_PER_STATEMENT);
        let by_mean = mean_ms.map_or(per_statement, |ms| per_statement / ms);
        Prices { per_statement, per_ms: self.per_ms.unwrap_or(by_mean) }
    }
}

#[derive(Default)]
struct Count {
    /// Statements in the log, of any table.
    entries: i64,
    /// Those that fell on the table.
    used: i64,
    /// Records that are damaged, or of a time that history does not reach.
    skipped: i64,
    buckets: i64,
    /// Times of the first and the last record, as PostgreSQL counts them.
    earliest: pg_sys::TimestampTz,
    latest: pg_sys::TimestampTz,
}

/// An import under way.
struct Import {
    attributor: Attributor,
    zones: Zones,
    profile: Profile,
    count: Count,
    /// Times that history reaches.
    reach: std::ops::RangeInclusive<pg_sys::TimestampTz>,
}

impl Import {
    fn new(table: &ShardedTable) -> Result<Import> {
        Ok(Import {
            attributor: Attributor::new(table.relation)?,
            zones: Zones::default(),
            profile: Profile::new(table.partitions.len()),
            count: Count::default(),
            reach: store::reach(),
        })
    }

    fn read(&mut self, log: &Log) -> Result<()> {
        let mut reader = Reader::new(log.format);
        let mut span = None;
        let mut records = Vec::new();
        let mut pieces = log.pieces();
        while let Some(piece) = pieces.next()? {
            // Little by little: a piece may hold very many very small records.
            for bytes in piece.chunks(1 << 16) {
                reader.feed(bytes, |record| records.push(record));
                for record in records.drain(..) {
                    self.take(record, &mut span)?;
                }
            }
        }
        reader.finish(|record| records.push(record));
        for record in records {
            self.take(record, &mut span)?;
        }
        if let Some((first, last)) = span {
            self.profile.end(unix_us(last));
            let known = self.count.latest != 0;
            self.count.earliest = if known { first.min(self.count.earliest) } else { first };
            self.count.latest = if known { last.max(self.count.latest) } else { last };
        }
        Ok(())
    }

    fn take(&mut self, record: Record, span: &mut Option<(i64, i64)>) -> Result<()> {
        pgrx::check_for_interrupts!();
        let time = match &record {
            Record::Statement(entry) => self.time_in_reach(&entry.time)?,
            Record::Other(time) => self.time_in_reach(time)?,
            Record::Damaged => None,
        };
        let Some(at) = time else {
            self.count.skipped += 1;
            return Ok(());
        };
        if span.is_none() {
            self.profile.begin(unix_us(at));
        }
        *span = Some(span.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
        if let Record::Statement(entry) = record {
            self.count.entries += 1;
            if let Some(load) = self.attributor.attribute(&entry)? {
                self.count.used += 1;
                let duration = entry.statement.duration_ms;
                self.profile.add(unix_us(at), duration, load.own, &load.targets);
            }
        }
        Ok(())
    }

    fn time_in_reach(&mut self, time: &LocalTime) -> Result<Option<pg_sys::TimestampTz>> {
        let at = self.zones.unix_us(time)?.map(from_unix_us);
        Ok(at.filter(|at| self.reach.contains(at)))
    }

    /// The error that there is nothing to learn from, if so.
    fn require_usable(&self, path: Option<&str>) -> Result<()> {
        let Count { entries, used, skipped, .. } = self.count;
        if used > 0 {
            return Ok(());
        }
        let log = path.map_or_else(|| "the query log".to_owned(), |p| format!("log \"{p}\""));
        let code = PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
        Err(if entries == 0 {
            PssError::new(code, format!("{log} shows no statement"))
                .detail(format!("Records skipped as damaged or older than pss.history_retention: {skipped}."))
                .hint("Set log_destination = 'csvlog' or 'jsonlog', log_min_duration_statement = 0 or log_statement = 'all', and lc_messages = 'C'; import when some load has been logged.")
        } else {
            let name = self.attributor.table_name();
            PssError::new(code, format!("{log} shows no statement on table {name}"))
                .detail(format!("Statements of all tables and databases: {entries}."))
                .hint("A statement counts if it ran in this database and names the table or one of its partitions.")
        })
    }

    fn write(&mut self, table: &ShardedTable, costs: &Costs) -> Result<f64> {
        let prices = costs.prices(self.profile.mean_ms());
        let scale = if costs.given() {
            1.0
        } else {
            let measured = store::measured(table.relation)?;
            pss_querylog::scale(self.profile.rows(prices), &measured).unwrap_or_else(|| {
                say_that_units_are_relative();
                1.0
            })
        };
        let prices =
            Prices { per_statement: prices.per_statement * scale, per_ms: prices.per_ms * scale };
        self.count.buckets = store::write(table, self.profile.rows(prices))?;
        store::note(table.relation, &self.count, scale)?;
        Ok(scale)
    }
}

/// NOTICE: the shape of the load is known, its height is not.
fn say_that_units_are_relative() {
    pgrx::pg_sys::panic::ErrorReport::new(
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        "imported loads are in units of their own",
        "pss",
    )
    .set_detail(
        "No foreign load of this table has been measured yet that they could be compared with.",
    )
    .set_hint(
        "Import again when the worker has measured some: loads are then brought to its scale.",
    )
    .report(PgLogLevel::NOTICE);
}
