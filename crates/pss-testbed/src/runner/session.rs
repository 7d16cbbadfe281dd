//! What a test run starts from: a server, the extension built for it, a tree with both.
//!
//! Must never build twice: the runners of one command share a session.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;

use crate::extension::Package;
use crate::paths;
use crate::server::{self, Pg, Tree, Wanted};

/// One server with pss installed into a tree of its own.
pub struct Session {
    pub pg: Pg,
    pub tree: Arc<Tree>,
}

impl Session {
    /// Finds or installs the wanted server, builds pss for it, prepares the tree.
    pub fn open(wanted: Wanted) -> Result<Self> {
        let pg = server::obtain(wanted)?;
        let package = Package::build(&pg)?;
        let tree = Arc::new(Tree::new(&pg, &package)?);
        Ok(Self { pg, tree })
    }

    /// Where a runner leaves what its tests really printed.
    pub fn results(&self, kind: &str) -> Result<PathBuf> {
        let directory =
            paths::repository().join(format!("build/results/pg{}/{kind}", self.pg.major));
        std::fs::create_dir_all(&directory)?;
        Ok(directory)
    }
}
