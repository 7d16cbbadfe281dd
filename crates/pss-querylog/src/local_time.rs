//! Times as a log writes them: local time and the abbreviation of its zone.
//!
//! Must never guess what an abbreviation means (IST is three of them): that is asked of the
//! server that wrote the log.

/// `2026-03-01 12:00:00.123 CET`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalTime {
    /// Microseconds since 1970-01-01 00:00 of the clock on the wall.
    pub wall_us: i64,
    /// Zone abbreviation or numeric offset, as written.
    pub zone: String,
}

impl LocalTime {
    /// Reads `YYYY-MM-DD hh:mm:ss[.fraction] ZONE`; `None` if it is anything else.
    pub fn parse(text: &str) -> Option<LocalTime> {
        let mut words = text.split(' ');
        let (date, time, zone) = (words.next()?, words.next()?, words.next()?);
        if words.next().is_some() || !is_zone(zone) {
            return None;
        }
        let days = days_since_1970(date)?;
        let us = microseconds_of_day(time)?;
        Some(LocalTime { wall_us: days * 86_400_000_000 + us, zone: zone.to_owned() })
    }

    /// Seconds east of Greenwich, where the zone says so itself: UTC, GMT, `+03`, `-0330`,
    /// `+05:45`.
    pub fn written_offset_s(&self) -> Option<i64> {
        if matches!(self.zone.as_str(), "UTC" | "GMT" | "Z") {
            return Some(0);
        }
        let sign = match self.zone.as_bytes().first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let digits: String = self.zone[1..].chars().filter(|&c| c != ':').collect();
        if !matches!(digits.len(), 2 | 4) {
            return None;
        }
        let hours = number(&digits[..2], 0..=15)?;
        let minutes = if digits.len() == 4 { number(&digits[2..], 0..=59)? } else { 0 };
        Some(sign * (hours * 3600 + minutes * 60))
    }
}

fn is_zone(zone: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | ':' | '_' | '/');
    (1..=32).contains(&zone.len()) && zone.chars().all(legal)
}

fn number(text: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
    let digits = !text.is_empty() && text.len() <= 6 && text.bytes().all(|b| b.is_ascii_digit());
    let value = if digits { text.parse().ok()? } else { return None };
    range.contains(&value).then_some(value)
}

/// Howard Hinnant's days_from_civil.
fn days_since_1970(date: &str) -> Option<i64> {
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let (year, month) = (number(year, 1970..=9999)?, number(month, 1..=12)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let day = number(day, 1..=last)?;
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

fn microseconds_of_day(time: &str) -> Option<i64> {
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut parts = clock.split(':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let seconds = number(hour, 0..=23)? * 3600 + number(minute, 0..=59)? * 60;
    // 60: a leap second.
    let seconds = seconds + number(second, 0..=60)?;
    let digits = u32::try_from(fraction.len()).ok()?;
    let fraction = number(fraction, 0..=999_999)? * 10_i64.pow(6 - digits);
    Some(seconds * 1_000_000 + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(text: &str) -> Option<i64> {
        LocalTime::parse(text).map(|t| t.wall_us)
    }

    #[test]
    fn known_times() {
        assert_eq!(wall("1970-01-01 00:00:00 UTC"), Some(0));
        assert_eq!(wall("2000-02-29 12:34:56.789 CET"), Some(951_827_696_789_000));
        assert_eq!(wall("2026-03-01 00:00:00.000 +03"), Some(1_772_323_200_000_000));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026-03-01",
            "2026-03-01 00:00:00",
            "2026-02-29 00:00:00 UTC",
            "2026-13-01 00:00:00 UTC",
            "2026-03-01 24:00:00 UTC",
            "2026-03-01 00:00:00.1234567 UTC",
            "2026-03-01 00:00:00. UTC",
            "2026-03-01 00:00:00 UTC x",
            "2026-03-01 00:00:00 'UTC",
            "-026-03-01 00:00:00 UTC",
        ] {
            assert_eq!(wall(text), None, "{text}");
        }
    }

    #[test]
    fn offsets_that_are_written() {
        let offset =
            |zone: &str| LocalTime { wall_us: 0, zone: zone.to_owned() }.written_offset_s();
        assert_eq!(offset("UTC"), Some(0));
        assert_eq!(offset("+03"), Some(10_800));
        assert_eq!(offset("-0330"), Some(-12_600));
        assert_eq!(offset("+05:45"), Some(20_700));
        assert_eq!(offset("CET"), None);
        assert_eq!(offset("+3"), None);
        assert_eq!(offset("+99"), None);
    }
}
