//! Where things lie: the checkout, and the scratch directory for everything the testbed makes.
//!
//! Must never place a server's files where the account that runs the server cannot reach them:
//! a checkout below a private home directory is the common case when root builds.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::unistd::geteuid;

/// The checkout: the nearest directory upwards that holds `pss.control`.
pub fn repository() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let found = here.ancestors().find(|dir| dir.join("pss.control").is_file());
    found.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."), Path::to_path_buf)
}

/// Directory for servers, clusters and results: `build/` of the checkout, or, where the server's
/// account could not enter that, a directory of our own below `/var/tmp`.
pub fn scratch() -> Result<PathBuf> {
    let build = repository().join("build");
    std::fs::create_dir_all(&build).with_context(|| format!("create {}", build.display()))?;
    let build = build.canonicalize()?;
    if !geteuid().is_root() || build.ancestors().all(everybody_may_enter) {
        return Ok(build);
    }
    let name: String =
        build.to_string_lossy().chars().map(|c| if c == '/' { '-' } else { c }).collect();
    let dir = PathBuf::from(format!("/var/tmp/pss{name}"));
    match std::fs::create_dir(&dir) {
        Ok(()) => std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755))?,
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(e).with_context(|| format!("create {}", dir.display())),
    }
    // The name can be guessed, so somebody else could have made it first.
    let meta = std::fs::symlink_metadata(&dir)?;
    ensure!(
        meta.is_dir() && meta.uid() == geteuid().as_raw(),
        "{} exists but is not a directory of ours; remove it",
        dir.display()
    );
    Ok(dir)
}

fn everybody_may_enter(dir: &Path) -> bool {
    std::fs::metadata(dir).is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0)
}
