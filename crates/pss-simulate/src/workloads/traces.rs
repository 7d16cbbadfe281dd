//! Foreign load from recorded series (W10).
//!
//! Series come at steps of minutes, for days; here each value lasts one control interval, so that
//! the shape is what was recorded and a play is not. Series are only read, never copied.

use rand::Rng;
use rand::rngs::SmallRng;

use super::{Shape, VOLUME};
use crate::series::Series;
use crate::workload::{Grid, STEP_S, Workload};

/// Mean load of a series in a play.
const MEAN: f64 = 0.3;

/// A random series, from a random place on, for each partition. Missing values repeat the last
/// one; a series that ends begins anew.
pub(super) fn replay(shape: &Shape, random: &mut SmallRng, series: &[Series]) -> Workload {
    let values = (shape.steps as f64 * STEP_S / shape.interval_s).ceil() as usize;
    let loads: Vec<Vec<f64>> = (0..shape.partitions)
        .map(|_| {
            let values_of = &series[random.random_range(0..series.len())].values;
            excerpt(values_of, random.random_range(0..values_of.len()), values)
        })
        .collect();
    let foreign = Grid::new(shape.partitions, shape.steps, |p, step| {
        loads[p][(step as f64 * STEP_S / shape.interval_s) as usize]
    });
    Workload::steady(foreign, shape.volume(VOLUME))
}

fn excerpt(values: &[Option<f64>], from: usize, length: usize) -> Vec<f64> {
    let mut last = values.iter().flatten().next().copied().unwrap_or(0.0);
    let around = values.iter().cycle().skip(from).take(length);
    let mut loads: Vec<f64> = around
        .map(|value| {
            last = value.unwrap_or(last);
            last
        })
        .collect();
    let mean = loads.iter().sum::<f64>() / length.max(1) as f64;
    let scale = if mean > 0.0 { MEAN / mean } else { 0.0 };
    loads.iter_mut().for_each(|load| *load *= scale);
    loads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_goes_around_and_has_the_mean() {
        let values = [Some(1.0), None, Some(3.0), Some(1.0)];
        let loads = excerpt(&values, 2, 6);
        let unit = loads[1];
        assert!(
            loads
                .iter()
                .zip([3.0, 1.0, 1.0, 1.0, 3.0, 1.0])
                .all(|(a, b)| (a / unit - b).abs() < 1e-9)
        );
        assert!((loads.iter().sum::<f64>() / 6.0 - MEAN).abs() < 1e-12);
        assert_eq!(excerpt(&[None, Some(0.0)], 0, 3), [0.0; 3]);
    }
}
