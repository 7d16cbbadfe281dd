//! The source of PostgreSQL's own regression suite: a folder that is given, or Debian's source package,
//! fetched by apt into `build/` with lists of our own.
//!
//! Must never change how the machine's apt is set up, nor let anything fetched into the repository.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::account::run;
use crate::paths;
use crate::server::Pg;

/// The directory `src/test` of a source tree of the server's major.
pub fn test_directory(pg: &Pg, given: Option<&Path>) -> Result<PathBuf> {
    let root = match given {
        Some(folder) => folder.to_path_buf(),
        None => obtain(pg.major)?,
    };
    let directory = root.join("src/test");
    ensure!(
        directory.join("regress/parallel_schedule").is_file(),
        "no regression suite in {}",
        directory.display()
    );
    Ok(directory.canonicalize()?)
}

/// The unpacked source package of a major, fetched if it is not there yet.
fn obtain(major: u32) -> Result<PathBuf> {
    let home = paths::scratch()?.join("source").join(major.to_string());
    if let Some(tree) = unpacked(&home) {
        return Ok(tree);
    }
    eprintln!("fetching the source package postgresql-{major} into {}", home.display());
    std::fs::create_dir_all(home.join("apt/sources"))?;
    std::fs::create_dir_all(home.join("apt/lists/partial"))?;
    write_source_lists(&home.join("apt/sources"))?;
    apt_get(&home, &["update"])?;
    let package = format!("postgresql-{major}");
    let known = run(apt(&home, "apt-cache").args(["showsrc", &package]))?;
    let versions: Vec<&str> =
        known.lines().filter_map(|line| line.strip_prefix("Version: ")).collect();
    // A mirror may list a version that it no longer, or not yet, holds.
    let fetched = versions.iter().rev().any(|version| {
        let wanted = format!("{package}={version}");
        apt_get(&home, &["--download-only", "--only-source", "source", &wanted]).is_ok()
    });
    ensure!(fetched, "apt has no source package {package}; give a source tree by SRC=folder");
    let archive = std::fs::read_dir(&home)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().contains(".orig.tar."))
        .context("the source package has no archive")?;
    run(Command::new("tar").arg("xf").arg(&archive).current_dir(&home))?;
    unpacked(&home).context("the source package holds no tree")
}

fn unpacked(home: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(home).ok()?.flatten();
    entries.map(|entry| entry.path()).find(|path| path.join("src/test/regress").is_dir())
}

/// The machine's package sources, of binaries, as sources of source packages.
fn write_source_lists(to: &Path) -> Result<()> {
    let parts = Path::new("/etc/apt/sources.list.d");
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    files.extend(std::fs::read_dir(parts).into_iter().flatten().flatten().map(|e| e.path()));
    let mut found = false;
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.ends_with(".list") && !name.ends_with(".sources") {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let of_sources = |line: &str| match line.strip_prefix("deb ") {
            Some(rest) => format!("deb-src {rest}\n"),
            None => format!("{}\n", line.replacen("Types: deb", "Types: deb-src", 1)),
        };
        let already = |line: &&str| !line.starts_with("deb-src ");
        std::fs::write(
            to.join(name),
            text.lines().filter(already).map(of_sources).collect::<String>(),
        )?;
        found = true;
    }
    if !found {
        bail!("no apt here to fetch the source with; give a source tree by SRC=folder");
    }
    Ok(())
}

fn apt_get(home: &Path, arguments: &[&str]) -> Result<()> {
    run(apt(home, "apt-get").arg("--quiet=2").args(arguments)).map(drop)
}

/// An apt command with sources, lists and cache below `home`.
fn apt(home: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    let below = |part: &str| home.join("apt").join(part).display().to_string();
    command.current_dir(home).env("DEBIAN_FRONTEND", "noninteractive");
    for option in [
        "Dir::Etc::SourceList=/dev/null".to_owned(),
        format!("Dir::Etc::SourceParts={}", below("sources")),
        format!("Dir::State::Lists={}", below("lists")),
        format!("Dir::Cache={}", below("cache")),
        // The fetching account could not write below a private home directory.
        "APT::Sandbox::User=".to_owned(),
    ] {
        command.arg("--option").arg(option);
    }
    command
}
