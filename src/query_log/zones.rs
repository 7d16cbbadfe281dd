//! What the zone of a log's times means: asked of this server, whose log it usually is.

use std::collections::HashMap;
use std::ffi::{CString, c_int, c_long};

use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_querylog::LocalTime;

use crate::error::Result;

/// Zones met so far: a log has two of them at most, so few are remembered.
const REMEMBERED: usize = 64;

/// Offsets of zones, remembered.
#[derive(Default)]
pub struct Zones {
    /// Seconds east of Greenwich; `None`: not known.
    offsets: HashMap<String, Option<i64>>,
}

impl Zones {
    /// Microseconds since 1970 UTC; `None` if the zone is not known.
    pub fn unix_us(&mut self, time: &LocalTime) -> Result<Option<i64>> {
        let offset = match self.offsets.get(&time.zone) {
            Some(offset) => *offset,
            None => {
                let offset = match time.written_offset_s() {
                    Some(offset) => Some(offset),
                    None => match of_log_timezone(time) {
                        Some(offset) => Some(offset),
                        None => of_abbreviation(&time.zone)?,
                    },
                };
                if self.offsets.len() == REMEMBERED {
                    self.offsets.clear();
                }
                self.offsets.insert(time.zone.clone(), offset);
                offset
            }
        };
        Ok(offset.map(|offset| time.wall_us - offset * 1_000_000))
    }
}

/// What the abbreviation means in log_timezone, if it is one of its own.
fn of_log_timezone(time: &LocalTime) -> Option<i64> {
    let abbreviation = CString::new(time.zone.as_str()).ok()?;
    let at: pg_sys::pg_time_t = time.wall_us / 1_000_000;
    let (mut offset, mut summer): (c_long, c_int) = (0, 0);
    // SAFETY: reads a zone that the server holds as long as it runs.
    let known = unsafe {
        pg_sys::pg_interpret_timezone_abbrev(
            abbreviation.as_ptr(),
            &at,
            &mut offset,
            &mut summer,
            pg_sys::log_timezone,
        )
    };
    known.then_some(offset)
}

/// What timezone_abbreviations says.
fn of_abbreviation(zone: &str) -> Result<Option<i64>> {
    let offset = Spi::get_one_with_args::<f64>(
        "SELECT pg_catalog.max(pg_catalog.date_part('epoch', utc_offset))
         FROM pg_catalog.pg_timezone_abbrevs
         WHERE abbrev OPERATOR(pg_catalog.=) pg_catalog.upper($1)",
        &[zone.into()],
    )?;
    Ok(offset.map(|seconds| seconds as i64))
}
