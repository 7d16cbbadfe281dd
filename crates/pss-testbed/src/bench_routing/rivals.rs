//! What people write by hand: inheritance children filled by PL/pgSQL triggers.
//!
//! They get no CHECK constraints, which would cost them time and prunes nothing here: a rival must
//! never be slower than it has to be.

use super::variants::PARTITIONS;

/// A BEFORE INSERT trigger with one static IF a partition.
pub const STATIC: &str = "rival_static";
/// A BEFORE INSERT trigger that EXECUTEs text.
pub const DYNAMIC: &str = "rival_dynamic";
/// An INSTEAD OF INSERT trigger, over `BEHIND_VIEW`.
pub const VIEW: &str = "rival_view";
/// The rows behind `VIEW`.
pub const BEHIND_VIEW: &str = "rival_rows";

/// Tables of rivals; each has children `TABLE_0`, `TABLE_1`, ...
pub const ALL: [&str; 3] = [STATIC, DYNAMIC, BEHIND_VIEW];

/// Creates a rival's table (by the statement `create`), its children and its trigger.
pub fn table_sql(table: &str, create: &str) -> String {
    let children = (0..PARTITIONS).map(|i| {
        format!("CREATE TABLE {table}_{i} () INHERITS ({table}); CREATE INDEX ON {table}_{i} (id);")
    });
    let trigger = match table {
        STATIC => before_insert(table, &static_inserts(table)),
        DYNAMIC => before_insert(table, &dynamic_insert(table)),
        _ => String::new(),
    };
    format!("{create}; {}{trigger}", children.collect::<String>())
}

/// Creates the rival view.
pub fn view_sql(view: &str) -> String {
    format!(
        "CREATE VIEW {view} AS SELECT * FROM {BEHIND_VIEW};
         CREATE FUNCTION {view}_insert() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             {} RETURN NEW;
         END $$;
         CREATE TRIGGER route INSTEAD OF INSERT ON {view}
             FOR EACH ROW EXECUTE FUNCTION {view}_insert();",
        static_inserts(BEHIND_VIEW)
    )
}

fn before_insert(table: &str, body: &str) -> String {
    format!(
        "CREATE FUNCTION {table}_insert() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             {body} RETURN NULL;
         END $$;
         CREATE TRIGGER route BEFORE INSERT ON {table}
             FOR EACH ROW EXECUTE FUNCTION {table}_insert();"
    )
}

fn static_inserts(table: &str) -> String {
    let branches = (0..PARTITIONS).map(|i| {
        let word = if i == 0 { "IF" } else { "ELSIF" };
        format!("{word} NEW.id % {PARTITIONS} = {i} THEN INSERT INTO {table}_{i} VALUES (NEW.*);\n")
    });
    branches.collect::<String>() + "END IF;"
}

fn dynamic_insert(table: &str) -> String {
    format!(
        "EXECUTE format('INSERT INTO {table}_%s VALUES ($1.*)', NEW.id % {PARTITIONS}) USING NEW;"
    )
}
