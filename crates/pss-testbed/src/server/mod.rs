//! PostgreSQL servers: find or install one, copy it into a tree of our own, run clusters from it.
//!
//! Must never change a server the machine already had, nor start one on the default port.

mod cluster;
mod find;
mod install;
mod interrupt;
mod tree;

pub use cluster::{Cluster, Options, Shutdown};
pub use find::{Pg, find};
pub use install::{apt_has, apt_install, obtain, pip_install};
pub use interrupt::stop_servers_on_interrupt;
pub use tree::Tree;

use std::str::FromStr;

/// The majors pss is built and tested for, preferred first when none is asked for.
pub const MAJORS: [u32; 4] = [15, 16, 17, 18];

/// Which server a command wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Any supported major; what is installed comes first.
    Any,
    /// One major.
    Major(u32),
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "any" => Ok(Self::Any),
            _ => text
                .parse()
                .ok()
                .filter(|major| MAJORS.contains(major))
                .map(Self::Major)
                .ok_or_else(|| "expected 15, 16, 17, 18 or any".to_owned()),
        }
    }
}
