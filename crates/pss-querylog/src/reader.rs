//! Bytes of a log, in pieces of any size, to records.
//!
//! Holds one record at most, and no more than [`MAX_RECORD`] bytes of it. Where a piece ends
//! must never change what is read.

use csv_core::ReadRecordResult;

use crate::{Record, csvlog, jsonlog};

/// Longer records are skipped as damaged: no quote or end of line was found for so long.
pub const MAX_RECORD: usize = 4 << 20;

/// Bytes of a record that room is made for at first.
const FIRST_ROOM: usize = 4096;
/// More fields than any version's csvlog has.
const MAX_FIELDS: usize = 64;

/// The two formats of which a record can be told from the next with certainty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values; newlines and doubled quotes inside quotes.
    Csvlog,
    /// One JSON object a line.
    Jsonlog,
}

impl Format {
    /// By the name that log_destination gives it.
    pub fn from_name(name: &str) -> Option<Format> {
        match name {
            "csvlog" => Some(Format::Csvlog),
            "jsonlog" => Some(Format::Jsonlog),
            _ => None,
        }
    }

    /// By the ending that the server gives its log files.
    pub fn from_path(path: &str) -> Option<Format> {
        match path.rsplit_once('.')?.1 {
            "csv" => Some(Format::Csvlog),
            "json" => Some(Format::Jsonlog),
            _ => None,
        }
    }
}

/// Reads one log from its beginning.
pub struct Reader(State);

enum State {
    Csv(Box<CsvState>),
    Json(JsonState),
}

impl Reader {
    /// A reader that has read nothing.
    pub fn new(format: Format) -> Reader {
        Reader(match format {
            Format::Csvlog => State::Csv(Box::new(CsvState::new())),
            Format::Jsonlog => State::Json(JsonState::default()),
        })
    }

    /// Takes in the next bytes and gives `emit` each record that they complete.
    pub fn feed(&mut self, bytes: &[u8], mut emit: impl FnMut(Record)) {
        match &mut self.0 {
            State::Csv(state) => state.feed(bytes, &mut emit),
            State::Json(state) => state.feed(bytes, &mut emit),
        }
    }

    /// Gives `emit` the last record, if the log does not end with one's end.
    pub fn finish(self, mut emit: impl FnMut(Record)) {
        match self.0 {
            State::Csv(state) => state.finish(&mut emit),
            State::Json(state) => state.finish(&mut emit),
        }
    }
}

struct CsvState {
    parser: csv_core::Reader,
    fields: Vec<u8>,
    written: usize,
    ends: [usize; MAX_FIELDS],
    ended: usize,
    /// The record is too long to be one: what comes of it is thrown away.
    overflown: bool,
}

impl CsvState {
    fn new() -> CsvState {
        let mut state = CsvState {
            parser: csv_core::Reader::new(),
            fields: vec![0; FIRST_ROOM],
            written: 0,
            ends: [0; MAX_FIELDS],
            ended: 0,
            overflown: false,
        };
        // The parser strips a byte order mark, but only from one piece; no log begins with one.
        state.feed(b"\n", &mut |_| {});
        state
    }

    fn feed(&mut self, mut bytes: &[u8], emit: &mut impl FnMut(Record)) {
        while !bytes.is_empty() {
            let read = self.step(bytes, emit);
            bytes = &bytes[read..];
        }
    }

    fn finish(mut self, emit: &mut impl FnMut(Record)) {
        // No bytes: the end. Full outputs are enlarged or emptied, so this comes to an end.
        while self.parse(&[], emit).1 {}
    }

    fn step(&mut self, bytes: &[u8], emit: &mut impl FnMut(Record)) -> usize {
        self.parse(bytes, emit).0
    }

    /// One step of the parser: bytes read, and whether it has more to say without any.
    fn parse(&mut self, bytes: &[u8], emit: &mut impl FnMut(Record)) -> (usize, bool) {
        let (result, read, written, ended) = self.parser.read_record(
            bytes,
            &mut self.fields[self.written..],
            &mut self.ends[self.ended..],
        );
        self.written += written;
        self.ended += ended;
        match result {
            ReadRecordResult::InputEmpty | ReadRecordResult::End => return (read, false),
            ReadRecordResult::OutputFull if self.fields.len() < MAX_RECORD => {
                self.fields.resize(self.fields.len() * 2, 0);
            }
            ReadRecordResult::OutputFull => {
                self.overflown = true;
                self.written = 0;
            }
            ReadRecordResult::OutputEndsFull => {
                self.overflown = true;
                self.ended = 0;
            }
            ReadRecordResult::Record => {
                emit(match self.overflown {
                    true => Record::Damaged,
                    false => csvlog::record(&self.fields[..self.written], &self.ends[..self.ended]),
                });
                (self.written, self.ended, self.overflown) = (0, 0, false);
            }
        }
        (read, true)
    }
}

#[derive(Default)]
struct JsonState {
    /// Beginning of a line whose end is still to come.
    line: Vec<u8>,
    overflown: bool,
}

impl JsonState {
    fn feed(&mut self, bytes: &[u8], emit: &mut impl FnMut(Record)) {
        for piece in bytes.split_inclusive(|&b| b == b'\n') {
            if self.line.len() + piece.len() > MAX_RECORD {
                self.line.clear();
                self.overflown = true;
            }
            if !self.overflown {
                self.line.extend_from_slice(piece);
            }
            if piece.ends_with(b"\n") {
                self.end_line(emit);
            }
        }
    }

    fn finish(mut self, emit: &mut impl FnMut(Record)) {
        self.end_line(emit);
    }

    fn end_line(&mut self, emit: &mut impl FnMut(Record)) {
        if self.overflown {
            emit(Record::Damaged);
        } else if let Some(record) = jsonlog::record(&self.line) {
            emit(record);
        }
        self.line.clear();
        self.overflown = false;
    }
}
