//! Stops every server this process started when it is interrupted.
//!
//! Must never signal a process that is not ours: a server is listed only while it is our child.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Our servers' pids, and the directories to be removed.
#[derive(Default)]
struct Ours {
    servers: BTreeSet<u32>,
    directories: Vec<PathBuf>,
}

static OURS: Mutex<Ours> = Mutex::new(Ours { servers: BTreeSet::new(), directories: Vec::new() });

fn ours() -> MutexGuard<'static, Ours> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lists a directory to be removed should we be interrupted.
pub fn register_directory(directory: &Path) {
    ours().directories.push(directory.to_path_buf());
}

/// Lists a server.
pub fn register(pid: u32) {
    ours().servers.insert(pid);
}

/// Takes a server off the list, once it has ended.
pub fn forget(pid: u32) {
    ours().servers.remove(&pid);
}

/// From now on Ctrl-C, SIGTERM and SIGHUP stop our servers, remove their files and exit with 130.
pub fn stop_servers_on_interrupt() -> Result<()> {
    ctrlc::set_handler(|| {
        eprintln!("interrupted: stopping servers");
        // Kept locked: the main thread gets no further than its next start or stop.
        let ours = ours();
        let pid_of = |pid: u32| Pid::from_raw(pid.cast_signed());
        for &pid in &ours.servers {
            kill(pid_of(pid), Signal::SIGQUIT).ok();
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        for &pid in &ours.servers {
            let still_runs = || {
                waitpid(pid_of(pid), Some(WaitPidFlag::WNOHANG))
                    .is_ok_and(|status| status == WaitStatus::StillAlive)
            };
            while still_runs() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        for directory in &ours.directories {
            std::fs::remove_dir_all(directory).ok();
        }
        std::process::exit(130);
    })?;
    Ok(())
}
