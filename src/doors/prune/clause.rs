//! Conditions that name keys: `key = expression`, `key IN (...)`, `key = ANY (array)`.
//!
//! A condition counts only if equality by its operator is equality as a key: the operator belongs
//! to the hash family that tells keys apart, under the column's own collation.

use pgrx::pg_sys;

use crate::doors::planner::{entries, is};
use crate::meta::Meta;

/// A condition that holds only for rows of certain keys.
#[derive(Clone, Copy)]
pub struct Condition {
    /// The key; or an array of keys, of which one.
    pub keys: *mut pg_sys::Expr,
    pub is_array: bool,
    /// The type of the keys, where it is another than the column's but hashes alike; else invalid.
    pub other_type: pg_sys::Oid,
}

/// The relation that conditions are about.
pub struct Scan<'a> {
    pub root: *mut pg_sys::PlannerInfo,
    pub rel: *mut pg_sys::RelOptInfo,
    pub meta: &'a Meta,
}

impl Scan<'_> {
    /// The best condition among restrictions that all hold for the rows of a scan: one key rather
    /// than several. Keys may depend on `outer` relations.
    ///
    /// # Safety
    /// Live planner data; the list holds RestrictInfos.
    pub unsafe fn condition(
        &self,
        restrictions: *mut pg_sys::List,
        outer: pg_sys::Relids,
    ) -> Option<Condition> {
        // SAFETY: as stated.
        unsafe {
            let mut found = None;
            for info in entries::<pg_sys::RestrictInfo>(restrictions) {
                // A key that row security hides must not even be looked for.
                if (*info).pseudoconstant
                    || !pg_sys::restriction_is_securely_promotable(info, self.rel)
                {
                    continue;
                }
                let condition = self.match_clause((*info).clause.cast(), outer);
                if condition.is_some_and(|c| !c.is_array) {
                    return condition;
                }
                found = found.or(condition);
            }
            found
        }
    }

    unsafe fn match_clause(
        &self,
        clause: *mut pg_sys::Node,
        outer: pg_sys::Relids,
    ) -> Option<Condition> {
        // SAFETY: a clause of this relation; both kinds have a list of two arguments.
        unsafe {
            if is(clause, pg_sys::NodeTag::T_OpExpr) {
                let clause = clause.cast::<pg_sys::OpExpr>();
                let (left, right) = two((*clause).args)?;
                let (keys, flipped) = if self.is_key(left) {
                    (right, false)
                } else if self.is_key(right) {
                    (left, true)
                } else {
                    return None;
                };
                let other_type = self.other_type((*clause).opno, (*clause).inputcollid, flipped)?;
                self.is_known_early(keys, outer).then_some(Condition {
                    keys,
                    is_array: false,
                    other_type,
                })
            } else if is(clause, pg_sys::NodeTag::T_ScalarArrayOpExpr) {
                let clause = clause.cast::<pg_sys::ScalarArrayOpExpr>();
                let (left, right) = two((*clause).args)?;
                if !(*clause).useOr || !self.is_key(left) {
                    return None;
                }
                let other_type = self.other_type((*clause).opno, (*clause).inputcollid, false)?;
                self.is_known_early(right, outer).then_some(Condition {
                    keys: right,
                    is_array: true,
                    other_type,
                })
            } else {
                None
            }
        }
    }

    /// Whether an expression is the distribution column, perhaps relabelled.
    unsafe fn is_key(&self, expression: *mut pg_sys::Expr) -> bool {
        // SAFETY: an expression of this relation's clause.
        unsafe {
            let mut node = expression;
            while is(node, pg_sys::NodeTag::T_RelabelType) {
                node = (*node.cast::<pg_sys::RelabelType>()).arg;
            }
            if !is(node, pg_sys::NodeTag::T_Var) {
                return false;
            }
            let var = node.cast::<pg_sys::Var>();
            (*var).varno as u32 == (*self.rel).relid
                && (*var).varattno == self.meta.key_attribute
                && (*var).varlevelsup == 0
        }
    }

    /// The type that the operator compares the key with, if another (else invalid); `None` if the
    /// operator is not equality as a key.
    unsafe fn other_type(
        &self,
        operator: pg_sys::Oid,
        collation: pg_sys::Oid,
        flipped: bool,
    ) -> Option<pg_sys::Oid> {
        let key = &self.meta.key;
        // SAFETY: catalog look-ups; entries of the type cache live as long as the backend.
        unsafe {
            let family = |of| {
                let flag = pg_sys::TYPECACHE_HASH_OPFAMILY as i32;
                (*pg_sys::lookup_type_cache(of, flag)).hash_opf
            };
            let own = family(key.type_oid);
            if collation != key.collation || !pg_sys::op_in_opfamily(operator, own) {
                return None;
            }
            let (mut strategy, mut left, mut right) = (0, pg_sys::InvalidOid, pg_sys::InvalidOid);
            pg_sys::get_op_opfamily_properties(
                operator,
                own,
                false,
                &mut strategy,
                &mut left,
                &mut right,
            );
            if strategy as u32 != pg_sys::HTEqualStrategyNumber || !pg_sys::op_strict(operator) {
                return None;
            }
            if left == right {
                return Some(pg_sys::InvalidOid);
            }
            let other = if flipped { left } else { right };
            (family(other) == own).then_some(other)
        }
    }

    /// Whether an expression has one value for the whole scan, which may be computed before it.
    unsafe fn is_known_early(&self, expression: *mut pg_sys::Expr, outer: pg_sys::Relids) -> bool {
        let node = expression.cast::<pg_sys::Node>();
        // SAFETY: an expression of this query.
        unsafe {
            pg_sys::bms_is_subset(pg_sys::pull_varnos(self.root, node), outer)
                && !pg_sys::contain_volatile_functions(node)
                && !pg_sys::contain_subplans(node)
        }
    }
}

unsafe fn two(args: *mut pg_sys::List) -> Option<(*mut pg_sys::Expr, *mut pg_sys::Expr)> {
    let mut args = entries::<pg_sys::Expr>(args);
    Some((args.next()?, args.next()?))
}
