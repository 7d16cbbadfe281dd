//! PostgreSQL's query log, read: bytes of a csvlog or jsonlog in, statements out, and from these
//! the past load of each partition.
//!
//! Everything here is a function over values: no file, no clock, no server. A log is written by
//! many processes and cut by crashes, so no input is an error: what cannot be read is counted.
//! What a statement's text means is not decided here; PostgreSQL's own parser does that.
//!
//! - [`Reader`]: bytes, in pieces of any size, to [`Record`]s
//! - [`Statement`]: what a logged message says was run, for how long, with which parameters
//! - [`Profile`]: statements to load by partition and five minutes

mod csvlog;
mod jsonlog;
mod local_time;
mod message;
mod profile;
mod reader;

pub use local_time::LocalTime;
pub use message::Statement;
pub use profile::{BUCKET_S, Prices, Profile, Row, Work, scale};
pub use reader::{Format, MAX_RECORD, Reader};

/// One record of a log.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A statement that was run.
    Statement(Entry),
    /// Anything else the server logged, at this time.
    Other(LocalTime),
    /// Not a whole record, or not of the shape that the format prescribes.
    Damaged,
}

/// A statement in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// When it was logged: at its end if its duration is known, else at its start.
    pub time: LocalTime,
    /// Database it ran in.
    pub database: String,
    /// What was run.
    pub statement: Statement,
}

/// The fields of a record that matter, of either format.
struct Fields<'a> {
    time: &'a str,
    database: &'a str,
    message: &'a str,
    detail: &'a str,
}

impl From<Fields<'_>> for Record {
    fn from(fields: Fields<'_>) -> Record {
        let Some(time) = LocalTime::parse(fields.time) else { return Record::Damaged };
        match Statement::parse(fields.message, fields.detail) {
            Some(statement) => {
                Record::Statement(Entry { time, database: fields.database.to_owned(), statement })
            }
            None => Record::Other(time),
        }
    }
}
