//! Compares what a statement did on the sharded table with what it did on its twin.
//!
//! Must never call a difference right: it is either a refusal that says what to do instead, or
//! wrong.

use super::door::DOORS;
use super::statement::{Outcome, Statement};

/// SQLSTATEs with which a statement may be refused, with a hint: not supported, not in this state,
/// not on a table of this kind, and the row belongs elsewhere (a check violation).
const REFUSALS: [&str; 4] = ["0A000", "55000", "42809", "23514"];

/// Columns whose values differ by design.
const PLACES: [&str; 3] = ["pss_partition", "tableoid", "ctid"];

/// How a form fared at a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As on an ordinary table.
    Works,
    /// An error that says so and what to do.
    Refused(Refusal),
    /// PostgreSQL itself cannot do it in this way, or the form makes no sense here.
    NotPostgres,
    /// Silently or loudly other than on an ordinary table.
    Wrong(String),
}

/// A refusal, as the client saw it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    pub sqlstate: String,
    pub message: String,
    pub hint: String,
}

/// The verdict on one statement.
pub fn compare(statement: &Statement, sharded: &Outcome, twin: &Outcome) -> Verdict {
    let differ = |what: String| Verdict::Wrong(format!("{what}\n    by: {}", statement.sql));
    match (sharded, twin) {
        (
            Outcome::Done { columns, rows, tag },
            Outcome::Done { columns: twin_columns, rows: twin_rows, tag: twin_tag },
        ) => {
            if statement.sql.starts_with("EXPLAIN") {
                return Verdict::Works;
            }
            if tag != twin_tag {
                return differ(format!("ends with {tag}, its twin with {twin_tag}"));
            }
            let ordered = statement.sql.contains("ORDER BY");
            let (mine, other) =
                (comparable(columns, rows, ordered), comparable(twin_columns, twin_rows, ordered));
            if mine != other {
                return differ(format!("returns {mine:?}, its twin {other:?}"));
            }
            Verdict::Works
        }
        (Outcome::Failed { sqlstate, .. }, Outcome::Failed { sqlstate: twin_state, .. })
            if sqlstate == twin_state =>
        {
            Verdict::Works
        }
        (Outcome::Failed { .. }, _) => match refusal(sharded) {
            Some(refusal) => Verdict::Refused(refusal),
            None => differ(format!("fails where its twin does not: {sharded:?}, {twin:?}")),
        },
        (Outcome::Done { .. }, Outcome::Failed { .. }) => {
            differ(format!("does not fail as its twin does: {twin:?}"))
        }
    }
}

/// The refusal that a failed statement is, if it is one.
fn refusal(outcome: &Outcome) -> Option<Refusal> {
    hinted(outcome, &REFUSALS)
}

/// The refusal to shard a table, if it is one.
pub fn refused_table(outcome: &Outcome) -> Option<Refusal> {
    // "undefined function": a type without the hash functions of an operator class.
    hinted(outcome, &[&REFUSALS[..], &["42883"]].concat())
}

fn hinted(outcome: &Outcome, sqlstates: &[&str]) -> Option<Refusal> {
    let Outcome::Failed { sqlstate, message, hint, .. } = outcome else { return None };
    (!hint.is_empty() && sqlstates.contains(&sqlstate.as_str())).then(|| Refusal {
        sqlstate: sqlstate.clone(),
        message: general(message),
        hint: general(hint),
    })
}

/// A message without what differs from run to run: schemas of ours, numbers of partitions.
fn general(message: &str) -> String {
    let of_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::new();
    let mut rest = message;
    while !rest.is_empty() {
        let word = rest.find(|c| !of_name(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(word);
        let is_schema = after.starts_with('.')
            && DOORS.iter().any(|door| name.ends_with(&format!("_{}", door.name)));
        if is_schema {
            rest = &after[1..];
            continue;
        }
        let is_number = !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
        out.push_str(if is_number { "N" } else { name });
        let other = after.find(of_name).unwrap_or(after.len());
        out.push_str(&after[..other]);
        rest = &after[other..];
    }
    out
}

/// Rows without the columns that differ by design; sorted, unless their order was asked for.
fn comparable(
    columns: &[String],
    rows: &[Vec<Option<String>>],
    ordered: bool,
) -> Vec<Vec<Option<String>>> {
    let same = |row: &Vec<Option<String>>| {
        let pairs = row.iter().zip(columns);
        pairs.filter(|(_, name)| !PLACES.contains(&name.as_str())).map(|(v, _)| v.clone()).collect()
    };
    let mut rows: Vec<_> = rows.iter().map(same).collect();
    if !ordered {
        rows.sort();
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(values: &[&str], tag: &str) -> Outcome {
        let row = |value: &&str| vec![Some((*value).to_owned()), Some("7".into())];
        Outcome::Done {
            columns: vec!["k".into(), "pss_partition".into()],
            rows: values.iter().map(row).collect(),
            tag: tag.into(),
        }
    }

    fn failed(sqlstate: &str, hint: &str) -> Outcome {
        Outcome::Failed {
            sqlstate: sqlstate.into(),
            message: "no".into(),
            detail: String::new(),
            hint: hint.into(),
        }
    }

    #[test]
    fn messages_are_made_comparable() {
        let message = "INSERT INTO a_view.t, not 12, into \"a_leaf.t_p0\", f('b_slot.t', key, 3).";
        let expected = "INSERT INTO t, not N, into \"t_p0\", f('t', key, N).";
        assert_eq!(general(message), expected);
    }

    #[test]
    fn a_difference_is_refused_with_a_hint_or_wrong() {
        let statement = Statement { sql: "INSERT".into(), data: None };
        let verdict = |mine: &Outcome, twin: &Outcome| compare(&statement, mine, twin);
        let wrong = |v: Verdict| matches!(v, Verdict::Wrong(_));
        assert_eq!(
            verdict(&done(&["a", "b"], "INSERT 0 2"), &done(&["b", "a"], "INSERT 0 2")),
            Verdict::Works
        );
        assert!(wrong(verdict(&done(&["a"], "INSERT 0 0"), &done(&["a"], "INSERT 0 1"))));
        assert!(wrong(verdict(&done(&["a"], "INSERT 0 1"), &done(&["b"], "INSERT 0 1"))));
        assert_eq!(verdict(&failed("23505", ""), &failed("23505", "")), Verdict::Works);
        assert!(wrong(verdict(&failed("23505", ""), &done(&[], "INSERT 0 1"))));
        assert!(wrong(verdict(&failed("0A000", ""), &done(&[], "INSERT 0 1"))));
        assert!(wrong(verdict(&done(&[], "INSERT 0 1"), &failed("23505", ""))));
        assert!(matches!(
            verdict(&failed("0A000", "do"), &done(&[], "INSERT 0 1")),
            Verdict::Refused(_)
        ));
    }
}
