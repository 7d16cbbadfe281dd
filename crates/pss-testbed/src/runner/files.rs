//! Tests that are a script and the output expected of it: both runners of such files share this.
//!
//! As with pg_regress, `NAME.out` may have alternatives `NAME_1.out` ... `NAME_9.out`, and any of
//! them will do. Must never change an expected file unless told to accept the output.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};

use super::{Session, Tally, asked_for};
use crate::paths;
use crate::server::Cluster;

/// A kind of file test.
pub struct Kind {
    /// Directory below `tests/`, and the first part of the tests' names.
    pub name: &'static str,
    /// Directory of the scripts below that.
    pub scripts: &'static str,
    /// Extension of the scripts.
    pub extension: &'static str,
}

/// Runs every script of a kind, each in a fresh database, and compares its output.
/// `execute` is given the script, the database, and returns what the script printed.
pub fn run_files(
    session: &Session,
    cluster: &Cluster,
    kind: &Kind,
    filters: &[String],
    accept: bool,
    execute: impl Fn(&Path, &str) -> Result<Output>,
) -> Result<Tally> {
    let tests = paths::repository().join("tests").join(kind.name);
    let results = session.results(kind.name)?;
    let mut tally = Tally::default();
    for script in scripts(&tests.join(kind.scripts), kind.extension)? {
        let stem = script.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = format!("{}/{stem}", kind.name);
        if !asked_for(&name, filters) {
            continue;
        }
        tally.test(&name, || {
            let database = format!("regress_{stem}");
            cluster.create_database(&database)?;
            let output = execute(&script, &database)?;
            // Its workers shall not take turns from those of the next file's database.
            cluster.drop_database(&database)?;
            let actual = [output.stdout, output.stderr].concat();
            let result = results.join(format!("{stem}.out"));
            std::fs::write(&result, &actual)?;
            let expected = tests.join("expected").join(format!("{stem}.out"));
            if accept {
                std::fs::create_dir_all(tests.join("expected"))?;
                std::fs::write(&expected, &actual)?;
            }
            compare(&expected, &result)
        });
    }
    tally.test(&format!("{}: the server did not crash", kind.name), || {
        let crashes = cluster.crashes();
        ensure!(crashes.is_empty(), "{}\n{}", crashes.join("\n"), cluster.log_tail());
        Ok(())
    });
    Ok(tally)
}

fn scripts(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory)
        .with_context(|| format!("no scripts in {}", directory.display()))?;
    let mut list: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    list.retain(|path| path.extension().is_some_and(|e| e == extension));
    list.sort();
    Ok(list)
}

/// Succeeds if `result` equals `expected` or one of its alternatives; the error is the diff.
fn compare(expected: &Path, result: &Path) -> Result<()> {
    let actual = std::fs::read(result)?;
    let alternatives = (1..=9).map(|n| {
        let stem = expected.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        expected.with_file_name(format!("{stem}_{n}.out"))
    });
    let mut files = std::iter::once(expected.to_path_buf()).chain(alternatives);
    if files.any(|file| std::fs::read(file).is_ok_and(|text| text == actual)) {
        return Ok(());
    }
    if !expected.is_file() {
        bail!("no {}; it printed:\n{}", expected.display(), String::from_utf8_lossy(&actual));
    }
    let diff = Command::new("diff").arg("-U3").arg(expected).arg(result).output()?;
    bail!("{}", String::from_utf8_lossy(&diff.stdout));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alternative_will_do_and_a_difference_will_not() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("t.out"), "one\n")?;
        std::fs::write(path("t_1.out"), "two\n")?;
        std::fs::write(path("result"), "two\n")?;
        compare(&path("t.out"), &path("result"))?;
        std::fs::write(path("result"), "three\n")?;
        let message = compare(&path("t.out"), &path("result")).map_err(|e| e.to_string());
        assert!(message.is_err_and(|text| text.contains("-one") && text.contains("+three")));
        assert!(compare(&path("none.out"), &path("result")).is_err());
        Ok(())
    }
}
