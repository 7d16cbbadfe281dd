//! Key identity: two data keys are the same if the type's own hash operator
//! class says so (numeric 1.0 = 1.00, int4 and int8 agree, trailing blanks of
//! char(n) do not count), under the column's collation.

use std::ffi::CString;

use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::key_hash;

use crate::error::{PssError, Result};

/// Hash and equality of a distribution column. Lives as long as the cached
/// description of its table; the function look-ups are in the type cache.
#[derive(Clone, Copy)]
pub struct KeyType {
    pub type_oid: pg_sys::Oid,
    pub collation: pg_sys::Oid,
    /// Width in bytes of a whole number, which is hashed by us.
    integer: Option<u8>,
    hash: *mut pg_sys::FmgrInfo,
    equal: *mut pg_sys::FmgrInfo,
}

impl KeyType {
    /// Identity of values of `type_oid`; an error if the type has no extended hash (42883).
    pub fn new(type_oid: pg_sys::Oid, collation: pg_sys::Oid) -> Result<Self> {
        // SAFETY: the type cache returns an entry that lives as long as the
        // backend; its FmgrInfo fields are filled by the flags asked for.
        unsafe {
            let flags = pg_sys::TYPECACHE_HASH_EXTENDED_PROC_FINFO | pg_sys::TYPECACHE_EQ_OPR_FINFO;
            let entry = pg_sys::lookup_type_cache(type_oid, flags as i32);
            let hash = &raw mut (*entry).hash_extended_proc_finfo;
            let equal = &raw mut (*entry).eq_opr_finfo;
            if (*hash).fn_oid == pg_sys::InvalidOid || (*equal).fn_oid == pg_sys::InvalidOid {
                return Err(PssError::new(
                    PgSqlErrorCode::ERRCODE_UNDEFINED_FUNCTION,
                    format!("type {} cannot identify data keys", type_name(type_oid)),
                )
                .detail("It has no hash operator class with an extended hash function.")
                .hint("Choose a distribution column of another type."));
            }
            let integer = match pg_sys::getBaseType(type_oid) {
                pg_sys::INT2OID => Some(2),
                pg_sys::INT4OID => Some(4),
                pg_sys::INT8OID => Some(8),
                _ => None,
            };
            Ok(Self { type_oid, collation, integer, hash, equal })
        }
    }

    /// Whether values are whole numbers.
    pub fn is_integer(&self) -> bool {
        self.integer.is_some()
    }

    /// 64-bit hash of a value. Whole numbers of all widths hash alike, and neighbours together.
    pub fn hash(&self, value: pg_sys::Datum) -> u64 {
        match self.integer {
            Some(2) => return key_hash::of_integer(i64::from(value.value() as i16)),
            Some(4) => return key_hash::of_integer(i64::from(value.value() as i32)),
            Some(_) => return key_hash::of_integer(value.value() as i64),
            None => {}
        }
        // SAFETY: the support function takes (value, int8 seed); the value is of this type.
        unsafe {
            let seed = pg_sys::Datum::from(0_i64);
            pg_sys::FunctionCall2Coll(self.hash, self.collation, value, seed).value() as u64
        }
    }

    /// Whether a value has the same hash after dump and restore. That of an enum is its object
    /// identifier's; of what consists of other types it may be.
    pub fn hash_survives_dump(&self) -> bool {
        // SAFETY: catalog look-ups.
        let kind = unsafe { pg_sys::get_typtype(pg_sys::getBaseType(self.type_oid)) } as u8;
        // SAFETY: as above.
        let element = unsafe { pg_sys::get_base_element_type(self.type_oid) };
        kind == pg_sys::TYPTYPE_BASE && element == pg_sys::InvalidOid
    }

    pub fn equal(&self, a: pg_sys::Datum, b: pg_sys::Datum) -> bool {
        // SAFETY: the equality function takes two values of this type.
        unsafe { pg_sys::FunctionCall2Coll(self.equal, self.collation, a, b).value() != 0 }
    }

    /// A copy of a value in the current memory context.
    pub fn copy(&self, value: pg_sys::Datum) -> pg_sys::Datum {
        // SAFETY: the type cache knows how values of this type are stored.
        unsafe {
            let entry = pg_sys::lookup_type_cache(self.type_oid, 0);
            let (by_value, length) = ((*entry).typbyval, (*entry).typlen);
            #[allow(ffi_unwind_calls, reason = "guarded by pg_guard_ffi_boundary")]
            pg_sys::submodules::ffi::pg_guard_ffi_boundary(|| {
                crate::raw::datumCopy(value, by_value, i32::from(length))
            })
        }
    }

    /// Values of this type as an array, and the array's type; `None`: there are no such arrays.
    pub fn array(&self, values: &mut [pg_sys::Datum]) -> Option<(pg_sys::Datum, pg_sys::Oid)> {
        // SAFETY: catalog look-ups; the values are of this type, and not null.
        unsafe {
            let entry = pg_sys::lookup_type_cache(self.type_oid, 0);
            let array_type = pg_sys::get_array_type(self.type_oid);
            if array_type == pg_sys::InvalidOid {
                return None;
            }
            let array = pg_sys::construct_array(
                values.as_mut_ptr(),
                values.len() as i32,
                self.type_oid,
                i32::from((*entry).typlen),
                (*entry).typbyval,
                (*entry).typalign,
            );
            Some((pg_sys::Datum::from(array), array_type))
        }
    }

    /// Reads a value from its text form, as a literal of this type would be.
    pub fn parse(&self, text: &str, typmod: i32) -> Result<pg_sys::Datum> {
        let text = CString::new(text).map_err(|_| {
            PssError::new(
                PgSqlErrorCode::ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
                "a data key cannot contain a null character",
            )
        })?;
        let (mut function, mut io_param) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
        // SAFETY: catalog look-up, then the type's own input function on a C string.
        unsafe {
            pg_sys::getTypeInputInfo(self.type_oid, &mut function, &mut io_param);
            Ok(pg_sys::OidInputFunctionCall(function, text.as_ptr().cast_mut(), io_param, typmod))
        }
    }

    /// The text form of a value.
    pub fn text(&self, value: pg_sys::Datum) -> String {
        let (mut function, mut varlena) = (pg_sys::InvalidOid, false);
        // SAFETY: catalog look-up, then the type's own output function on a value of the type.
        unsafe {
            pg_sys::getTypeOutputInfo(self.type_oid, &mut function, &mut varlena);
            let text = pg_sys::OidOutputFunctionCall(function, value);
            std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    }

    /// Coerces a value of `source` type to a value of the column, as storing it would
    /// (rounded to its scale, checked against its length), or says that it is of the
    /// wrong type (42804).
    pub fn coerce(
        &self,
        value: pg_sys::Datum,
        source: pg_sys::Oid,
        typmod: i32,
        column: &str,
    ) -> Result<pg_sys::Datum> {
        let value = self.cast(value, source, column)?;
        let (mut typmod, mut length) = (typmod, pg_sys::InvalidOid);
        // SAFETY: catalog look-ups; the length function takes (value, typmod, explicit).
        unsafe {
            let base = pg_sys::getBaseTypeAndTypmod(self.type_oid, &mut typmod);
            let path = pg_sys::find_typmod_coercion_function(base, &mut length);
            if typmod < 0 || path != pg_sys::CoercionPathType::COERCION_PATH_FUNC {
                return Ok(value);
            }
            Ok(pg_sys::OidFunctionCall3Coll(
                length,
                self.collation,
                value,
                pg_sys::Datum::from(typmod),
                pg_sys::Datum::from(false),
            ))
        }
    }

    fn cast(
        &self,
        value: pg_sys::Datum,
        source: pg_sys::Oid,
        column: &str,
    ) -> Result<pg_sys::Datum> {
        // SAFETY: catalog look-ups; the cast function is called with a value of its argument type.
        unsafe {
            let (source_base, own_base) =
                (pg_sys::getBaseType(source), pg_sys::getBaseType(self.type_oid));
            if source_base == own_base {
                return Ok(value);
            }
            let mut cast = pg_sys::InvalidOid;
            // A literal like 42 is an int whatever the column's width: its cast checks the range.
            let integers = [pg_sys::INT2OID, pg_sys::INT4OID, pg_sys::INT8OID];
            let context = if integers.contains(&own_base) && integers.contains(&source_base) {
                pg_sys::CoercionContext::COERCION_ASSIGNMENT
            } else {
                pg_sys::CoercionContext::COERCION_IMPLICIT
            };
            let path = pg_sys::find_coercion_pathway(own_base, source_base, context, &mut cast);
            match path {
                pg_sys::CoercionPathType::COERCION_PATH_RELABELTYPE => Ok(value),
                pg_sys::CoercionPathType::COERCION_PATH_FUNC => Ok(call_cast(cast, value)),
                _ => Err(PssError::new(
                    PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
                    format!("data key is of type {}", type_name(source)),
                )
                .detail(format!(
                    "Distribution column \"{column}\" is of type {}.",
                    type_name(self.type_oid)
                ))
                .hint(format!("Cast the key: key::{}.", type_name(self.type_oid)))),
            }
        }
    }
}

/// # Safety
/// `cast` is a cast function for values like `value`.
unsafe fn call_cast(cast: pg_sys::Oid, value: pg_sys::Datum) -> pg_sys::Datum {
    // Cast functions may take (value), (value, typmod) or (value, typmod, explicit).
    // SAFETY: arguments beyond what the function declares are ignored by it.
    unsafe {
        pg_sys::OidFunctionCall3Coll(
            cast,
            pg_sys::InvalidOid,
            value,
            pg_sys::Datum::from(-1_i32),
            pg_sys::Datum::from(false),
        )
    }
}

/// A type's name as the user would write it.
pub fn type_name(type_oid: pg_sys::Oid) -> String {
    // SAFETY: returns a palloc'd C string.
    unsafe {
        std::ffi::CStr::from_ptr(pg_sys::format_type_be(type_oid)).to_string_lossy().into_owned()
    }
}
