//! Series for everybody: made from the flights in tests/data, and generated.
//!
//! The same on every run and every machine.

use anyhow::Result;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::series::Series;
use crate::demo::flights;
use crate::paths;

const SECONDS_A_DAY: f64 = 86_400.0;

/// Series of the flights: which keys, seconds between two steps.
const OF_FLIGHTS: [(&str, Keys, f64); 6] = [
    ("flights_EWR_5min", Keys::Origin("EWR"), 300.0),
    ("flights_LGA_5min", Keys::Origin("LGA"), 300.0),
    ("flights_JFK_10min", Keys::Origin("JFK"), 600.0),
    ("flights_UA_10min", Keys::Carrier("UA"), 600.0),
    ("flights_B6_10min", Keys::Carrier("B6"), 600.0),
    ("flights_EV_15min", Keys::Carrier("EV"), 900.0),
];

/// Which flights count.
#[derive(Clone, Copy)]
enum Keys {
    Origin(&'static str),
    Carrier(&'static str),
}

impl Keys {
    /// Keys look like `UA1545 2013-01-02 EWR`.
    fn include(self, key: &str) -> bool {
        match self {
            Keys::Origin(airport) => key.ends_with(airport),
            Keys::Carrier(carrier) => key.starts_with(carrier),
        }
    }
}

/// All of them.
///
/// # Errors
/// If the flights cannot be read.
pub fn series() -> Result<Vec<Series>> {
    let mut all = of_flights()?;
    all.extend(generated());
    Ok(all)
}

/// Rows a step (departures and position reports) of airports and carriers.
fn of_flights() -> Result<Vec<Series>> {
    let file = paths::repository().join("tests/data/flights.csv.gz");
    let stream = flights::load(&file, 0, flights::DAYS, SECONDS_A_DAY)?;
    let series = OF_FLIGHTS.map(|(name, keys, step_s)| {
        let steps = (f64::from(flights::DAYS) * SECONDS_A_DAY / step_s) as usize;
        let mut rows = vec![0.0; steps];
        for event in &stream.events {
            let step = (event.at / step_s) as usize;
            if step < steps && keys.include(&stream.flights[event.flight].key) {
                rows[step] += 1.0;
            }
        }
        let values = rows.into_iter().map(Some).collect();
        Series { name: name.into(), step_s, first_step: 0, values }
    });
    Ok(series.to_vec())
}

/// Series whose making is known: a daily wave, a job every ten minutes, a random walk with
/// gaps, bursts that nobody can foresee, and a load that changes its level.
pub fn generated() -> Vec<Series> {
    let mut random = SmallRng::seed_from_u64(2013);
    let mut noise = move || (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
    let mut make =
        |name: &str, step_s: f64, steps: usize, of: &mut dyn FnMut(usize, f64) -> f64| {
            let values = (0..steps).map(|t| Some(of(t, noise()).max(0.0))).collect();
            Series { name: name.into(), step_s, first_step: 0, values }
        };
    let mut walk = 1000.0;
    let mut burst = 0.0;
    let mut series = vec![
        make("generated_day_1min", 60.0, 7 * 1440, &mut |t, noise| {
            100.0 + 60.0 * (t as f64 / 1440.0 * std::f64::consts::TAU).sin() + 10.0 * noise
        }),
        make("generated_job_10s", 10.0, 8640, &mut |t, noise| {
            20.0 + 3.0 * noise + if t % 60 < 12 { 80.0 } else { 0.0 }
        }),
        make("generated_walk_5min", 300.0, 4000, &mut |_, noise| {
            walk += 10.0 * noise;
            walk
        }),
        make("generated_bursts_1min", 60.0, 10_000, &mut |_, noise| {
            burst = 0.9 * burst + if noise > 2.3 { 100.0 * noise } else { 0.0 };
            50.0 + 5.0 * noise + burst
        }),
        make("generated_levels_5min", 300.0, 4000, &mut |t, noise| {
            [100.0, 400.0, 50.0, 250.0][t / 700 % 4] + 20.0 * noise
        }),
    ];
    // Every 37th step is missing, and an hour in the middle.
    let walk = &mut series[2].values;
    walk.iter_mut().step_by(37).for_each(|value| *value = None);
    walk[2500..2512].fill(None);
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flights_fill_their_series() {
        for series in of_flights().expect("the flights") {
            let rows: f64 = series.values.iter().flatten().sum();
            let days = series.values.len() as f64 * series.step_s / SECONDS_A_DAY;
            assert_eq!(days, f64::from(flights::DAYS));
            assert!(rows > 50_000.0, "{} has {rows} rows", series.name);
        }
    }
}
