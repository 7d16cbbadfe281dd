//! PostgreSQL's own regression and isolation suites, on a server with pss preloaded and on one
//! without: what the tests print must be the same.
//!
//! Must never judge by the suite's expected files alone: its minor release and the server's may
//! differ, and then both servers differ from them alike.

mod source;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::account::run;
use crate::runner::{Session, Tally};
use crate::server::{Cluster, Options, Pg, Tree};

/// What to run it with.
#[derive(clap::Args)]
pub struct Wishes {
    /// A source tree of PostgreSQL, of the server's major (default: Debian's source package)
    #[arg(long)]
    source: Option<PathBuf>,
    /// Run only this suite: regress or isolation
    #[arg(long)]
    suite: Option<String>,
}

/// A suite: where it lies below `src/test`, what runs it, and what it runs.
struct Suite {
    name: &'static str,
    program: &'static str,
    schedule: &'static str,
}

const SUITES: [Suite; 2] = [
    Suite { name: "regress", program: "regress/pg_regress", schedule: "parallel_schedule" },
    Suite {
        name: "isolation",
        program: "isolation/pg_isolation_regress",
        schedule: "isolation_schedule",
    },
];

/// A way to run the suite.
struct Way {
    name: &'static str,
    libraries: &'static str,
    /// Extension created in the regression database.
    extension: Option<&'static str>,
}

/// The first is what the others are compared with.
const WAYS: [Way; 3] = [
    Way { name: "without", libraries: "", extension: None },
    Way { name: "preloaded", libraries: "pss", extension: None },
    Way { name: "created", libraries: "pss", extension: Some("pss") },
];

/// Tests that show more once pss is created in their database, and every line that they may show
/// more or less of contains one of these.
const EXPLAINED: [(&str, &[&str]); 3] = [
    // It lists the locks of its transaction; our event triggers read our catalog.
    ("alter_table", &["partition", "sharded_table", "relname", "Lock", "-+-", " row"]),
    // It lists functions of one implementation that are declared otherwise: the input function of
    // pss.copy_row must be strict, for there are NULLs of that type, and nothing else.
    ("opr_sanity", &["pss.copy_row", "shell_in", "proname", "-+-", " row"]),
    // It lists all event triggers.
    ("event_trigger", &["event trigger", "evtname", "-+-", " rows)"]),
];

/// Runs the suites in all ways and compares, test by test.
pub fn installcheck(session: &Session, wishes: &Wishes) -> Result<Tally> {
    let tests = source::test_directory(&session.pg, wishes.source.as_deref())?;
    let libraries = test_libraries(&session.tree, &tests.join("regress"))?;
    let mut tally = Tally::default();
    for suite in &SUITES {
        if wishes.suite.as_ref().is_some_and(|wanted| wanted != suite.name) {
            continue;
        }
        let reference = run_suite(session, &tests, suite, &libraries, &WAYS[0])?;
        for way in &WAYS[1..] {
            let results = run_suite(session, &tests, suite, &libraries, way)?;
            for name in names(&reference)?.union(&names(&results)?) {
                tally.test(&format!("installcheck/{}/{}/{name}", suite.name, way.name), || {
                    compare(&reference.join(name), &results.join(name), way)
                });
            }
        }
    }
    Ok(tally)
}

/// Succeeds if both files are the same, or their difference is explained.
fn compare(without: &Path, with: &Path, way: &Way) -> Result<()> {
    if std::fs::read(without)? == std::fs::read(with)? {
        return Ok(());
    }
    let name = without.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let explained = EXPLAINED.iter().find(|(test, _)| way.extension.is_some() && *test == name);
    if let Some((_, words)) = explained {
        let changes = Command::new("diff").arg("-U0").arg(without).arg(with).output()?;
        let changes = String::from_utf8_lossy(&changes.stdout).into_owned();
        let known =
            |line: &str| line.starts_with("@@") || words.iter().any(|word| line.contains(word));
        if changes.lines().skip(2).all(known) {
            return Ok(());
        }
    }
    let diff = Command::new("diff").arg("-U2").arg(without).arg(with).output()?;
    bail!("{}", String::from_utf8_lossy(&diff.stdout))
}

fn names(results: &Path) -> Result<BTreeSet<String>> {
    let entries = std::fs::read_dir(results)?.flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let names: BTreeSet<String> = names.filter(|name| name.ends_with(".out")).collect();
    ensure!(!names.is_empty(), "no results in {}", results.display());
    Ok(names)
}

/// Runs the suite on a cluster of its own; returns the directory of what the tests printed.
fn run_suite(
    session: &Session,
    tests: &Path,
    suite: &Suite,
    libraries: &Path,
    way: &Way,
) -> Result<PathBuf> {
    let input = tests.join(suite.name);
    let tree = &session.tree;
    let options = Options::default()
        .set("shared_preload_libraries", way.libraries)
        .set("max_prepared_transactions", if suite.name == "regress" { "0" } else { "20" });
    let cluster = Cluster::start(tree, options)?;
    let output = tree.clusters().join(format!("{}_{}", suite.name, way.name));
    std::fs::create_dir(&output)?;
    tree.account.give(&output)?;
    let program = session
        .pg
        .test_program(suite.program)
        .context("no pg_regress here (Debian: postgresql-server-dev-15)")?;
    eprintln!("running PostgreSQL's suite {}, {}", suite.name, way.name);
    let mut command = cluster.with_connection(tree.account.command(program));
    command
        .arg(format!("--inputdir={}", input.display()))
        .arg(format!("--outputdir={}", output.display()))
        .arg(format!("--bindir={}", tree.program("").display()))
        .arg(format!("--dlpath={}", libraries.display()))
        .arg(format!("--host={}", cluster.socket().parent().context("a socket")?.display()))
        .args(["--port=54321", "--user=postgres", "--max-concurrent-tests=20"])
        .arg(format!("--schedule={}", input.join(suite.schedule).display()));
    if let Some(extension) = way.extension {
        command.arg(format!("--load-extension={extension}"));
    }
    // Whether the suite's own expectations are met is said by the comparison of both ways.
    let printed = command.output()?;
    let results = session.results(&format!("installcheck_{}_{}", suite.name, way.name))?;
    std::fs::write(results.join("pg_regress.log"), &printed.stdout)?;
    let from = output.join("results");
    ensure!(from.is_dir(), "pg_regress failed:\n{}", String::from_utf8_lossy(&printed.stderr));
    for name in names(&from)? {
        std::fs::copy(from.join(&name), results.join(&name))?;
    }
    let crashes = cluster.crashes();
    ensure!(crashes.is_empty(), "the server crashed:\n{}", crashes.join("\n"));
    Ok(results)
}

/// Builds the suite's own C functions, beside the server's libraries that its triggers use.
fn test_libraries(tree: &Tree, regress: &Path) -> Result<PathBuf> {
    let directory = tree.clusters().join("installcheck_libraries");
    std::fs::create_dir(&directory)?;
    tree.account.give(&directory)?;
    let Pg { pg_config, pkglibdir, .. } = &tree.pg;
    let headers = run(Command::new(pg_config).arg("--includedir-server"))?;
    run(Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-w", "-I", headers.trim()])
        .arg(regress.join("regress.c"))
        .arg("-o")
        .arg(directory.join("regress.so")))?;
    for name in ["refint.so", "autoinc.so"] {
        std::fs::copy(pkglibdir.join(name), directory.join(name))
            .with_context(|| format!("the server comes without {name} (contrib)"))?;
    }
    Ok(directory)
}
