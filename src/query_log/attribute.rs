//! Which partitions of a table a logged statement fell on.
//!
//! A picture of load, not a plan: a key goes to the partition where it lives today, a condition
//! that says nothing about the key means all partitions alike.

use std::collections::HashMap;
use std::ffi::CStr;
use std::rc::Rc;

use pgrx::pg_sys;
use pss_querylog::Entry;

use super::syntax::{self, Names, On, Shape, Value};
use crate::doors::call::find_home;
use crate::error::Result;
use crate::meta::{self, Meta};
use crate::subtransaction::attempt;

/// Statement texts remembered; then all are forgotten.
const REMEMBERED_TEXTS: usize = 1024;
/// Longer texts are not remembered: literals make them unique.
const LONGEST_TEXT: usize = 4096;
/// Keys whose partition is remembered; then all are forgotten.
const REMEMBERED_KEYS: usize = 65_536;

/// What a statement fell on.
pub struct Load {
    /// Whether it brought rows that pss places.
    pub own: bool,
    /// Positions of partitions; `None`: all alike.
    pub targets: Vec<Option<usize>>,
}

/// Knows a table, and remembers what was asked.
pub struct Attributor {
    meta: Rc<Meta>,
    database: String,
    names: Names,
    /// In lower case: one of these occurs in every text that matters.
    words: Vec<String>,
    shapes: HashMap<String, Rc<Shape>>,
    homes: HashMap<String, Option<usize>>,
}

impl Attributor {
    pub fn new(relation: pg_sys::Oid) -> Result<Attributor> {
        let meta = meta::table(relation)?.map_or_else(|| Err(meta::not_sharded(relation)), Ok)?;
        let mut names = Names::new(&meta.table.distribution_column, key_position(&meta));
        let table = name_of(relation);
        names.add(table.clone(), None);
        let mut words = vec![as_written(&table.1)];
        for (position, partition) in meta.table.partitions.iter().enumerate() {
            let leaf = name_of(partition.leaf);
            let word = as_written(&leaf.1);
            if !word.contains(&words[0]) {
                words.push(word);
            }
            names.add(leaf, Some(position));
        }
        // SAFETY: the name of the database that the session is connected to.
        let database = unsafe { text_of(pg_sys::get_database_name(pg_sys::MyDatabaseId)) };
        let (shapes, homes) = (HashMap::new(), HashMap::new());
        Ok(Attributor { meta, database, names, words, shapes, homes })
    }

    pub fn table_name(&self) -> String {
        crate::catalog::relation_name(self.meta.table.relation)
    }

    /// What an entry's statement fell on; `None` if not on this table.
    pub fn attribute(&mut self, entry: &Entry) -> Result<Option<Load>> {
        if entry.database != self.database {
            return Ok(None);
        }
        let Some(shape) = self.shape(&entry.statement.text) else { return Ok(None) };
        if shape.on.is_empty() {
            return Ok(None);
        }
        let value = |value: &Value| match value {
            Value::Literal(text) => Some(text.clone()),
            Value::Parameter(n) => entry.statement.parameters.get(n - 1).cloned().flatten(),
            Value::Unknown => None,
        };
        let mut targets = Vec::with_capacity(shape.on.len());
        for on in &shape.on {
            targets.push(match on {
                On::All => None,
                On::Partition(position) => Some(*position),
                On::Number(number) => value(number).and_then(|text| self.position(&text)),
                On::Key(key) => value(key).and_then(|text| self.home(text)),
            });
        }
        Ok(Some(Load { own: shape.own, targets }))
    }

    fn shape(&mut self, text: &str) -> Option<Rc<Shape>> {
        if let Some(shape) = self.shapes.get(text) {
            return Some(Rc::clone(shape));
        }
        let lower = text.to_lowercase();
        if !self.words.iter().any(|word| lower.contains(word)) {
            return None;
        }
        let shape = Rc::new(attempt(|| syntax::shape(text, &self.names)).unwrap_or_default());
        if text.len() <= LONGEST_TEXT {
            if self.shapes.len() == REMEMBERED_TEXTS {
                self.shapes.clear();
            }
            self.shapes.insert(text.to_owned(), Rc::clone(&shape));
        }
        Some(shape)
    }

    /// Position of a partition given by its number.
    fn position(&self, number: &str) -> Option<usize> {
        let number: u16 = number.trim().parse().ok()?;
        self.meta.table.partitions.iter().position(|p| p.number == number)
    }

    /// Position of the partition where a key lives; `None`: it lives nowhere, or is no key.
    fn home(&mut self, key: String) -> Option<usize> {
        if let Some(home) = self.homes.get(&key) {
            return *home;
        }
        let meta = &self.meta;
        let number = attempt(|| {
            let key = meta.key.parse(&key, meta.key_typmod).ok()?;
            find_home(meta, key).map(|(number, _)| number)
        });
        let number = number.flatten();
        let home = meta.table.partitions.iter().position(|p| Some(p.number) == number);
        if self.homes.len() == REMEMBERED_KEYS {
            self.homes.clear();
        }
        self.homes.insert(key, home);
        home
    }
}

/// Place of the key among the columns that `INSERT` without a list of columns fills.
fn key_position(meta: &Meta) -> usize {
    let before = 1..meta.key_attribute;
    // SAFETY: a catalog look-up; a dropped column has no type.
    let live = |&attribute: &i16| unsafe {
        pg_sys::get_atttype(meta.table.relation, attribute) != pg_sys::InvalidOid
    };
    before.filter(live).count()
}

/// Schema and name of a relation.
fn name_of(relation: pg_sys::Oid) -> (String, String) {
    // SAFETY: catalog look-ups of a relation that exists; they return C strings or NULL.
    unsafe {
        let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(relation));
        (text_of(schema), text_of(pg_sys::get_rel_name(relation)))
    }
}

/// # Safety
/// `text` is NULL or a C string.
unsafe fn text_of(text: *const std::ffi::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not NULL, so a C string.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// A name as it stands in a statement, quoted or not, in lower case.
fn as_written(name: &str) -> String {
    name.replace('"', "\"\"").to_lowercase()
}
