//! Isolation specs: sessions interleaved step by step by PostgreSQL's isolationtester.
//!
//! A server without that program borrows it from another major: it is a client. Must never skip
//! the specs in silence: without any isolationtester the run is an error.

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::files::{Kind, run_files};
use super::regress::interleaved;
use super::{Session, Tally};
use crate::account::clean_command;
use crate::server::{Cluster, MAJORS, Options, Pg, find};

const KIND: Kind = Kind { name: "isolation", scripts: "specs", extension: "spec" };

/// Runs `tests/isolation/specs/*.spec`, each in a database that has the extension.
pub fn isolation(session: &Session, filters: &[String], accept: bool) -> Result<Tally> {
    let (tester, libraries) = tester(&session.pg)?;
    let cluster = Cluster::start(&session.tree, Options::default())?;
    run_files(session, &cluster, &KIND, filters, accept, |spec, database| {
        cluster.connect(database)?.batch_execute("CREATE EXTENSION pss")?;
        let mut command = cluster.with_connection(clean_command(&tester));
        command
            .arg(format!("dbname={database}"))
            .env("LD_LIBRARY_PATH", &libraries)
            .stdin(File::open(spec)?);
        Ok(interleaved(command)?)
    })
}

/// isolationtester, and the directory of the libpq that belongs to it.
fn tester(pg: &Pg) -> Result<(PathBuf, PathBuf)> {
    let others = MAJORS.into_iter().filter_map(find);
    std::iter::once(pg.clone())
        .chain(others)
        .find_map(|pg| Some((pg.test_program("isolation/isolationtester")?, pg.pkglibdir)))
        .context("no server here comes with isolationtester (Debian: postgresql-server-dev-15)")
}
