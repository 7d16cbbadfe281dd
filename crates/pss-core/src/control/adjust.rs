//! What the controller changes in itself, each change a value that tells its reason.
//!
//! Coefficients are chosen by how they would have done lately. Nothing is changed silently: who
//! plans gets every change, to be logged.

use std::fmt;

/// What can be adjusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coefficient {
    /// Control window, in cycles.
    Window,
    /// Part of the way to the target that one step goes.
    Gain,
    /// Changes of shares that are left, relative to an equal share.
    DeadBand,
    /// Part of its forecast's interval by which a partition counts as fuller.
    Caution,
}

impl Coefficient {
    /// Its name, for the decision log.
    pub fn as_str(self) -> &'static str {
        match self {
            Coefficient::Window => "control window",
            Coefficient::Gain => "gain",
            Coefficient::DeadBand => "dead band",
            Coefficient::Caution => "caution",
        }
    }
}

/// Why something was adjusted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cause {
    /// The new value would have left less imbalance lately.
    Better {
        /// lambda - 1 with the old value, mean over the last 50 cycles.
        before: f64,
        /// lambda - 1 with the new one.
        after: f64,
    },
    /// The new value would have cost less lately: imbalance, and a little for every change.
    Cheaper {
        /// The cost of the old value, mean over the last 50 cycles.
        before: f64,
        /// The cost of the new one.
        after: f64,
    },
    /// Keys live longer or shorter than before, and the window is measured in key lives.
    KeyLife {
        /// Mean age, in cycles, at which a key brings its load.
        life: f64,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Better { before, after } => {
                write!(
                    f,
                    "would have left an imbalance of {after:.3} instead of {before:.3} lately"
                )
            }
            Cause::Cheaper { before, after } => write!(
                f,
                "imbalance and changes of shares would have cost {after:.4} instead of {before:.4} lately"
            ),
            Cause::KeyLife { life } => {
                write!(f, "keys bring their load at an age of {life:.1} cycles now")
            }
        }
    }
}

/// One change of a coefficient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adjustment {
    /// What was changed.
    pub coefficient: Coefficient,
    /// Its value before, in the coefficient's unit.
    pub from: f64,
    /// Its value from now on.
    pub to: f64,
    /// Why.
    pub cause: Cause,
}

impl Adjustment {
    /// What was changed, in words.
    pub fn what(&self) -> &'static str {
        self.coefficient.as_str()
    }

    /// Why, in words.
    pub fn reason(&self) -> String {
        self.cause.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adjustment_tells_what_and_why() {
        let cause = Cause::Better { before: 0.25, after: 0.125 };
        let adjustment = Adjustment { coefficient: Coefficient::Window, from: 3.0, to: 6.0, cause };
        assert_eq!(adjustment.what(), "control window");
        let reason = "would have left an imbalance of 0.125 instead of 0.250 lately";
        assert_eq!(adjustment.reason(), reason);
        let longer = Adjustment { cause: Cause::KeyLife { life: 7.26 }, ..adjustment };
        assert_eq!(longer.reason(), "keys bring their load at an age of 7.3 cycles now");
    }
}
