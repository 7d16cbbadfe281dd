//! Stops every server this process started when it is interrupted.
//!
//! Must never signal a process that is not ours: a server is listed only while it is our child.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

static RUNNING: Mutex<BTreeMap<u32, PathBuf>> = Mutex::new(BTreeMap::new());

/// Lists a server; `directory` is removed should we be interrupted.
pub fn register(pid: u32, directory: &Path) {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    running.insert(pid, directory.to_path_buf());
}

/// Takes a server off the list, before it is reaped.
pub fn forget(pid: u32) {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
}

/// From now on Ctrl-C, SIGTERM and SIGHUP stop our servers, remove their files and exit with 130.
pub fn stop_servers_on_interrupt() -> Result<()> {
    ctrlc::set_handler(|| {
        eprintln!("interrupted: stopping servers");
        // Kept locked: the main thread must not start or reap a server any more.
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let pid_of = |pid: u32| Pid::from_raw(pid.cast_signed());
        for &pid in running.keys() {
            kill(pid_of(pid), Signal::SIGQUIT).ok();
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        for &pid in running.keys() {
            let still_runs = || {
                waitpid(pid_of(pid), Some(WaitPidFlag::WNOHANG))
                    .is_ok_and(|status| status == nix::sys::wait::WaitStatus::StillAlive)
            };
            while still_runs() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        for directory in running.values() {
            std::fs::remove_dir_all(directory).ok();
        }
        std::process::exit(130);
    })?;
    Ok(())
}
