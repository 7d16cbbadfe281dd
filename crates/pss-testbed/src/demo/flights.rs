//! Real flights as a stream of rows: what the demo writes and what the simulation places.
//!
//! A key is one flight (carrier, number, date, origin). Its rows are the departure and one
//! position report for every 100 miles flown, so a flight's life is its time in the air. Same
//! data, same stream, always: it must never draw a random number or look at a clock.

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

/// Miles between two position reports.
pub const MILES_A_REPORT: f64 = 100.0;

/// Miles flown in a minute.
const MILES_A_MINUTE: f64 = 7.5;

const MINUTES_A_DAY: f64 = 1440.0;

/// Days in the data: January to March 2013.
pub const DAYS: u32 = 90;

/// One flight: the data key.
#[derive(Debug, Clone)]
pub struct Flight {
    /// Carrier, number, date and origin, as the demo's key column holds them.
    pub key: String,
    /// Miles from origin to destination.
    pub miles: f64,
    /// Rows it will bring: its size, for a call that gives one.
    pub rows: u32,
}

/// What a row reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// The first row of a flight.
    Departure,
    /// A position on the way.
    Position {
        /// Miles flown so far.
        miles: u32,
    },
}

/// One row to be written.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// Seconds since the start, in the demo's time.
    pub at: f64,
    /// Index of the flight.
    pub flight: usize,
    /// What the row reports.
    pub kind: RowKind,
}

/// Some days of flights, as rows in order of time.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The keys, in order of departure.
    pub flights: Vec<Flight>,
    /// The rows, in order of time.
    pub events: Vec<Event>,
}

/// A line of the file, as far as it is used.
#[derive(Debug)]
struct Departure {
    key: String,
    minute: f64,
    miles: f64,
}

/// Reads `days` days of flights from the gzipped file, beginning with day `first` (0 = January
/// 1st), and plays a day in `seconds_a_day`.
///
/// # Errors
/// If the file cannot be read or is not the flights file.
pub fn load(file: &Path, first: u32, days: u32, seconds_a_day: f64) -> Result<Stream> {
    let context = || format!("reading the flights of {}", file.display());
    let open = File::open(file).with_context(context)?;
    let departures = read(GzDecoder::new(open)).with_context(context)?;
    Ok(stream(&departures, first, days, seconds_a_day))
}

/// Departures in order of time. Cancelled flights (no delay known) never leave.
fn read(source: impl std::io::Read) -> Result<Vec<Departure>> {
    let mut scheduled: Vec<(u32, String, f64, f64)> = Vec::new();
    let mut in_hour: HashMap<u32, u32> = HashMap::new();
    let mut reader = csv::Reader::from_reader(source);
    for record in reader.records() {
        let record = record?;
        let field = |i: usize| record.get(i).context("a column is missing");
        let (hour, delay) = (hour_of(field(0)?)?, field(6)?);
        let Ok(delay) = delay.parse::<f64>() else { continue };
        let date = date_of(hour / 24);
        let key = format!("{}{} {date} {}", field(1)?, field(2)?, field(4)?);
        let miles = field(8)?.parse()?;
        *in_hour.entry(hour).or_default() += 1;
        scheduled.push((hour, key, delay, miles));
    }
    // The data knows a departure's hour only: within it flights leave evenly, in their order.
    let mut seen: HashMap<u32, u32> = HashMap::new();
    let mut departures: Vec<Departure> = scheduled
        .into_iter()
        .map(|(hour, key, delay, miles)| {
            let place = seen.entry(hour).or_default();
            *place += 1;
            let within = (f64::from(*place) - 0.5) / f64::from(in_hour[&hour]);
            let minute = (f64::from(hour) + within) * 60.0 + delay.max(0.0);
            Departure { key, minute, miles }
        })
        .collect();
    departures.sort_by(|a, b| a.minute.total_cmp(&b.minute));
    Ok(departures)
}

/// Hours since midnight of January 1st, New York time (UTC - 5 h in these months), of a UTC
/// time like 2013-01-01T10:00:00Z.
fn hour_of(time: &str) -> Result<u32> {
    let number = |range: std::ops::Range<usize>| -> Result<u32> {
        time.get(range).and_then(|n| n.parse().ok()).with_context(|| format!("time {time}"))
    };
    let days_before = [0, 31, 59, 90];
    let month = number(5..7)? as usize;
    let before = days_before.get(month.wrapping_sub(1)).with_context(|| format!("time {time}"))?;
    let hours = (before + number(8..10)? - 1) * 24 + number(11..13)?;
    Ok(hours.saturating_sub(5))
}

/// The date of a day, 0 = January 1st 2013.
pub fn date_of(day: u32) -> String {
    let (month, before) = match day {
        0..31 => (1, 0),
        31..59 => (2, 31),
        59..90 => (3, 59),
        _ => (4, 90),
    };
    format!("2013-{month:02}-{:02}", day - before + 1)
}

fn stream(departures: &[Departure], first: u32, days: u32, seconds_a_day: f64) -> Stream {
    let start = f64::from(first) * MINUTES_A_DAY;
    let end = start + f64::from(days) * MINUTES_A_DAY;
    let seconds = |minute: f64| (minute - start) * seconds_a_day / MINUTES_A_DAY;
    let mut flights: Vec<Flight> = Vec::new();
    let mut known: HashMap<&str, usize> = HashMap::new();
    let mut events = Vec::new();
    for departure in departures.iter().filter(|d| d.minute >= start && d.minute < end) {
        let reports = (departure.miles / MILES_A_REPORT).floor() as u32;
        // A number flown twice a day from one airport is one key with more rows.
        let flight = *known.entry(&departure.key).or_insert_with(|| {
            flights.push(Flight { key: departure.key.clone(), miles: departure.miles, rows: 0 });
            flights.len() - 1
        });
        flights[flight].rows += 1 + reports;
        events.push(Event { at: seconds(departure.minute), flight, kind: RowKind::Departure });
        for report in 1..=reports {
            let miles = f64::from(report) * MILES_A_REPORT;
            let at = seconds(departure.minute + miles / MILES_A_MINUTE);
            events.push(Event { at, flight, kind: RowKind::Position { miles: miles as u32 } });
        }
    }
    events.sort_by(|a, b| a.at.total_cmp(&b.at));
    Stream { flights, events }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "time_hour,carrier,flight,tailnum,origin,dest,dep_delay,arr_delay,distance\n";

    #[test]
    fn a_flight_reports_every_hundred_miles() {
        let text = format!(
            "{HEAD}2013-01-02T17:00:00Z,UA,1,N1,EWR,IAH,30,0,250\n\
             2013-01-02T17:00:00Z,AA,2,N2,JFK,MIA,,,900\n"
        );
        let departures = read(text.as_bytes()).expect("two flights, one cancelled");
        let stream = stream(&departures, 1, 1, 1440.0);
        assert_eq!(stream.flights.len(), 1);
        assert_eq!(stream.flights[0].key, "UA1 2013-01-02 EWR");
        assert_eq!(stream.flights[0].rows, 3);
        // Noon in New York, and half an hour: the only flight of its hour that left.
        let times: Vec<f64> = stream.events.iter().map(|e| e.at.round()).collect();
        assert_eq!(times, [780.0, 793.0, 807.0]);
        assert_eq!(stream.events[2].kind, RowKind::Position { miles: 200 });
    }

    #[test]
    fn other_files_are_refused() {
        assert!(read("a,b\n1,2\n".as_bytes()).is_err());
        assert!(read(format!("{HEAD}noon,UA,1,N1,EWR,IAH,2,0,250\n").as_bytes()).is_err());
    }
}
