//! How the load of a key runs after it was placed, and the load of all keys placed.
//!
//! A simulated key stands for many like ones, so it brings what they bring in the mean: no luck
//! of single deaths. Loads are cost units a second.

use crate::workload::STEP_S;

/// The constraint under which keys are placed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Life {
    /// Every row has a key of its own: its load lies in the step in which it is placed.
    PerRow,
    /// A key stays where it was placed, and its load decays: exp(-age / `mean_s`).
    Sticky {
        /// Mean life in seconds.
        mean_s: f64,
    },
    /// As before, but a key starts without load and grows first:
    /// exp(-age / `mean_s`) - exp(-4 age / `mean_s`).
    Growing {
        /// Mean life of the decay in seconds.
        mean_s: f64,
    },
}

impl Life {
    /// What is left after a step of the two parts of a key's load, of which the second counts
    /// negative.
    pub fn decay(self) -> [f64; 2] {
        let rate = |mean_s: f64| (-STEP_S / mean_s).exp();
        match self {
            Life::PerRow => [0.0, 0.0],
            Life::Sticky { mean_s } => [rate(mean_s), 0.0],
            Life::Growing { mean_s } => [rate(mean_s), rate(mean_s / 4.0)],
        }
    }

    /// Size of both parts of the load at age zero of keys that add up to a load of one if as
    /// many come in every step.
    pub fn entry(self) -> [f64; 2] {
        let [slow, fast] = self.decay();
        match self {
            Life::PerRow => [1.0, 0.0],
            Life::Sticky { .. } => [1.0 - slow, 0.0],
            Life::Growing { .. } => {
                let unit = ((1.0 - slow).recip() - (1.0 - fast).recip()).recip();
                [unit, unit]
            }
        }
    }

    /// Mean time in seconds that keys live on; 0 per row.
    pub fn mean_s(self) -> f64 {
        match self {
            Life::PerRow => 0.0,
            Life::Sticky { mean_s } | Life::Growing { mean_s } => mean_s,
        }
    }
}

/// The load of the keys placed so far, by partition.
#[derive(Debug, Clone)]
pub struct OwnLoad {
    decay: [f64; 2],
    entry: [f64; 2],
    parts: Vec<[f64; 2]>,
    load: Vec<f64>,
}

impl OwnLoad {
    /// No keys on `partitions` partitions.
    pub fn new(partitions: usize, life: Life) -> OwnLoad {
        OwnLoad {
            decay: life.decay(),
            entry: life.entry(),
            parts: vec![[0.0; 2]; partitions],
            load: vec![0.0; partitions],
        }
    }

    /// A step ends: all keys grow older by it.
    pub fn age(&mut self) {
        for (parts, load) in self.parts.iter_mut().zip(&mut self.load) {
            parts.iter_mut().zip(self.decay).for_each(|(part, decay)| *part *= decay);
            *load = parts[0] - parts[1];
        }
    }

    /// Places keys on a partition; as many in every step would add up to `load`.
    pub fn add(&mut self, partition: usize, load: f64) {
        let parts = &mut self.parts[partition];
        parts.iter_mut().zip(self.entry).for_each(|(part, entry)| *part += entry * load);
        self.load[partition] = parts[0] - parts[1];
    }

    /// The load by partition.
    pub fn load(&self) -> &[f64] {
        &self.load
    }

    /// Factors by which what is there counts, and by which `load` placed in every step adds, as
    /// mean of the next `steps` steps.
    pub fn outlook(&self, steps: usize) -> ([f64; 2], f64) {
        let (mut left, mut kept, mut added, mut new) = ([1.0; 2], [0.0; 2], 0.0, [0.0; 2]);
        for _ in 0..steps {
            for i in 0..2 {
                left[i] *= self.decay[i];
                kept[i] += left[i] / steps as f64;
                new[i] = new[i] * self.decay[i] + self.entry[i];
            }
            added += (new[0] - new[1]) / steps as f64;
        }
        (kept, added)
    }

    /// Mean load over the next `steps` steps of the keys placed so far.
    pub fn committed(&self, steps: usize) -> Vec<f64> {
        let ([slow, fast], _) = self.outlook(steps);
        self.parts.iter().map(|parts| slow * parts[0] - fast * parts[1]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_keep_coming_add_up_to_their_volume() {
        for life in [Life::PerRow, Life::Sticky { mean_s: 50.0 }, Life::Growing { mean_s: 50.0 }] {
            let mut own = OwnLoad::new(1, life);
            for _ in 0..500 {
                own.age();
                own.add(0, 3.0);
            }
            assert!((own.load()[0] - 3.0).abs() < 1e-6, "{life:?}: {:?}", own.load());
        }
    }

    #[test]
    fn the_outlook_is_what_comes() {
        for life in [Life::PerRow, Life::Sticky { mean_s: 40.0 }, Life::Growing { mean_s: 40.0 }] {
            let mut own = OwnLoad::new(1, life);
            own.add(0, 5.0);
            own.age();
            own.age();
            let (_, added) = own.outlook(7);
            let expected = own.committed(7)[0] + 2.0 * added;
            let mut mean = 0.0;
            for _ in 0..7 {
                own.age();
                own.add(0, 2.0);
                mean += own.load()[0] / 7.0;
            }
            assert!((mean - expected).abs() < 1e-9, "{life:?}: {mean} {expected}");
        }
    }

    #[test]
    fn growing_keys_start_without_load() {
        let mut own = OwnLoad::new(1, Life::Growing { mean_s: 100.0 });
        own.add(0, 1.0);
        assert_eq!(own.load(), [0.0]);
        own.age();
        let young = own.load()[0];
        (0..10).for_each(|_| own.age());
        assert!(own.load()[0] > young && young > 0.0);
    }
}
