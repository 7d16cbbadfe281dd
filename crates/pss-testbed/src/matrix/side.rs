//! One side of a comparison: the session and schema of a sharded table, or of its twin.
//!
//! Must never let one form see what another left: each begins with rolled back transactions,
//! default settings and freshly seeded tables.

use anyhow::{Result, bail, ensure};

use crate::server::Cluster;

use super::door::{Door, Stands};
use super::script::Fixture;
use super::statement::{Outcome, Statement, run};
use super::wire::Wire;

/// Where the tables are made.
pub const DATABASE: &str = "matrix";

/// A session that sees one of the two tables by the name `t`.
pub struct Side {
    wire: Wire,
    door: &'static Door,
    sharded: bool,
    /// What `{dir}` in a statement stands for: a directory the server may write to.
    directory: String,
}

impl Side {
    /// Connects to the database that the tables are made in.
    pub fn connect(
        cluster: &Cluster,
        door: &'static Door,
        sharded: bool,
        directory: &str,
    ) -> Result<Self> {
        let side = if sharded { "" } else { "_twin" };
        let directory = format!("{directory}/{}{side}_", door.name);
        let wire = Wire::connect(&cluster.socket(), DATABASE)?;
        Ok(Self { wire, door, sharded, directory })
    }

    /// Schema of the fixture's tables.
    fn schema(&self, fixture: &Fixture) -> String {
        let side = if self.sharded { "" } else { "_twin" };
        format!("{}_{}{side}", fixture.name, self.door.name)
    }

    /// Makes the fixture; what failed, if it did.
    pub fn make(&mut self, fixture: &Fixture) -> Result<Option<Outcome>> {
        let schema = self.schema(fixture);
        self.reset(&schema)?;
        self.must(&format!("CREATE SCHEMA {schema}"))?;
        for statement in &fixture.create {
            self.must_run(statement)?;
        }
        if self.sharded {
            let (key, options) = (&fixture.key, self.door.distribution);
            let distribute = format!("SELECT pss_distribute_table('t', '{key}', {options})");
            let outcome = self.wire.query(&distribute, None)?;
            if matches!(outcome, Outcome::Failed { .. }) {
                return Ok(Some(outcome));
            }
        } else {
            for statement in &fixture.twin {
                self.must_run(statement)?;
            }
        }
        for statement in &fixture.after {
            self.must_run(statement)?;
        }
        match self.door.stands {
            Stands::Table => {}
            Stands::View => self.must(&format!(
                "CREATE SCHEMA {schema}_d; GRANT USAGE ON SCHEMA {schema}_d TO PUBLIC;
                 CREATE VIEW {schema}_d.t AS SELECT * FROM t;
                 GRANT ALL ON {schema}_d.t TO PUBLIC"
            ))?,
            Stands::Leaf if self.sharded => self.must(&format!(
                "CREATE SCHEMA {schema}_d; GRANT USAGE ON SCHEMA {schema}_d TO PUBLIC;
                 DO $$ DECLARE leaf regclass; BEGIN
                     SELECT p.leaf INTO leaf FROM pss.partition AS p
                     WHERE p.relation = 't'::regclass;
                     EXECUTE format('ALTER TABLE %s SET SCHEMA {schema}_d', leaf);
                     EXECUTE format('ALTER TABLE %s RENAME TO t', leaf);
                 END $$"
            ))?,
            Stands::Leaf => {}
        }
        Ok(None)
    }

    /// Prepares for a form: seeds, settings, and calls where the door wants them.
    pub fn prepare(&mut self, fixture: &Fixture) -> Result<()> {
        let schema = self.schema(fixture);
        self.reset(&schema)?;
        for statement in &fixture.seed {
            self.must_run(statement)?;
        }
        if self.sharded && self.door.calls_first {
            self.must(&format!(
                "DROP TABLE IF EXISTS called;
                 CREATE TABLE called (k text, partition int);
                 INSERT INTO called SELECT * FROM unnest({keys}, pss_get_partitions('t', {keys}))",
                keys = fixture.keys
            ))?;
        }
        self.must(self.door.session)?;
        if self.door.stands != Stands::Table {
            let path = format!("SET search_path = {schema}_d, {schema}, public");
            self.must(&path)?;
        }
        Ok(())
    }

    fn reset(&mut self, schema: &str) -> Result<()> {
        // Outside a transaction the first is only a warning.
        self.must("ROLLBACK")?;
        self.must(&format!(
            "RESET SESSION AUTHORIZATION; RESET ALL; DEALLOCATE ALL; CLOSE ALL;
             DISCARD TEMP;
             SET search_path = {schema}, public"
        ))
    }

    /// Runs a statement of a form through the door.
    pub fn run(&mut self, statement: &Statement) -> Result<Outcome> {
        let sql = statement.sql.replace("{dir}", &self.directory).replace("{door}", self.door.name);
        let statement = Statement { sql, data: statement.data.clone() };
        run(&mut self.wire, &statement, self.door.protocol)
    }

    /// All rows of the table itself, when a form is over.
    pub fn contents(&mut self, fixture: &Fixture) -> Result<Outcome> {
        let schema = self.schema(fixture);
        self.reset(&schema)?;
        self.wire.query("TABLE t", None)
    }

    /// Runs a query of the testbed's own that returns one text; NULL is none.
    pub fn ask(&mut self, query: &str) -> Result<Option<String>> {
        match self.wire.query(query, None)? {
            Outcome::Done { rows, .. } => Ok(rows.into_iter().flatten().next().flatten()),
            failed @ Outcome::Failed { .. } => bail!("{query}\n{failed:?}"),
        }
    }

    fn must(&mut self, sql: &str) -> Result<()> {
        self.ask(sql).map(drop)
    }

    fn must_run(&mut self, statement: &Statement) -> Result<()> {
        ensure!(statement.data.is_none(), "COPY data belongs to forms: {}", statement.sql);
        self.must(&statement.sql)
    }
}
