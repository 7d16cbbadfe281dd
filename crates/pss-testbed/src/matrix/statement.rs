//! One statement of a form, and what comes of running it.
//!
//! Must never change what a form says: the same text goes to the sharded table and to its twin.

use anyhow::{Result, ensure};

use super::wire::Wire;

/// A statement; `data` is what follows a COPY ... FROM STDIN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub sql: String,
    pub data: Option<String>,
}

/// Splits a script: statements end with a semicolon at the end of a line, outside `$$`; data of
/// COPY ... FROM STDIN follows it up to a line `\.`.
pub fn split(script: &str) -> Result<Vec<Statement>> {
    let mut statements = Vec::new();
    let mut sql = String::new();
    let mut lines = script.lines();
    while let Some(line) = lines.next() {
        if sql.is_empty() && (line.trim().is_empty() || line.starts_with("--")) {
            continue;
        }
        sql.push_str(line);
        let quoted = sql.matches("$$").count() % 2 == 1;
        let Some(end) = line.trim_end().strip_suffix(';').filter(|_| !quoted) else {
            sql.push('\n');
            continue;
        };
        let kept = sql.len() - line.len() + end.len();
        sql.truncate(kept);
        let data = is_copy_in(&sql).then(|| {
            let rows = lines.by_ref().take_while(|line| *line != "\\.");
            rows.map(|line| format!("{line}\n")).collect()
        });
        statements.push(Statement { sql: std::mem::take(&mut sql), data });
    }
    ensure!(sql.is_empty(), "a statement does not end: {sql}");
    Ok(statements)
}

fn is_copy_in(sql: &str) -> bool {
    sql.starts_with("COPY") && sql.contains("FROM STDIN")
}

/// What the client saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ran: rows with names of columns, and the command tag.
    Done { columns: Vec<String>, rows: Vec<Vec<Option<String>>>, tag: String },
    /// It failed.
    Failed { sqlstate: String, message: String, detail: String, hint: String },
}

/// By which protocol statements go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// One text a statement.
    Simple,
    /// Parse, bind, execute.
    Extended,
}

/// Runs a statement; an error means that there is no session any more.
pub fn run(wire: &mut Wire, statement: &Statement, protocol: Protocol) -> Result<Outcome> {
    let sql = statement.sql.trim_start();
    let planned = ["INSERT", "UPDATE", "DELETE", "MERGE", "SELECT", "WITH", "TABLE", "VALUES"];
    match protocol {
        Protocol::Extended if planned.iter().any(|word| sql.starts_with(word)) => wire.execute(sql),
        _ => wire.query(sql, statement.data.as_deref()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_and_copy_data_do_not_end_a_statement() -> Result<()> {
        let script = "-- comment\nDO $$\nBEGIN\n  NULL;\nEND $$;\nCOPY t FROM STDIN;\n1\ta;\n\\.\n\
                      SELECT 1;\n";
        let statements = split(script)?;
        assert_eq!(statements.len(), 3);
        assert_eq!(statements[0].sql, "DO $$\nBEGIN\n  NULL;\nEND $$");
        assert_eq!(statements[1].data.as_deref(), Some("1\ta;\n"));
        assert_eq!(statements[2], Statement { sql: "SELECT 1".into(), data: None });
        assert!(split("SELECT 1\n").is_err());
        Ok(())
    }
}
