//! Every interleaving of a mover with sessions that insert the key it moves, driven through the
//! real functions of `pss_core::claim`.
//!
//! The key has rows in partition 0, and the mover carries them to partition 7, or fails. Sessions
//! lock the leaf when they record and keep it locked until they end; the mover waits for those
//! that hold it once the key is marked. The checker must stay able to find a fault: two tests break
//! a rule each and expect it to be found.

mod explore;

use pss_core::claim::{Claimed, Entry, claim, decide, hold, mark, must_record, unmark, unpin};

const FROM: u16 = 0;
const TO: u16 = 7;
const XID: u32 = 99;
/// Who wrote a row of the map: a session by its number, or one of these.
const BEFORE: u8 = 100;
const MOVER: u8 = 101;

#[derive(Clone, Copy, PartialEq)]
enum Rules {
    AsBuilt,
    /// The mover does not wait for those who hold the leaf.
    MoverDoesNotWait,
    /// Sessions pass over the mark.
    MarkIsIgnored,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Fate {
    InProgress,
    Committed,
    Aborted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Step {
    Claim,
    Probe,
    Decide,
    Record,
    Unpin,
    End,
    Committed,
    Aborted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Move {
    Mark,
    /// Notes who holds the leaf.
    Look,
    /// For these sessions, a bit each.
    Wait(u8),
    Carry,
    /// With the rows of these sessions.
    End(u8),
    Over,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Row {
    owner: u8,
    partition: u16,
    born: Fate,
    /// What became of its deletion by the mover.
    died: Option<Fate>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Session {
    step: Step,
    hit: Option<(u16, bool)>,
    home: u16,
    pinned: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    sessions: Vec<Session>,
    mover: Move,
    /// Where the rows are that the key had before.
    old_rows: u16,
    rows: Vec<Row>,
    entry: Option<Entry>,
}

impl World {
    fn new(sessions: usize) -> World {
        let session = Session { step: Step::Claim, hit: None, home: 3, pinned: false };
        let row = Row { owner: BEFORE, partition: FROM, born: Fate::Committed, died: None };
        World {
            sessions: vec![session; sessions],
            mover: Move::Mark,
            old_rows: FROM,
            rows: vec![row],
            entry: None,
        }
    }

    fn settle(&mut self, owner: u8, fate: Fate) {
        for row in self.rows.iter_mut().filter(|row| row.owner == owner) {
            row.born = fate;
        }
    }

    fn end(&mut self, i: usize, step: Step, fate: Fate) {
        self.settle(i as u8, fate);
        self.sessions[i].step = step;
        if std::mem::take(&mut self.sessions[i].pinned) {
            unpin(&mut self.entry);
        }
    }

    /// What a dirty probe hits: partition, and whether that is settled.
    fn probe(&self) -> Option<(u16, bool)> {
        let there = |r: &&Row| r.born != Fate::Aborted && r.died != Some(Fate::Committed);
        let settled =
            |r: &&Row| r.born == Fate::Committed && r.died.is_none_or(|died| died == Fate::Aborted);
        let rows = || self.rows.iter().filter(there);
        let row = rows().find(settled).or_else(|| rows().next())?;
        Some((row.partition, settled(&row)))
    }

    /// One step of a session; false: it has to wait.
    fn advance(&mut self, i: usize, rules: Rules) -> bool {
        let mut session = self.sessions[i];
        match session.step {
            Step::Claim => {
                match claim(&mut self.entry, 0) {
                    Claimed::Tentative => session.step = Step::Probe,
                    Claimed::Final(home) => {
                        (session.home, session.step) = (home, Step::Record);
                    }
                    Claimed::Moving if rules == Rules::MarkIsIgnored => {
                        session.hit = self.probe();
                        session.home = session.hit.map_or(session.home, |(home, _)| home);
                        session.step = Step::Record;
                        self.sessions[i] = session;
                        return true;
                    }
                    Claimed::Moving => return false,
                }
                session.pinned = true;
            }
            Step::Probe => (session.hit, session.step) = (self.probe(), Step::Decide),
            Step::Decide => {
                let entry = self.entry.as_mut().expect("pinned entries stay");
                let proposed = session.hit.map_or(i as u16 + 1, |(partition, _)| partition);
                (session.home, session.step) = (decide(entry, proposed), Step::Record);
            }
            Step::Record => {
                if must_record(session.hit == Some((session.home, true))) {
                    let (owner, partition) = (i as u8, session.home);
                    self.rows.push(Row { owner, partition, born: Fate::InProgress, died: None });
                }
                session.step = Step::Unpin;
            }
            Step::Unpin => {
                unpin(&mut self.entry);
                (session.pinned, session.step) = (false, Step::End);
            }
            Step::End | Step::Committed | Step::Aborted => return false,
        }
        self.sessions[i] = session;
        true
    }

    /// Sessions that hold a leaf's lock, a bit each.
    fn holders(&self) -> u8 {
        let holds = |s: &Session| matches!(s.step, Step::Unpin | Step::End);
        self.bits(holds)
    }

    fn bits(&self, which: impl Fn(&Session) -> bool) -> u8 {
        let chosen = self.sessions.iter().enumerate().filter(|(_, s)| which(s));
        chosen.fold(0, |bits, (i, _)| bits | 1 << i)
    }

    /// The worlds one step of the mover away.
    fn moved(&self, rules: Rules) -> Vec<World> {
        let mut next = self.clone();
        match self.mover {
            Move::Mark if mark(&mut next.entry, XID) => next.mover = Move::Look,
            Move::Look if rules == Rules::MoverDoesNotWait => next.mover = Move::Carry,
            Move::Look => next.mover = Move::Wait(self.holders()),
            Move::Wait(writers) if writers & self.holders() == 0 => next.mover = Move::Carry,
            // It waits no longer, and gives way.
            Move::Wait(_) => {
                unmark(&mut next.entry, XID);
                next.mover = Move::Over;
            }
            Move::Carry => {
                hold(&mut next.entry, XID);
                let alive = |r: &&mut Row| r.born == Fate::Committed;
                next.rows.iter_mut().filter(alive).for_each(|r| r.died = Some(Fate::InProgress));
                let row = Row { owner: MOVER, partition: TO, born: Fate::InProgress, died: None };
                next.rows.push(row);
                next.mover = Move::End(self.bits(|s| s.step == Step::Committed));
            }
            Move::End(with) => {
                let mut worlds = Vec::new();
                for fate in [Fate::Committed, Fate::Aborted] {
                    let mut world = next.clone();
                    world.settle(MOVER, fate);
                    for row in world.rows.iter_mut().filter(|row| row.died.is_some()) {
                        row.died = Some(fate);
                    }
                    if fate == Fate::Committed {
                        world.old_rows = TO;
                        for (i, session) in world.sessions.iter_mut().enumerate() {
                            session.home = if with & 1 << i != 0 { TO } else { session.home };
                        }
                    }
                    unmark(&mut world.entry, XID);
                    world.mover = Move::Over;
                    worlds.push(world);
                }
                return worlds;
            }
            Move::Mark | Move::Over => return Vec::new(),
        }
        vec![next]
    }

    fn successors(&self, rules: Rules) -> Vec<World> {
        let mut next = self.moved(rules);
        for (i, session) in self.sessions.iter().enumerate() {
            let running = !matches!(session.step, Step::Claim | Step::Committed | Step::Aborted);
            if running {
                let mut world = self.clone();
                world.end(i, Step::Aborted, Fate::Aborted);
                next.push(world);
            }
            let mut world = self.clone();
            if session.step == Step::End {
                world.end(i, Step::Committed, Fate::Committed);
                next.push(world);
            } else if world.advance(i, rules) {
                next.push(world);
            }
        }
        next
    }

    /// Committed rows of the key in more than one partition, or a map that does not name theirs.
    fn fault(&self) -> Option<&'static str> {
        let committed = self.sessions.iter().filter(|s| s.step == Step::Committed);
        if committed.clone().any(|s| s.home != self.old_rows) {
            return Some("one key in two partitions");
        }
        let names = |r: &Row| {
            r.born == Fate::Committed
                && r.died != Some(Fate::Committed)
                && r.partition == self.old_rows
        };
        (!self.rows.iter().any(names)).then_some("rows without an entry of the map")
    }
}

/// Searches all worlds of a mover and so many sessions; see [`explore::explore`].
fn explore(sessions: usize, rules: Rules) -> Result<usize, (&'static str, usize)> {
    explore::explore(World::new(sessions), |world| world.successors(rules), World::fault)
}

#[test]
fn a_move_and_inserts_of_its_key_cannot_pass_each_other() {
    for sessions in [1, 2, 3] {
        let worlds = explore(sessions, Rules::AsBuilt).expect("no fault in any interleaving");
        println!("a mover and {sessions} sessions: {worlds} states");
        assert!(worlds > 30, "the search did not search: {worlds} states");
    }
}

#[test]
fn a_key_splits_if_the_mover_does_not_wait() {
    let (fault, steps) = explore(1, Rules::MoverDoesNotWait).expect_err("a split");
    println!("{fault} after {steps} steps");
}

#[test]
fn a_key_splits_if_the_mark_is_ignored() {
    let (fault, steps) = explore(1, Rules::MarkIsIgnored).expect_err("a split");
    println!("{fault} after {steps} steps");
}
