//! Builds pss for one server, assembles its script, and installs the result.
//!
//! Must never overwrite an installed library in place: a server that has it mapped would crash.
//! Files are written beside their destination and renamed over it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::libclang;
use crate::paths;
use crate::server::Pg;

/// A built extension, ready to be installed.
pub struct Package {
    library: PathBuf,
    library_name: &'static str,
    control: PathBuf,
    /// File names and texts of the install and upgrade scripts.
    scripts: Vec<(String, String)>,
}

impl Package {
    /// Builds for `pg` what users install; with cargo's profile `PROFILE` if that is set.
    pub fn build(pg: &Pg) -> Result<Self> {
        let profile = std::env::var("PROFILE").unwrap_or_else(|_| "release".to_owned());
        Self::build_as(pg, &profile, "")
    }

    /// Builds for `pg`, unoptimized, with the tests that run inside the server.
    pub fn build_with_tests(pg: &Pg) -> Result<Self> {
        Self::build_as(pg, "dev", ",in_server_tests")
    }

    /// Builds in a target directory of the major's own, so that majors do not evict each other.
    fn build_as(pg: &Pg, profile: &str, more_features: &str) -> Result<Self> {
        let repository = paths::repository();
        let target = repository.join(format!("target/pg{}", pg.major));
        eprintln!("building pss for PostgreSQL {} (minutes at first, seconds later)", pg.version);
        let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .current_dir(&repository)
            .args(["build", "--quiet", "--locked", "--package=pss", "--lib", "--profile", profile])
            .args(["--no-default-features", "--features"])
            .arg(format!("pg{}{more_features}", pg.major))
            .arg("--target-dir")
            .arg(&target)
            .env("PGRX_PG_CONFIG_PATH", &pg.pg_config)
            // Makes plain cargo and cargo-pgrx share one build.
            .env("CARGO_PGRX_DISABLE_GC_SECTIONS_WORKAROUND", "1")
            .envs(libclang::environment()?)
            .status()
            .context("cannot run cargo")?;
        ensure!(status.success(), "the build failed");

        let (built, library_name) = match (cfg!(target_os = "macos"), pg.major) {
            (true, 16..) => ("libpss.dylib", "pss.dylib"),
            (true, _) => ("libpss.dylib", "pss.so"),
            (false, _) => ("libpss.so", "pss.so"),
        };
        // Cargo's directory for the profile "dev" is "debug".
        let directory = if profile == "dev" { "debug" } else { profile };
        Ok(Self {
            library: target.join(directory).join(built),
            library_name,
            control: repository.join("pss.control"),
            scripts: scripts(&repository)?,
        })
    }

    /// Installs into the given library and extension directories.
    pub fn install(&self, pkglibdir: &Path, extension_directory: &Path) -> Result<()> {
        let library = std::fs::read(&self.library)
            .with_context(|| format!("read {}", self.library.display()))?;
        replace(&pkglibdir.join(self.library_name), &library, 0o755)?;
        replace(&extension_directory.join("pss.control"), &std::fs::read(&self.control)?, 0o644)?;
        for (name, text) in &self.scripts {
            replace(&extension_directory.join(name), text.as_bytes(), 0o644)?;
        }
        Ok(())
    }
}

/// The install script, and the upgrade scripts as they are.
fn scripts(repository: &Path) -> Result<Vec<(String, String)>> {
    let control = std::fs::read_to_string(repository.join("pss.control"))?;
    let version = control
        .lines()
        .find_map(|line| line.strip_prefix("default_version"))
        .and_then(|rest| rest.split('\'').nth(1))
        .context("pss.control names no default_version")?;

    let mut names = Vec::new();
    for entry in std::fs::read_dir(repository.join("sql"))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| name.ends_with(".sql"));
    names.sort_by(|a, b| (place(a), a).cmp(&(place(b), b)));
    let mut install = "\\echo Use \"CREATE EXTENSION pss\" to load this file. \\quit\n".to_owned();
    let mut upgrades = Vec::new();
    for name in names {
        let text = std::fs::read_to_string(repository.join("sql").join(&name))?;
        if name.starts_with("pss--") {
            upgrades.push((name, text));
        } else {
            install.push_str(&text);
        }
    }
    upgrades.push((format!("pss--{version}.sql"), install));
    Ok(upgrades)
}

/// Where a part of the install script belongs: tables, functions by name, views on both, rights.
fn place(part: &str) -> u8 {
    match part {
        "catalog.sql" => 0,
        "views.sql" | "patterns.sql" => 2,
        "access.sql" => 3,
        _ => 1,
    }
}

fn replace(destination: &Path, contents: &[u8], mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let directory = destination.parent().context("a destination has a directory")?;
    let cannot = || format!("cannot install {}", destination.display());
    let mut file = tempfile::NamedTempFile::new_in(directory).with_context(cannot)?;
    std::io::Write::write_all(&mut file, contents).with_context(cannot)?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.persist(destination).with_context(cannot)?;
    Ok(())
}
