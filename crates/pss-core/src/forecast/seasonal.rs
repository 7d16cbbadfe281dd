//! The seasonal model: the mean of past cycles, shifted by how far the last steps were off it.
//!
//! What it says at an origin must not depend on any step after it: the history is read through a
//! view that ends there. So a period found just now can be judged on the recent past, by observing
//! that past step by step.
//! After SPAR (Taft et al., P-Store, SIGMOD 2018), with fixed coefficients instead of fitted.

use super::history::History;

/// Cycles averaged at most, the latest ones.
const CYCLES: usize = 6;
/// Weight of a cycle relative to the one after it.
const CYCLE_WEIGHT: f32 = 0.8;
/// One choice of the model's parameters.
struct Shape {
    /// Weight of a step's distance from the profile, relative to the step after it.
    memory: f32,
    /// Share of the offset that is left a step later.
    fade: f32,
    /// Whether the profile is smoothed over three steps.
    smooth: bool,
}

const SHAPES: [Shape; SHAPE_COUNT] = [
    Shape { memory: 0.5, fade: 0.95, smooth: false },
    Shape { memory: 0.9, fade: 1.0, smooth: true },
];
/// Number of parameter sets, each a model of its own.
pub(super) const SHAPE_COUNT: usize = 2;

/// A history with everything after `origin` out of reach.
struct Past<'a> {
    history: &'a History,
    origin: usize,
}

impl Past<'_> {
    fn at(&self, step: usize) -> f32 {
        if step > self.origin { f32::NAN } else { self.history.at(step) }
    }

    /// The value between steps, by linear interpolation; NaN if a step it needs is unknown.
    fn between(&self, position: f64) -> f32 {
        if position < 0.0 {
            return f32::NAN;
        }
        let whole = position as usize;
        let part = (position - whole as f64) as f32;
        let before = self.at(whole);
        if part == 0.0 { before } else { before + part * (self.at(whole + 1) - before) }
    }

    /// The same, smoothed with the steps around it as far as they are known.
    fn smoothed(&self, position: f64) -> f32 {
        let mut mean = Mean::default();
        mean.add(0.25, self.between(position - 1.0));
        mean.add(0.5, self.between(position));
        mean.add(0.25, self.between(position + 1.0));
        mean.value()
    }

    /// Weighted mean of the cycles before `step` at its phase; NaN if none is known.
    fn profile(&self, step: usize, period: f64, smooth: bool) -> f32 {
        let ahead = step.saturating_sub(self.origin) as f64;
        let mut back = period * (ahead / period).ceil().max(1.0);
        let mut weight = 1.0;
        let mut mean = Mean::default();
        for _ in 0..CYCLES {
            let position = step as f64 - back;
            if position < self.history.first() as f64 {
                break;
            }
            mean.add(weight, if smooth { self.smoothed(position) } else { self.between(position) });
            weight *= CYCLE_WEIGHT;
            back += period;
        }
        mean.value()
    }
}

/// A weighted mean of what is known; NaN of nothing.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f32,
    weight: f32,
}

impl Mean {
    fn add(&mut self, weight: f32, value: f32) {
        if !value.is_nan() {
            self.sum += weight * value;
            self.weight += weight;
        }
    }

    /// Lowers the weight of what has been added.
    fn fade(&mut self, share: f32) {
        self.sum *= share;
        self.weight *= share;
    }

    fn value(&self) -> f32 {
        self.sum / self.weight
    }
}

/// The seasonal models of one series, for a period that may be made more precise as it goes.
#[derive(Debug, Clone)]
pub(super) struct Season {
    /// Length of the cycle in steps.
    pub period: f64,
    /// Recent distance from the profile, by parameter set: running sums.
    running: [Mean; SHAPE_COUNT],
}

impl Season {
    /// The models of a period, which have not seen any step yet.
    pub fn new(period: f64) -> Self {
        Season { period, running: Default::default() }
    }

    /// Takes the next step of the history; a missing one changes nothing.
    pub fn observe(&mut self, history: &History, step: usize) {
        let past = Past { history, origin: step };
        let y = past.at(step);
        for (index, shape) in SHAPES.iter().enumerate() {
            let running = &mut self.running[index];
            if !y.is_nan() {
                running.fade(shape.memory);
                running.add(1.0, y - past.profile(step, self.period, shape.smooth));
            }
        }
    }

    /// What parameter set `shape` says at `origin`, the last step observed, for `h` steps later.
    /// NaN while less than a cycle is known.
    pub fn forecast(&self, history: &History, shape: usize, origin: usize, h: usize) -> f32 {
        let past = Past { history, origin };
        let offset = self.running[shape].value();
        let shape = &SHAPES[shape];
        past.profile(origin + h, self.period, shape.smooth) + offset * shape.fade.powi(h as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(n: usize, value: impl Fn(usize) -> f32) -> History {
        let mut history = History::new();
        (0..n).for_each(|step| history.push(value(step)));
        history
    }

    /// The forecast of a season found at the end of `history`.
    fn forecast(history: &History, period: f64, shape: usize, origin: usize, h: usize) -> f32 {
        let mut season = Season::new(period);
        (0..=origin).for_each(|step| season.observe(history, step));
        season.forecast(history, shape, origin, h)
    }

    #[test]
    fn a_clean_cycle_is_continued_without_lag() {
        let cycle = |step: usize| [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0][step % 7];
        let past = history(60, cycle);
        for h in 1..30 {
            assert!((forecast(&past, 7.0, 0, 59, h) - cycle(59 + h)).abs() < 1e-4, "h {h}");
        }
    }

    #[test]
    fn a_period_between_steps_keeps_phase_over_many_cycles() {
        let wave = |step: usize| (step as f64 * std::f64::consts::TAU / 30.4).sin() as f32;
        let past = history(400, wave);
        for h in 1..40 {
            assert!((forecast(&past, 30.4, 0, 399, h) - wave(399 + h)).abs() < 0.03, "h {h}");
        }
    }

    #[test]
    fn a_shift_of_level_is_followed() {
        let past = history(100, |step| (step % 10) as f32 + if step >= 95 { 50.0 } else { 0.0 });
        assert!((forecast(&past, 10.0, 0, 99, 1) - 50.0).abs() < 5.0);
    }

    /// What a season says about an origin in the past is what it said then, to the bit.
    #[test]
    fn nothing_after_the_origin_counts() {
        let value = |step: usize| (step % 9) as f32 + 0.1 * (step % 5) as f32;
        let mut past = history(80, value);
        let said = |past: &History, shape, h| forecast(past, 9.0, shape, 79, h);
        let then: Vec<f32> = (1..40).map(|h| said(&past, h % SHAPE_COUNT, h)).collect();
        (0..50).for_each(|_| past.push(1e6));
        let now: Vec<f32> = (1..40).map(|h| said(&past, h % SHAPE_COUNT, h)).collect();
        assert!(then.iter().all(|said| said.is_finite()));
        assert_eq!(now, then);
    }

    #[test]
    fn less_than_a_cycle_says_nothing() {
        let past = history(20, |step| step as f32);
        assert!(forecast(&past, 25.0, 0, 19, 1).is_nan());
    }
}
