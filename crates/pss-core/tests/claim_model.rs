//! Every interleaving of the claim protocol, driven through the real functions of `pss_core::claim`.
//!
//! A breadth-first search over all states of a few sessions that insert the same new key: each
//! may be overtaken between any two steps, abort at any of them, probe the map one row at a time
//! while it changes, or PREPARE before a crash that loses shared memory. A session may also have
//! read the map before it claims: that nothing was there counts if the generation, which who
//! records raises, is still the one from before the reading. The checker must stay
//! able to find a fault: tests break one rule each and expect it to be found.

mod explore;

use pss_core::claim::{Claimed, Entry, claim, decide, must_record, unpin};

/// The protocol, or one with a rule dropped.
#[derive(Clone, Copy, PartialEq)]
enum Rules {
    AsBuilt,
    /// Each session takes what its own probe says, though another has decided.
    EachDecidesForItself,
    /// A row in progress of another session spares one's own.
    ReliesOnRowsInProgress,
    /// The generation is raised when the claim has been given up already.
    CountsAfterUnpin,
    /// The generation is read after the map.
    ReadsGenerationLast,
}

/// What a session does next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Step {
    Claim,
    /// Reads the map before claiming: visits row `next`, and remembers whether there was any.
    ReadAhead {
        next: u8,
        seen: u8,
        generation: u8,
        any: bool,
    },
    StartProbe,
    /// Visits row `next` of the `seen` rows there were when the probe began.
    Visit {
        next: u8,
        seen: u8,
    },
    Decide,
    Record,
    Count,
    Unpin,
    Commit,
    Committed,
    Aborted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Session {
    step: Step,
    /// Partition and "was committed when seen" of the probe's hit.
    hit: Option<(u16, bool)>,
    partition: Option<u16>,
    pinned: bool,
    /// The generation under which the map was found to have no row of the key.
    absent_at: Option<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Fate {
    InProgress,
    Committed,
    Aborted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Row {
    owner: u8,
    partition: u16,
    fate: Fate,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    sessions: Vec<Session>,
    rows: Vec<Row>,
    entry: Option<Entry>,
    generation: u8,
}

impl World {
    fn new(sessions: usize) -> World {
        let session = Session {
            step: Step::Claim,
            hit: None,
            partition: None,
            pinned: false,
            absent_at: None,
        };
        let sessions = vec![session; sessions];
        World { sessions, rows: Vec::new(), entry: None, generation: 0 }
    }

    fn end(&mut self, i: usize, step: Step, fate: Fate) {
        self.sessions[i] = Session { step, hit: None, ..self.sessions[i] };
        for row in self.rows.iter_mut().filter(|row| usize::from(row.owner) == i) {
            row.fate = fate;
        }
    }

    fn abort(&mut self, i: usize) {
        self.end(i, Step::Aborted, Fate::Aborted);
        self.drop_pin(i);
    }

    fn drop_pin(&mut self, i: usize) {
        if std::mem::take(&mut self.sessions[i].pinned) {
            unpin(&mut self.entry);
        }
    }

    /// A crash after session `i` has prepared: shared memory is empty, everyone else in progress
    /// is gone, and `i`'s row is still in doubt.
    fn crash(&mut self, i: usize) {
        (self.entry, self.generation) = (None, 0);
        for other in 0..self.sessions.len() {
            let running =
                !matches!(self.sessions[other].step, Step::Claim | Step::Committed | Step::Aborted);
            self.sessions[other].pinned = false;
            // Who comes later is another session.
            self.sessions[other].absent_at = None;
            if other != i && running {
                self.end(other, Step::Aborted, Fate::Aborted);
            }
        }
    }

    /// A session that has not claimed yet begins to read the map.
    fn read_ahead(&mut self, i: usize) {
        let (seen, generation) = (self.rows.len() as u8, self.generation);
        self.sessions[i].step = Step::ReadAhead { next: 0, seen, generation, any: false };
    }

    fn advance(&mut self, i: usize, rules: Rules) {
        let mut session = self.sessions[i];
        match session.step {
            Step::Claim => {
                let claimed = claim(&mut self.entry, 0);
                session.pinned = true;
                let absent = session.absent_at == Some(self.generation);
                session.step = match claimed {
                    Claimed::Tentative if absent => Step::Decide,
                    Claimed::Tentative => Step::StartProbe,
                    Claimed::Final(partition) => {
                        session.partition = Some(partition);
                        Step::Record
                    }
                    Claimed::Moving => unreachable!("nobody moves keys in this model"),
                };
            }
            Step::ReadAhead { next, seen, generation, .. } if next < seen => {
                // An aborted row counts, too: such a key is probed.
                session.step = Step::ReadAhead { next: next + 1, seen, generation, any: true };
            }
            Step::ReadAhead { generation, any, .. } => {
                let last = rules == Rules::ReadsGenerationLast;
                let generation = if last { self.generation } else { generation };
                session.absent_at = (!any).then_some(generation);
                session.step = Step::Claim;
            }
            Step::StartProbe => session.step = Step::Visit { next: 0, seen: self.rows.len() as u8 },
            Step::Visit { next, seen } if session.hit.is_none() && next < seen => {
                let row = self.rows[usize::from(next)];
                if row.fate != Fate::Aborted {
                    session.hit = Some((row.partition, row.fate == Fate::Committed));
                }
                session.step = Step::Visit { next: next + 1, seen };
            }
            Step::Visit { .. } => session.step = Step::Decide,
            Step::Decide => {
                let entry = self.entry.as_mut().expect("pinned entries stay");
                // Each session would draw another partition: disagreement shows at once.
                let own = session.hit.map_or(i as u16, |(partition, _)| partition);
                session.partition = Some(if rules == Rules::EachDecidesForItself {
                    own
                } else {
                    decide(entry, own)
                });
                session.step = Step::Record;
            }
            Step::Record => {
                let partition = session.partition.expect("decided");
                let record = if rules == Rules::ReliesOnRowsInProgress {
                    !self.rows.iter().any(|r| r.fate != Fate::Aborted && r.partition == partition)
                } else {
                    must_record(session.hit == Some((partition, true)))
                };
                if record {
                    self.rows.push(Row { owner: i as u8, partition, fate: Fate::InProgress });
                }
                let counts = record && rules != Rules::CountsAfterUnpin;
                session.step = if counts { Step::Count } else { Step::Unpin };
            }
            Step::Count => {
                self.generation += 1;
                let late = rules == Rules::CountsAfterUnpin;
                session.step = if late { Step::Commit } else { Step::Unpin };
            }
            Step::Unpin => {
                self.drop_pin(i);
                session.pinned = false;
                let late = rules == Rules::CountsAfterUnpin;
                session.step = if late { Step::Count } else { Step::Commit };
            }
            Step::Commit => return self.end(i, Step::Committed, Fate::Committed),
            Step::Committed | Step::Aborted => {}
        }
        self.sessions[i] = session;
    }

    /// The worlds one step away.
    fn successors(&self, rules: Rules) -> Vec<World> {
        let mut next = Vec::new();
        let mut after = |change: &dyn Fn(&mut World)| {
            let mut world = self.clone();
            change(&mut world);
            next.push(world);
        };
        for (i, session) in self.sessions.iter().enumerate() {
            match session.step {
                Step::Committed | Step::Aborted => continue,
                Step::Claim if session.absent_at.is_none() => after(&|world| world.read_ahead(i)),
                Step::Claim => {}
                Step::Commit => {
                    after(&|world| world.abort(i));
                    after(&|world| world.crash(i));
                }
                _ => after(&|world| world.abort(i)),
            }
            after(&|world| world.advance(i, rules));
        }
        next
    }

    /// Whether sessions hold rows of the key in more than one partition.
    fn split(&self) -> Option<&'static str> {
        let holds_data = |s: &&Session| {
            matches!(s.step, Step::Count | Step::Unpin | Step::Commit | Step::Committed)
        };
        let mut homes = self.sessions.iter().filter(holds_data).filter_map(|s| s.partition);
        let first = homes.next()?;
        homes.any(|home| home != first).then_some("one key in two partitions")
    }

    /// What is wrong here, if anything: a split, or what would lead to one later.
    fn fault(&self) -> Option<&'static str> {
        for session in self.sessions.iter().filter(|s| s.step == Step::Committed) {
            let maps =
                |r: &Row| r.fate == Fate::Committed && Some(r.partition) == session.partition;
            if !self.rows.iter().any(maps) {
                return Some("a committed key without a row in the map");
            }
        }
        let pins = self.sessions.iter().filter(|s| s.pinned).count();
        if self.entry.map_or(0, |entry| entry.pins as usize) != pins {
            return Some("pins do not match their holders");
        }
        self.split()
    }
}

type Check = fn(&World) -> Option<&'static str>;

/// Searches all worlds of so many sessions; see [`explore::explore`].
fn explore(sessions: usize, rules: Rules, check: Check) -> Result<usize, (&'static str, usize)> {
    explore::explore(World::new(sessions), |world| world.successors(rules), check)
}

#[test]
fn two_and_three_sessions_always_agree() {
    for sessions in [2, 3] {
        let worlds =
            explore(sessions, Rules::AsBuilt, World::fault).expect("no fault in any interleaving");
        println!("{sessions} sessions: {worlds} states");
        assert!(worlds > 100, "the search did not search: {worlds} states");
    }
}

/// Needs an optimised build to be quick: `cargo test --release`.
#[test]
#[cfg(not(debug_assertions))]
fn four_sessions_always_agree() {
    let worlds = explore(4, Rules::AsBuilt, World::fault).expect("no fault in any interleaving");
    println!("4 sessions: {worlds} states");
}

#[test]
fn a_key_splits_if_each_session_decides_for_itself() {
    let (fault, steps) =
        explore(3, Rules::EachDecidesForItself, World::split).expect_err("a split");
    println!("{fault} after {steps} steps");
}

#[test]
fn a_key_splits_if_a_session_relies_on_a_row_in_progress() {
    let broken = Rules::ReliesOnRowsInProgress;
    let (fault, steps) = explore(3, broken, World::split).expect_err("a split");
    println!("{fault} after {steps} steps");
    // The cause shows earlier: the row's writer aborts, and the key has no row of the map left.
    let (fault, earlier) = explore(3, broken, World::fault).expect_err("a lost map row");
    println!("{fault} after {earlier} steps");
    assert!(earlier < steps);
}

#[test]
fn a_key_splits_if_a_row_is_counted_too_late_or_the_count_is_read_too_late() {
    for broken in [Rules::CountsAfterUnpin, Rules::ReadsGenerationLast] {
        let (fault, steps) = explore(2, broken, World::split).expect_err("a split");
        println!("{fault} after {steps} steps");
    }
}
