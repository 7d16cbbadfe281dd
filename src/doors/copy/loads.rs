//! Loads of rows that say themselves where they belong: COPY into a partition, or with
//! pss_partition in its column list, as a restore does it.

use pgrx::pg_sys;

use super::Target;
use crate::error::Result;
use crate::{map, meta, shmem};

/// Whether the rows go by the router, which adopts or refuses the partition they name.
///
/// Not while the map is incomplete (a restore: there is no map, and no index in which to look for
/// keys): then they are taken as they come, and a rebuild of the map waits for them, adopts them,
/// and tells which contradict each other.
pub fn are_routed(target: &Target) -> Result<bool> {
    let relation = target.meta.table.relation;
    if target.meta.table.map_complete && shmem::available() {
        return Ok(true);
    }
    if !may_insert(target.relation) {
        return Ok(false);
    }
    map::lock_loads(relation, false);
    // A rebuild may have ended while the lock was waited for.
    match meta::table(relation)? {
        Some(meta) if meta.table.map_complete => {
            if shmem::available() {
                return Ok(true);
            }
            map::set_complete(relation, false)?;
            Ok(false)
        }
        _ => Ok(false),
    }
}

fn may_insert(relation: pg_sys::Oid) -> bool {
    // SAFETY: a privilege look-up for the current user.
    unsafe {
        let mode = pg_sys::ACL_INSERT as pg_sys::AclMode;
        let (user, any) = (pg_sys::GetUserId(), pg_sys::AclMaskHow::ACLMASK_ANY);
        pg_sys::pg_class_aclcheck(relation, user, mode) == pg_sys::AclResult::ACLCHECK_OK
            || pg_sys::pg_attribute_aclcheck_all(relation, user, mode, any)
                == pg_sys::AclResult::ACLCHECK_OK
    }
}
