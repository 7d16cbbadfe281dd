//! Finds the period of a series by autocorrelation.
//!
//! A scan over all lags is spread over many steps, so that no single push is slow, however many
//! series were started at the same moment. A period found here is a proposal: whether it is
//! used for forecasts is decided by the errors it makes.

use super::history::{CAPACITY, KEPT};

/// The shortest period looked for, in steps.
const SHORTEST: usize = 4;
/// Two cycles must be seen, hence half of what is surely kept.
const LONGEST: usize = KEPT / 2;
/// Lags beyond the longest period that are needed to see that it is a peak.
const BEYOND: usize = 2;
/// Products computed each time a scan goes on.
const BUDGET: usize = 16_000;
/// A long scan goes on at every so many steps only: preparing the values costs as much as many
/// lags. A short one is done in one go, at every step, so that a period is noticed at once.
const PAUSE: usize = 4;
const SHORT: usize = 128;
/// A peak must reach this correlation, and this many standard errors of white noise's.
const LEAST_CORRELATION: f32 = 0.2;
const STANDARD_ERRORS: f32 = 2.5;
/// A peak must stand out by this much from the lowest correlation at a shorter lag.
const PROMINENCE: f32 = 0.15;
/// A shorter period is preferred to its multiples if it correlates nearly as well.
const NEARLY: f32 = 0.85;

/// Every other scan looks at so many latest steps only, once there are twice as many: a regime that
/// has just begun shows there before the old one has left the history.
const RECENT: usize = 192;

/// A scan for the period in progress.
#[derive(Debug, Clone)]
pub(super) struct PeriodFinder {
    /// Correlation by lag, as far as this scan has come. `[0]` is 1.
    correlation: Vec<f32>,
    /// Last lag of this scan.
    until: usize,
    /// Steps that were known when the scan began.
    steps: usize,
    /// Whether this scan looks at the latest steps only.
    recent: bool,
}

/// What a complete scan has to say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Finding {
    /// The period in steps, if there is one.
    pub period: Option<f64>,
    /// Whether only the latest steps were looked at.
    pub recent: bool,
}

impl PeriodFinder {
    pub fn new() -> Self {
        PeriodFinder { correlation: Vec::new(), until: 0, steps: 0, recent: false }
    }

    /// Goes on with the scan over `values` (NaN = missing). `Some` when a scan is complete.
    pub fn advance(&mut self, values: &[f32]) -> Option<Finding> {
        let pausing = values.len() > SHORT && !values.len().is_multiple_of(PAUSE);
        if values.len() < 2 * SHORTEST || pausing {
            return None;
        }
        let from = if self.recent { values.len().saturating_sub(RECENT) } else { 0 };
        let values = &values[from..];
        if self.correlation.is_empty() {
            self.steps = values.len();
            self.until = (self.steps / 2).min(LONGEST) + BEYOND;
            self.correlation.reserve_exact(LONGEST + BEYOND + 1);
            self.correlation.push(1.0);
        }
        let mut buffer = [0.0; CAPACITY];
        let Some(known) = standardize(values, &mut buffer) else {
            return Some(self.end(None));
        };
        let x = &buffer[..values.len()];
        // Twice the energy of the steps that a lag pairs, normalizes its sum of products: unlike
        // the total, it does not move the peak when a window holds part of a cycle (the
        // normalized square difference of McLeod and Wyvill, A smarter way to find pitch, 2005).
        let first = self.correlation.len() - 1;
        let outside =
            dot(&x[..first], &x[..first]) + dot(&x[x.len() - first..], &x[x.len() - first..]);
        let mut energy = 2.0 * dot(x, x) - outside;
        let mut budget = BUDGET;
        while self.correlation.len() <= self.until {
            let lag = self.correlation.len();
            let pairs = x.len() - lag;
            energy -= x[lag - 1] * x[lag - 1] + x[pairs] * x[pairs];
            // A missing step leaves its partner without a product.
            let expected = (energy * known).max(f32::MIN_POSITIVE);
            let correlation = 2.0 * dot(&x[lag..], &x[..pairs]) / expected;
            self.correlation.push(correlation.clamp(-1.0, 1.0));
            budget = budget.saturating_sub(pairs);
            if budget == 0 {
                return None;
            }
        }
        Some(self.end(self.period()))
    }

    /// Ends a scan; the next one looks at the other part of the past.
    fn end(&mut self, period: Option<f64>) -> Finding {
        let recent = self.recent;
        self.correlation.clear();
        self.recent = !recent && self.steps >= 2 * RECENT;
        Finding { period, recent }
    }

    /// The period in the finished scan.
    fn period(&self) -> Option<f64> {
        let r = &self.correlation;
        let mut peaks = Vec::new();
        let mut lowest = r[1].min(r[2]);
        for lag in SHORTEST - 1..=self.until - BEYOND {
            lowest = lowest.min(r[lag]);
            let noise = STANDARD_ERRORS / ((self.steps - lag) as f32).sqrt();
            let is_peak = [lag - 2, lag - 1, lag + 1, lag + 2].iter().all(|&l| r[l] <= r[lag]);
            if lag >= SHORTEST
                && is_peak
                && r[lag] >= noise.max(LEAST_CORRELATION)
                && r[lag] - lowest >= PROMINENCE
            {
                peaks.push(lag);
            }
        }
        let highest = peaks.iter().map(|&lag| r[lag]).fold(0.0, f32::max);
        let base = *peaks.iter().find(|&&lag| r[lag] >= NEARLY * highest)?;
        Some(self.refine(base))
    }

    /// The period that starts as a peak at `base`, made precise by its multiples.
    fn refine(&self, base: usize) -> f64 {
        let r = &self.correlation;
        let reach = (base / 8).max(1);
        let near = |period: f64| (period - base as f64).abs() <= 1.0 + reach as f64;
        let mut period = self.vertex(base, reach);
        // How far off a whole number it must be to be believed: a peak is placed to a part of a
        // step only, and a profile read between steps loses its edges.
        let mut doubt: f64 = 0.25;
        for multiple in 2.. {
            let centre = (period * multiple as f64).round() as usize;
            if centre + reach + 1 >= r.len() {
                break;
            }
            let top = (centre - reach..=centre + reach).max_by(|&a, &b| r[a].total_cmp(&r[b]));
            let Some(top) = top.filter(|&top| r[top] >= NEARLY * r[base]) else { break };
            // Beside the slope of a larger hump, tops lead away step by step.
            let refined = self.vertex(top, reach) / multiple as f64;
            if !near(refined) {
                break;
            }
            period = refined;
            doubt = (0.4 / multiple as f64).max(0.1);
        }
        let whole = period.round();
        if (period - whole).abs() <= doubt { whole } else { period }
    }

    /// The place of the top of a parabola fitted through `reach` lags on both sides of a peak.
    fn vertex(&self, peak: usize, reach: usize) -> f64 {
        let r = &self.correlation;
        let reach = reach.min(r.len() - 1 - peak).min(peak) as i64;
        let (mut s2, mut s4, mut sy, mut sxy, mut sx2y) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for d in -reach..=reach {
            let (x, y) = (d as f64, f64::from(r[(peak as i64 + d) as usize]));
            s2 += x * x;
            s4 += x * x * x * x;
            sy += y;
            sxy += x * y;
            sx2y += x * x * y;
        }
        let n = (2 * reach + 1) as f64;
        let curvature = (sx2y - s2 * sy / n) / (s4 - s2 * s2 / n);
        if !curvature.is_finite() || curvature >= 0.0 {
            return peak as f64;
        }
        let shift = -sxy / s2 / (2.0 * curvature);
        peak as f64 + shift.clamp(-(reach as f64), reach as f64)
    }
}

/// Writes `values` less their linear trend, in standard deviations, into `out`; 0 where missing.
/// Returns the share of steps that are known; `None` if they do not vary.
fn standardize(values: &[f32], out: &mut [f32; CAPACITY]) -> Option<f32> {
    let (mut n, mut st, mut sy) = (0.0, 0.0, 0.0);
    for (t, &y) in values.iter().enumerate().filter(|(_, y)| !y.is_nan()) {
        n += 1.0;
        st += t as f64;
        sy += f64::from(y);
    }
    let (mean_t, mean_y) = (st / n, sy / n);
    let (mut stt, mut sty) = (0.0, 0.0);
    for (t, &y) in values.iter().enumerate().filter(|(_, y)| !y.is_nan()) {
        let dt = t as f64 - mean_t;
        stt += dt * dt;
        sty += dt * (f64::from(y) - mean_y);
    }
    let slope = if stt > 0.0 { sty / stt } else { 0.0 };
    let residual = |t: usize, y: f32| f64::from(y) - mean_y - slope * (t as f64 - mean_t);
    let known = || values.iter().enumerate().filter(|(_, y)| !y.is_nan());
    let deviation = (known().map(|(t, &y)| residual(t, y).powi(2)).sum::<f64>() / n).sqrt();
    // Rounding to single precision is no variation; NaN comes of no values at all.
    if deviation.is_nan() || deviation <= 1e-5 * mean_y.abs() {
        return None;
    }
    for (t, &y) in known() {
        out[t] = (residual(t, y) / deviation) as f32;
    }
    Some((n / values.len() as f64) as f32)
}

/// The inner product of two slices of the same length, in lanes the compiler can vectorize.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a.zip(b) {
        for lane in 0..8 {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    lanes.iter().sum::<f32>() + rest
}

impl PeriodFinder {
    /// Bytes owned.
    pub fn bytes(&self) -> usize {
        size_of::<f32>() * self.correlation.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::testing::{Noise, sine};

    fn find(values: &[f32]) -> Option<f64> {
        let whole = values.len() - if values.len() > SHORT { values.len() % PAUSE } else { 0 };
        let mut finder = PeriodFinder::new();
        (0..1000).find_map(|_| finder.advance(&values[..whole])).expect("a scan ends").period
    }

    #[test]
    fn a_noisy_sine_after_two_cycles() {
        for seed in 0..50 {
            let mut noise = Noise::new(seed);
            let values: Vec<f32> = (0..62)
                .map(|t| (sine(t, 30.0, seed as f64) + 0.1 * noise.normal()) as f32)
                .collect();
            let period = find(&values).expect("found");
            assert!((period - 30.0).abs() <= 1.5, "seed {seed}: {period}");
        }
    }

    #[test]
    fn precision_grows_with_the_cycles_seen() {
        let mut noise = Noise::new(3);
        let values: Vec<f32> =
            (0..420).map(|t| (sine(t, 30.4, 0.3) + 0.2 * noise.normal()) as f32).collect();
        let period = find(&values).expect("found");
        assert!((period - 30.4).abs() < 0.1, "{period}");
    }

    #[test]
    fn short_and_spiky_periods() {
        for period in [4usize, 5, 7, 12, 60, 150] {
            let values: Vec<f32> =
                (0..2 * period.max(20)).map(|t| if t % period == 1 { 9.0 } else { 0.0 }).collect();
            assert_eq!(find(&values), Some(period as f64));
        }
    }

    #[test]
    fn no_period_in_a_constant_a_line_or_a_step() {
        assert_eq!(find(&[0.1; 100]), None);
        assert_eq!(find(&[f32::NAN; 100]), None);
        assert_eq!(find(&std::array::from_fn::<f32, 200, _>(|t| 5.0 + t as f32)), None);
        assert_eq!(
            find(&std::array::from_fn::<f32, 200, _>(|t| if t < 90 { 1.0 } else { 8.0 })),
            None
        );
    }

    #[test]
    fn missing_steps_do_not_hide_it() {
        let mut noise = Noise::new(5);
        let mut value =
            |t| if noise.uniform() < 0.2 { f32::NAN } else { sine(t, 30.0, 0.0) as f32 };
        let values: Vec<f32> = (0..200).map(&mut value).collect();
        assert!((find(&values).expect("found") - 30.0).abs() < 0.5);
    }

    /// Correlations that fall from the shortest lag on pull each multiple back to the one before.
    #[test]
    fn a_period_is_made_precise_in_bounded_time() {
        for base in SHORTEST..20 {
            let mut finder = PeriodFinder::new();
            finder.correlation =
                (0..=LONGEST + BEYOND).map(|lag| 1.0 - (lag as f32 / 60.0).powi(2)).collect();
            let period = finder.refine(base);
            assert!((period - base as f64).abs() <= 0.5 * base as f64, "{base} {period}");
        }
    }

    #[test]
    fn every_other_scan_sees_a_new_regime_first() {
        let values: Vec<f32> = (0..420)
            .map(|t| if t < 228 { sine(t, 30.0, 0.0) } else { 9.0 + 4.0 * sine(t, 44.0, 0.0) } as f32)
            .collect();
        let mut finder = PeriodFinder::new();
        let mut scan = || (0..1000).find_map(|_| finder.advance(&values)).expect("a scan ends");
        assert!(!scan().recent);
        let found = scan();
        assert!(found.recent && found.period.is_some_and(|p| (p - 44.0).abs() < 1.0), "{found:?}");
        assert!(!scan().recent);
    }

    #[test]
    fn a_long_scan_is_spread_over_steps() {
        let values: Vec<f32> = (0..CAPACITY).map(|t| sine(t, 200.0, 0.0) as f32).collect();
        let mut finder = PeriodFinder::new();
        let turns = (1..1000).find(|_| finder.advance(&values).is_some()).expect("a scan ends");
        assert!((4..8).contains(&turns), "{turns}");
    }
}
