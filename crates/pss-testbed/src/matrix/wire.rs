//! A client that sees what a client sees: rows as text, the whole command tag, the error's fields,
//! also of COPY, by either protocol (PostgreSQL documentation, chapter "Frontend/Backend Protocol").
//!
//! For a server that trusts local connections. Must never hide an answer: what it does not
//! understand is an error.

use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::statement::Outcome;

/// Version 3.0 of the protocol.
const PROTOCOL: i32 = 3 << 16;

/// A session.
pub struct Wire {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Wire {
    /// Connects to the server's socket as the superuser.
    pub fn connect(socket: &Path, database: &str) -> Result<Self> {
        let writer = UnixStream::connect(socket)
            .with_context(|| format!("cannot connect to {}", socket.display()))?;
        let mut wire = Self { reader: BufReader::new(writer.try_clone()?), writer };
        let mut startup = PROTOCOL.to_be_bytes().to_vec();
        for text in ["user", "postgres", "database", database, ""] {
            push_text(&mut startup, text);
        }
        let length = i32::try_from(startup.len() + 4)?;
        wire.writer.write_all(&length.to_be_bytes())?;
        wire.writer.write_all(&startup)?;
        match wire.answer(None)? {
            Outcome::Done { .. } => Ok(wire),
            failed @ Outcome::Failed { .. } => bail!("no session: {failed:?}"),
        }
    }

    /// Sends `sql` by the simple protocol; `data` is for COPY ... FROM STDIN.
    pub fn query(&mut self, sql: &str, data: Option<&str>) -> Result<Outcome> {
        let mut body = Vec::new();
        push_text(&mut body, sql);
        self.send(b'Q', &body)?;
        self.answer(data)
    }

    /// Parses, binds without parameters and executes one statement.
    pub fn execute(&mut self, sql: &str) -> Result<Outcome> {
        let mut parse = vec![0]; // an unnamed statement
        push_text(&mut parse, sql);
        parse.extend([0, 0]); // no types of parameters
        self.send(b'P', &parse)?;
        self.send(b'B', &[0; 8])?; // unnamed; no formats, parameters, or formats of results
        self.send(b'D', b"P\0")?;
        self.send(b'E', &[0; 5])?; // all rows of the unnamed portal
        self.send(b'S', &[])?;
        self.answer(None)
    }

    fn send(&mut self, kind: u8, body: &[u8]) -> Result<()> {
        let mut message = vec![kind];
        message.extend(i32::try_from(body.len() + 4)?.to_be_bytes());
        message.extend(body);
        Ok(self.writer.write_all(&message)?)
    }

    /// Reads up to "ready for query"; of several statements the last result counts.
    fn answer(&mut self, data: Option<&str>) -> Result<Outcome> {
        let (mut columns, mut rows, mut tag) = (Vec::new(), Vec::new(), String::new());
        let mut error = None;
        loop {
            let (kind, body) = self.receive()?;
            let mut body = body.as_slice();
            match kind {
                b'T' => {
                    rows.clear();
                    columns.clear();
                    for _ in 0..take_i16(&mut body)? {
                        columns.push(take_text(&mut body)?);
                        take(&mut body, 18)?; // where it comes from, its type
                    }
                }
                b'D' => {
                    let n = take_i16(&mut body)?;
                    rows.push((0..n).map(|_| take_value(&mut body)).collect::<Result<_>>()?);
                }
                b'C' => tag = take_text(&mut body)?,
                b'E' => error = Some(failed(body)?),
                b'G' => {
                    self.send(b'd', data.unwrap_or_default().as_bytes())?;
                    self.send(b'c', &[])?;
                }
                b'H' => columns = vec!["line".into()],
                b'd' => rows.push(vec![Some(String::from_utf8_lossy(body).into_owned())]),
                b'Z' => return Ok(error.unwrap_or(Outcome::Done { columns, rows, tag })),
                b'R' => ensure!(body == [0; 4], "the server wants authentication"),
                // Completion of parse, bind, copy; no data; notices, settings, the key to cancel.
                b'1' | b'2' | b'c' | b'n' | b'I' | b'N' | b'S' | b'K' | b'A' => {}
                _ => bail!("message {} is not understood", char::from(kind)),
            }
        }
    }

    fn receive(&mut self) -> Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.reader.read_exact(&mut head).context("the server ended the session")?;
        let length = i32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let mut body = vec![0; usize::try_from(length - 4)?];
        self.reader.read_exact(&mut body)?;
        Ok((head[0], body))
    }
}

fn push_text(message: &mut Vec<u8>, text: &str) {
    message.extend(text.as_bytes());
    message.push(0);
}

fn take<'a>(body: &mut &'a [u8], n: usize) -> Result<&'a [u8]> {
    let (taken, rest) = body.split_at_checked(n).context("a message ends early")?;
    *body = rest;
    Ok(taken)
}

fn take_i16(body: &mut &[u8]) -> Result<i16> {
    Ok(i16::from_be_bytes(take(body, 2)?.try_into()?))
}

fn take_text(body: &mut &[u8]) -> Result<String> {
    let end = body.iter().position(|byte| *byte == 0).context("a text does not end")?;
    let text = String::from_utf8_lossy(take(body, end)?).into_owned();
    take(body, 1)?;
    Ok(text)
}

fn take_value(body: &mut &[u8]) -> Result<Option<String>> {
    let length = i32::from_be_bytes(take(body, 4)?.try_into()?);
    // A negative length is NULL.
    let Ok(length) = usize::try_from(length) else { return Ok(None) };
    Ok(Some(String::from_utf8_lossy(take(body, length)?).into_owned()))
}

fn failed(mut body: &[u8]) -> Result<Outcome> {
    let [mut sqlstate, mut message, mut detail, mut hint] = [const { String::new() }; 4];
    loop {
        let field = take(&mut body, 1)?[0];
        match field {
            0 => return Ok(Outcome::Failed { sqlstate, message, detail, hint }),
            b'C' => sqlstate = take_text(&mut body)?,
            b'M' => message = take_text(&mut body)?,
            b'D' => detail = take_text(&mut body)?,
            b'H' => hint = take_text(&mut body)?,
            _ => drop(take_text(&mut body)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_apart() -> Result<()> {
        let mut row: &[u8] = b"\0\x02\0\0\0\x01a\xff\xff\xff\xff";
        assert_eq!(take_i16(&mut row)?, 2);
        assert_eq!((take_value(&mut row)?, take_value(&mut row)?), (Some("a".into()), None));
        assert!(take_value(&mut row).is_err());
        let error = failed(b"SERROR\0C0A000\0Mno\0Hdo this\0\0")?;
        let expected = Outcome::Failed {
            sqlstate: "0A000".into(),
            message: "no".into(),
            detail: String::new(),
            hint: "do this".into(),
        };
        assert_eq!(error, expected);
        Ok(())
    }
}
