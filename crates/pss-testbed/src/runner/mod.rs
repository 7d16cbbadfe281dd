//! Runs the kinds of test that need a server, and counts.
//!
//! Must never count a test that did not run as passed.

mod core_tests;
mod files;
mod in_server;
mod isolation;
mod readme;
mod regress;
mod session;

pub use core_tests::core_tests;
pub use in_server::in_server;
pub use isolation::isolation;
pub use readme::readme;
pub use regress::regress;
pub use session::Session;

use std::time::Instant;

use anyhow::Result;

/// How many tests passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: usize,
    pub failed: usize,
}

impl Tally {
    /// Runs one test, prints its outcome in one line (an error below it), counts it.
    pub fn test(&mut self, name: &str, test: impl FnOnce() -> Result<()>) {
        let start = Instant::now();
        let outcome = test();
        let seconds = start.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => {
                self.passed += 1;
                println!("ok    {name} ({seconds:.1} s)");
            }
            Err(e) => {
                self.failed += 1;
                println!("FAIL  {name} ({seconds:.1} s)\n{e:#}");
            }
        }
    }

    /// Adds the tally of a group of tests; a group that cannot run, or is empty, is a failure.
    pub fn rung(&mut self, name: &str, run: impl FnOnce() -> Result<Self>) {
        match run() {
            Ok(tally) if tally != Self::default() => self.add(tally),
            Ok(_) => self.test(name, || anyhow::bail!("no test ran")),
            Err(e) => self.test(name, || Err(e)),
        }
    }

    /// Adds another tally to this one.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    /// Whether something ran and nothing failed.
    pub fn is_good(self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

/// Whether a test of this name is asked for: no filter means all.
pub fn asked_for(name: &str, filters: &[String]) -> bool {
    filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_counts_both_outcomes() {
        let mut tally = Tally::default();
        tally.test("good", || Ok(()));
        tally.test("bad", || anyhow::bail!("on purpose"));
        assert_eq!(tally, Tally { passed: 1, failed: 1 });
        assert!(!tally.is_good());
    }

    #[test]
    fn nothing_run_is_no_success() {
        assert!(!Tally::default().is_good());
        assert!(Tally { passed: 1, failed: 0 }.is_good());
    }

    #[test]
    fn a_rung_that_runs_nothing_fails() {
        let mut tally = Tally::default();
        tally.rung("good", || Ok(Tally { passed: 3, failed: 0 }));
        tally.rung("empty", || Ok(Tally::default()));
        tally.rung("broken", || anyhow::bail!("on purpose"));
        assert_eq!(tally, Tally { passed: 3, failed: 2 });
    }

    #[test]
    fn filters_match_parts_of_names() {
        assert!(asked_for("regress/extension", &[]));
        assert!(asked_for("regress/extension", &["ext".to_owned()]));
        assert!(!asked_for("regress/extension", &["kill".to_owned()]));
    }
}
