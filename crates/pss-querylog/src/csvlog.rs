//! One record of a csvlog: 24 columns from PostgreSQL 13, 26 from 14 on.

use crate::{Fields, Record};

/// Columns of a csvlog by major: 12 and before, 13, 14 to 18.
const COLUMNS: [usize; 3] = [23, 24, 26];
const TIME: usize = 0;
const DATABASE: usize = 2;
const MESSAGE: usize = 13;
const DETAIL: usize = 14;

/// Reads a record whose unquoted fields stand one after the other in `bytes`, each ending where
/// `ends` says.
pub fn record(bytes: &[u8], ends: &[usize]) -> Record {
    if !COLUMNS.contains(&ends.len()) {
        return Record::Damaged;
    }
    let field = |n: usize| {
        let start = if n == 0 { 0 } else { ends[n - 1] };
        String::from_utf8_lossy(bytes.get(start..ends[n]).unwrap_or_default())
    };
    Record::from(Fields {
        time: &field(TIME),
        database: &field(DATABASE),
        message: &field(MESSAGE),
        detail: &field(DETAIL),
    })
}
