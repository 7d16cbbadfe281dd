//! Probing the disk of a partition: are its files there and readable, and is there room?
//!
//! Works on files, as the server's own user, and writes only a temporary file where the server keeps
//! its own: a restart removes what a crash leaves. Must never touch the files of a relation but to
//! read.

use std::fs::{self, File};
use std::io::{Error, Read, Write};
use std::path::{Path, PathBuf};

use pgrx::pg_sys;

use crate::catalog::{self, Partition};
use crate::error::Result;

/// A block of a relation.
const BLOCK: usize = pg_sys::BLCKSZ as usize;
/// Blocks that have to fit: PostgreSQL extends a busy table by up to so many at once.
const BLOCKS: usize = 64;

/// Probes the disk of a partition; what is wrong with it, in words, if something is.
pub fn probe(partition: &Partition) -> Result<std::result::Result<(), String>> {
    let files = files(partition)?;
    Ok(if files.is_empty() {
        Err("it has no files".into())
    } else {
        files.iter().try_for_each(|file| read(file)).and_then(|()| write(partition.tablespace))
    })
}

/// The first files of the leaf, its indexes and its long values, below the data directory.
fn files(partition: &Partition) -> Result<Vec<PathBuf>> {
    catalog::read(|client| {
        let rows = client.select(
            "SELECT pg_catalog.pg_relation_filepath(f.oid)
             FROM pg_catalog.pg_class c
             CROSS JOIN LATERAL (
                 SELECT c.oid UNION ALL SELECT c.reltoastrelid
                 UNION ALL SELECT x.indexrelid FROM pg_catalog.pg_index x
                           WHERE x.indrelid OPERATOR(pg_catalog.=) c.oid) AS f
             WHERE c.oid OPERATOR(pg_catalog.=) $1",
            None,
            &[partition.leaf.into()],
        )?;
        let mut files = Vec::with_capacity(rows.len());
        for row in rows {
            files.extend(row.get::<String>(1)?.map(PathBuf::from));
        }
        Ok(files)
    })
}

/// Reads the first block of a file.
fn read(file: &Path) -> std::result::Result<(), String> {
    let block = |mut file: File| file.read(&mut [0; BLOCK]);
    File::open(file).and_then(block).map(drop).map_err(|e| complaint("read", file, &e))
}

/// Writes a temporary file as large as what a table may be extended by.
fn write(tablespace: pg_sys::Oid) -> std::result::Result<(), String> {
    // SAFETY: a palloc'd path of the directory of this database in the tablespace.
    let database = unsafe {
        let path = pg_sys::GetDatabasePath(pg_sys::MyDatabaseId, tablespace);
        PathBuf::from(std::ffi::CStr::from_ptr(path).to_string_lossy().into_owned())
    };
    if let Err(e) = fs::metadata(&database) {
        return Err(complaint("find", &database, &e));
    }
    let directory = database.with_file_name("pgsql_tmp");
    let file = directory.join(format!("pgsql_tmp{}.pss", std::process::id()));
    let written =
        fs::create_dir_all(&directory).and_then(|()| File::create(&file)).and_then(|mut f| {
            (0..BLOCKS).try_for_each(|_| f.write_all(&[0; BLOCK]))?;
            f.sync_all()
        });
    // One that was not made need not go.
    let _ = fs::remove_file(&file);
    written.map_err(|e| complaint("write", &file, &e))
}

fn complaint(verb: &str, file: &Path, error: &Error) -> String {
    format!("cannot {verb} {}: {error}", file.display())
}
