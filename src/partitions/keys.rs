//! Unique keys as text: appending pss_partition to a key, and taking it away.
//!
//! A unique index of a partitioned table must contain the partition column. In
//! `row` mode a key has one home, so a key that contains the distribution column
//! stays globally unique when pss_partition is appended.

const APPENDED: &str = ", pss_partition";

/// `CREATE UNIQUE INDEX ... (a, b) ...` or `UNIQUE (a, b) ...` with pss_partition appended to
/// the key.
pub fn extend(definition: &str) -> String {
    match key_end(definition) {
        Some(end) => format!("{}{APPENDED}{}", &definition[..end], &definition[end..]),
        None => definition.to_owned(),
    }
}

/// The inverse of [`extend`].
pub fn strip(definition: &str) -> String {
    match key_end(definition) {
        Some(end) if definition[..end].ends_with(APPENDED) => {
            format!("{}{}", &definition[..end - APPENDED.len()], &definition[end..])
        }
        _ => definition.to_owned(),
    }
}

/// Where storage options go in the definition of a constraint: behind the key and what it includes.
pub fn with_options(definition: &str, options: &str) -> String {
    let Some(mut end) = key_end(definition).map(|end| end + 1) else {
        return definition.to_owned();
    };
    if definition[end..].starts_with(" INCLUDE (") {
        end += key_end(&definition[end..]).map_or(0, |e| e + 1);
    }
    format!("{} WITH ({options}){}", &definition[..end], &definition[end..])
}

/// Position of the parenthesis that closes the first parenthesized list. Parentheses in quoted
/// names and in literals do not count.
fn key_end(definition: &str) -> Option<usize> {
    let mut depth = 0;
    let mut quote: Option<u8> = None;
    for (at, byte) in definition.bytes().enumerate() {
        match (quote, byte) {
            (Some(open), _) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'(') => depth += 1,
            (None, b')') => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}
