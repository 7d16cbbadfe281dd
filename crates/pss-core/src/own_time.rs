//! Statements under way, and the time that is their own.
//!
//! A statement's time is exclusive: what a nested one that is watched too (of a function, a
//! trigger, a foreign key) took is that one's, so that nothing is counted twice. A cursor runs in
//! several goes, which add up. Statements are known by an address, savepoints by their depth.
//! Must never panic, nor allocate when a transaction or a savepoint ends.

/// A statement between its start and its end.
#[derive(Debug, Clone)]
struct Open {
    query: usize,
    /// Depth of the savepoint whose rollback ends it.
    depth: i32,
    own_ns: u64,
    ran: bool,
}

/// One go of a statement; those above it in the stack run inside it.
#[derive(Debug, Clone)]
struct Run {
    query: usize,
    depth: i32,
    entered_ns: u64,
    nested_ns: u64,
}

/// The statements of one session that are watched.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    open: Vec<Open>,
    running: Vec<Run>,
}

impl Watch {
    /// No statement.
    pub const fn new() -> Self {
        Watch { open: Vec::new(), running: Vec::new() }
    }

    /// Whether no statement is watched.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Watches a statement that starts at savepoint depth `depth`.
    pub fn begin(&mut self, query: usize, depth: i32) {
        self.open.push(Open { query, depth, own_ns: 0, ran: false });
    }

    /// Whether the statement is watched and has had a go.
    pub fn has_run(&self, query: usize) -> bool {
        self.open.iter().rfind(|o| o.query == query).is_some_and(|o| o.ran)
    }

    /// Starts a go of the statement at `now_ns`; false if it is not watched.
    pub fn enter(&mut self, query: usize, depth: i32, now_ns: u64) -> bool {
        let watched = self.find(query).is_some();
        if watched {
            self.running.push(Run { query, depth, entered_ns: now_ns, nested_ns: 0 });
        }
        watched
    }

    /// Ends the go that [`Watch::enter`] began.
    pub fn leave(&mut self, query: usize, now_ns: u64) {
        // Above it may be one whose error was caught without a savepoint.
        while let Some(run) = self.running.pop() {
            if run.query != query {
                continue;
            }
            let total = now_ns.saturating_sub(run.entered_ns);
            if let Some(around) = self.running.last_mut() {
                around.nested_ns = around.nested_ns.saturating_add(total);
            }
            if let Some(open) = self.find(query) {
                open.own_ns = open.own_ns.saturating_add(total.saturating_sub(run.nested_ns));
                open.ran = true;
            }
            break;
        }
    }

    /// Ends the watch; returns the statement's own nanoseconds, or `None` if it never ran or is
    /// not watched.
    pub fn end(&mut self, query: usize) -> Option<u64> {
        let i = self.open.iter().rposition(|o| o.query == query)?;
        let ended = self.open.remove(i);
        ended.ran.then_some(ended.own_ns)
    }

    /// The savepoint of this depth is rolled back: what it had under way has failed.
    pub fn savepoint_aborted(&mut self, depth: i32) {
        self.open.retain(|o| o.depth < depth);
        self.running.retain(|r| r.depth < depth);
    }

    /// The savepoint of this depth is released: its open cursors are those of the one around it.
    pub fn savepoint_released(&mut self, depth: i32) {
        for open in self.open.iter_mut().filter(|o| o.depth >= depth) {
            open.depth = depth - 1;
        }
    }

    /// The transaction ends, and all that was under way with it.
    pub fn clear(&mut self) {
        self.open.clear();
        self.running.clear();
    }

    fn find(&mut self, query: usize) -> Option<&mut Open> {
        self.open.iter_mut().rfind(|o| o.query == query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_time_is_counted_once() {
        let mut w = Watch::new();
        w.begin(1, 1);
        assert!(w.enter(1, 1, 100));
        assert!(!w.enter(9, 1, 110), "not watched: its time is that of the one around it");
        w.begin(2, 1);
        assert!(w.enter(2, 1, 150));
        w.begin(3, 1);
        assert!(w.enter(3, 1, 160));
        w.leave(3, 180);
        assert_eq!(w.end(3), Some(20));
        w.leave(2, 250);
        assert_eq!(w.end(2), Some(80));
        w.leave(1, 300);
        assert_eq!(w.end(1), Some(100));
        assert!(w.is_empty());
    }

    #[test]
    fn goes_of_a_cursor_add_up_and_others_run_between_them() {
        let mut w = Watch::new();
        w.begin(1, 1);
        w.enter(1, 1, 0);
        w.leave(1, 10);
        assert!(w.has_run(1));
        w.begin(2, 1);
        w.enter(2, 1, 20);
        w.leave(2, 50);
        assert_eq!(w.end(2), Some(30));
        w.enter(1, 1, 60);
        w.leave(1, 65);
        assert_eq!(w.end(1), Some(15));
        w.begin(3, 1);
        assert!(!w.has_run(3));
        assert_eq!(w.end(3), None, "never ran");
        assert_eq!(w.end(3), None, "not watched");
    }

    #[test]
    fn what_fails_is_forgotten_and_what_is_around_it_goes_on() {
        let mut w = Watch::new();
        w.begin(1, 1);
        w.enter(1, 1, 0);
        w.begin(2, 2);
        w.enter(2, 2, 10);
        w.savepoint_aborted(2);
        assert_eq!(w.end(2), None);
        // The same address comes again.
        w.begin(2, 1);
        w.enter(2, 1, 20);
        w.leave(2, 25);
        assert_eq!(w.end(2), Some(5));
        // An error that was caught without a savepoint leaves a go behind.
        w.begin(4, 1);
        w.enter(4, 1, 30);
        w.leave(1, 100);
        assert_eq!(w.end(1), Some(95));
        w.clear();
        assert!(w.is_empty());
    }

    #[test]
    fn a_cursor_outlives_its_savepoint_if_that_is_released() {
        let mut w = Watch::new();
        w.begin(1, 3);
        w.savepoint_released(3);
        w.savepoint_aborted(3);
        w.enter(1, 1, 0);
        w.leave(1, 7);
        assert_eq!(w.end(1), Some(7));
        w.begin(1, 3);
        w.savepoint_released(3);
        w.savepoint_aborted(2);
        assert!(w.is_empty());
    }

    #[test]
    fn a_clock_that_goes_back_is_no_time() {
        let mut w = Watch::new();
        w.begin(1, 1);
        w.enter(1, 1, 100);
        w.leave(1, 50);
        assert_eq!(w.end(1), Some(0));
    }
}
