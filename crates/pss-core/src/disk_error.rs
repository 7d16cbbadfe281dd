//! Which file of a relation a message of the server names.
//!
//! A session that cannot extend or open a file says so by the file's path alone, in a message of
//! any language. This reads that path. It runs where a process reports an error: it must never
//! allocate, and whatever the text is, it answers or passes.

/// The tablespace of files below `base/`.
pub const DEFAULT_TABLESPACE: u32 = 1663;

/// A file of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelationFile<'a> {
    /// OID of its tablespace.
    pub tablespace: u32,
    /// OID of its database.
    pub database: u32,
    /// Number of the relation's files.
    pub node: u32,
    /// The directory it is in, below the data directory.
    pub directory: &'a [u8],
}

/// The first relation file that `message` names: `base/DATABASE/NODE`, or
/// `pg_tblspc/TABLESPACE/VERSION/DATABASE/NODE`, with a fork or segment behind it or not.
/// `None`: it names none, or one of no database.
pub fn relation_file(message: &[u8]) -> Option<RelationFile<'_>> {
    let starts = |prefix: &[u8]| message.windows(prefix.len()).position(|w| w == prefix);
    let (tablespace, from, at) = if let Some(start) = starts(b"pg_tblspc/") {
        let (tablespace, at) = number(message, start + b"pg_tblspc/".len())?;
        let version = slash(message, at)?;
        let length = message.get(version..)?.iter().position(|&c| c == b'/')?;
        (tablespace, start, version + length + 1)
    } else {
        let start = starts(b"base/")?;
        (DEFAULT_TABLESPACE, start, start + b"base/".len())
    };
    let (database, end) = number(message, at)?;
    let (node, _) = number(message, slash(message, end)?)?;
    Some(RelationFile { tablespace, database, node, directory: message.get(from..end)? })
}

/// The decimal number at `at`, above zero, and what comes behind it.
fn number(text: &[u8], at: usize) -> Option<(u32, usize)> {
    let rest = text.get(at..)?;
    let digits = rest.iter().position(|c| !c.is_ascii_digit()).unwrap_or(rest.len());
    let digit = |value: u32, c: &u8| value.checked_mul(10)?.checked_add(u32::from(c - b'0'));
    let value = rest.get(..digits)?.iter().try_fold(0, digit)?;
    (value > 0).then_some((value, at + digits))
}

/// The position behind a slash at `at`.
fn slash(text: &[u8], at: usize) -> Option<usize> {
    (text.get(at) == Some(&b'/')).then_some(at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_the_server_says() {
        let full = b"could not extend file \"base/5/16394\": No space left on device";
        let file = relation_file(full).unwrap();
        assert_eq!((file.tablespace, file.database, file.node), (1663, 5, 16394));
        assert_eq!(file.directory, b"base/5");
        let lost = "konnte Datei »pg_tblspc/16401/PG_15_202209061/5/16402_fsm.1« nicht öffnen";
        let file = relation_file(lost.as_bytes()).unwrap();
        assert_eq!((file.tablespace, file.database, file.node), (16401, 5, 16402));
        assert_eq!(file.directory, b"pg_tblspc/16401/PG_15_202209061/5");
    }

    #[test]
    fn passes_over_all_else() {
        for message in [
            "",
            "base/",
            "base/5",
            "base/5/",
            "base/0/7",
            "base/pgsql_tmp/pgsql_tmp12.0",
            "base/99999999999/7",
            "pg_tblspc/16401",
            "pg_tblspc/16401/PG_15_202209061",
            "pg_tblspc/16401/PG_15_202209061/pgsql_tmp/pgsql_tmp12.0",
            "could not open file \"global/1262\": No such file or directory",
        ] {
            assert_eq!(relation_file(message.as_bytes()), None, "{message}");
        }
    }

    proptest! {
        #[test]
        fn never_fails(message in prop::collection::vec(any::<u8>(), 0..80), head in "(base/|pg_tblspc/[0-9]{0,12}/?|)[0-9/]{0,20}") {
            let text = [head.as_bytes(), &message].concat();
            if let Some(file) = relation_file(&text) {
                prop_assert!(file.node > 0 && file.database > 0 && file.tablespace > 0);
            }
        }
    }
}
