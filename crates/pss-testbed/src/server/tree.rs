//! An install tree of our own: the server's programs and libraries with pss beside them.
//!
//! PostgreSQL finds its libraries relative to its binary, so a copy with the same layout is a
//! server of its own. Must never write into the server it was made from, and is never installed
//! into again once a cluster runs from it: overwriting a loaded library crashes its users.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::{Pg, interrupt};
use crate::account::{Account, run};
use crate::extension::Package;
use crate::paths;

/// A copied server with pss installed, an initialised template data directory, and room for
/// clusters. Removed with everything below it when dropped.
pub struct Tree {
    pub pg: Pg,
    pub account: Account,
    bindir: PathBuf,
    directory: TempDir,
}

impl Tree {
    /// Copies `pg` and installs `package` into the copy.
    pub fn new(pg: &Pg, package: &Package) -> Result<Self> {
        let account = Account::choose()?;
        let runs = paths::scratch()?.join("run");
        std::fs::create_dir_all(&runs)?;
        remove_abandoned(&runs);
        let directory = tempfile::Builder::new()
            .prefix(&format!("{}-", std::process::id()))
            .tempdir_in(&runs)?;
        interrupt::register_directory(directory.path());
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))?;

        let server = directory.path().join("server");
        let root = install_root(pg)?;
        let moved = |path: &Path| -> Result<PathBuf> { Ok(server.join(path.strip_prefix(&root)?)) };
        for part in [&pg.bindir, &pg.pkglibdir, &pg.sharedir] {
            link_or_copy(part, &moved(part)?)
                .with_context(|| format!("copy {} into a tree of our own", part.display()))?;
        }
        if let Some(libraries) = wheel_libraries(pg) {
            link_or_copy(&libraries, &moved(&libraries)?)?;
        }
        package.install(&moved(&pg.pkglibdir)?, &moved(&pg.sharedir)?.join("extension"))?;

        let tree = Self { pg: pg.clone(), account, bindir: moved(&pg.bindir)?, directory };
        let clusters = tree.clusters();
        std::fs::create_dir(&clusters)?;
        account.give(&clusters)?;
        run(account
            .command(tree.program("initdb"))
            .arg("--pgdata")
            .arg(clusters.join("template"))
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale"])
            .args(["--no-sync", "--no-instructions"]))?;
        Ok(tree)
    }

    /// Path of one of the server's programs in the tree.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bindir.join(name)
    }

    /// Whether the server comes with an extension.
    pub fn has_extension(&self, name: &str) -> bool {
        self.pg.sharedir.join("extension").join(format!("{name}.control")).is_file()
    }

    /// Directory, writable by the server's account, that holds one directory per cluster.
    pub fn clusters(&self) -> PathBuf {
        self.directory.path().join("clusters")
    }
}

/// The directory that holds all that the server's programs look up relative to themselves.
fn install_root(pg: &Pg) -> Result<PathBuf> {
    let inside = |root: &&Path| [&pg.pkglibdir, &pg.sharedir].iter().all(|p| p.starts_with(root));
    let common = pg.bindir.ancestors().find(inside).context("the server lies in no one place")?;
    Ok(match wheel_libraries(pg) {
        Some(libraries) => libraries.parent().unwrap_or(common).to_path_buf(),
        None => common.to_path_buf(),
    })
}

/// A Python wheel keeps shared libraries in `PACKAGE.libs` beside the package that needs them.
fn wheel_libraries(pg: &Pg) -> Option<PathBuf> {
    let package = pg.bindir.parent()?.parent()?;
    let libraries = package.with_extension("libs");
    libraries.is_dir().then_some(libraries)
}

/// Copies a directory tree, by hard links where the file system and the file's owner allow it.
/// What only builds and JIT inlining need is left out: it is most of the size.
fn link_or_copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            let skip = ["bitcode", "pgxs", "pkgconfig", "doc", "man", "locale"];
            if !skip.iter().any(|name| entry.file_name() == *name) {
                link_or_copy(&source, &target)?;
            }
            continue;
        }
        // A link to a symbolic link would dangle.
        let Ok(file) = source.canonicalize() else { continue };
        let is_static_library = file.extension().is_some_and(|ext| ext == "a");
        if !target.exists() && !is_static_library && std::fs::hard_link(&file, &target).is_err() {
            std::fs::copy(&file, &target)?;
        }
    }
    Ok(())
}

/// Stops the servers and removes the files of testbeds that were killed before they could.
fn remove_abandoned(runs: &Path) {
    for entry in std::fs::read_dir(runs).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.split('-').next().and_then(|pid| pid.parse::<i32>().ok());
        let Some(owner) = owner else { continue };
        let alive =
            |pid: i32| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_ok();
        if alive(owner) {
            continue;
        }
        eprintln!("removing what an interrupted run left in {}", entry.path().display());
        for cluster in
            std::fs::read_dir(entry.path().join("clusters")).into_iter().flatten().flatten()
        {
            if let Err(e) = stop_abandoned(&cluster.path()) {
                eprintln!("{e:#}");
            }
        }
        std::fs::remove_dir_all(entry.path()).ok();
    }
}

fn stop_abandoned(cluster: &Path) -> Result<()> {
    let data = cluster.join("data");
    let Ok(lock) = std::fs::read_to_string(data.join("postmaster.pid")) else { return Ok(()) };
    let Some(pid) = lock.lines().next().and_then(|line| line.parse::<i32>().ok()) else {
        bail!("odd lock file in {}", data.display());
    };
    // The number may belong to somebody else by now.
    let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if command.contains(&*data.to_string_lossy()) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGQUIT)?;
    }
    Ok(())
}
