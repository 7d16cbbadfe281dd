//! Finds or fetches libclang, which the build needs to read the server's headers.
//!
//! Must never disturb a build that would find it alone: says nothing and sets nothing then.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use nix::unistd::geteuid;

use crate::paths;
use crate::server;

/// Variables the build needs so that bindgen finds libclang and its headers; installs it first if
/// the machine has none.
pub fn environment() -> Result<Vec<(&'static str, String)>> {
    if std::env::var_os("LIBCLANG_PATH").is_some() || installed() {
        return Ok(Vec::new());
    }
    let wheel = paths::repository().join("build/libclang");
    let library = wheel.join("clang/native");
    if !library.is_dir() {
        if geteuid().is_root() && server::apt_has("libclang-dev") {
            eprintln!("no libclang here: installing libclang-dev with apt");
            server::apt_install(&["libclang-dev"])?;
            return Ok(Vec::new());
        }
        eprintln!("no libclang here: the wheel of that name into {}", wheel.display());
        server::pip_install("libclang==18.1.1", &wheel)?;
    }
    // The wheel holds the library alone; the compiler's own headers (stddef.h) are gcc's then.
    let headers = Command::new("cc")
        .arg("-print-file-name=include")
        .output()
        .context("a C compiler is needed to build: install gcc")?;
    let headers = String::from_utf8_lossy(&headers.stdout).trim().to_owned();
    Ok(vec![
        ("LIBCLANG_PATH", library.to_string_lossy().into_owned()),
        ("BINDGEN_EXTRA_CLANG_ARGS", format!("-isystem {headers}")),
    ])
}

/// Whether bindgen will find libclang by itself: it asks llvm-config and looks in these places.
fn installed() -> bool {
    let mut directories: Vec<PathBuf> = [
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/Library/Developer/CommandLineTools/usr/lib",
        "/opt/homebrew/opt/llvm/lib",
        "/usr/local/opt/llvm/lib",
    ]
    .map(PathBuf::from)
    .to_vec();
    for entry in std::fs::read_dir("/usr/lib").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("llvm") {
            directories.push(entry.path().join("lib"));
        }
    }
    if let Ok(output) = Command::new("llvm-config").arg("--libdir").output() {
        directories.push(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    directories.iter().any(|directory| holds_libclang(directory))
}

fn holds_libclang(directory: &Path) -> bool {
    std::fs::read_dir(directory).into_iter().flatten().flatten().any(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name.starts_with("libclang.") || name.starts_with("libclang-"))
            && (name.contains(".so") || name.ends_with(".dylib"))
            && !name.contains("cpp")
    })
}
