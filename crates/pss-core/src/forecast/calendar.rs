//! The coarse past of one series: its last day in bins of five minutes, the mean day, the mean week.
//!
//! Fine steps reach back an hour or two; a daily or weekly cycle is seen here, at a fixed price,
//! whatever the step. Times are absolute (UTC), so a cycle keeps its phase over gaps and restarts.
//! What is asked about a time ahead comes from a day or a week before it, never from after now.

/// Seconds of a bin, unless steps are longer.
const BIN_S: f64 = 300.0;
const DAY_S: f64 = 86_400.0;
const HOUR_S: f64 = 3_600.0;
const WEEK_HOURS: i64 = 168;
/// Weight of a new day (or week) in the mean one, once as many are known.
const NEW: f32 = 0.3;

/// How a load moves between two times, by what is known of such times.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moves {
    /// As it moved a day before; NaN if unknown, as all of these.
    pub yesterday: f32,
    /// As the mean day does.
    pub day: f32,
    /// As the mean week does, by the hour.
    pub week: f32,
}

/// A mean that is being taken of the bin (or hour) of this absolute number.
#[derive(Debug, Clone, Copy)]
struct Filling {
    number: i64,
    sum: f64,
    count: f64,
}

impl Filling {
    const NOTHING: Filling = Filling { number: i64::MIN, sum: 0.0, count: 0.0 };

    /// Adds a value; returns the finished mean before it if a new number begins.
    fn add(&mut self, number: i64, value: f64, weight: f64) -> Option<(i64, f32)> {
        let finished = (number != self.number && self.count > 0.0).then(|| self.mean());
        if number != self.number {
            *self = Filling { number, ..Filling::NOTHING };
        }
        self.sum += weight * value;
        self.count += weight;
        finished
    }

    fn mean(&self) -> (i64, f32) {
        (self.number, (self.sum / self.count) as f32)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Calendar {
    step_s: f64,
    bin_s: f64,
    /// Bins of a day.
    bins: i64,
    /// Means of the last bins, at their absolute number modulo the length: a day, and as much
    /// more as forecasts reach ahead.
    trace: Vec<f32>,
    /// Mean of each bin of the day, of each hour of the week, over the past ones.
    day: Vec<f32>,
    week: Vec<f32>,
    bin: Filling,
    hour: Filling,
    /// The first bin and hour ever seen: how many days and weeks the means are of.
    began: Option<(i64, i64)>,
}

impl Calendar {
    /// For steps of `step_s` seconds, asked up to `farthest` steps ahead.
    pub fn new(step_s: f64, farthest: usize) -> Self {
        let bin_s = BIN_S.max(step_s);
        let bins = (DAY_S / bin_s).round().max(1.0) as i64;
        let ahead = (farthest as f64 * step_s / bin_s).ceil() as usize + 3;
        Calendar {
            step_s,
            bin_s,
            bins,
            trace: vec![f32::NAN; bins as usize + ahead],
            day: vec![f32::NAN; bins as usize],
            week: vec![f32::NAN; WEEK_HOURS as usize],
            bin: Filling::NOTHING,
            hour: Filling::NOTHING,
            began: None,
        }
    }

    /// Takes the load of a step, by its absolute number.
    pub fn observe(&mut self, step: i64, y: f32) {
        self.add(step as f64 * self.step_s, f64::from(y), 1.0);
        if self.step_s >= self.bin_s {
            self.finish_bin(self.bin.mean());
            self.bin = Filling { number: self.bin.number, ..Filling::NOTHING };
        }
    }

    /// Takes a mean over `span_s` seconds from `start_s` on. Times must not go backwards.
    pub fn learn(&mut self, start_s: f64, span_s: f64, mean: f64) {
        let mut at = start_s;
        while at < start_s + span_s {
            let next = ((at / self.bin_s).floor() + 1.0) * self.bin_s;
            let until = next.min(start_s + span_s);
            self.add(at, mean, (until - at) / self.step_s);
            at = until;
        }
    }

    fn add(&mut self, time_s: f64, y: f64, weight: f64) {
        let bin = (time_s / self.bin_s).floor() as i64;
        let hour = (time_s / HOUR_S).floor() as i64;
        if bin < self.bin.number {
            return;
        }
        self.began.get_or_insert((bin, hour));
        let len = self.trace.len() as i64;
        if self.bin.number != i64::MIN {
            for passed in (self.bin.number + 1).max(bin - len)..bin {
                self.trace[passed.rem_euclid(len) as usize] = f32::NAN;
            }
        }
        if let Some(finished) = self.bin.add(bin, y, weight) {
            self.finish_bin(finished);
        }
        self.trace[bin.rem_euclid(len) as usize] = self.bin.mean().1;
        if let Some((hour, mean)) = self.hour.add(hour, y, weight) {
            let weeks = self.began.map_or(0, |(_, first)| (hour - first) / WEEK_HOURS);
            blend(&mut self.week[hour.rem_euclid(WEEK_HOURS) as usize], mean, weeks);
        }
    }

    fn finish_bin(&mut self, (bin, mean): (i64, f32)) {
        let days = self.began.map_or(0, |(first, _)| (bin - first) / self.bins);
        blend(&mut self.day[bin.rem_euclid(self.bins) as usize], mean, days);
    }

    /// The mean of the bin that holds step `from`, if it is known and not the one of step `to`.
    pub fn mean_at(&self, from: i64, to: i64) -> Option<f32> {
        let bin = |step: i64| (step as f64 * self.step_s / self.bin_s).floor() as i64;
        let known = (bin(from) < bin(to)).then(|| self.trace_at(bin(from)));
        known.filter(|mean| !mean.is_nan())
    }

    /// How loads move from step `from` to step `to`, absolute numbers less than a day apart, the
    /// first not after now.
    pub fn moves(&self, from: i64, to: i64) -> Moves {
        let time = |step: i64| step as f64 * self.step_s;
        let (from, to) = (time(from), time(to));
        let difference = |of: &dyn Fn(f64) -> f32| of(to) - of(from);
        Moves {
            yesterday: difference(&|t| self.in_bins(t - DAY_S, |bin| self.trace_at(bin))),
            day: difference(&|t| {
                self.in_bins(t, |bin| self.day[bin.rem_euclid(self.bins) as usize])
            }),
            week: difference(&|t| {
                between(t / HOUR_S, |hour| self.week[hour.rem_euclid(WEEK_HOURS) as usize])
            }),
        }
    }

    /// A value at a time: of the bin itself where bins are steps, else between the bins' middles.
    fn in_bins(&self, time_s: f64, value: impl Fn(i64) -> f32) -> f32 {
        let position = time_s / self.bin_s;
        if self.step_s >= self.bin_s {
            value(position.floor() as i64)
        } else {
            between(position, value)
        }
    }

    fn trace_at(&self, bin: i64) -> f32 {
        let len = self.trace.len() as i64;
        let kept = bin <= self.bin.number && bin > self.bin.number.saturating_sub(len);
        if kept { self.trace[bin.rem_euclid(len) as usize] } else { f32::NAN }
    }

    /// Bytes owned.
    pub fn bytes(&self) -> usize {
        size_of::<f32>() * (self.trace.capacity() + self.day.capacity() + self.week.capacity())
    }
}

/// Linear between the middles of unit intervals.
fn between(position: f64, value: impl Fn(i64) -> f32) -> f32 {
    let shifted = position - 0.5;
    let left = shifted.floor();
    let part = (shifted - left) as f32;
    let (a, b) = (value(left as i64), value(left as i64 + 1));
    a + part * (b - a)
}

/// Moves a mean of `cycles` past ones towards a new value.
fn blend(mean: &mut f32, value: f32, cycles: i64) {
    if mean.is_nan() {
        *mean = value;
    } else {
        *mean += NEW.max(1.0 / (cycles as f32 + 1.0)) * (value - *mean);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Load by the time of day: 100 at midnight, 200 at noon, linear in between.
    fn daily(time_s: f64) -> f64 {
        let hour = time_s.rem_euclid(DAY_S) / HOUR_S;
        100.0 + 100.0 * (1.0 - (hour - 12.0).abs() / 12.0)
    }

    /// After `days` days at `step_s`, the moves from the last step to `ahead` steps later.
    fn after(days: f64, step_s: f64, ahead: i64) -> (Moves, f32) {
        let mut calendar = Calendar::new(step_s, ahead as usize);
        let first = (1e9 / step_s) as i64;
        let steps = (days * DAY_S / step_s) as i64;
        for step in first..first + steps {
            calendar.observe(step, daily((step as f64 + 0.5) * step_s) as f32);
        }
        let last = first + steps - 1;
        let time = |step: i64| (step as f64 + 0.5) * step_s;
        let expected = daily(time(last + ahead)) - daily(time(last));
        (calendar.moves(last, last + ahead), expected as f32)
    }

    #[test]
    fn a_day_is_continued_whatever_the_step() {
        for (step_s, ahead) in [(10.0, 90), (60.0, 15), (300.0, 3), (3600.0, 1)] {
            for days in [1.5, 2.3, 9.1] {
                let (moves, expected) = after(days, step_s, ahead);
                assert!((moves.yesterday - expected).abs() < 0.2, "{step_s} {days} {moves:?}");
                if days > 2.0 {
                    assert!((moves.day - expected).abs() < 0.2, "{step_s} {days} {moves:?}");
                }
                if days > 8.0 {
                    assert!((moves.week - expected).abs() < 0.5, "{step_s} {days} {moves:?}");
                }
            }
        }
    }

    #[test]
    fn what_was_never_seen_is_unknown() {
        let (moves, _) = after(0.5, 60.0, 15);
        assert!(moves.yesterday.is_nan() && moves.day.is_nan() && moves.week.is_nan());
        let (moves, _) = after(1.5, 60.0, 15);
        assert!(!moves.yesterday.is_nan() && !moves.day.is_nan() && moves.week.is_nan());
    }

    #[test]
    fn learning_is_seeing() {
        let (mut seen, mut learnt) = (Calendar::new(60.0, 15), Calendar::new(60.0, 15));
        let start = 20_000_000;
        for bin in 0..600 {
            let mean = daily(bin as f64 * BIN_S);
            (0..5).for_each(|i| seen.observe(start + 5 * bin + i, mean as f32));
            learnt.learn((start + 5 * bin) as f64 * 60.0, BIN_S, mean);
        }
        let last = start + 2_999;
        let (a, b) = (seen.moves(last, last + 15), learnt.moves(last, last + 15));
        assert!((a.yesterday - b.yesterday).abs() < 1e-3 && (a.day - b.day).abs() < 1e-3);
        assert!(!a.day.is_nan());
    }

    #[test]
    fn a_gap_keeps_the_phase_and_forgets_the_trace() {
        let mut calendar = Calendar::new(300.0, 3);
        let value = |step: i64| daily(step as f64 * 300.0) as f32;
        (0..600).for_each(|step| calendar.observe(step, value(step)));
        (2_000..2_010).for_each(|step| calendar.observe(step, value(step)));
        let moves = calendar.moves(2_009, 2_012);
        assert!(moves.yesterday.is_nan());
        assert!((moves.day - (value(2_012) - value(2_009))).abs() < 0.1, "{moves:?}");
    }
}
