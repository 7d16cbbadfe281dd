//! Runs the README's SQL, so that what it says keeps working.
//!
//! Blocks fenced as ```` ```sql ```` run in order in one fresh database, stopping at the first
//! error; ```` ```sql error ```` must fail; ```` ```sql skip ```` is not run (and not counted).

use std::io::Write;
use std::process::Stdio;

use anyhow::{Result, bail, ensure};

use super::{Session, Tally};
use crate::paths;
use crate::server::{Cluster, Options};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expectation {
    Success,
    Error,
}

#[derive(Debug, PartialEq, Eq)]
struct Block {
    /// Line of the opening fence, counted from 1.
    line: usize,
    expectation: Expectation,
    sql: String,
}

/// Runs the SQL blocks of README.md.
pub fn readme(session: &Session) -> Result<Tally> {
    let mut tally = Tally::default();
    let blocks = blocks(&std::fs::read_to_string(paths::repository().join("README.md"))?);
    let cluster = Cluster::start(&session.tree, Options::default())?;
    cluster.create_database("readme")?;
    for block in blocks {
        tally.test(&format!("readme/line {}", block.line), || run(&cluster, &block));
    }
    if tally.failed > 0 {
        println!("end of the server's log:\n{}", cluster.log_tail());
    }
    Ok(tally)
}

fn run(cluster: &Cluster, block: &Block) -> Result<()> {
    let mut psql = cluster
        .client_program("psql")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "readme"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = psql.stdin.take() {
        stdin.write_all(block.sql.as_bytes())?;
    }
    let output = psql.wait_with_output()?;
    let messages = String::from_utf8_lossy(&output.stderr);
    match block.expectation {
        Expectation::Success => ensure!(output.status.success(), "{messages}"),
        // psql exits with 3 for an SQL error; anything else is no error of the block's.
        Expectation::Error if output.status.code() != Some(3) => {
            bail!("it was expected to fail, but did not ({}) {messages}", output.status)
        }
        Expectation::Error => {}
    }
    Ok(())
}

fn blocks(markdown: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = markdown.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(info) = line.trim().strip_prefix("```") else { continue };
        let body: Vec<&str> =
            lines.by_ref().map(|(_, text)| text).take_while(|text| text.trim() != "```").collect();
        let expectation = match info.trim() {
            "sql" => Expectation::Success,
            "sql error" => Expectation::Error,
            _ => continue,
        };
        found.push(Block { line: number + 1, expectation, sql: body.join("\n") + "\n" });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_told_apart() {
        let text = "a\n```sql\nSELECT 1;\nSELECT 2;\n```\n```sh\nmake\n```\n```sql skip\nX\n```\n\
                    ```sql error\nSELECT 1/0;\n```\n";
        let expected = vec![
            Block {
                line: 2,
                expectation: Expectation::Success,
                sql: "SELECT 1;\nSELECT 2;\n".to_owned(),
            },
            Block { line: 12, expectation: Expectation::Error, sql: "SELECT 1/0;\n".to_owned() },
        ];
        assert_eq!(blocks(text), expected);
    }
}
