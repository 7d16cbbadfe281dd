//! Moving all rows of a spread key to one partition, which is its only home from then on: the
//! mover's protocol with several sources at once.

use super::mover::{Moved, Mover};
use super::{cost, leaf};
use crate::error::Result;
use crate::multi_home;
use crate::shmem::{claims, tables};

/// What came from one partition, and the cost units that it caused there and where it went.
pub struct Carried {
    pub from: u16,
    pub moved: Moved,
    pub cost: (f64, f64),
}

impl Mover {
    /// The partitions that rows of a key may be in: those that its entries name, in any state but
    /// aborted, and those that are listed. The first one listed is the first.
    pub fn homes(&self, hash48: u64) -> Vec<u16> {
        let mut homes = self.table().homes_of(hash48).map_or_else(Vec::new, <[u16]>::to_vec);
        for home in self.map().all_homes(hash48) {
            if !homes.contains(&home) {
                homes.push(home);
            }
        }
        homes
    }

    /// Moves all rows of a marked key to `to` and takes it off the list. `None`: a writer is in
    /// the way, nothing was done. `first_mark`: how many marks there were before the key's.
    pub fn gather(
        &mut self,
        hash48: u64,
        to: u16,
        first_mark: usize,
    ) -> Result<Option<Vec<Carried>>> {
        let relation = self.table().relation;
        let mut sources = self.homes(hash48);
        sources.retain(|&home| home != to);
        // From here on writers ask for the mark; who has not is among those we wait for.
        tables::invalidate_cache(relation);
        let leaves: Vec<_> = sources.iter().map(|&source| self.leaf(source)).collect();
        if !leaves.iter().all(|&leaf| leaf::wait_for_writers(leaf)) {
            return Ok(None);
        }
        let mut found = Vec::with_capacity(sources.len());
        for &source in &sources {
            found.push(self.find(&[hash48], source)?.0);
        }
        if !leaf::lock(&leaves, self.leaf(to)) {
            return Ok(None);
        }
        claims::hold_beyond(first_mark);
        let virtual_key = self.router.virtual_key_in(hash48, to);
        self.map().replace(hash48, to, virtual_key);
        multi_home::unlist(relation, hash48)?;
        let mut carried = Vec::with_capacity(sources.len());
        for (&source, mut found) in sources.iter().zip(found) {
            let (mut keys, seen) = found.remove(&hash48).unwrap_or_default();
            let costs = || -> Result<_> {
                Ok((cost::so_far(self.leaf(source))?, cost::so_far(self.leaf(to))?))
            };
            let before = costs()?;
            let (rows, bytes) = self.update(&mut keys, source, to)?;
            if rows != seen as i64 {
                self.check_none_left(&[hash48], source)?;
            }
            let after = costs()?;
            carried.push(Carried {
                from: source,
                moved: Moved { keys: u64::from(rows > 0), rows, bytes },
                cost: (after.0 - before.0, after.1 - before.1),
            });
        }
        Ok(Some(carried))
    }
}
