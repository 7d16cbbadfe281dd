//! The contestants: tables of one shape, and the way rows get into them.
//!
//! Must never give one what another has not: same columns, same index, same number of partitions.

use anyhow::{Context, Result, ensure};
use postgres::Client;
use postgres::error::SqlState;

use super::rivals;

/// Partitions of every variant that has some.
pub const PARTITIONS: u32 = 8;

/// The one measured against.
pub const NATIVE: &str = "native_hash";

/// A way to store rows.
#[derive(Debug)]
pub struct Variant {
    /// As users and the JSON call it.
    pub name: &'static str,
    /// Table that holds the rows; variants may share it.
    pub table: &'static str,
    /// Table or view that rows are inserted into and selected from.
    pub target: &'static str,
    /// The session's `pss.routing`.
    pub routing: &'static str,
    /// A bulk statement has this part of the rows: slow ones would take most of the time.
    pub share: u32,
    /// Whether rows are also looked up: not where another variant reads the same way.
    pub reads: bool,
}

/// Native hash partitioning, and for each new key a row in a plain table with an index: what any
/// mapping of keys that survives a crash costs at least.
pub const FLOOR: &str = "floor";

/// That table, of the shape of a row map.
pub const FLOOR_MAP: &str = "floor_map";

/// All variants, in the order of the tables.
pub const ALL: [Variant; 10] = [
    Variant { reads: true, ..of("plain", "plain", "planner", 1) },
    Variant { reads: true, ..of(NATIVE, NATIVE, "planner", 1) },
    Variant { reads: true, ..of("planner", "sharded", "planner", 1) },
    of(FLOOR, FLOOR, "planner", 1),
    of("trigger", "sharded", "trigger", 10),
    Variant { target: "sharded_view", ..of("view", "sharded", "planner", 10) },
    Variant { reads: true, ..of("slot", "sharded_slot", "planner", 1) },
    Variant { reads: true, ..of("plpgsql_trigger", rivals::STATIC, "planner", 20) },
    of("plpgsql_dynamic", rivals::DYNAMIC, "planner", 20),
    Variant { target: rivals::VIEW, ..of("plpgsql_view", rivals::BEHIND_VIEW, "planner", 20) },
];

const fn of(name: &'static str, table: &'static str, routing: &'static str, share: u32) -> Variant {
    Variant { name, table, target: table, routing, share, reads: false }
}

/// The variants of these names, and native hash partitioning in any case; all without any name.
pub fn chosen(names: &[String]) -> Result<Vec<&'static Variant>> {
    let stranger = names.iter().find(|name| !ALL.iter().any(|v| v.name == name.as_str()));
    ensure!(
        stranger.is_none(),
        "there is no variant {:?}; there are {}",
        stranger.map_or("", String::as_str),
        ALL.each_ref().map(|v| v.name).join(", ")
    );
    let wanted =
        |v: &&Variant| names.is_empty() || v.name == NATIVE || names.iter().any(|n| n == v.name);
    Ok(ALL.iter().filter(wanted).collect())
}

/// The variant of that name.
pub fn by_name(name: &str) -> Option<&'static Variant> {
    ALL.iter().find(|variant| variant.name == name)
}

/// Whether a variant can be measured on this server.
pub enum Created {
    Ready,
    /// pss has no such feature here; the server's words.
    Lacking(String),
}

/// Creates what a variant needs and is not there yet.
pub fn create(client: &mut Client, variant: &Variant) -> Result<Created> {
    let there = |client: &mut Client, name: &str| -> Result<bool> {
        Ok(client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&name])?.get(0))
    };
    for (name, statements) in
        [(variant.table, table_sql(variant.table)), (variant.target, view_sql(variant.target))]
    {
        if there(client, name)? {
            continue;
        }
        match client.batch_execute(&statements) {
            Ok(()) => {}
            Err(e) if is_lacking(&e) => {
                return Ok(Created::Lacking(
                    e.as_db_error()
                        .map_or_else(|| e.to_string(), |error| error.message().to_owned()),
                ));
            }
            Err(e) => return Err(e).with_context(|| statements),
        }
    }
    Ok(Created::Ready)
}

/// Whether the server says that it does not have what was asked for.
fn is_lacking(e: &postgres::Error) -> bool {
    [
        SqlState::FEATURE_NOT_SUPPORTED,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::INVALID_PARAMETER_VALUE,
    ]
    .iter()
    .any(|state| e.code() == Some(state))
}

/// A table of the common shape, up to its closing parenthesis.
fn columns(table: &str) -> String {
    format!("CREATE TABLE {table} (id bigint NOT NULL, v int, note text)")
}

fn table_sql(table: &str) -> String {
    let create = columns(table);
    let indexed = format!("{create}; CREATE INDEX ON {table} (id);");
    match table {
        "plain" => indexed,
        NATIVE | FLOOR => {
            let leaves = (0..PARTITIONS).map(|i| {
                format!(
                    "CREATE TABLE {table}_{i} PARTITION OF {table}
                         FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {i});"
                )
            });
            let create = format!("{create} PARTITION BY HASH (id); CREATE INDEX ON {table} (id);");
            let map = format!(
                "CREATE TABLE {FLOOR_MAP} (e bigint NOT NULL, virtual_key bigint NOT NULL);
                 CREATE INDEX ON {FLOOR_MAP} (e);"
            );
            let map = if table == FLOOR { map } else { String::new() };
            create + &leaves.collect::<String>() + &map
        }
        "sharded" | "sharded_slot" => {
            let mapping = if table == "sharded" { "row" } else { "slot" };
            format!(
                "{indexed} SELECT count(*) FROM pss_distribute_table(
                     '{table}', 'id', partitions => {PARTITIONS}, mapping => '{mapping}');"
            )
        }
        _ => rivals::table_sql(table, &create),
    }
}

fn view_sql(view: &str) -> String {
    match view {
        "sharded_view" => "CREATE VIEW sharded_view AS SELECT id, v, note FROM sharded;
             CREATE TRIGGER route INSTEAD OF INSERT ON sharded_view
                 FOR EACH ROW EXECUTE FUNCTION pss_insert_row();"
            .to_owned(),
        _ => rivals::view_sql(view),
    }
}

/// Rows `1..=rows`, one a key, as a SELECT with the common columns.
pub fn rows_sql(rows: u64) -> String {
    format!(
        "SELECT g AS id, (g % 1000)::int AS v, 'note of a row' AS note FROM generate_series(1::bigint, {rows}) AS g"
    )
}

/// For [`FLOOR`], what a statement with the new keys `1..=rows` is followed by: a row of the map for
/// each, in the order of pss's own, which keeps runs of 64 neighbours together.
pub fn beside_new(table: &str, rows: u64) -> String {
    if table != FLOOR {
        return String::new();
    }
    format!(
        "; INSERT INTO {FLOOR_MAP} SELECT hashint8extended(g >> 6, 0) << 6 | g & 63, g
           FROM generate_series(1::bigint, {rows}) AS g"
    )
}

/// Empties what a variant stores rows in.
pub fn empty(client: &mut Client, table: &str) -> Result<()> {
    let map = if table == FLOOR { format!(", {FLOOR_MAP}") } else { String::new() };
    Ok(client.batch_execute(&format!("TRUNCATE {table}{map}"))?)
}

/// Stores rows `1..=rows` the quickest way there is.
pub fn fill(client: &mut Client, table: &str, rows: u64) -> Result<()> {
    let select = rows_sql(rows);
    if rivals::ALL.contains(&table) {
        for i in 0..PARTITIONS {
            client.batch_execute(&format!(
                "INSERT INTO {table}_{i} SELECT * FROM ({select}) AS r WHERE id % {PARTITIONS} = {i}"
            ))?;
        }
        return Ok(());
    }
    client.batch_execute("SET pss.routing = planner")?;
    client.batch_execute(&format!("INSERT INTO {table} (id, v, note) {select}"))?;
    Ok(())
}

/// Fails unless the table holds so many rows.
pub fn verify(client: &mut Client, table: &str, rows: u64) -> Result<()> {
    let found: i64 = client.query_one(&format!("SELECT count(*) FROM {table}"), &[])?.get(0);
    ensure!(u64::try_from(found) == Ok(rows), "{table} has {found} rows instead of {rows}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_native_table_is_always_measured() {
        let names = |list: &[&'static Variant]| list.iter().map(|v| v.name).collect::<Vec<_>>();
        let some = chosen(&["slot".to_owned()]).expect("a known name");
        assert_eq!(names(&some), [NATIVE, "slot"]);
        assert_eq!(chosen(&[]).expect("all").len(), ALL.len());
        assert!(chosen(&["citus".to_owned()]).is_err());
    }
}
