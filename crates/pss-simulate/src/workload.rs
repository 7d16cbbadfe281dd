//! What falls on the partitions of one table, in even steps of time.
//!
//! A workload is data: it never knows who places the keys.

/// Seconds of a step.
pub const STEP_S: f64 = 2.0;

/// A value of each partition in each step.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    partitions: usize,
    values: Vec<f64>,
}

impl Grid {
    /// The values of a function of partition and step.
    pub fn new(partitions: usize, steps: usize, value: impl Fn(usize, usize) -> f64) -> Grid {
        let cells = (0..steps).flat_map(|step| (0..partitions).map(move |p| (p, step)));
        Grid { partitions, values: cells.map(|(p, step)| value(p, step)).collect() }
    }

    /// The values of one step, by partition.
    pub fn row(&self, step: usize) -> &[f64] {
        &self.values[step * self.partitions..][..self.partitions]
    }

    /// The values of one step, to be changed.
    pub fn row_mut(&mut self, step: usize) -> &mut [f64] {
        &mut self.values[step * self.partitions..][..self.partitions]
    }

    /// Number of steps.
    pub fn steps(&self) -> usize {
        self.values.len() / self.partitions.max(1)
    }

    /// The mean of each partition from `from_s` to `until_s` (seconds, also between steps); of
    /// what lies outside, nothing counts.
    pub fn mean(&self, from_s: f64, until_s: f64) -> Vec<f64> {
        let (from, until) = (from_s / STEP_S, until_s / STEP_S);
        let (first, end) = (from.max(0.0) as usize, (until.ceil() as usize).min(self.steps()));
        let mut sum = vec![0.0; self.partitions];
        let mut weight = 0.0;
        for step in first..end {
            let part = (until.min(step as f64 + 1.0) - from.max(step as f64)).max(0.0);
            weight += part;
            sum.iter_mut().zip(self.row(step)).for_each(|(sum, v)| *sum += part * v);
        }
        sum.iter_mut().for_each(|sum| *sum /= f64::max(weight, 1e-9));
        sum
    }
}

/// A workload: loads and capacities in cost units a second.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Load that nobody places.
    pub foreign: Grid,
    /// What a partition can carry; 0 = out of service.
    pub capacity: Grid,
    /// Load of all keys to place, in each step. Where keys live on, the load to which they add up
    /// if as many come in every step.
    pub volume: Vec<f64>,
    /// Standard deviation of the logarithm of a key's size; 0: all alike.
    pub size_spread: f64,
    /// Standard deviation of the error of measured foreign load, relative to it.
    pub noise: f64,
    /// Steps of foreign load after which all stays as it is for a while: when (seconds), where.
    pub jumps: Vec<Jump>,
}

/// A lasting rise of foreign load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jump {
    /// When it begins, in seconds.
    pub at_s: f64,
    /// When the load falls back.
    pub until_s: f64,
    /// On which partition.
    pub partition: usize,
}

impl Workload {
    /// Equal partitions of capacity 1 under this foreign load, and a volume that does not change.
    pub fn steady(foreign: Grid, volume: f64) -> Workload {
        let steps = foreign.steps();
        Workload {
            capacity: Grid::new(foreign.partitions, steps, |_, _| 1.0),
            foreign,
            volume: vec![volume; steps],
            size_spread: 0.0,
            noise: 0.0,
            jumps: Vec::new(),
        }
    }

    /// Number of partitions.
    pub fn partitions(&self) -> usize {
        self.foreign.partitions
    }

    /// Number of steps.
    pub fn steps(&self) -> usize {
        self.volume.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_count_parts_of_steps() {
        let grid = Grid::new(2, 4, |p, step| (10 * p + step) as f64);
        assert_eq!(grid.row(2), [2.0, 12.0]);
        assert_eq!(grid.mean(0.0, 2.0 * STEP_S), [0.5, 10.5]);
        assert_eq!(grid.mean(0.5 * STEP_S, 1.5 * STEP_S), [0.5, 10.5]);
        assert_eq!(grid.mean(1.75 * STEP_S, 2.25 * STEP_S), [1.5, 11.5]);
        assert_eq!(grid.mean(3.0 * STEP_S, 9.0 * STEP_S), [3.0, 13.0]);
    }
}
