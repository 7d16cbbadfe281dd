//! Runs the tests that are compiled into the extension, inside a server: what only a server can
//! test, and no SQL can reach.

use std::sync::Arc;

use anyhow::{Result, bail};

use super::{Session, Tally};
use crate::extension::Package;
use crate::server::{Cluster, Options, Tree};

/// No script declares the function: only this test build has it.
const DECLARE: &str = "CREATE EXTENSION pss;
    CREATE FUNCTION in_server_tests() RETURNS TABLE (test text, failure text)
    LANGUAGE c AS '$libdir/pss', 'pss_in_server_tests_wrapper'";

/// Builds the extension with its tests and runs them in one session.
pub fn in_server(session: &Session) -> Result<Tally> {
    let package = Package::build_with_tests(&session.pg)?;
    let tree = Arc::new(Tree::new(&session.pg, &package)?);
    let cluster = Cluster::start(&tree, Options::default())?;
    cluster.create_database("in_server")?;
    let mut client = cluster.connect("in_server")?;
    client.batch_execute(DECLARE)?;
    let mut tally = Tally::default();
    for row in client.query("SELECT test, failure FROM in_server_tests()", &[])? {
        let (name, failure): (String, Option<String>) = (row.get(0), row.get(1));
        tally.test(&format!("in_server/{name}"), || failure.map_or(Ok(()), |why| bail!("{why}")));
    }
    tally.test("in_server: the server did not crash", || match cluster.crashes() {
        crashes if crashes.is_empty() => Ok(()),
        crashes => bail!("{crashes:?}"),
    });
    Ok(tally)
}
