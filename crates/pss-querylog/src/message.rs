//! What a logged message says was run.
//!
//! The server writes these messages in the language of lc_messages; only English ones are known
//! here. Must never take a line that reports a step (parse, bind) or a duration alone for a
//! statement that was run: it would count twice.

/// A statement as the log shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// Milliseconds it took; `None`: logged when it began.
    pub duration_ms: Option<f64>,
    /// Its text, parameters as `$1`.
    pub text: String,
    /// Values of `$1`, `$2`, ...; `None`: NULL, cut off, or not logged.
    pub parameters: Vec<Option<String>>,
}

/// Parameters beyond this number are not read: the protocol has no more.
const MAX_PARAMETERS: usize = 65_535;

/// No statement runs for longer than this (four months): the line is damaged.
const LONGEST_MS: f64 = 1e10;

impl Statement {
    /// Reads message and detail of a record; `None` if they do not report a statement that was
    /// run.
    pub fn parse(message: &str, detail: &str) -> Option<Statement> {
        let (duration_ms, rest) = duration(message);
        let text = match rest.strip_prefix("statement: ") {
            Some(text) => text,
            None => executed(rest, duration_ms.is_some())?,
        };
        let list = ["parameters: ", "Parameters: "].iter().find_map(|p| detail.strip_prefix(p));
        let parameters = list.map(parameters).unwrap_or_default();
        Some(Statement { duration_ms, text: text.to_owned(), parameters })
    }
}

/// Strips `duration: 1.234 ms  ` off a message.
fn duration(message: &str) -> (Option<f64>, &str) {
    let parse = || {
        let (number, rest) = message.strip_prefix("duration: ")?.split_once(" ms  ")?;
        let ms: f64 = number.parse().ok()?;
        (0.0..=LONGEST_MS).contains(&ms).then_some((Some(ms), rest))
    };
    parse().unwrap_or((None, message))
}

/// The text after `execute NAME: ` or `execute NAME/PORTAL: `. Fetching on from a portal is part
/// of a statement that was logged before: it counts for the time it took alone.
fn executed(rest: &str, timed: bool) -> Option<&str> {
    let name_and_text = rest.strip_prefix("execute ")?;
    let (name, text) = name_and_text.split_once(": ")?;
    (timed || !name.starts_with("fetch from ")).then_some(text)
}

/// Reads `$1 = '42', $2 = NULL`, as far as it goes.
fn parameters(mut list: &str) -> Vec<Option<String>> {
    let mut values = Vec::new();
    while let Some((number, value)) = list.strip_prefix('$').and_then(|rest| rest.split_once(" = "))
    {
        let in_order = number.parse() == Ok(values.len() + 1);
        if !in_order || values.len() == MAX_PARAMETERS {
            break;
        }
        let (value, rest) = match value.strip_prefix('\'') {
            Some(quoted) => match unquote(quoted) {
                Some((value, rest)) => (known(value), rest),
                None => break,
            },
            None => match value.strip_prefix("NULL") {
                Some(rest) => (None, rest),
                None => break,
            },
        };
        values.push(value);
        match rest.strip_prefix(", ") {
            Some(rest) => list = rest,
            None => break,
        }
    }
    values
}

/// A value cut by log_parameter_max_length is not the value.
fn known(value: String) -> Option<String> {
    (!value.ends_with("...")).then_some(value)
}

/// Reads up to the closing quote, doubled quotes being one; returns what follows too.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = quoted;
    loop {
        let (before, after) = rest.split_once('\'')?;
        value.push_str(before);
        match after.strip_prefix('\'') {
            Some(further) => {
                value.push('\'');
                rest = further;
            }
            None => return Some((value, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(message: &str) -> Option<(Option<f64>, String)> {
        Statement::parse(message, "").map(|s| (s.duration_ms, s.text))
    }

    #[test]
    fn statements_are_found_with_and_without_their_duration() {
        let cases = [
            ("statement: SELECT 1", None, "SELECT 1"),
            ("duration: 1.234 ms  statement: SELECT 1", Some(1.234), "SELECT 1"),
            ("execute <unnamed>: SELECT $1", None, "SELECT $1"),
            ("duration: 0.5 ms  execute q/p: SELECT $1", Some(0.5), "SELECT $1"),
            ("duration: 2 ms  execute fetch from q/p: SELECT $1", Some(2.0), "SELECT $1"),
            ("statement: SELECT 'a\n: b'", None, "SELECT 'a\n: b'"),
        ];
        for (message, duration, text) in cases {
            assert_eq!(text_of(message), Some((duration, text.to_owned())), "{message}");
        }
    }

    #[test]
    fn what_was_not_run_is_no_statement() {
        for message in [
            "",
            "duration: 1.234 ms",
            "duration: 1.234 ms  parse <unnamed>: SELECT 1",
            "duration: 1.234 ms  bind <unnamed>: SELECT 1",
            "duration: 1.234 ms  plan:\nQuery Text: SELECT 1",
            "duration: inf ms  statement: SELECT 1",
            "execute fetch from q/p: SELECT $1",
            "connection authorized: user=a",
            "Anweisung: SELECT 1",
        ] {
            assert_eq!(text_of(message), None, "{message}");
        }
    }

    #[test]
    fn parameters_of_old_and_new_servers() {
        let parameters = |detail| {
            Statement::parse("execute q: SELECT $1", detail).map_or(vec![], |s| s.parameters)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(parameters("parameters: $1 = '42', $2 = NULL"), [some("42"), None]);
        assert_eq!(
            parameters("Parameters: $1 = 'it''s, $2 = x', $2 = ''"),
            [some("it's, $2 = x"), some("")]
        );
        assert_eq!(parameters("parameters: $1 = 'lon...', $2 = '7'"), [None, some("7")]);
        assert_eq!(parameters("parameters: $2 = '42'"), []);
        assert_eq!(parameters("parameters: $1 = '42"), []);
        assert_eq!(parameters("prepare: PREPARE q AS SELECT 1"), []);
    }
}
