//! Filling nodes and tablespaces, then partitions: against flat filling, and against chance.

use proptest::prelude::*;
use pss_core::topology::{Limit, Place, Topology};
use pss_core::weights::water_fill;

/// A table of partitions (load, capacity) on nodes.
#[derive(Debug, Clone)]
struct Table {
    base: Vec<f64>,
    capacity: Vec<f64>,
    places: Vec<Place>,
    nodes: Vec<Limit>,
    tablespaces: Vec<Limit>,
    volume: f64,
}

impl Table {
    fn topology(&self) -> Topology {
        Topology::new(&self.places, &self.nodes, &self.tablespaces)
    }

    fn shares(&self) -> Vec<f64> {
        let effective = self.topology().effective(&self.base, &self.capacity, self.volume);
        water_fill(&self.base, &effective, self.volume)
    }

    /// Highest utilization of what takes part of the volume: partitions, tablespaces and nodes. All
    /// else is as full as it was before.
    fn highest(&self, shares: &[f64]) -> f64 {
        let level = |i: usize| self.base[i] + shares[i] * self.volume;
        let n = shares.len();
        let serving = (0..n).filter(|&i| self.capacity[i] > 0.0);
        let of_partitions = serving.map(|i| level(i) / self.capacity[i]);
        let of_group = |limit: &Limit, within: &dyn Fn(&Place) -> bool| {
            let load: f64 = (0..n).filter(|&i| within(&self.places[i])).map(level).sum();
            (load + limit.other) / limit.capacity
        };
        let nodes = self.nodes.iter().enumerate();
        let of_nodes = nodes.map(|(node, limit)| of_group(limit, &|p| p.node == node));
        let spaces = self.tablespaces.iter().enumerate();
        let of_spaces = spaces.map(|(s, limit)| of_group(limit, &|p| p.tablespace == Some(s)));
        of_partitions.chain(of_nodes).chain(of_spaces).fold(0.0, f64::max)
    }
}

fn limit() -> impl Strategy<Value = Limit> {
    let capacity = prop_oneof![2 => 0.5..6.0f64, 1 => Just(f64::INFINITY)];
    (capacity, prop_oneof![Just(0.0), 0.0..3.0f64])
        .prop_map(|(capacity, other)| Limit { capacity, other })
}

/// Tablespaces 0 and 1 are on node 0, tablespace 2 is on node 1.
fn tables() -> impl Strategy<Value = Table> {
    let place = prop_oneof![
        Just((0, None)),
        Just((0, Some(0))),
        Just((0, Some(1))),
        Just((1, None)),
        Just((1, Some(2))),
        Just((2, None)),
    ]
    .prop_map(|(node, tablespace)| Place { node, tablespace });
    let capacity = prop_oneof![8 => 0.2..3.0f64, 1 => Just(0.0)];
    let partition = (prop_oneof![Just(0.0), 0.0..4.0f64], capacity, place);
    (
        prop::collection::vec(partition, 2..14),
        prop::collection::vec(limit(), 3),
        prop::collection::vec(limit(), 3),
        0.05..20.0f64,
    )
        .prop_filter("some partition serves", |(partitions, ..)| {
            partitions.iter().any(|p| p.1 > 0.0)
        })
        .prop_map(|(partitions, nodes, tablespaces, volume)| Table {
            base: partitions.iter().map(|p| if p.1 > 0.0 { p.0 } else { 0.0 }).collect(),
            capacity: partitions.iter().map(|p| p.1).collect(),
            places: partitions.iter().map(|p| p.2).collect(),
            nodes,
            tablespaces,
            volume,
        })
}

fn close(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Shares are shares, and nothing goes to what is out of service.
    #[test]
    fn shares_sum_to_one_in_service(table in tables()) {
        let shares = table.shares();
        prop_assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        for (share, capacity) in shares.iter().zip(&table.capacity) {
            prop_assert!(*share >= 0.0 && (*capacity > 0.0 || *share == 0.0));
        }
    }

    /// No utilization of a limited thing is higher than flat filling makes it, nor than shifting a
    /// part of any share to any other partition would.
    #[test]
    fn nothing_else_is_better(table in tables(), part in 0.01..1.0f64, from in 0..14usize, to in 0..14usize) {
        let shares = table.shares();
        let highest = table.highest(&shares);
        // What is left with a millionth of its capacity takes a millionth too much.
        let slack = 1e-5 * (1.0 + highest);
        let flat = water_fill(&table.base, &table.capacity, table.volume);
        prop_assert!(highest <= table.highest(&flat) + slack, "flat {} < {highest}", table.highest(&flat));
        let (from, to) = (from % shares.len(), to % shares.len());
        if table.capacity[to] > 0.0 {
            let mut other = shares.clone();
            let moved = other[from] * part;
            other[from] -= moved;
            other[to] += moved;
            prop_assert!(highest <= table.highest(&other) + slack);
        }
    }

    /// The usual case: all on one node, whatever it can carry.
    #[test]
    fn one_node_is_flat(table in tables(), limit in limit()) {
        let one = Table {
            places: table.places.iter().map(|_| Place { node: 0, tablespace: None }).collect(),
            nodes: vec![limit],
            ..table
        };
        let flat = water_fill(&one.base, &one.capacity, one.volume);
        prop_assert!(close(&one.shares(), &flat));
    }

    /// Without limits nothing is changed at all.
    #[test]
    fn without_limits_capacities_stay(table in tables()) {
        let free = Topology::new(&table.places, &[], &[]);
        prop_assert_eq!(free.effective(&table.base, &table.capacity, table.volume), table.capacity);
    }

    /// Whatever is given, it ends, and partitions stay in or out of service.
    #[test]
    fn service_stays(
        base in prop::collection::vec(any::<f64>(), 5), capacity in prop::collection::vec(any::<f64>(), 5),
        limits in prop::collection::vec((any::<f64>(), any::<f64>()), 2), volume in any::<f64>()
    ) {
        let places: Vec<Place> =
            (0..5).map(|i| Place { node: i % 2, tablespace: Some(i % 3) }).collect();
        let limits: Vec<Limit> =
            limits.into_iter().map(|(capacity, other)| Limit { capacity, other }).collect();
        let effective = Topology::new(&places, &limits, &limits).effective(&base, &capacity, volume);
        for (was, is) in capacity.iter().zip(&effective) {
            let serves = |c: f64| c.is_finite() && c > f64::MIN_POSITIVE / 1e-6;
            prop_assert!(!serves(*was) || *is > 0.0);
            prop_assert!(serves(*was) || is.to_bits() == was.to_bits() || is.abs() <= was.abs());
        }
    }
}

#[test]
fn a_small_node_takes_what_it_can() {
    // Six partitions on a node that carries as much as two of them; two on one without a limit.
    let places: Vec<Place> =
        (0..8).map(|i| Place { node: usize::from(i >= 6), tablespace: None }).collect();
    let limits = [Limit { capacity: 2.0, other: 0.0 }, Limit::NONE];
    let topology = Topology::new(&places, &limits, &[]);
    let effective = topology.effective(&[0.0; 8], &[1.0; 8], 8.0);
    let shares = water_fill(&[0.0; 8], &effective, 8.0);
    assert!(close(&shares, &[[1.0 / 12.0; 6].as_slice(), &[0.25; 2]].concat()), "{shares:?}");
    // So it is without any load, too.
    assert!(close(&topology.effective(&[5.0; 8], &[1.0; 8], 0.0), &effective));
}

#[test]
fn load_of_others_takes_room() {
    // Two alike nodes of capacity 4; another table uses 2 of the first.
    let places: Vec<Place> = (0..4).map(|i| Place { node: i / 2, tablespace: None }).collect();
    let limits = [Limit { capacity: 4.0, other: 2.0 }, Limit { capacity: 4.0, other: 0.0 }];
    let topology = Topology::new(&places, &limits, &[]);
    let effective = topology.effective(&[0.0; 4], &[2.0; 4], 4.0);
    let shares = water_fill(&[0.0; 4], &effective, 4.0);
    assert!(close(&shares, &[0.125, 0.125, 0.375, 0.375]), "{shares:?}");
}

#[test]
fn a_tablespace_fills_within_its_node() {
    // Partitions 0 and 1 share a slow disk of the only node, 2 and 3 do not.
    let places: Vec<Place> =
        [Some(0), Some(0), None, None].map(|tablespace| Place { node: 0, tablespace }).to_vec();
    let topology = Topology::new(&places, &[], &[Limit { capacity: 1.0, other: 0.0 }]);
    let effective = topology.effective(&[0.0; 4], &[1.0; 4], 3.0);
    let shares = water_fill(&[0.0; 4], &effective, 3.0);
    assert!(close(&shares, &[1.0 / 6.0, 1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0]), "{shares:?}");
}
