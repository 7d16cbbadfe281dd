//! One row a transaction: pgbench with prepared statements, 4 and 16 clients.
//!
//! Every table holds each key twice, loaded in the order of the variants and not emptied between
//! runs: what a run adds is little beside it. Known keys are drawn evenly from those, new ones from
//! all 63 bits.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, bail};
use postgres::Client;
use tempfile::NamedTempFile;

use super::cases::{Case, Keys};
use super::figures::{Figures, Reading};
use super::variants::{self, Variant};
use super::{Bench, Burst, processor, waits};
use crate::account::run;

/// By this name the server knows pgbench's sessions.
const APPLICATION: &str = "pgbench";

/// From this on, keys are new.
const FIRST_NEW: u64 = 1 << 40;

/// Clients that look keys up.
const READERS: u32 = 4;

/// Measures the cases of pgbench that are wished for.
pub fn measure(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let cases: Vec<Case> = bench.cases.iter().copied().filter(|case| !case.is_bulk()).collect();
    if cases.is_empty() {
        return Ok(());
    }
    if !bench.cluster.has_client_program("pgbench") {
        figures.notes.push("pgbench cases left out: this server comes without pgbench".into());
        return Ok(());
    }
    let mut client = bench.cluster.connect("postgres")?;
    load(bench, &mut client)?;
    for repetition in 0..bench.wishes.runs {
        for &case in &cases {
            for variant in bench.in_turn(repetition) {
                if case == Case::KeyedSelect && !variant.reads {
                    continue;
                }
                let reading = once(bench, &mut client, (case, variant, repetition), figures)
                    .with_context(|| format!("{} of {}", case.name(), variant.name))?;
                figures.readings.push(reading);
            }
            bench.tell(&format!("repetition {}: {} done", repetition + 1, case.name()));
        }
    }
    Ok(())
}

/// Gives every table two rows a key; with the second, caches know the keys.
fn load(bench: &Bench, client: &mut Client) -> Result<()> {
    let rows = u64::from(bench.wishes.rows);
    let mut tables: Vec<&str> = Vec::new();
    for variant in &bench.variants {
        if !tables.contains(&variant.table) {
            tables.push(variant.table);
        }
    }
    for table in tables {
        variants::empty(client, table)?;
        for _ in 0..2 {
            variants::fill(client, table, rows).with_context(|| format!("fill {table}"))?;
        }
        client.batch_execute(&variants::beside_new(table, rows))?;
        client.batch_execute(&format!("VACUUM ANALYZE {table}"))?;
        bench.tell(&format!("loaded {table}"));
    }
    client.batch_execute("CHECKPOINT")?;
    Ok(())
}

/// Runs pgbench once.
fn once(
    bench: &Bench,
    client: &mut Client,
    (case, variant, repetition): (Case, &'static Variant, u32),
    figures: &mut Figures,
) -> Result<Reading> {
    let (clients, script) = script(case, variant, u64::from(bench.wishes.rows));
    let mut file = NamedTempFile::new()?;
    writeln!(file, "{script}")?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;

    let postmaster = processor::parent(processor::backend(client)?);
    let siblings = postmaster.map(processor::children).unwrap_or_default();
    let used = || postmaster.and_then(processor::of_ended_children);
    let before = used();
    let mut pgbench = bench.cluster.client_program("pgbench");
    pgbench
        .env("PGOPTIONS", format!("-c pss.routing={}", variant.routing))
        .env("PGAPPNAME", APPLICATION)
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
        .arg(format!("--client={clients}"))
        .arg(match bench.burst {
            Burst::Seconds(seconds) => format!("--time={seconds}"),
            Burst::Transactions(each) => format!("--transactions={each}"),
        })
        .arg("--file")
        .arg(file.path())
        .arg("postgres");
    let output = if clients > READERS {
        let (output, waits) = waits::during(bench.cluster, APPLICATION, || run(&mut pgbench))?;
        figures.saw(case, variant.name, waits.seen);
        output
    } else {
        run(&mut pgbench)?
    };
    if let Some(postmaster) = postmaster {
        processor::await_sessions(client, postmaster, &siblings)?;
    }
    let (rows, per_second) = outcome(&output)?;
    Ok(Reading {
        case,
        variant: variant.name,
        repetition,
        rows,
        seconds: rows as f64 / per_second,
        processor_seconds: used().zip(before).map(|(after, before)| after - before),
        wal_bytes: None,
    })
}

/// Number of clients of a case, and what each of them does again and again.
fn script(case: Case, variant: &Variant, rows: u64) -> (u32, String) {
    let target = variant.target;
    let known = format!("\\set id random(1, {rows})\n");
    match case {
        Case::Pgbench(clients, keys) => {
            let id = match keys {
                Keys::New => format!("\\set id random({FIRST_NEW}, {})\n", i64::MAX),
                Keys::Cold | Keys::Known => known,
            };
            let beside = if variant.name == variants::FLOOR && keys == Keys::New {
                let map = variants::FLOOR_MAP;
                format!("WITH map AS (INSERT INTO {map} VALUES (hashint8extended(:id, 0), :id)) ")
            } else {
                String::new()
            };
            let insert =
                format!("INSERT INTO {target} (id, v, note) VALUES (:id, 1, 'note of a row');");
            (clients, id + &beside + &insert)
        }
        _ => (READERS, format!("{known}SELECT * FROM {target} WHERE id = :id;")),
    }
}

/// Transactions and transactions a second, from what pgbench printed.
fn outcome(output: &str) -> Result<(u64, f64)> {
    let after = |words: &str| {
        let rest = output.lines().find_map(|line| line.strip_prefix(words))?;
        rest.split([' ', '/']).find(|word| !word.is_empty()).map(str::to_owned)
    };
    let transactions = after("number of transactions actually processed:");
    let per_second = after("tps =");
    match (transactions.map(|n| n.parse()), per_second.map(|n| n.parse())) {
        (Some(Ok(rows)), Some(Ok(tps))) if rows > 0 && tps > 0.0 => Ok((rows, tps)),
        _ => bail!("pgbench says nothing of its speed:\n{output}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pgbenchs_summary_is_read() {
        let output = "number of clients: 4\nnumber of transactions actually processed: 30211\n\
                      number of failed transactions: 0 (0.000%)\nlatency average = 0.132 ms\n\
                      tps = 15118.345678 (without initial connection time)\n";
        assert_eq!(outcome(output).expect("a summary"), (30211, 15118.345678));
        assert!(outcome("tps = 0.0").is_err());
    }
}
