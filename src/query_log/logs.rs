//! Which logs to read, and their bytes piece by piece.
//!
//! Runs as the caller, through SQL: who may read which file of the server is decided by
//! PostgreSQL, and its refusal is the answer.

use pgrx::prelude::*;
use pss_querylog::Format;

use crate::error::{PssError, Result};
use crate::guc;
use crate::subtransaction::if_there;

/// Bytes read at a time.
const PIECE: i64 = 1 << 20;

/// A log to be read.
pub struct Log {
    path: String,
    pub format: Format,
}

/// The log at `path`; without one, the csvlogs and jsonlogs in log_directory.
pub fn named(path: Option<&str>, format: Option<&str>) -> Result<Vec<Log>> {
    let wanted = format.map(format_named).transpose()?;
    let Some(path) = path else { return in_log_directory(wanted) };
    let format = wanted.or_else(|| Format::from_path(path)).ok_or_else(|| {
        PssError::new(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("the name of log \"{path}\" does not tell its format"),
        )
        .detail("csvlogs end in \".csv\", jsonlogs in \".json\"; other logs cannot be imported.")
        .hint("Give it: format => 'csvlog' or format => 'jsonlog'.")
    })?;
    Ok(vec![Log { path: path.to_owned(), format }])
}

fn format_named(name: &str) -> Result<Format> {
    Format::from_name(name).ok_or_else(|| {
        PssError::new(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("log format \"{name}\" is not known"),
        )
        .hint("Formats are csvlog and jsonlog.")
    })
}

/// The logs that history still reaches, oldest first. A server that writes both formats writes
/// each statement into both: of two logs that differ only in their ending one is read.
fn in_log_directory(wanted: Option<Format>) -> Result<Vec<Log>> {
    let listed = if_there(|| {
        Spi::connect(|client| {
            let rows = client.select(
                "SELECT pg_catalog.current_setting('log_directory') OPERATOR(pg_catalog.||) '/'
                    OPERATOR(pg_catalog.||) name
             FROM pg_catalog.pg_ls_logdir()
             WHERE modification OPERATOR(pg_catalog.>=) (
                       pg_catalog.now() OPERATOR(pg_catalog.-) pg_catalog.make_interval(mins => $1))
             ORDER BY modification, name",
                None,
                &[guc::HISTORY_RETENTION.get().into()],
            )?;
            let mut files = Vec::with_capacity(rows.len());
            for row in rows {
                files.extend(row.get::<String>(1)?);
            }
            Ok::<_, PssError>(files)
        })
    });
    // No directory: the server never logged into it.
    let files: Vec<String> = listed.transpose()?.unwrap_or_default();
    let stem = |path: &str| path.rsplit_once('.').map(|(stem, _)| stem.to_owned());
    let mut logs: Vec<Log> = Vec::new();
    for path in files {
        let Some(format) = Format::from_path(&path) else { continue };
        let twin = logs.iter().any(|log| stem(&log.path) == stem(&path));
        if wanted.is_none_or(|wanted| wanted == format) && !twin {
            logs.push(Log { path, format });
        }
    }
    if logs.is_empty() {
        return Err(PssError::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_FILE,
            "there is no csvlog or jsonlog in log_directory",
        )
        .detail("Looked for files ending in \".csv\" and \".json\", changed within pss.history_retention.")
        .hint("Set logging_collector = on and log_destination = 'csvlog' or 'jsonlog', or name a log: path => '...'."));
    }
    Ok(logs)
}

impl Log {
    pub fn pieces(&self) -> Pieces<'_> {
        Pieces { path: &self.path, offset: 0 }
    }
}

/// The bytes of a log, from its beginning.
pub struct Pieces<'a> {
    path: &'a str,
    offset: i64,
}

impl Pieces<'_> {
    /// The next bytes; `None` at the end of the file.
    pub fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let bytes = Spi::get_one_with_args::<Vec<u8>>(
            "SELECT pg_catalog.pg_read_binary_file($1, $2, $3)",
            &[self.path.into(), self.offset.into(), PIECE.into()],
        )?
        .unwrap_or_default();
        self.offset += bytes.len() as i64;
        Ok((!bytes.is_empty()).then_some(bytes))
    }
}
