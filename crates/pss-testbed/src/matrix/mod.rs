//! The clause matrix: every form of statement through every door, compared with an ordinary table.
//!
//! Must never pass over a difference: a cell is "works", "refused" with a hint, or a failed test.

mod course;
mod door;
mod inspect;
mod judge;
mod report;
mod script;
mod side;
mod statement;
mod wire;

use anyhow::{Context, Result, ensure};

use crate::paths;
use crate::runner::{Session, Tally, asked_for};
use crate::server::{Cluster, Options};
use course::{Ran, run_door};
use door::DOORS;
use judge::Verdict;
use report::Row;
use script::{Fixture, Form};
use side::DATABASE;

/// Where the table is written.
const PAGE: &str = "docs/statements.md";

/// What forms may use beside their tables.
const SURROUNDINGS: &str = "
    CREATE EXTENSION pss;
    CREATE ROLE matrix_user;
    CREATE TYPE matrix_mood AS ENUM ('sad', 'ok', 'happy');
    CREATE DOMAIN matrix_code AS text CHECK (VALUE <> '');
    CREATE TYPE matrix_pair AS (a int, b text);
    CREATE COLLATION matrix_ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)";

/// Runs the forms whose name (group/form) contains a filter; without filters, also compares the
/// page with the committed one, or writes it if told to accept.
pub fn matrix(session: &Session, filters: &[String], accept: bool) -> Result<Tally> {
    let fixtures = script::read(&paths::repository().join("tests/matrix"))?;
    let wanted = |form: &&Form| asked_for(&name(form), filters);
    let chosen: Vec<(&Fixture, Vec<&Form>)> = fixtures
        .iter()
        .map(|fixture| (fixture, fixture.forms.iter().filter(wanted).collect::<Vec<_>>()))
        .filter(|(_, forms)| !forms.is_empty())
        .collect();

    // Each form begins with a ROLLBACK of nothing, which need not be in the log.
    let mut options = Options::default().set("log_min_messages", "error");
    if session.pg.pkglibdir.join("auto_explain.so").is_file() {
        // Beside others that hook planner and executor, one of which explains every statement.
        options = options
            .set("shared_preload_libraries", "pg_stat_statements, auto_explain, pss")
            .set("auto_explain.log_min_duration", "0")
            .set("auto_explain.log_analyze", "on");
    }
    let cluster = Cluster::start(&session.tree, options)?;
    cluster.create_database(DATABASE)?;
    cluster.connect(DATABASE)?.batch_execute(SURROUNDINGS)?;
    let directory =
        tempfile::Builder::new().prefix("matrix").tempdir_in(session.tree.clusters())?;
    session.tree.account.give(directory.path())?;
    let columns = run_doors(&cluster, &directory.path().to_string_lossy(), &chosen)
        .with_context(|| cluster.log_tail())?;

    let mut tally = Tally::default();
    let mut rows = Vec::new();
    let forms = chosen.iter().flat_map(|(_, forms)| forms);
    for (i, form) in forms.enumerate() {
        let cells: Vec<Verdict> =
            columns.iter().map(|ran| verdict(&ran[i], &columns[0][i])).collect();
        tally.test(&name(form), || {
            let wrong = DOORS.iter().zip(&cells).filter_map(|(door, cell)| match cell {
                Verdict::Wrong(what) => Some(format!("{}: {what}", door.name)),
                _ => None,
            });
            let wrong: Vec<String> = wrong.collect();
            ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
            Ok(())
        });
        rows.push(Row { group: form.group.clone(), name: form.name.clone(), cells });
    }
    tally.test("matrix: the server did not crash", || {
        let crashes = cluster.crashes();
        ensure!(crashes.is_empty(), "{}\n{}", crashes.join("\n"), cluster.log_tail());
        Ok(())
    });
    if filters.is_empty() {
        tally.test(&format!("matrix: {PAGE} is true"), || keep(&report::page(&rows), accept));
    }
    Ok(tally)
}

fn name(form: &Form) -> String {
    format!("matrix/{}/{}", form.group, form.name)
}

/// What came of each form, door by door; the doors are independent of each other and take their
/// course at the same time.
fn run_doors(
    cluster: &Cluster,
    directory: &str,
    fixtures: &[(&Fixture, Vec<&Form>)],
) -> Result<Vec<Vec<Ran>>> {
    std::thread::scope(|scope| {
        let course = |door| scope.spawn(move || run_door(cluster, door, directory, fixtures));
        let threads: Vec<_> = DOORS.iter().map(course).collect();
        threads
            .into_iter()
            .map(|thread| {
                thread.join().unwrap_or_else(|_| anyhow::bail!("a door's thread panicked"))
            })
            .collect()
    })
}

/// A form that fails by this door on an ordinary table, too, where it does not by the first door,
/// is nothing of ours.
fn verdict(ran: &Ran, by_first_door: &Ran) -> Verdict {
    match &ran.verdict {
        Verdict::Works if ran.twin_fails != by_first_door.twin_fails => Verdict::NotPostgres,
        verdict => verdict.clone(),
    }
}

/// Compares the page with the committed one; writes it if told to.
fn keep(page: &str, accept: bool) -> Result<()> {
    let path = paths::repository().join(PAGE);
    if accept {
        std::fs::write(&path, page)?;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = committed.lines().zip(page.lines()).find(|(old, new)| old != new);
    let (old, new) = differs.unwrap_or(("(its length)", "(its length)"));
    ensure!(
        committed == page,
        "it differs; first:\n- {old}\n+ {new}\nIf it should, run make matrix ACCEPT=1."
    );
    Ok(())
}
