//! Learning a server's capacity, on simulated servers whose capacity is known.

use proptest::prelude::*;
use pss_core::capacity::{Cycle, Learner, Source, by_resources, in_use, relative};
use pss_core::resources::Resources;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// A queue with servers that take the next request when they are free; it keeps its backlog from
/// cycle to cycle.
struct Queue {
    /// When each server is free.
    free_at: Vec<f64>,
    /// Requests per second that all servers together can do.
    capacity: f64,
    exponential: bool,
    now: f64,
    next_arrival: f64,
    random: SmallRng,
    /// (arrival, departure) of requests that may still be under way.
    requests: Vec<(f64, f64)>,
}

const CYCLE_S: f64 = 10.0;

impl Queue {
    fn new(servers: usize, capacity: f64, exponential: bool, seed: u64) -> Queue {
        let free_at = vec![0.0; servers];
        let random = SmallRng::seed_from_u64(seed);
        Queue {
            free_at,
            capacity,
            exponential,
            now: 0.0,
            next_arrival: 0.0,
            random,
            requests: vec![],
        }
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.random.random::<f64>()).ln()
    }

    /// One cycle with arrivals at `rate` per second, as pss sees it: by the requests that ended.
    fn cycle(&mut self, rate: f64) -> Cycle {
        let end = self.now + CYCLE_S;
        self.next_arrival = self.next_arrival.max(self.now);
        while self.next_arrival < end {
            let service = self.free_at.len() as f64 / self.capacity;
            let service = if self.exponential { self.exponential(service) } else { service };
            let first = (0..self.free_at.len())
                .min_by(|&a, &b| self.free_at[a].total_cmp(&self.free_at[b]))
                .unwrap();
            let departure = self.free_at[first].max(self.next_arrival) + service;
            self.free_at[first] = departure;
            self.requests.push((self.next_arrival, departure));
            self.next_arrival += self.exponential(1.0 / rate);
        }
        self.now = end;
        let (ended, under_way) = self.requests.drain(..).partition(|(_, d)| *d <= end);
        self.requests = under_way;
        let ended: Vec<(f64, f64)> = ended;
        let time: f64 = ended.iter().map(|(a, d)| d - a).sum();
        Cycle {
            load: ended.len() as f64 / CYCLE_S,
            latency_s: time / ended.len() as f64,
            in_flight: time / CYCLE_S,
        }
    }
}

/// Feeds a day's ups and downs: from a tenth of the capacity to `peak` times it and back.
fn waves(queue: &mut Queue, learner: &mut Learner, cycles: usize, peak: f64) {
    for i in 0..cycles {
        let phase = (i as f64 / 40.0 * std::f64::consts::TAU).cos();
        let part = peak - (peak - 0.1) * (phase + 1.0) / 2.0;
        let seen = queue.cycle(queue.capacity * part);
        learner.observe(seen);
    }
}

#[test]
fn finds_the_capacity_of_one_server() {
    for seed in 0..10 {
        for peak in [0.9, 1.0, 1.2] {
            let mut queue = Queue::new(1, 200.0, true, seed);
            let mut learner = Learner::default();
            waves(&mut queue, &mut learner, 80, peak);
            let error = learner.capacity().expect("there was a queue") / 200.0 - 1.0;
            assert!(error.abs() < 0.15, "seed {seed}, peak {peak}: {error:+.2}");
        }
    }
}

#[test]
fn many_servers_and_steady_times_are_within_bounds() {
    for (servers, exponential) in [(1, false), (2, true), (8, true), (32, true), (8, false)] {
        for seed in 0..5 {
            let mut queue = Queue::new(servers, 400.0, exponential, seed);
            let mut learner = Learner::default();
            waves(&mut queue, &mut learner, 80, 1.1);
            let part = learner.capacity().expect("there was a queue") / 400.0;
            assert!(part > 0.85 && part < 1.15, "{servers} servers, seed {seed}: {part:.2}");
        }
    }
}

#[test]
fn idle_or_half_used_it_says_nothing() {
    for part in [0.001, 0.1, 0.4] {
        for (servers, seed) in [(1, 1), (4, 2), (16, 3)] {
            let mut queue = Queue::new(servers, 300.0, true, seed);
            let mut learner = Learner::default();
            (0..100).for_each(|_| learner.observe(queue.cycle(300.0 * part)));
            assert_eq!(learner.capacity(), None, "{servers} servers at {part}");
        }
    }
    let mut learner = Learner::default();
    let none = Cycle { load: 0.0, latency_s: f64::NAN, in_flight: 0.0 };
    (0..100).for_each(|_| learner.observe(none));
    assert_eq!(learner.capacity(), None);
}

#[test]
fn follows_a_slowdown_and_a_recovery() {
    for seed in 0..10 {
        let mut queue = Queue::new(1, 200.0, true, seed);
        let mut learner = Learner::default();
        waves(&mut queue, &mut learner, 40, 1.1);
        queue.capacity = 20.0;
        queue.free_at[0] = queue.now;
        queue.requests.clear();
        // It is asked for a little more than it can do now.
        (0..6).for_each(|_| learner.observe(queue.cycle(22.0)));
        let slow = learner.capacity().unwrap();
        assert!((slow / 20.0 - 1.0).abs() < 0.25, "seed {seed}: {slow:.1} of 20");
        queue.capacity = 200.0;
        // What is carried can be carried: at once.
        (0..3).for_each(|_| learner.observe(queue.cycle(150.0)));
        let well = learner.capacity().unwrap();
        assert!(well > 130.0, "seed {seed}: {well:.1} of 200");
    }
}

/// By its latency at rest, as it was known, a slower server seems to be asked for all it can do; by
/// its queue it is not.
#[test]
fn a_slower_server_is_not_taken_for_a_busier_one() {
    let mut sum = 0.0;
    for seed in 0..10 {
        let mut queue = Queue::new(1, 200.0, true, seed);
        let mut learner = Learner::default();
        (0..40).for_each(|_| learner.observe(queue.cycle(20.0)));
        queue.capacity = 20.0;
        (0..20).for_each(|_| learner.observe(queue.cycle(16.0)));
        sum += learner.capacity().expect("there was a queue") / 20.0;
    }
    // By latency alone: 16 / (1 - 1 / 50) / 20 = 0.82, what was carried.
    let mean = sum / 10.0;
    assert!(mean > 0.9 && mean < 1.1, "mean of ten: {mean:.3}");
}

#[test]
fn one_long_checkpoint_is_no_capacity() {
    let mut queue = Queue::new(2, 300.0, true, 4);
    let mut learner = Learner::default();
    for i in 0..100 {
        let mut seen = queue.cycle(60.0);
        if i % 30 == 29 {
            (seen.latency_s, seen.in_flight) = (seen.latency_s * 50.0, seen.in_flight * 50.0);
        }
        learner.observe(seen);
    }
    // Three of them in a hundred cycles: two at most count at a time.
    assert_eq!(learner.capacity(), None);
}

#[test]
fn what_was_learned_is_kept_over_a_restart() {
    assert_eq!(Learner::new(Some(80.0)).capacity(), Some(80.0));
    assert_eq!(Learner::new(Some(f64::NAN)).capacity(), None);
    let mut learner = Learner::new(Some(80.0));
    learner.observe(Cycle { load: 90.0, latency_s: 0.01, in_flight: 0.9 });
    assert_eq!(learner.capacity(), Some(90.0));
}

#[test]
fn the_surest_source_counts() {
    assert_eq!(in_use(Some(1.0), Some(2.0), Some(3.0)), Some((1.0, Source::Configured)));
    assert_eq!(in_use(None, Some(2.0), Some(3.0)), Some((2.0, Source::Discovered)));
    assert_eq!(in_use(Some(f64::NAN), Some(0.0), Some(3.0)), Some((3.0, Source::Learned)));
    assert_eq!(in_use(None, Some(f64::INFINITY), None), None);
}

#[test]
fn absolute_capacities_compare_if_all_are_known() {
    assert_eq!(relative(&[Some(30.0), Some(10.0)], 8.0), Some(vec![6.0, 2.0]));
    assert_eq!(relative(&[Some(30.0), None], 8.0), None);
    assert_eq!(relative(&[Some(30.0), Some(0.0)], 8.0), None);
    assert_eq!(relative(&[], 8.0), None);
}

#[test]
fn the_scarcest_rate_decides_what_is_carried() {
    let used = Resources { cpu: 1e6, write: 50.0, memory: 1e9, ..Resources::UNKNOWN };
    let fast = Resources { cpu: 4e6, write: 100.0, ..Resources::UNKNOWN };
    let slow = Resources { cpu: 1e6, write: 1000.0, memory: 1.0, ..Resources::UNKNOWN };
    let unused = Resources { read: 10.0, storage: 10.0, ..Resources::UNKNOWN };
    let carried = by_resources(&[fast, slow, unused, Resources::UNKNOWN], &used);
    assert_eq!(carried, [Some(2.0), Some(1.0), None, None]);
    assert_eq!(by_resources(&[fast], &Resources::UNKNOWN), [None]);
}

proptest! {
    /// Whatever is fed, what is learned is a positive number.
    #[test]
    fn learned_is_positive(cycles in prop::collection::vec((any::<f64>(), any::<f64>(), any::<f64>()), 0..50)) {
        let mut learner = Learner::default();
        for (load, latency_s, in_flight) in cycles {
            learner.observe(Cycle { load, latency_s, in_flight });
            if let Some(capacity) = learner.capacity() {
                prop_assert!(capacity > 0.0);
            }
        }
    }
}
