//! The tests that need no server, run by cargo; its summary lines are counted in.

use std::process::Command;

use anyhow::{Context, Result};

use super::Tally;
use crate::paths;

/// Runs the tests of the crates that need no server.
pub fn core_tests() -> Result<Tally> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(paths::repository())
        .args(["test", "--quiet", "--locked"])
        .args(["--package=pss-core", "--package=pss-querylog"])
        .args(["--package=pss-simulate", "--package=pss-testbed"])
        .output()
        .context("cannot run cargo")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut tally = count(&text);
    if output.status.success() {
        println!("ok    core ({} tests)", tally.passed);
    } else {
        println!("FAIL  core\n{text}{}", String::from_utf8_lossy(&output.stderr));
        // A build that fails reports no test at all.
        tally.failed = tally.failed.max(1);
    }
    Ok(tally)
}

/// Sums lines like `test result: ok. 12 passed; 0 failed; ...`.
fn count(output: &str) -> Tally {
    let mut tally = Tally::default();
    for line in output.lines().filter(|line| line.starts_with("test result:")) {
        let number_before = |word: &str| -> usize {
            line.split([';', '.'])
                .filter_map(|part| part.trim().strip_suffix(word))
                .find_map(|number| number.trim().parse().ok())
                .unwrap_or(0)
        };
        tally.add(Tally { passed: number_before("passed"), failed: number_before("failed") });
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_summary_lines_are_summed() {
        let output = "test result: ok. 12 passed; 0 failed; 0 ignored; finished in 0.00s\n\n\
                      test result: FAILED. 3 passed; 2 failed; 0 ignored; finished in 1.00s\n";
        assert_eq!(count(output), Tally { passed: 15, failed: 2 });
    }
}
