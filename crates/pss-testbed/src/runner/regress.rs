//! Regression files: SQL run by psql, compared with the output expected.
//!
//! Like pg_regress (same psql flags, same session settings) but without it, because not every
//! server comes with it; and each file gets a fresh database, so that files cannot lean on each
//! other. Roles are shared by the cluster: a file drops the ones it makes.

use std::fs::File;

use anyhow::Result;

use super::files::{Kind, run_files};
use super::{Session, Tally};
use crate::server::{Cluster, Options};

const KIND: Kind = Kind { name: "pg_regress", scripts: "sql", extension: "sql" };

/// Runs `tests/pg_regress/sql/*.sql`.
pub fn regress(session: &Session, filters: &[String], accept: bool) -> Result<Tally> {
    // Beside another extension that hooks the executor, where the server comes with one.
    let mut options = Options::default();
    if session.tree.has_extension("pg_stat_statements") {
        options = options.set("shared_preload_libraries", "pg_stat_statements, pss");
    }
    let cluster = Cluster::start(&session.tree, options)?;
    run_files(session, &cluster, &KIND, filters, accept, |script, database| {
        let mut psql = cluster.client_program("psql");
        psql.args(["-X", "-a", "-q", "-v", "HIDE_TABLEAM=on", "-v", "HIDE_TOAST_COMPRESSION=on"])
            .args(["-d", database])
            .env("PGTZ", "America/Los_Angeles")
            .env("PGDATESTYLE", "Postgres, MDY")
            .env("PGOPTIONS", "-c intervalstyle=postgres_verbose")
            .stdin(File::open(script)?);
        Ok(interleaved(psql)?)
    })
}

/// Runs a command with both outputs in one stream, in the order they were written.
pub(super) fn interleaved(
    mut command: std::process::Command,
) -> std::io::Result<std::process::Output> {
    let mut both = tempfile::tempfile()?;
    let status = command.stdout(both.try_clone()?).stderr(both.try_clone()?).status()?;
    let mut stdout = Vec::new();
    std::io::Seek::rewind(&mut both)?;
    std::io::Read::read_to_end(&mut both, &mut stdout)?;
    Ok(std::process::Output { status, stdout, stderr: Vec::new() })
}
