//! Water-filling, clamping and damping: from expected loads to shares of the load to come.
//!
//! Every function returns shares that are finite, not negative and sum to one, whatever comes
//! in: routing must never fail because a forecast is unwell. A partition of capacity zero is out
//! of service and must never get a share.

/// How far a share may be trusted and how fast it may change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Damping {
    /// Part of the way to the target that one step goes.
    pub gain: f64,
    /// Changes below this, relative to an equal share, are not worth an epoch.
    pub dead_band: f64,
    /// No partition is sent more than this, relative to what brings it to capacity.
    pub clamp: f64,
}

impl Default for Damping {
    fn default() -> Damping {
        Damping { gain: 0.8, dead_band: 0.03, clamp: 1.25 }
    }
}

/// Shares in proportion to capacity: what pss falls back to. All zero or unusable capacities
/// count as equal.
pub fn capacity_shares(capacity: &[f64]) -> Vec<f64> {
    let mut shares: Vec<f64> = capacity.iter().map(|&c| usable(c)).collect();
    let largest = shares.iter().copied().fold(0.0, f64::max);
    if largest > 0.0 {
        shares.iter_mut().for_each(|s| *s /= largest);
    } else {
        shares.fill(1.0);
    }
    normalize(&mut shares);
    shares
}

/// Shares of `volume` (cost units/s) that bring `(base + share * volume) / capacity` to a common
/// level where they can, and give nothing to partitions that are above it already.
///
/// `base` in cost units/s; one that is not finite counts as the mean utilization of the others.
/// With no volume to share out, or nothing finite to go by: [`capacity_shares`].
pub fn water_fill(base: &[f64], capacity: &[f64], volume: f64) -> Vec<f64> {
    let known = |i: usize| usable(capacity[i]) > 0.0 && base.get(i).is_some_and(|b| b.is_finite());
    let (mut load, mut room) = (0.0, 0.0);
    for i in (0..capacity.len()).filter(|&i| known(i)) {
        load += base[i];
        room += capacity[i];
    }
    let mean = load / room;
    if !(volume.is_finite() && volume > 0.0 && mean.is_finite()) {
        return capacity_shares(capacity);
    }
    // Utilization and capacity of each partition in service, the emptiest first.
    let mut in_service: Vec<(f64, f64, usize)> = (0..capacity.len())
        .filter(|&i| usable(capacity[i]) > 0.0)
        .map(|i| (if known(i) { base[i] / capacity[i] } else { mean }, capacity[i], i))
        .collect();
    in_service.sort_by(|a, b| a.0.total_cmp(&b.0));
    let level = level_of(&in_service, volume);
    let mut shares = vec![0.0; capacity.len()];
    for &(utilization, room, i) in &in_service {
        shares[i] = ((level - utilization) * room).max(0.0);
    }
    if !normalize(&mut shares) {
        return capacity_shares(capacity);
    }
    shares
}

/// The level to which `volume` fills partitions sorted by utilization.
fn level_of(sorted: &[(f64, f64, usize)], volume: f64) -> f64 {
    let (mut load, mut room) = (0.0, 0.0);
    let mut level = f64::INFINITY;
    for &(utilization, capacity, _) in sorted {
        if utilization >= level {
            break;
        }
        load += utilization * capacity;
        room += capacity;
        level = (load + volume) / room;
    }
    level
}

/// Limits each share to `factor * capacity share / utilization`: what would bring the partition
/// to `factor` times its capacity if all load were placed anew. The excess goes to the others in
/// proportion to what they may still take. `utilization` is that of the whole table (load over
/// capacity); without one (not positive or not finite) nothing is limited.
pub fn clamp(shares: &[f64], capacity: &[f64], utilization: f64, factor: f64) -> Vec<f64> {
    let mut clamped = shares.to_vec();
    if !normalize(&mut clamped) {
        return capacity_shares(capacity);
    }
    // Below one, the limits could not add up to all of the load.
    let scale = (factor / utilization).max(1.0);
    if !scale.is_finite() || utilization <= 0.0 {
        return clamped;
    }
    let limits: Vec<f64> = capacity_shares(capacity).iter().map(|c| c * scale).collect();
    let mut excess = 0.0;
    let mut room = 0.0;
    for (share, &limit) in clamped.iter_mut().zip(&limits) {
        excess += (*share - limit).max(0.0);
        *share = share.min(limit);
        room += limit - *share;
    }
    if excess > 0.0 && room > 0.0 {
        let part = (excess / room).min(1.0);
        for (share, &limit) in clamped.iter_mut().zip(&limits) {
            *share += (limit - *share) * part;
        }
    }
    normalize(&mut clamped);
    clamped
}

/// Goes `gain` (0..=1) of the way from the previous shares to the target. Shares of another
/// number of partitions are no base to damp from: the target itself.
pub fn damp(previous: &[f64], target: &[f64], gain: f64) -> Vec<f64> {
    if previous.len() != target.len() || !gain.is_finite() {
        return target.to_vec();
    }
    let gain = gain.clamp(0.0, 1.0);
    let mut shares: Vec<f64> = previous
        .iter()
        .zip(target)
        // What goes out of service goes at once: damping must not send rows there.
        .map(|(&p, &t)| if t == 0.0 { 0.0 } else { p + gain * (t - p) })
        .collect();
    if !normalize(&mut shares) {
        return target.to_vec();
    }
    shares
}

/// Whether some share has changed by more than `band` of an equal share.
pub fn leaves_dead_band(previous: &[f64], target: &[f64], band: f64) -> bool {
    let equal = 1.0 / target.len().max(1) as f64;
    previous.len() != target.len()
        || previous.iter().zip(target).any(|(p, t)| (p - t).abs() > band * equal)
}

fn usable(value: f64) -> f64 {
    if value.is_finite() && value > 0.0 { value } else { 0.0 }
}

/// Scales to sum one; false (and untouched) if there is nothing to scale.
fn normalize(shares: &mut [f64]) -> bool {
    let total: f64 = shares.iter().map(|&s| usable(s)).sum();
    if !(total.is_finite() && total > 0.0) {
        return false;
    }
    shares.iter_mut().for_each(|s| *s = usable(*s) / total);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_the_emptiest_first() {
        assert_eq!(water_fill(&[0.0, 3.0, 9.0], &[1.0; 3], 5.0), [0.8, 0.2, 0.0]);
        assert_eq!(water_fill(&[2.0, 2.0], &[1.0, 3.0], 4.0), [0.0, 1.0]);
    }

    #[test]
    fn falls_back_to_capacity() {
        let capacity = [1.0, 0.0, 3.0];
        let fallback = [0.25, 0.0, 0.75];
        assert_eq!(water_fill(&[1.0, 2.0, 3.0], &capacity, 0.0), fallback);
        assert_eq!(water_fill(&[1.0, 2.0, 3.0], &capacity, f64::NAN), fallback);
        assert_eq!(water_fill(&[f64::NAN; 3], &capacity, 1.0), fallback);
        assert_eq!(water_fill(&[], &capacity, 1.0), fallback);
        assert_eq!(capacity_shares(&[0.0, f64::NAN]), [0.5, 0.5]);
        assert!(water_fill(&[], &[], 1.0).is_empty());
    }

    #[test]
    fn an_unknown_base_counts_as_the_mean() {
        let shares = water_fill(&[1.0, f64::NAN, 3.0], &[1.0; 3], 3.0);
        assert_eq!(shares, [2.0 / 3.0, 1.0 / 3.0, 0.0]);
    }

    #[test]
    fn clamp_passes_the_excess_on() {
        let shares = clamp(&[0.8, 0.2, 0.0, 0.0], &[1.0; 4], 0.625, 1.25);
        assert_eq!(shares[0], 0.5);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!(clamp(&[1.0, 0.0], &[1.0; 2], 0.0, 1.25), [1.0, 0.0]);
        assert_eq!(clamp(&[1.0, 0.0], &[1.0; 2], 9.0, 1.25), [0.5, 0.5]);
    }

    #[test]
    fn damping_never_sends_to_what_is_out_of_service() {
        assert_eq!(damp(&[0.5, 0.5], &[1.0, 0.0], 0.8), [1.0, 0.0]);
        assert_eq!(damp(&[1.0], &[0.3, 0.7], 0.8), [0.3, 0.7]);
    }

    #[test]
    fn dead_band_is_relative_to_an_equal_share() {
        assert!(!leaves_dead_band(&[0.5, 0.5], &[0.51, 0.49], 0.03));
        assert!(leaves_dead_band(&[0.5, 0.5], &[0.52, 0.48], 0.03));
    }
}
