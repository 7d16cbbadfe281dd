//! Time as PostgreSQL counts it: a TimestampTz is microseconds since 2000-01-01, UTC.
//!
//! Only `now` reads the clock. Must never wrap: sums stop at the ends of time, which PostgreSQL
//! reads as the infinities.

use pgrx::pg_sys;
use pgrx::prelude::*;

/// From the epoch of unix to that of a TimestampTz, in microseconds.
const EPOCH_US: i64 = 946_684_800_000_000;

/// Now.
pub fn now() -> pg_sys::TimestampTz {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// `at` plus milliseconds.
pub fn later(at: pg_sys::TimestampTz, milliseconds: i32) -> pg_sys::TimestampTz {
    at.saturating_add(i64::from(milliseconds) * 1000)
}

/// `at` as an SQL parameter or result.
pub fn timestamp(at: pg_sys::TimestampTz) -> TimestampWithTimeZone {
    TimestampWithTimeZone::try_from(at)
        .unwrap_or_else(|_| TimestampWithTimeZone::positive_infinity())
}

/// `at` in microseconds since 1970.
pub fn unix_us(at: pg_sys::TimestampTz) -> i64 {
    at.saturating_add(EPOCH_US)
}

/// A time in microseconds since 1970 as PostgreSQL counts it.
pub fn from_unix_us(us: i64) -> pg_sys::TimestampTz {
    us.saturating_sub(EPOCH_US)
}
