//! Writes docs/statements.md: the table, and what the refusals say.
//!
//! Must never say more than was run: the page holds no verdict of ours beyond its head.

use std::fmt::Write;

use super::door::DOORS;
use super::judge::{Refusal, Verdict};

/// What a row of the table is made from.
pub struct Row {
    pub group: String,
    pub name: String,
    /// One verdict a door.
    pub cells: Vec<Verdict>,
}

/// The page.
pub fn page(rows: &[Row]) -> String {
    let mut refusals: Vec<&Refusal> = Vec::new();
    let mut page = HEAD.to_owned();
    for door in DOORS {
        writeln!(page, "- **{}**: {}", door.name, door.what).ok();
    }
    let mut group = None;
    for row in rows {
        if group.replace(&row.group) != Some(&row.group) {
            let names: Vec<&str> = DOORS.iter().map(|door| door.name).collect();
            write!(page, "\n## {}\n\n| form | {} |\n|---|", row.group, names.join(" | ")).ok();
            writeln!(page, "{}", "---|".repeat(DOORS.len())).ok();
        }
        let cells: Vec<String> = row.cells.iter().map(|cell| text(cell, &mut refusals)).collect();
        writeln!(page, "| {} | {} |", row.name, cells.join(" | ")).ok();
    }
    page.push_str("\n## Refusals\n\n| | SQLSTATE | message | hint |\n|---|---|---|---|\n");
    for (i, refusal) in refusals.iter().enumerate() {
        let Refusal { sqlstate, message, hint } = refusal;
        writeln!(page, "| {} | {sqlstate} | {message} | {hint} |", i + 1).ok();
    }
    page.push_str(TAIL);
    page
}

fn text<'a>(verdict: &'a Verdict, refusals: &mut Vec<&'a Refusal>) -> String {
    match verdict {
        Verdict::Works => "works".into(),
        Verdict::NotPostgres => "–".into(),
        Verdict::Wrong(_) => "**wrong**".into(),
        Verdict::Refused(refusal) => {
            let known = refusals.iter().position(|other| *other == refusal);
            let place = known.unwrap_or_else(|| {
                refusals.push(refusal);
                refusals.len() - 1
            });
            format!("refused {}", place + 1)
        }
    }
}

const HEAD: &str = "# Which statements work, by which door

This page is generated: `make matrix ACCEPT=1` runs every form below by every door on a real server, and
`make test` fails if the page is no longer true. The forms are SQL, in `tests/matrix/`.

*works*: the client sees what it sees on an ordinary table: the same rows returned, the same count
in the command tag, the same error where there is one; afterwards the same rows are in the table,
each key is in one partition, the row map agrees, look-ups by key find every row, and the inbox is
empty. *refused*: an error with the SQLSTATE and the hint listed at the end, and nothing changed.
*–*: PostgreSQL itself does not do this by that door (views, for instance), or it makes no sense there.

Doors:

";

const TAIL: &str = "
## Beyond one session

Tested on whole clusters (`make cluster-test`, `make isolation`) rather than here: pg_dump and restore, crash
and restart, standby and promotion, crowds of sessions on the same new keys, and PREPARE TRANSACTION across a
restart.
";
