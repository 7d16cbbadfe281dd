//! The account servers run as, and commands with a clean environment.
//!
//! PostgreSQL refuses to run as root, so root's servers run as `postgres`, or else `nobody`.
//! Must never hand the caller's `PG*` settings or RUST_BACKTRACE to a server: the first redirect
//! it, the second puts backtraces into the DETAIL of user errors.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::unistd::{User, geteuid};

/// Who runs the servers. `ids` is `None` when that is simply ourselves.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    ids: Option<(u32, u32)>,
}

impl Account {
    /// Chooses the account: the caller, or for root `postgres` if it exists, else `nobody`.
    pub fn choose() -> Result<Self> {
        if !geteuid().is_root() {
            return Ok(Self { ids: None });
        }
        let named = |name| User::from_name(name).ok().flatten();
        let user = named("postgres")
            .or_else(|| named("nobody"))
            .context("neither of the accounts postgres and nobody exists to run a server as")?;
        Ok(Self { ids: Some((user.uid.as_raw(), user.gid.as_raw())) })
    }

    /// A command run by this account.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = clean_command(program);
        if let Some((uid, gid)) = self.ids {
            command.uid(uid).gid(gid);
        }
        command.current_dir("/");
        command
    }

    /// Makes this account the owner of `path` (not of what lies below it).
    pub fn give(&self, path: &Path) -> Result<()> {
        if let Some((uid, gid)) = self.ids {
            std::os::unix::fs::chown(path, Some(uid), Some(gid))
                .with_context(|| format!("give {} to the server's account", path.display()))?;
        }
        Ok(())
    }
}

/// A command without the caller's PostgreSQL, locale and Rust settings, reading from nothing.
pub fn clean_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let unwanted = ["PG", "LC_", "LANG", "RUST_"].iter().any(|p| text.starts_with(p));
        if unwanted {
            command.env_remove(&name);
        }
    }
    command.env("LC_ALL", "C").stdin(Stdio::null());
    command
}

/// Runs a command to its end and returns what it printed; an error carries its standard error.
pub fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        anyhow::bail!(
            "{program} failed ({}):\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
