//! What partitions, tablespaces and nodes showed under load: `pss_core::capacity` fed with samples.
//!
//! By the worker, after each round of samples; what it learned is kept in the catalog over restarts.
//! Must never change what is placed where: it only tells.

use std::cell::RefCell;
use std::collections::HashMap;

use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::capacity::{Cycle, Learner};

use crate::catalog::{self, as_extension_owner};
use crate::error::Result;

/// Part by which a learned capacity has to differ to be written down anew.
const WORTH_WRITING: f64 = 0.05;

/// What has a capacity of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Server {
    Partition(pg_sys::Oid, i32),
    Tablespace(String),
    Node(String),
}

/// Work of one server since the sample before.
#[derive(Debug, Clone, Copy, Default)]
struct Work {
    load: f64,
    statements: f64,
    /// Statements at work, on average.
    in_flight: f64,
}

struct Pupil {
    learner: Learner,
    written: Option<f64>,
}

#[derive(Default)]
struct School {
    pupils: HashMap<Server, Pupil>,
    /// The newest sample of each table that was taken in.
    seen: HashMap<pg_sys::Oid, pg_sys::TimestampTz>,
}

thread_local! {
    static SCHOOL: RefCell<Option<School>> = const { RefCell::new(None) };
}

/// Takes in the newest samples of all tables, and writes down what is learned from them.
pub fn observe() -> Result<()> {
    let mut school = match SCHOOL.take() {
        Some(school) => school,
        None => School { pupils: written_down()?, seen: HashMap::new() },
    };
    let work = school.newest_work()?;
    let learned = school.teach(&work);
    write_down(&learned)?;
    // After an error it is read again, from what is written down.
    SCHOOL.set(Some(school));
    Ok(())
}

impl School {
    /// What was done since the samples before the newest, of tables that have new ones.
    fn newest_work(&mut self) -> Result<HashMap<Server, Work>> {
        let mut work: HashMap<Server, Work> = HashMap::new();
        let seen = &mut self.seen;
        let mut newest: HashMap<pg_sys::Oid, pg_sys::TimestampTz> = HashMap::new();
        catalog::read(|client| {
            for row in client.select(NEWEST_WORK, None, &[])? {
                let (Some(relation), Some(partition), Some(at)) = (
                    row.get::<pg_sys::Oid>(1)?,
                    row.get::<i32>(2)?,
                    row.get::<TimestampWithTimeZone>(3)?.map(pg_sys::TimestampTz::from),
                ) else {
                    continue;
                };
                newest.insert(relation, at);
                let seconds = row.get::<f64>(6)?.unwrap_or(0.0);
                if seen.get(&relation) == Some(&at) || seconds <= 0.0 {
                    continue;
                }
                let figure = |column| Ok::<f64, pgrx::spi::Error>(row.get(column)?.unwrap_or(0.0));
                let done = Work {
                    load: figure(7)?,
                    statements: figure(8)? / seconds,
                    in_flight: figure(9)? / 1e6 / seconds,
                };
                let node = row.get::<String>(4)?.map(Server::Node);
                let tablespace = row.get::<String>(5)?.map(Server::Tablespace);
                let own = Some(Server::Partition(relation, partition));
                for server in [own, tablespace, node].into_iter().flatten() {
                    let all = work.entry(server).or_default();
                    all.load += done.load;
                    all.statements += done.statements;
                    all.in_flight += done.in_flight;
                }
            }
            Ok(())
        })?;
        self.seen = newest;
        Ok(work)
    }

    /// Feeds the learners; those whose capacity is to be written down.
    fn teach(&mut self, work: &HashMap<Server, Work>) -> Vec<(Server, f64)> {
        let mut learned = Vec::new();
        for (server, done) in work {
            let pupil = self
                .pupils
                .entry(server.clone())
                .or_insert_with(|| Pupil { learner: Learner::default(), written: None });
            // Little's law: statements in flight are statements a second times their mean time.
            let latency_s = done.in_flight / done.statements;
            pupil.learner.observe(Cycle { load: done.load, latency_s, in_flight: done.in_flight });
            let Some(capacity) = pupil.learner.capacity() else { continue };
            let near = |was: f64| (capacity / was - 1.0).abs() < WORTH_WRITING;
            if !pupil.written.is_some_and(near) {
                pupil.written = Some(capacity);
                learned.push((server.clone(), capacity));
            }
        }
        learned
    }
}

/// Load, statements and their time of each partition between the two newest samples of its table,
/// of those that ran at all.
const NEWEST_WORK: &str =
    "SELECT p.relation::pg_catalog.oid, p.partition, n.at, p.node::pg_catalog.text, s.spcname::pg_catalog.text,
            EXTRACT(epoch FROM n.at OPERATOR(pg_catalog.-) o.at)::pg_catalog.float8,
            x.own_load OPERATOR(pg_catalog.+) x.foreign_load,
            GREATEST(x.reads OPERATOR(pg_catalog.+) x.writes OPERATOR(pg_catalog.-) y.reads OPERATOR(pg_catalog.-) y.writes, 0)::pg_catalog.float8,
            GREATEST(x.read_us OPERATOR(pg_catalog.+) x.write_us OPERATOR(pg_catalog.-) y.read_us OPERATOR(pg_catalog.-) y.write_us, 0)::pg_catalog.float8
     FROM pss.sharded_table t
     CROSS JOIN LATERAL (
         SELECT pg_catalog.max(z.sampled_at) AS at FROM pss.sample z
         WHERE z.relation OPERATOR(pg_catalog.=) t.relation) AS n
     CROSS JOIN LATERAL (
         SELECT pg_catalog.max(z.sampled_at) AS at FROM pss.sample z
         WHERE z.relation OPERATOR(pg_catalog.=) t.relation AND z.sampled_at OPERATOR(pg_catalog.<) n.at) AS o
     JOIN pss.partition p ON p.relation OPERATOR(pg_catalog.=) t.relation
     JOIN pss.sample x ON x.relation OPERATOR(pg_catalog.=) p.relation
                      AND x.sampled_at OPERATOR(pg_catalog.=) n.at
                      AND x.partition OPERATOR(pg_catalog.=) p.partition
     JOIN pss.sample y ON y.relation OPERATOR(pg_catalog.=) p.relation
                      AND y.sampled_at OPERATOR(pg_catalog.=) o.at
                      AND y.partition OPERATOR(pg_catalog.=) p.partition
     LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) p.leaf
     LEFT JOIN pg_catalog.pg_database d ON d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
     LEFT JOIN pg_catalog.pg_tablespace s
            ON s.oid OPERATOR(pg_catalog.=) COALESCE(NULLIF(c.reltablespace, 0::pg_catalog.oid), d.dattablespace)";

/// What is known from before a restart.
fn written_down() -> Result<HashMap<Server, Pupil>> {
    let mut pupils = HashMap::new();
    let mut remember = |server, learned: f64| {
        let pupil = Pupil { learner: Learner::new(Some(learned)), written: Some(learned) };
        pupils.insert(server, pupil);
    };
    catalog::read(|client| {
        let partitions =
            "SELECT relation::pg_catalog.oid, partition, learned FROM pss.learned_capacity";
        for row in client.select(partitions, None, &[])? {
            if let (Some(relation), Some(partition), Some(learned)) =
                (row.get(1)?, row.get(2)?, row.get(3)?)
            {
                remember(Server::Partition(relation, partition), learned);
            }
        }
        let groups = "SELECT kind, name::pg_catalog.text, learned FROM pss.found_capacity
                      WHERE learned IS NOT NULL";
        for row in client.select(groups, None, &[])? {
            if let (Some(kind), Some(name), Some(learned)) =
                (row.get::<String>(1)?, row.get::<String>(2)?, row.get(3)?)
            {
                let node = kind == "node";
                remember(if node { Server::Node(name) } else { Server::Tablespace(name) }, learned);
            }
        }
        Ok(())
    })?;
    Ok(pupils)
}

fn write_down(learned: &[(Server, f64)]) -> Result<()> {
    const OF_PARTITION: &str =
        "INSERT INTO pss.learned_capacity (relation, partition, learned, found_at)
         SELECT t.relation, $2, $3, pg_catalog.now() FROM pss.sharded_table t
         WHERE t.relation OPERATOR(pg_catalog.=) $1
         ON CONFLICT (relation, partition) DO UPDATE
             SET learned = excluded.learned, found_at = excluded.found_at";
    const OF_GROUP: &str =
        "INSERT INTO pss.found_capacity (kind, name, resource, learned, found_at)
         VALUES ($1, $2::pg_catalog.name, 'load', $3, pg_catalog.now())
         ON CONFLICT (kind, name, resource) DO UPDATE
             SET learned = excluded.learned, found_at = excluded.found_at";
    as_extension_owner(|| {
        for (server, capacity) in learned {
            match server {
                Server::Partition(relation, partition) => Spi::run_with_args(
                    OF_PARTITION,
                    &[(*relation).into(), (*partition).into(), (*capacity).into()],
                )?,
                Server::Tablespace(name) => Spi::run_with_args(
                    OF_GROUP,
                    &["tablespace".into(), name.as_str().into(), (*capacity).into()],
                )?,
                Server::Node(name) => Spi::run_with_args(
                    OF_GROUP,
                    &["node".into(), name.as_str().into(), (*capacity).into()],
                )?,
            }
        }
        Ok(())
    })
}
