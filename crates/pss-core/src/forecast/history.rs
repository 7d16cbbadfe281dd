//! The recent past of one series, addressed by step number.
//!
//! Steps are counted from 0 at the first push and never renumbered, so a forecast and the value
//! it was made for can be matched without arithmetic on buffer positions. Missing steps keep
//! their place; they are never filled in.

/// Steps that are always kept once seen; two cycles of the longest period must fit.
pub(super) const KEPT: usize = 384;
/// Steps dropped at a time, so that the values stay one contiguous slice at little cost.
const SLACK: usize = 48;
/// Most steps a history holds.
pub(super) const CAPACITY: usize = KEPT + SLACK;

#[derive(Debug, Clone)]
pub(super) struct History {
    /// NaN is a missing step. Single precision: the past serves for differences only.
    values: Vec<f32>,
    /// Step number of `values[0]`.
    first: usize,
}

impl History {
    pub fn new() -> Self {
        History { values: Vec::with_capacity(CAPACITY), first: 0 }
    }

    /// Appends the next step; NaN if it is missing.
    pub fn push(&mut self, value: f32) {
        if self.values.len() == CAPACITY {
            self.values.drain(..SLACK);
            self.first += SLACK;
        }
        self.values.push(value);
    }

    /// Lets many more missing steps pass at once, when all that is kept are missing ones.
    pub fn pass(&mut self, steps: usize) {
        self.first += steps;
    }

    /// Number of the step that the next push will have.
    pub fn end(&self) -> usize {
        self.first + self.values.len()
    }

    /// Number of the oldest step kept.
    pub fn first(&self) -> usize {
        self.first
    }

    /// The steps kept, oldest first; missing ones are NaN.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The value at `step`; NaN if it is missing, forgotten or yet to come.
    pub fn at(&self, step: usize) -> f32 {
        match step.checked_sub(self.first) {
            Some(i) => self.values.get(i).copied().unwrap_or(f32::NAN),
            None => f32::NAN,
        }
    }

    /// The last known value at or before `step`; NaN if there is none.
    pub fn known_until(&self, step: usize) -> f32 {
        let len = (step + 1).saturating_sub(self.first).min(self.values.len());
        self.values[..len].iter().rev().copied().find(|v| !v.is_nan()).unwrap_or(f32::NAN)
    }
}

impl History {
    /// Bytes owned.
    pub fn bytes(&self) -> usize {
        size_of::<f32>() * self.values.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_keep_their_numbers() {
        let mut history = History::new();
        for step in 0..3 * CAPACITY {
            assert_eq!(history.end(), step);
            history.push(if step % 7 == 3 { f32::NAN } else { step as f32 });
            assert!(history.values().len() >= KEPT.min(step + 1));
            assert!(history.values().len() <= CAPACITY);
        }
        let last = history.end() - 1;
        for step in history.first()..=last {
            if step % 7 == 3 {
                assert!(history.at(step).is_nan());
                if step > history.first() {
                    assert_eq!(history.known_until(step), (step - 1) as f32);
                }
            } else {
                assert_eq!(history.at(step), step as f32);
                assert_eq!(history.known_until(step), step as f32);
            }
        }
        assert!(history.at(history.first() - 1).is_nan());
        assert!(history.at(last + 1).is_nan());
        assert!(history.known_until(history.first() - 1).is_nan());
    }
}
