//! The claim protocol: how sessions that insert the same new key at once agree on its partition.
//!
//! An entry lives in shared memory only while some session is between claiming a key and writing
//! its row of the map; from then on the map itself speaks, read with a dirty snapshot. These
//! functions are the whole state machine; the caller holds the key's stripe lock around each
//! call, and must never do I/O under it.
//!
//! The order of steps for a session: [`claim`]; after `Tentative` probe the map (dirty), then
//! [`decide`]; take the leaf's lock; write the map row if [`must_record`]; [`unpin`], also on any
//! error. Two rules carry the proof, and `tests/claim_model.rs` breaks each to see it matter: the
//! first finaliser decides for all, and nobody relies on a row that is not committed.

const UNCLAIMED: Entry =
    Entry { state: State::Tentative, partition: 0, mover: 0, held: false, pins: 0 };

/// How far the sessions have come with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// Claimed, not decided: every session that claims it probes the map.
    Tentative = 0,
    /// Decided for all who come while the entry lives.
    Final = 1,
}

/// The claim of one key. Plain data, stored by value in shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Entry {
    /// Tentative or final.
    pub state: State,
    /// The partition, once decided.
    pub partition: u16,
    /// The mark: transaction that moves the key's rows to another partition; 0 = none.
    pub mover: u32,
    /// The mark stays until the mover's transaction ends; else the mover may still give way.
    pub held: bool,
    /// Sessions between claim and unpin.
    pub pins: u32,
}

/// What a session has learnt by claiming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// Pinned; probe the map, then [`decide`].
    Tentative,
    /// Pinned; the partition is decided.
    Final(u16),
    /// Not pinned: another transaction is moving the key. Wait until the mark is gone, then claim
    /// again.
    Moving,
}

/// Claims a key for this session, whose transaction is `own` (0: it has none yet). A mover may
/// claim what it has marked itself: nobody else can.
pub fn claim(slot: &mut Option<Entry>, own: u32) -> Claimed {
    let entry = slot.get_or_insert(UNCLAIMED);
    if entry.mover != 0 && entry.mover != own {
        return Claimed::Moving;
    }
    entry.pins += 1;
    match entry.state {
        State::Tentative => Claimed::Tentative,
        State::Final => Claimed::Final(entry.partition),
    }
}

/// Settles the partition after the probe: `partition` is that of the first map row seen, whoever
/// wrote it, or, if there was none, the one drawn. If another session has decided meanwhile, its
/// word stands whatever the probe said. Returns what stands.
pub fn decide(entry: &mut Entry, partition: u16) -> u16 {
    if entry.state == State::Tentative {
        entry.partition = partition;
        entry.state = State::Final;
    }
    entry.partition
}

/// Whether this session must write its own map row. Only a *committed* row of the key spares it:
/// the writer of any other may still abort. (That the key is not being moved is certain while it
/// is pinned: see [`mark`].)
pub fn must_record(committed_seen: bool) -> bool {
    !committed_seen
}

/// Gives up this session's pin; the last one removes the entry, or leaves but its mark: what the
/// mover has decided by a move that is rolled back to a savepoint must not bind it later. Without a
/// pin nothing happens, so that clean-up after an error need not know how far the session came.
pub fn unpin(slot: &mut Option<Entry>) {
    if let Some(entry) = slot {
        entry.pins = entry.pins.saturating_sub(1);
        if entry.pins == 0 {
            entry.state = State::Tentative;
            if entry.mover == 0 {
                *slot = None;
            }
        }
    }
}

/// Marks a key as being moved by transaction `xid` (not 0). False if it is claimed or moved by
/// another: the mover leaves it for a later round.
pub fn mark(slot: &mut Option<Entry>, xid: u32) -> bool {
    match slot {
        Some(entry) => entry.mover == xid,
        None => {
            *slot = Some(Entry { mover: xid, ..UNCLAIMED });
            true
        }
    }
}

/// Says that the mark of transaction `xid` stays until that ends: from here on who waits may wait
/// for the transaction, which PostgreSQL's deadlock detector sees.
pub fn hold(slot: &mut Option<Entry>, xid: u32) {
    if let Some(entry) = slot
        && entry.mover == xid
    {
        entry.held = true;
    }
}

/// Takes the mark of transaction `xid` off: it has committed or aborted, or gives way.
pub fn unmark(slot: &mut Option<Entry>, xid: u32) {
    if slot.is_some_and(|entry| entry.mover == xid) {
        *slot = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_finaliser_decides_for_all() {
        let mut slot = None;
        assert_eq!(claim(&mut slot, 0), Claimed::Tentative);
        assert_eq!(claim(&mut slot, 0), Claimed::Tentative);
        let entry = slot.as_mut().expect("pinned twice");
        assert_eq!(decide(entry, 3), 3);
        assert_eq!(decide(entry, 7), 3);
        assert_eq!(claim(&mut slot, 0), Claimed::Final(3));
        for left in [true, true, false] {
            unpin(&mut slot);
            assert_eq!(slot.is_some(), left);
        }
        unpin(&mut slot);
        assert_eq!(slot, None);
    }

    #[test]
    fn movers_and_claimers_exclude_each_other() {
        let mut slot = None;
        claim(&mut slot, 0);
        assert!(!mark(&mut slot, 99));
        unpin(&mut slot);
        assert!(mark(&mut slot, 99));
        assert!(mark(&mut slot, 99));
        assert!(!mark(&mut slot, 100));
        assert_eq!(claim(&mut slot, 0), Claimed::Moving);
        unpin(&mut slot);
        unmark(&mut slot, 100);
        assert_eq!(claim(&mut slot, 0), Claimed::Moving);
        unmark(&mut slot, 99);
        assert_eq!(slot, None);
    }

    #[test]
    fn a_mover_passes_its_own_mark_and_is_bound_by_nothing_afterwards() {
        let mut slot = None;
        assert!(mark(&mut slot, 99));
        assert_eq!(claim(&mut slot, 98), Claimed::Moving);
        assert_eq!(claim(&mut slot, 99), Claimed::Tentative);
        assert_eq!(decide(slot.as_mut().expect("marked"), 7), 7);
        unpin(&mut slot);
        assert_eq!(claim(&mut slot, 99), Claimed::Tentative);
        assert_eq!(decide(slot.as_mut().expect("marked"), 4), 4);
        unpin(&mut slot);
        hold(&mut slot, 98);
        assert!(slot.is_some_and(|entry| !entry.held));
        hold(&mut slot, 99);
        assert!(slot.is_some_and(|entry| entry.held));
        unmark(&mut slot, 99);
        assert_eq!(slot, None);
    }

    #[test]
    fn only_a_committed_row_spares_ones_own() {
        assert!(!must_record(true));
        assert!(must_record(false));
    }
}
