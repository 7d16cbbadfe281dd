//! Many rows by one statement: INSERT ... SELECT and COPY.
//!
//! One after another each variant is emptied, loaded by COPY with new keys, given more rows of the
//! same keys (first cold, then warm, then by COPY), emptied again and loaded by INSERT ... SELECT.
//! A checkpoint stands before each, and none falls within: all pages that were there have been
//! logged whole. Rows come in ascending order of the key, which suits native partitioning best.

use std::time::Instant;

use anyhow::{Context, Result};
use postgres::Client;

use super::cases::{Case, Keys};
use super::figures::{Figures, Reading};
use super::variants::{self, Variant};
use super::{Bench, processor};

/// Measures the bulk cases that are wished for.
pub fn measure(bench: &Bench, figures: &mut Figures) -> Result<()> {
    if !bench.cases.iter().any(|case| case.is_bulk()) {
        return Ok(());
    }
    for repetition in 0..bench.wishes.runs {
        for variant in bench.in_turn(repetition) {
            let mut client = bench.cluster.connect("postgres")?;
            Pass { bench, variant, repetition, client: &mut client, stored: 0 }
                .all(figures)
                .with_context(|| variant.name)?;
            bench.tell(&format!("bulk, repetition {}: {} done", repetition + 1, variant.name));
        }
    }
    Ok(())
}

/// One variant's part of one repetition.
struct Pass<'a> {
    bench: &'a Bench<'a>,
    variant: &'static Variant,
    repetition: u32,
    client: &'a mut Client,
    /// Rows that the table must hold.
    stored: u64,
}

impl Pass<'_> {
    fn all(mut self, figures: &mut Figures) -> Result<()> {
        let rows = u64::from(self.bench.wishes.rows / self.variant.share).max(1);
        let file = self.file(rows)?;
        let copy = format!("COPY {} (id, v, note) FROM '{file}'", self.variant.target);
        let insert = format!(
            "INSERT INTO {} (id, v, note) {}",
            self.variant.target,
            variants::rows_sql(rows)
        );
        let beside = variants::beside_new(self.variant.table, rows);
        let wanted =
            |keys| [Case::InsertSelect(keys), Case::Copy(keys)].map(|c| self.bench.wants(c));
        let known = wanted(Keys::Known).contains(&true) || wanted(Keys::Cold).contains(&true);

        if known || self.bench.wants(Case::Copy(Keys::New)) {
            self.empty()?;
            self.timed(Case::Copy(Keys::New), &(copy.clone() + &beside), rows, figures)?;
        }
        if known {
            self.timed(Case::InsertSelect(Keys::Cold), &insert, rows, figures)?;
        }
        for (case, statement) in
            [(Case::InsertSelect(Keys::Known), &insert), (Case::Copy(Keys::Known), &copy)]
        {
            if self.bench.wants(case) {
                self.timed(case, statement, rows, figures)?;
            }
        }
        if self.stored > 0 {
            variants::verify(self.client, self.variant.table, self.stored)?;
        }
        if self.bench.wants(Case::InsertSelect(Keys::New)) {
            self.empty()?;
            self.timed(Case::InsertSelect(Keys::New), &(insert + &beside), rows, figures)?;
            variants::verify(self.client, self.variant.table, self.stored)?;
        }
        Ok(())
    }

    fn empty(&mut self) -> Result<()> {
        let table = self.variant.table;
        variants::empty(self.client, table)?;
        self.client.batch_execute("CHECKPOINT")?;
        self.stored = 0;
        Ok(())
    }

    /// Writes the rows into a file beside the data directory's own, for COPY.
    fn file(&mut self, rows: u64) -> Result<String> {
        let directory: String = self.client.query_one("SHOW data_directory", &[])?.get(0);
        let file = format!("{directory}/rows_{rows}.copy");
        if !std::path::Path::new(&file).exists() {
            let select = variants::rows_sql(rows);
            self.client.batch_execute(&format!("COPY ({select}) TO '{file}'"))?;
        }
        Ok(file)
    }

    fn timed(
        &mut self,
        case: Case,
        statement: &str,
        rows: u64,
        figures: &mut Figures,
    ) -> Result<()> {
        self.client.batch_execute(&format!("SET pss.routing = {}", self.variant.routing))?;
        let pid = processor::backend(self.client)?;
        let log = log_position(self.client)?;
        let processor = processor::of_process(pid);
        let start = Instant::now();
        self.client.batch_execute(statement).with_context(|| case.name())?;
        let seconds = start.elapsed().as_secs_f64();
        let used = processor::of_process(pid).zip(processor).map(|(after, before)| after - before);
        let logged = log_position(self.client)? - log;
        self.stored += rows;
        figures.readings.push(Reading {
            case,
            variant: self.variant.name,
            repetition: self.repetition,
            rows,
            seconds,
            processor_seconds: used,
            wal_bytes: Some(logged),
        });
        Ok(())
    }
}

/// Bytes that were ever written to the write-ahead log.
pub fn log_position(client: &mut Client) -> Result<i64> {
    let position = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8";
    Ok(client.query_one(position, &[])?.get(0))
}
