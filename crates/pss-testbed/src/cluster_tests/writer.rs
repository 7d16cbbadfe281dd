//! A writer that commits and rolls back at random and remembers what the server acknowledged.
//!
//! Must never count a commit whose answer did not arrive: such a transaction may stand or not,
//! but as a whole.

use anyhow::{Result, ensure};
use postgres::Client;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::check::none;
use crate::server::Cluster;

/// Sequence numbers of rows by the fate of their transaction.
#[derive(Debug, Default)]
pub struct Record {
    pub writer: i32,
    /// Acknowledged as committed.
    committed: Vec<i32>,
    /// Rolled back, wholly or to a savepoint.
    undone: Vec<i32>,
    /// Rows of the one transaction whose commit was not answered.
    unknown: Vec<i32>,
}

impl Record {
    /// Writes until the connection breaks. `seed` makes the run repeatable as far as the server
    /// allows; the keys are `range` new ones from `first_key` on, shared by all writers.
    pub fn write_until_broken(cluster: &Cluster, writer: i32, seed: u64, first_key: i64) -> Self {
        let mut record = Self { writer, ..Self::default() };
        let mut random = SmallRng::seed_from_u64(seed);
        if let Ok(mut client) = cluster.connect("postgres") {
            while record.transaction(&mut client, &mut random, first_key).is_ok() {}
        }
        record
    }

    fn transaction(
        &mut self,
        client: &mut Client,
        random: &mut SmallRng,
        first_key: i64,
    ) -> Result<()> {
        let next = |record: &Self| {
            let known = [&record.committed, &record.undone, &record.unknown];
            known.iter().map(|list| list.len()).sum::<usize>() as i32
        };
        let (mut kept, mut undone) = (Vec::new(), Vec::new());
        let base = next(self);
        let mut transaction = client.transaction()?;
        for i in 0..random.random_range(1..6) {
            // Keys are used soon by all and then left: most first rows of a key are contended.
            let key = first_key + i64::from(base / 4) + random.random_range(0..40_i64);
            let seq = base + i;
            let insert = format!("INSERT INTO t VALUES ({key}, {}, {seq}, 'x')", self.writer);
            if random.random_bool(0.2) {
                let mut savepoint = transaction.savepoint("s")?;
                savepoint.batch_execute(&insert)?;
                savepoint.rollback()?;
                undone.push(seq);
            } else {
                transaction.batch_execute(&insert)?;
                kept.push(seq);
            }
        }
        if random.random_bool(0.2) {
            transaction.rollback()?;
            undone.append(&mut kept);
        } else if let Err(e) = transaction.commit() {
            self.unknown = kept;
            self.undone.append(&mut undone);
            return Err(e.into());
        }
        self.committed.append(&mut kept);
        self.undone.append(&mut undone);
        Ok(())
    }

    /// How many rows were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.committed.len()
    }

    /// Compares what the server has now with what it acknowledged.
    pub fn verify(&self, client: &mut Client) -> Result<()> {
        let present: Vec<i32> = client
            .query("SELECT seq FROM t WHERE writer = $1 ORDER BY seq", &[&self.writer])?
            .iter()
            .map(|row| row.get(0))
            .collect();
        let writer = self.writer;
        let lost = self.committed.iter().find(|seq| present.binary_search(seq).is_err());
        ensure!(lost.is_none(), "writer {writer}: committed row {lost:?} is lost");
        let back = self.undone.iter().find(|seq| present.binary_search(seq).is_ok());
        ensure!(back.is_none(), "writer {writer}: rolled-back row {back:?} is there");
        let half = self.unknown.iter().filter(|seq| present.binary_search(seq).is_ok()).count();
        ensure!(
            half == 0 || half == self.unknown.len(),
            "writer {writer}: half of a transaction is there: {half} of {:?}",
            self.unknown
        );
        none(
            client,
            "a row is there twice",
            &format!(
                "SELECT seq::text FROM t WHERE writer = {writer} GROUP BY seq HAVING count(*) > 1"
            ),
        )
    }
}
