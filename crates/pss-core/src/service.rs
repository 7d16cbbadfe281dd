//! Taking partitions out of service between two decisions.
//!
//! Weights are decided every few seconds; a partition that was disabled or whose disk failed must
//! take no new key from this moment on. It must never leave a table without any partition: where
//! none is in service, all is left as it is, for routing never fails.

/// The shares of the new keys when those of the partitions that do not serve go to the others, in
/// proportion to their own shares; where these are all zero, in proportion to `capacity`. `None`:
/// there is nothing to change, or nobody left to serve.
pub fn rerouted(
    shares: &[f64],
    capacity: &[f64],
    serves: impl Fn(usize) -> bool,
) -> Option<Vec<f64>> {
    let n = shares.len();
    if (0..n).all(&serves) {
        return None;
    }
    let kept = |of: &[f64]| -> Option<Vec<f64>> {
        let usable = |i: usize| of.get(i).copied().filter(|x| x.is_finite() && *x > 0.0);
        let part = |i: usize| usable(i).filter(|_| serves(i)).unwrap_or(0.0);
        let total: f64 = (0..n).map(part).sum();
        (total.is_finite() && total > 0.0).then(|| (0..n).map(|i| part(i) / total).collect())
    };
    kept(shares).or_else(|| kept(capacity)).or_else(|| kept(&vec![1.0; n]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn others_take_over_in_proportion() {
        let shares = rerouted(&[0.5, 0.25, 0.25], &[1.0; 3], |i| i != 1).unwrap();
        assert_eq!(shares, [2.0 / 3.0, 0.0, 1.0 / 3.0]);
    }

    #[test]
    fn without_shares_capacity_decides_then_all_are_alike() {
        let only_the_first_had_any = [1.0, 0.0, 0.0];
        let shares = rerouted(&only_the_first_had_any, &[1.0, 3.0, 1.0], |i| i > 0);
        assert_eq!(shares.unwrap(), [0.0, 0.75, 0.25]);
        let shares = rerouted(&only_the_first_had_any, &[1.0, f64::NAN, 0.0], |i| i > 0);
        assert_eq!(shares.unwrap(), [0.0, 0.5, 0.5]);
    }

    #[test]
    fn nothing_changes_where_all_serve_or_none_does() {
        assert_eq!(rerouted(&[0.5, 0.5], &[1.0; 2], |_| true), None);
        assert_eq!(rerouted(&[0.5, 0.5], &[1.0; 2], |_| false), None);
        assert_eq!(rerouted(&[], &[], |_| false), None);
    }

    proptest! {
        #[test]
        fn shares_of_those_in_service_sum_to_one(
            partitions in prop::collection::vec((0.0..1.0f64, 0.1..9.0f64, any::<bool>()), 1..40)
        ) {
            let shares: Vec<f64> = partitions.iter().map(|p| p.0).collect();
            let capacity: Vec<f64> = partitions.iter().map(|p| p.1).collect();
            let Some(new) = rerouted(&shares, &capacity, |i| partitions[i].2) else {
                let serving = partitions.iter().filter(|p| p.2).count();
                prop_assert!(serving == 0 || serving == partitions.len());
                return Ok(());
            };
            prop_assert!((new.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            for (new, (old, _, serves)) in new.iter().zip(&partitions) {
                prop_assert!(*serves || *new == 0.0);
                prop_assert!(!*serves || *new >= *old || shares.iter().sum::<f64>() > 1.0);
            }
        }
    }
}
