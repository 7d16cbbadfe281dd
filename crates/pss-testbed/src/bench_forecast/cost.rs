//! What forecasts cost: time of an update with its forecasts, and memory.
//!
//! Time is the processor's, of this thread, so that what else the machine does counts little.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};
use pss_core::forecast::Forecaster;

use super::Contestant;
use super::series::Series;

/// Passes over a series, of which the median counts: for `auto`, and for a single method.
const PASSES: [usize; 2] = [3, 1];

/// Series that one refresh updates: 1000 partitions with three metrics each.
const REFRESHED: usize = 3000;

/// Refreshes, of which the median counts.
const REFRESHES: usize = 15;

/// Cost of one forecaster on one series.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Microseconds to take a step and to forecast it at all horizons.
    pub us_per_update: f64,
    /// Bytes of memory at the end of the series.
    pub bytes: usize,
}

/// Times a contestant over a whole series.
pub fn of(series: &Series, horizons: &[usize], contestant: Contestant) -> Result<Cost> {
    let mut bytes = 0;
    let passes = PASSES[usize::from(contestant.0.is_some())];
    let seconds = median((0..passes).map(|_| {
        let mut forecaster = contestant.forecaster(series, horizons);
        let took = timed(|| {
            series.values.iter().for_each(|&value| update(&mut forecaster, value, horizons));
        });
        bytes = forecaster.bytes();
        took
    }))?;
    Ok(Cost { us_per_update: seconds * 1e6 / series.values.len() as f64, bytes })
}

fn update(forecaster: &mut Forecaster, value: Option<f64>, horizons: &[usize]) {
    forecaster.push(value);
    for &h in horizons {
        black_box(forecaster.predict(h));
    }
}

/// Milliseconds of one core to take a step of 3000 series and to forecast each at its horizons.
/// They are the given series, each many times, every time at another step of its life.
pub fn refresh_ms(all: &[Series]) -> Result<f64> {
    let each = REFRESHED.div_ceil(all.len());
    let mut fleet: Vec<(Forecaster, &Series, usize)> = Vec::new();
    for series in all {
        let mut forecaster = Contestant(None).forecaster(series, &series.horizons());
        for (step, &value) in series.values.iter().enumerate() {
            forecaster.push(value);
            // Spread over the latter half of its life.
            let (half, so_far) = (series.values.len() / 2, step + 1);
            let due = |n: usize| half + (series.values.len() - half) * n / each;
            let copies = (1..=each).filter(|&n| due(n) == so_far).count();
            for _ in 0..copies.min(REFRESHED - fleet.len()) {
                fleet.push((forecaster.clone(), series, so_far));
            }
        }
    }
    let horizons: Vec<Vec<usize>> = fleet.iter().map(|(_, series, _)| series.horizons()).collect();
    let seconds = median((0..REFRESHES).map(|_| {
        timed(|| {
            for ((forecaster, series, next), horizons) in fleet.iter_mut().zip(&horizons) {
                update(forecaster, series.values[*next % series.values.len()], horizons);
                *next += 1;
            }
        })
    }))?;
    Ok(seconds * 1e3)
}

/// Processor time that `work` takes in this thread.
fn timed(work: impl FnOnce()) -> Result<Duration> {
    let now = || -> Result<Duration> {
        let clock = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
        Ok(clock.context("cannot read the processor's time")?.into())
    };
    let start = now()?;
    work();
    Ok(now()? - start)
}

/// Median of some durations, in seconds.
fn median(durations: impl Iterator<Item = Result<Duration>>) -> Result<f64> {
    let mut sorted = durations.collect::<Result<Vec<Duration>>>()?;
    sorted.sort();
    Ok(sorted.get(sorted.len() / 2).map_or(0.0, Duration::as_secs_f64))
}
