//! The moves: from the fullest partition first, each to the emptiest that has room.

use super::standing::Standing;
use super::{Cost, Move, Partition, Plan, Reason, Speed, Table, WORTH};

/// Part of the remaining life in which a move must have paid.
const PART_OF_LIFE: f64 = 0.25;

/// What to move, or why nothing.
///
/// Greedy: a source gives keys, spread evenly over those it has, until it is at the level; each
/// destination takes until it is at the level. So each move, and each part of one, brings both of
/// its ends nearer to the level and takes nobody across it.
pub fn plan(table: &Table<'_>) -> Plan {
    let standing = Standing::of(table);
    let (level, load) = (standing.mean.level, standing.mean.load.clone());
    let mut plan = Plan { moves: Vec::new(), reason: Reason::NoLoad, level, load };
    if table.observed_s < table.needed_s {
        let (observed_s, needed_s) = (table.observed_s, table.needed_s);
        plan.reason = Reason::ShortHistory { observed_s, needed_s };
        return plan;
    }
    if !(level > 0.0 && level.is_finite()) {
        return plan;
    }
    let partitions = table.partitions;
    let excess = |i: usize| standing.mean.excess(partitions, i);
    let mut sources: Vec<usize> =
        (0..partitions.len()).filter(|&i| standing.stands(partitions, i)).collect();
    sources.sort_by(|&a, &b| excess(b).total_cmp(&excess(a)));
    let Some(&worst) = sources.first() else {
        plan.reason = why_none(table, &standing);
        return plan;
    };
    let mut ends = Ends { table, level, load: plan.load.clone() };
    let mut why = None;
    for from in sources {
        match ends.empty(from, &mut plan.moves) {
            Ok(()) => {}
            Err(reason) => why = why.or(Some(reason)),
        }
    }
    let (partition, excess) = (partitions[worst].number, excess(worst));
    let pays = Reason::Pays { partition, excess };
    plan.reason = if plan.moves.is_empty() { why.unwrap_or(pays) } else { pays };
    plan
}

/// Why there is no source.
fn why_none(table: &Table<'_>, standing: &Standing) -> Reason {
    let partitions = table.partitions;
    let worst = |view: &super::standing::View| {
        let i = view.worst(partitions)?;
        Some((i, view.excess(partitions, i))).filter(|(_, excess)| *excess > WORTH)
    };
    if let Some((i, _)) = worst(&standing.mean) {
        let (partition, window_s) = (partitions[i].number, table.observed_s);
        return Reason::Recent { partition, window_s };
    }
    if let Some((i, now)) = worst(&standing.undecayed) {
        // Geometric between the excess now and when patience has ended.
        let later = standing.mean.excess(partitions, i).max(1e-3);
        let part = (now / WORTH).ln() / (now / later).ln();
        let within_s = table.patience_s * part.clamp(0.0, 1.0);
        return Reason::Decays { partition: partitions[i].number, within_s };
    }
    let on_average = |i: usize| standing.mean.excess(partitions, i);
    if let Some((i, now)) = worst(&standing.now) {
        let (partition, mean) = (partitions[i].number, on_average(i));
        return match (table.period_s, standing.far_side(partitions, i)) {
            (Some(period_s), Some(below)) => Reason::Periodic { period_s, partition, below },
            _ => Reason::Passing { partition, now, mean },
        };
    }
    Reason::Level { excess: standing.mean.worst(partitions).map_or(0.0, on_average) }
}

/// The ends of moves, as the plan leaves them.
struct Ends<'a> {
    table: &'a Table<'a>,
    level: f64,
    /// Cost units/s, by position.
    load: Vec<f64>,
}

impl Ends<'_> {
    /// Load above the level.
    fn above(&self, i: usize) -> f64 {
        self.load[i] - self.level * self.table.partitions[i].capacity
    }

    /// Adds the moves that bring a source to the level, or says why there is none.
    fn empty(&mut self, from: usize, moves: &mut Vec<Move>) -> Result<(), Reason> {
        let source = &self.table.partitions[from];
        let partition = source.number;
        let to_go = |p: &Partition| p.capacity > 0.0 && p.local;
        if !source.local {
            return Err(Reason::NoRoom { partition });
        }
        // What one key brings. It goes with the key wherever the key goes.
        let load_of_key = (self.load[from] - source.fixed.max(0.0)) / source.keys;
        let mut left = source.keys.floor();
        if !load_of_key.is_finite() || load_of_key <= 0.0 || left < 1.0 {
            return Err(Reason::Indivisible { partition });
        }
        let mut others: Vec<usize> = (0..self.load.len())
            .filter(|&i| i != from && to_go(&self.table.partitions[i]) && self.above(i) < 0.0)
            .collect();
        let utilization = |i: &usize| self.load[*i] / self.table.partitions[*i].capacity;
        others.sort_by(|a, b| utilization(a).total_cmp(&utilization(b)));
        if others.is_empty() {
            return Err(Reason::NoRoom { partition });
        }
        let before = moves.len();
        for to in others {
            let fits = self.above(from).min(-self.above(to)).max(0.0);
            let keys = (fits / load_of_key).floor().min(left);
            if keys < 1.0 {
                continue;
            }
            let next = self.table.cost.of(self.table, from, to, keys, load_of_key);
            let quarter_s = PART_OF_LIFE * self.table.life_s;
            if next.payback_s >= quarter_s {
                let dear = Reason::Dear { partition, payback_s: next.payback_s, quarter_s };
                return if moves.len() > before { Ok(()) } else { Err(dear) };
            }
            left -= keys;
            self.load[from] -= next.gain;
            self.load[to] += next.gain;
            moves.push(next);
        }
        if moves.len() > before { Ok(()) } else { Err(Reason::Indivisible { partition }) }
    }
}

impl Cost {
    /// The move of `keys` keys, each with so much load.
    fn of(&self, table: &Table<'_>, from: usize, to: usize, keys: f64, load_of_key: f64) -> Move {
        let (source, target) = (&table.partitions[from], &table.partitions[to]);
        let speed: &Speed = table.speed;
        let part = keys / source.keys;
        let (rows, bytes) = (source.rows.max(0.0) * part, source.bytes.max(0.0) * part);
        let pair = (source.number, target.number);
        let per_row = speed.cost_per_row(pair.0, pair.1).unwrap_or_else(|| {
            self.row + self.scanned_row * source.rows.max(0.0) / self.batch_rows.max(1.0)
        });
        let by_rows = rows / speed.rows_per_s(pair.0, pair.1).min(self.rows_per_s);
        let by_bytes = speed.bytes_per_s(pair.0, pair.1).map_or(0.0, |rate| bytes / rate);
        let (cost, gain) = (per_row * rows, keys * load_of_key);
        Move {
            from,
            to,
            keys: keys as u64,
            rows,
            bytes,
            seconds: if by_rows.is_finite() { by_rows.max(by_bytes) } else { by_bytes },
            cost,
            gain,
            payback_s: cost / gain,
        }
    }
}
