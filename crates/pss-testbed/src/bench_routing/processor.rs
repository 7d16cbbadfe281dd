//! Processor time of the server's processes, from /proc where there is one.
//!
//! On a busy machine it is steadier than time by the clock. Must never be taken for it: what waits
//! for a lock or a disk costs none.

use std::time::Duration;

use anyhow::Result;
use postgres::Client;

/// Ticks a second in /proc: the kernel's USER_HZ, the same whatever its own timer does.
const TICKS_PER_SECOND: f64 = 100.0;

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

/// Waits until the sessions of an application are gone and waited for.
pub fn await_end_of(client: &mut Client, application: &str) -> Result<()> {
    let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
    while client.query_one(left, &[&application])?.get::<_, i64>(0) > 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    // A session leaves the view a moment before it ends.
    std::thread::sleep(Duration::from_millis(50));
    Ok(())
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
