//! Processor time of the server's processes, from /proc where there is one.
//!
//! On a busy machine it is steadier than time by the clock. Must never be taken for it: what waits
//! for a lock or a disk costs none.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use postgres::Client;

/// Ticks a second in /proc: the kernel's USER_HZ, the same whatever its own timer does.
const TICKS_PER_SECOND: f64 = 100.0;

/// Longest time that ended sessions may take to be gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// Processor time in seconds that a process has used.
pub fn of_process(pid: i32) -> Option<f64> {
    ticks(pid, [14, 15])
}

/// Processor time in seconds of all children that `pid` has waited for: of a postmaster, the
/// sessions that are over.
pub fn of_ended_children(pid: i32) -> Option<f64> {
    ticks(pid, [16, 17])
}

/// The process that started `pid`: of a session, the postmaster.
pub fn parent(pid: i32) -> Option<i32> {
    i32::try_from(field(&stat(pid)?, 4)?).ok()
}

fn ticks(pid: i32, fields: [usize; 2]) -> Option<f64> {
    let line = stat(pid)?;
    let sum = field(&line, fields[0])? + field(&line, fields[1])?;
    Some(sum as f64 / TICKS_PER_SECOND)
}

fn stat(pid: i32) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()
}

/// A field of /proc/PID/stat by its number in proc(5); the second is a name in parentheses, which
/// may hold anything.
fn field(line: &str, number: usize) -> Option<i64> {
    let (_, rest) = line.rsplit_once(')')?;
    rest.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

/// Pid of the server process behind a connection.
pub fn backend(client: &mut Client) -> Result<i32> {
    Ok(client.query_one("SELECT pg_backend_pid()", &[])?.get(0))
}

/// The processes that `pid` has started and not yet waited for.
pub fn children(pid: i32) -> BTreeSet<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&child| parent(child) == Some(pid)).collect()
}

/// Waits until the postmaster has waited for all sessions that began after it had the children
/// `before`: only then their time is in [`of_ended_children`].
pub fn await_sessions(client: &mut Client, postmaster: i32, before: &BTreeSet<i32>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // A worker that began meanwhile is in the view; a session that ended is not.
        let at_work = "SELECT pid FROM pg_stat_activity WHERE backend_type <> 'client backend'";
        let workers: BTreeSet<i32> =
            client.query(at_work, &[])?.iter().map(|row| row.get(0)).collect();
        let left = children(postmaster);
        if left.iter().all(|pid| before.contains(pid) || workers.contains(pid)) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "sessions of pgbench do not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_after_the_name() {
        let line = "7 (a) b 1) S 3 4 5 6 7 8 9 10 11 12 13 140 150 160 170 18";
        assert_eq!(field(line, 4), Some(3));
        assert_eq!(field(line, 14), Some(13));
        assert_eq!(field(line, 15), Some(140));
        assert_eq!(field(line, 99), None);
    }
}
