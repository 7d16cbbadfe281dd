//! Partitions that share a node, and on it a tablespace: what they take together is limited, too.
//!
//! Filled are not partitions but the tree that they stand in. At level u a partition takes up to
//! u c - l, and a node or tablespace no more than u C - L, so that no utilization, of whatever is
//! limited, is higher than it must be. The result comes as *effective capacities*: flat
//! water-filling with those gives the shares of the tree, and whoever places keys need not know of
//! it. Without limits, or with one node for all, they are the capacities themselves.
//! Must never put a partition out of service, nor back.

/// What the partitions on a node, or in a tablespace, can carry together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// Load it can carry (cost units/s, or any unit common to it and its partitions); infinite, or
    /// not a number: no limit of its own.
    pub capacity: f64,
    /// All load on it beside these partitions (cost units/s).
    pub other: f64,
}

impl Limit {
    /// No limit.
    pub const NONE: Limit = Limit { capacity: f64::INFINITY, other: 0.0 };
}

/// Where a partition lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Position of its node.
    pub node: usize,
    /// Position of its tablespace there; `None`: it has none that is known.
    pub tablespace: Option<usize>,
}

/// The nodes and tablespaces of a table's partitions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Topology {
    nodes: Vec<Group>,
}

#[derive(Debug, Clone, PartialEq)]
struct Group {
    limit: Limit,
    /// Partitions directly in it.
    members: Vec<usize>,
    inside: Vec<Group>,
}

/// Least part of its capacity that a partition is left with: at zero it would be out of service.
const LEAST: f64 = 1e-6;

/// Loads and capacities of the partitions, usable numbers all.
struct Partitions {
    base: Vec<f64>,
    capacity: Vec<f64>,
}

impl Topology {
    /// The tree of partitions at `places`; nodes and tablespaces that are not listed have no limit.
    pub fn new(places: &[Place], nodes: &[Limit], tablespaces: &[Limit]) -> Topology {
        let limit = |of: &[Limit], at: usize| of.get(at).copied().unwrap_or(Limit::NONE);
        let group = |limit, members| Group { limit, members, inside: Vec::new() };
        // Nodes and tablespaces by their positions.
        type Numbered<T> = Vec<(usize, T)>;
        let mut tree: Numbered<(Group, Numbered<Group>)> = Vec::new();
        for (partition, place) in places.iter().enumerate() {
            let known = tree.iter().position(|(node, ..)| *node == place.node);
            let at = known.unwrap_or_else(|| {
                let node = group(limit(nodes, place.node), Vec::new());
                tree.push((place.node, (node, Vec::new())));
                tree.len() - 1
            });
            let (_, (node, inside)) = &mut tree[at];
            match place.tablespace {
                None => node.members.push(partition),
                Some(space) => match inside.iter_mut().find(|(s, _)| *s == space) {
                    Some((_, found)) => found.members.push(partition),
                    None => inside.push((space, group(limit(tablespaces, space), vec![partition]))),
                },
            }
        }
        let assembled = |(_, (node, inside)): (usize, (Group, Numbered<Group>))| Group {
            inside: inside.into_iter().map(|(_, group)| group).collect(),
            ..node
        };
        Topology { nodes: tree.into_iter().map(assembled).collect() }
    }

    /// Capacities with which flat water-filling of `volume` (cost units/s) over `base` places it as
    /// the tree has it. Both in cost units/s; a base that is not known counts as the mean
    /// utilization of the others. Without volume, as if nothing were placed yet.
    pub fn effective(&self, base: &[f64], capacity: &[f64], volume: f64) -> Vec<f64> {
        let mut effective = capacity.to_vec();
        let limited = |group: &Group| group.any(&|g| g.limit.capacity.is_finite());
        if !self.nodes.iter().any(limited) {
            return effective;
        }
        let filled = volume.is_finite() && volume > 0.0;
        let known = if filled { base } else { &[] };
        let partitions = Partitions::new(known, capacity);
        let volume = if filled { volume } else { 1.0 };
        let root = Group { limit: Limit::NONE, members: Vec::new(), inside: self.nodes.clone() };
        let Some(level) = root.level_for(volume, &partitions, filled) else { return effective };
        root.lower(level, level, &partitions, filled, &mut effective);
        effective
    }
}

impl Partitions {
    fn new(base: &[f64], capacity: &[f64]) -> Partitions {
        let usable = |c: &f64| if c.is_finite() && *c > 0.0 { *c } else { 0.0 };
        let capacity: Vec<f64> = capacity.iter().map(usable).collect();
        let known = |i: &usize| capacity[*i] > 0.0 && base.get(*i).is_some_and(|b| b.is_finite());
        let sum =
            |of: &dyn Fn(usize) -> f64| (0..capacity.len()).filter(known).map(of).sum::<f64>();
        let mean = sum(&|i| base[i]) / sum(&|i| capacity[i]);
        let mean = if mean.is_finite() { mean.max(0.0) } else { 0.0 };
        let load = |i: usize| if known(&i) { base[i].max(0.0) } else { mean * capacity[i] };
        Partitions { base: (0..capacity.len()).map(load).collect(), capacity }
    }

    /// What partition `i` takes at a level.
    fn takes(&self, i: usize, level: f64) -> f64 {
        (level * self.capacity[i] - self.base[i]).max(0.0)
    }
}

impl Group {
    fn any(&self, found: &impl Fn(&Group) -> bool) -> bool {
        found(self) || self.inside.iter().any(|group| group.any(found))
    }

    /// Load of its partitions before anything is placed.
    fn base(&self, partitions: &Partitions) -> f64 {
        let own: f64 = self.members.iter().map(|&i| partitions.base[i]).sum();
        own + self.inside.iter().map(|group| group.base(partitions)).sum::<f64>()
    }

    fn room(&self, partitions: &Partitions) -> f64 {
        let own: f64 = self.members.iter().map(|&i| partitions.capacity[i]).sum();
        own + self.inside.iter().map(|group| group.room(partitions)).sum::<f64>()
    }

    /// What its parts take at a level, each within its own limits.
    fn parts_take(&self, level: f64, partitions: &Partitions, filled: bool) -> f64 {
        let own: f64 = self.members.iter().map(|&i| partitions.takes(i, level)).sum();
        let taken = |group: &Group| group.takes(level, partitions, filled);
        own + self.inside.iter().map(taken).sum::<f64>()
    }

    /// What it takes at a level; `filled`: the load of others counts.
    fn takes(&self, level: f64, partitions: &Partitions, filled: bool) -> f64 {
        let parts = self.parts_take(level, partitions, filled);
        if !self.limit.capacity.is_finite() {
            return parts;
        }
        let other = if filled { self.limit.other.max(0.0) } else { 0.0 };
        let own = level * self.limit.capacity - self.base(partitions) - other;
        parts.min(own.max(0.0))
    }

    /// The level at which its parts take `volume` together, by bisection: what they take grows with
    /// the level. `None`: there is none, for they have no room at all.
    fn level_for(&self, volume: f64, partitions: &Partitions, filled: bool) -> Option<f64> {
        let room = self.room(partitions);
        if room <= 0.0 {
            return None;
        }
        let takes = |level: f64| self.parts_take(level, partitions, filled) >= volume;
        let (mut low, mut high) = (0.0, (volume + self.base(partitions)) / room);
        while !takes(high) {
            low = high;
            high *= 2.0;
            if !high.is_finite() || high == low {
                return None;
            }
        }
        loop {
            let middle = low + (high - low) / 2.0;
            if middle <= low || middle >= high {
                return Some(high);
            }
            if takes(middle) { high = middle } else { low = middle }
        }
    }

    /// Sets the effective capacities of all in it, which fills to `level`, where the whole table
    /// fills to `top`.
    fn lower(
        &self,
        level: f64,
        top: f64,
        partitions: &Partitions,
        filled: bool,
        effective: &mut [f64],
    ) {
        let part = (level / top).max(LEAST);
        for &i in self.members.iter().filter(|_| part < 1.0) {
            if let Some(capacity) = effective.get_mut(i) {
                *capacity *= part;
            }
        }
        for group in &self.inside {
            let parts = group.parts_take(level, partitions, filled);
            let taken = group.takes(level, partitions, filled);
            let own = if taken < parts { group.level_for(taken, partitions, filled) } else { None };
            group.lower(own.unwrap_or(level), top, partitions, filled, effective);
        }
    }
}
