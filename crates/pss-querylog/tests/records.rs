//! Whole logs through the reader: what is read, what is skipped, and that pieces do not matter.

use proptest::prelude::*;
use pss_querylog::{Entry, Format, MAX_RECORD, Reader, Record};

fn read(format: Format, bytes: &[u8], cuts: &[usize]) -> Vec<Record> {
    let mut reader = Reader::new(format);
    let mut records = Vec::new();
    let mut start = 0;
    let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (bytes.len() + 1)).collect();
    cuts.sort_unstable();
    for cut in cuts {
        reader.feed(&bytes[start..cut], |r| records.push(r));
        start = cut;
    }
    reader.feed(&bytes[start..], |r| records.push(r));
    reader.finish(|r| records.push(r));
    records
}

fn entries(records: &[Record]) -> Vec<&Entry> {
    let mut entries = Vec::new();
    for record in records {
        if let Record::Statement(entry) = record {
            entries.push(entry);
        }
    }
    entries
}

fn damaged(records: &[Record]) -> usize {
    records.iter().filter(|r| **r == Record::Damaged).count()
}

/// A line as the server writes it, with `columns` columns.
fn csv(columns: usize, message: &str, detail: &str) -> String {
    let quote = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut fields = vec![String::new(); columns];
    fields[0] = "2026-03-01 12:00:00.123 UTC".to_owned();
    fields[1] = quote("ann");
    fields[2] = quote("shop");
    fields[7] = quote("SELECT");
    fields[11] = "LOG".to_owned();
    fields[12] = "00000".to_owned();
    fields[13] = quote(message);
    fields[14] = if detail.is_empty() { String::new() } else { quote(detail) };
    fields.join(",") + "\n"
}

fn json(message: &str, detail: &str) -> String {
    let line = serde_json::json!({
        "timestamp": "2026-03-01 12:00:00.123 UTC", "user": "ann", "dbname": "shop", "pid": 42,
        "ps": "SELECT", "error_severity": "LOG", "message": message, "detail": detail,
        "backend_type": "client backend", "query_id": 0,
    });
    line.to_string() + "\n"
}

const SQL: &str = "SELECT 'a,\n\"b\"' FROM t\r\nWHERE k = $1";

#[test]
fn all_formats_say_the_same() {
    let message = format!("duration: 1.500 ms  execute q: {SQL}");
    let detail = "parameters: $1 = 'x'";
    let of = |records: Vec<Record>| {
        let found = entries(&records);
        assert_eq!((records.len(), found.len()), (1, 1), "{records:?}");
        assert_eq!(found[0].database, "shop");
        assert_eq!(found[0].time.wall_us, 1_772_366_400_123_000);
        assert_eq!(found[0].statement.text, SQL);
        assert_eq!(found[0].statement.duration_ms, Some(1.5));
        assert_eq!(found[0].statement.parameters, [Some("x".to_owned())]);
    };
    for columns in [23, 24, 26] {
        of(read(Format::Csvlog, csv(columns, &message, detail).as_bytes(), &[]));
    }
    of(read(Format::Jsonlog, json(&message, detail).as_bytes(), &[]));
}

#[test]
fn a_record_cut_by_a_crash_costs_itself_and_at_most_the_next() {
    let whole = csv(26, "statement: SELECT 1", "");
    let cut = &whole[..whole.find("SELECT 1").unwrap_or_default() + 3];
    let log = format!("{whole}{cut}{whole}{whole}{whole}");
    let records = read(Format::Csvlog, log.as_bytes(), &[]);
    assert_eq!((entries(&records).len(), damaged(&records)), (3, 1), "{records:?}");

    let whole = json("statement: SELECT 1", "");
    let cut = &whole[..60];
    let log = format!("{whole}{cut}\n{whole}not json\n\n{whole}[1]\n{{\"message\":5}}\n");
    let records = read(Format::Jsonlog, log.as_bytes(), &[]);
    assert_eq!((entries(&records).len(), damaged(&records)), (3, 4), "{records:?}");
}

#[test]
fn bytes_that_are_no_utf8_harm_only_themselves() {
    for (format, line) in [
        (Format::Csvlog, csv(26, "statement: SELECT 'X' FROM t", "")),
        (Format::Jsonlog, json("statement: SELECT 'X' FROM t", "")),
    ] {
        let bytes: Vec<u8> = line.bytes().map(|b| if b == b'X' { 0xe9 } else { b }).collect();
        let records = read(format, &bytes, &[]);
        assert_eq!(entries(&records)[0].statement.text, "SELECT '\u{fffd}' FROM t");
    }
}

#[test]
fn a_record_without_an_end_is_not_hoarded() {
    let long = "x".repeat(MAX_RECORD + 10);
    let whole = csv(26, "statement: SELECT 1", "");
    let log = format!("{whole}{}{whole}", csv(26, &long, ""));
    let records = read(Format::Csvlog, log.as_bytes(), &[]);
    assert_eq!((entries(&records).len(), damaged(&records)), (2, 1));

    let whole = json("statement: SELECT 1", "");
    let log = format!("{whole}{}{whole}", json(&long, ""));
    let records = read(Format::Jsonlog, log.as_bytes(), &[100, MAX_RECORD / 2, MAX_RECORD]);
    assert_eq!((entries(&records).len(), damaged(&records)), (2, 1));
}

#[test]
fn formats_go_by_the_names_that_the_server_uses() {
    assert_eq!(Format::from_path("log/postgresql-1.csv"), Some(Format::Csvlog));
    assert_eq!(Format::from_path("log/postgresql-1.json"), Some(Format::Jsonlog));
    assert_eq!(Format::from_path("log/postgresql-1.log"), None);
    assert_eq!(Format::from_name("jsonlog"), Some(Format::Jsonlog));
    assert_eq!(Format::from_name("stderr"), None);
}

fn any_log() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => ("statement: \\PC*", "").prop_map(|(m, d)| csv(26, &m, &d).into_bytes()),
        3 => ("duration: 2.0 ms  execute q: .*", "parameters: \\$1 = '.*'")
            .prop_map(|(m, d)| json(&m, &d).into_bytes()),
        2 => proptest::collection::vec(any::<u8>(), 0..200),
        2 => proptest::collection::vec(
            prop::sample::select(vec![b'"', b',', b'\n', b'\r', b'{', b'}', b'\\', 0xef, 0xbb, 0xbf]),
            0..40,
        ),
        1 => (proptest::collection::vec(any::<u8>(), 0..80)).prop_map(|tail| {
            let mut cut = csv(24, "statement: SELECT \"1\"", "").as_bytes()[..90].to_vec();
            cut.extend(tail);
            cut
        }),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn where_pieces_end_does_not_matter(
        log in any_log(),
        cuts in proptest::collection::vec(any::<usize>(), 0..20),
    ) {
        for format in [Format::Csvlog, Format::Jsonlog] {
            prop_assert_eq!(read(format, &log, &[]), read(format, &log, &cuts));
        }
    }

    #[test]
    fn what_the_server_writes_is_read_back(
        statements in proptest::collection::vec("[^\0]*", 1..6),
        values in proptest::collection::vec(proptest::option::of("[^\0.]*"), 0..4),
    ) {
        let literal = |v: &Option<String>| {
            v.as_ref().map_or("NULL".to_owned(), |v| format!("'{}'", v.replace('\'', "''")))
        };
        let list: Vec<String> =
            values.iter().enumerate().map(|(i, v)| format!("${} = {}", i + 1, literal(v))).collect();
        let detail = if list.is_empty() { String::new() } else { format!("parameters: {}", list.join(", ")) };
        let message = |s: &String| format!("execute <unnamed>: {s}");
        let csv: String = statements.iter().map(|s| csv(26, &message(s), &detail)).collect();
        let json: String = statements.iter().map(|s| json(&message(s), &detail)).collect();
        for (format, log) in [(Format::Csvlog, csv), (Format::Jsonlog, json)] {
            let records = read(format, log.as_bytes(), &[]);
            let found: Vec<&str> = entries(&records).iter().map(|e| e.statement.text.as_str()).collect();
            prop_assert_eq!(found, statements.iter().map(String::as_str).collect::<Vec<_>>());
            for entry in entries(&records) {
                prop_assert_eq!(&entry.statement.parameters, &values);
            }
        }
    }
}
