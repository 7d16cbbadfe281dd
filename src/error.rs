//! The one error type of the extension: primary message, SQLSTATE, DETAIL and
//! HINT. User errors travel as values and become a PostgreSQL ERROR at the SQL
//! boundary, never a panic.

use pgrx::prelude::*;

pub type Result<T> = std::result::Result<T, PssError>;

/// An error as PostgreSQL reports it: lower-case primary message, full
/// sentences in detail and hint, the hint naming the next command.
#[derive(Debug, Clone)]
pub struct PssError {
    code: PgSqlErrorCode,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
}

impl PssError {
    pub fn new(code: PgSqlErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: None, hint: None }
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn code(&self) -> PgSqlErrorCode {
        self.code
    }

    /// Raises the error. Rust frames between here and the SQL boundary unwind.
    pub fn raise(self) -> ! {
        self.report(PgLogLevel::ERROR);
        unreachable!("ereport(ERROR) does not return")
    }

    /// Logs the error as a warning and goes on: for what must not fail a row.
    pub fn warn(self) {
        self.report(PgLogLevel::WARNING);
    }

    fn report(self, level: PgLogLevel) {
        let mut report = pgrx::pg_sys::panic::ErrorReport::new(self.code, self.message, "pss");
        if let Some(detail) = self.detail {
            report = report.set_detail(detail);
        }
        if let Some(hint) = self.hint {
            report = report.set_hint(hint);
        }
        report.report(level);
    }
}

impl std::fmt::Display for PssError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<pgrx::spi::Error> for PssError {
    fn from(e: pgrx::spi::Error) -> Self {
        PssError::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, format!("catalog access failed: {e}"))
    }
}

/// Turns a `Result` into a value or an ERROR, at the SQL boundary.
pub trait OrRaise<T> {
    fn or_raise(self) -> T;
}

impl<T> OrRaise<T> for Result<T> {
    fn or_raise(self) -> T {
        self.unwrap_or_else(|e| e.raise())
    }
}

/// The table is not managed by pss (55000).
pub fn not_sharded(name: &str) -> PssError {
    PssError::new(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("table \"{name}\" is not sharded"),
    )
    .detail("It has no entry in pss.sharded_table.")
    .hint(format!("Run SELECT pss_distribute_table('{name}', 'column_name')."))
}

/// The library was not loaded when the server started (55000).
pub fn not_preloaded() -> PssError {
    PssError::new(PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, "pss is not loaded")
        .detail("Placing keys needs shared memory, which is reserved when the server starts.")
        .hint("Add pss to shared_preload_libraries and restart the server.")
}

/// An argument that must not be NULL is (22004).
pub fn null_argument(argument: &str) -> PssError {
    PssError::new(
        PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
        format!("argument \"{argument}\" must not be NULL"),
    )
}

/// An argument has a value that it cannot have (22023).
pub fn invalid_argument(message: impl Into<String>) -> PssError {
    PssError::new(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, message)
}
