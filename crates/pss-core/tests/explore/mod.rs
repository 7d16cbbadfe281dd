//! Breadth-first search of every state that a model can come to, shared by the models of the claim
//! protocol. It must not know what a state is.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

/// Visits every world that `successors` lead to. The number of worlds, or the first fault that
/// `check` finds and how many steps away it is; no shorter way leads to one.
pub fn explore<World: Clone + Eq + Hash>(
    start: World,
    successors: impl Fn(&World) -> Vec<World>,
    check: impl Fn(&World) -> Option<&'static str>,
) -> Result<usize, (&'static str, usize)> {
    let mut seen = HashSet::from([start.clone()]);
    let mut queue = VecDeque::from([(start, 0)]);
    while let Some((world, depth)) = queue.pop_front() {
        for next in successors(&world) {
            if seen.contains(&next) {
                continue;
            }
            if let Some(fault) = check(&next) {
                return Err((fault, depth + 1));
            }
            seen.insert(next.clone());
            queue.push_back((next, depth + 1));
        }
    }
    Ok(seen.len())
}
