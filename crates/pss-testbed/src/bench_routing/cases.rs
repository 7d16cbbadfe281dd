//! What is measured, by the names that users and the JSON know.

use anyhow::{Result, ensure};

/// Keys of the rows that are inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Nobody has seen them.
    New,
    /// They have rows and a home; nobody inserted more rows of them since.
    Cold,
    /// The same, touched before by this server, so that its caches may know them.
    Known,
}

/// One thing that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    InsertSelect(Keys),
    Copy(Keys),
    /// Single-row prepared inserts by so many clients of pgbench.
    Pgbench(u32, Keys),
    /// Prepared SELECT of a key's rows by 4 clients.
    KeyedSelect,
}

/// All cases, in the order of the tables.
pub const ALL: [Case; 10] = [
    Case::InsertSelect(Keys::Known),
    Case::InsertSelect(Keys::Cold),
    Case::InsertSelect(Keys::New),
    Case::Copy(Keys::Known),
    Case::Copy(Keys::New),
    Case::Pgbench(4, Keys::Known),
    Case::Pgbench(4, Keys::New),
    Case::Pgbench(16, Keys::Known),
    Case::Pgbench(16, Keys::New),
    Case::KeyedSelect,
];

impl Case {
    /// As users and the JSON call it.
    pub fn name(self) -> String {
        let of = |keys| match keys {
            Keys::New => "new",
            Keys::Cold => "known_cold",
            Keys::Known => "known",
        };
        match self {
            Case::InsertSelect(keys) => format!("insert_select_{}", of(keys)),
            Case::Copy(keys) => format!("copy_{}", of(keys)),
            Case::Pgbench(clients, keys) => format!("pgbench{clients}_{}", of(keys)),
            Case::KeyedSelect => "keyed_select".to_owned(),
        }
    }

    /// Whether one statement carries all rows.
    pub fn is_bulk(self) -> bool {
        matches!(self, Case::InsertSelect(_) | Case::Copy(_))
    }
}

/// The cases whose name contains one of `parts`; all without any.
pub fn chosen(parts: &[String]) -> Result<Vec<Case>> {
    let names = || ALL.map(Case::name);
    let stranger = parts.iter().find(|part| !names().iter().any(|n| n.contains(part.as_str())));
    ensure!(
        stranger.is_none(),
        "there is no case {:?}; there are {}",
        stranger.map_or("", String::as_str),
        names().join(", ")
    );
    let wanted = |case: &Case| {
        parts.is_empty() || parts.iter().any(|part| case.name().contains(part.as_str()))
    };
    Ok(ALL.into_iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_chosen_by_parts_of_their_names() {
        assert_eq!(chosen(&[]).expect("all"), ALL);
        let new = chosen(&["copy_new".to_owned(), "keyed".to_owned()]).expect("known names");
        assert_eq!(new, [Case::Copy(Keys::New), Case::KeyedSelect]);
        assert!(chosen(&["upsert".to_owned()]).is_err());
    }
}
