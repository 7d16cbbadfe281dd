//! One record of a jsonlog (PostgreSQL 15 and later): an object on one line, fields that are
//! empty left out.

use std::borrow::Cow;

use crate::{Fields, Record};

#[derive(serde::Deserialize)]
#[serde(default)]
struct Line<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    dbname: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow)]
    detail: Cow<'a, str>,
}

impl Default for Line<'_> {
    fn default() -> Self {
        let empty = Cow::Borrowed("");
        Self {
            timestamp: empty.clone(),
            dbname: empty.clone(),
            message: empty.clone(),
            detail: empty,
        }
    }
}

/// Reads one line; an empty one is no record.
pub fn record(line: &[u8]) -> Option<Record> {
    if line.trim_ascii().is_empty() {
        return None;
    }
    let text = String::from_utf8_lossy(line);
    let Ok(line) = serde_json::from_str::<Line<'_>>(&text) else { return Some(Record::Damaged) };
    Some(Record::from(Fields {
        time: &line.timestamp,
        database: &line.dbname,
        message: &line.message,
        detail: &line.detail,
    }))
}
