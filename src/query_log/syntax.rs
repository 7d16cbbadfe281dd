//! What the text of a statement says about a table: PostgreSQL's raw parser, and a walk over its
//! tree.
//!
//! Must never look anything up: names are compared as they stand. Raises the parser's errors, so
//! it runs in an attempt.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_void};

use pgrx::pg_sys::{self, NodeTag};
use pgrx::prelude::*;

use crate::meta::PARTITION_COLUMN;

/// A value in a statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text form of a literal.
    Literal(String),
    /// Number of a parameter, from 1.
    Parameter(usize),
    /// An expression.
    Unknown,
}

/// What a statement falls on.
#[derive(Debug, Clone, PartialEq)]
pub enum On {
    /// All partitions.
    All,
    /// The partition at this position, by its own name.
    Partition(usize),
    /// The partition of this number.
    Number(Value),
    /// The partition where this key lives.
    Key(Value),
}

/// What a statement is to a table; on nothing: nothing.
#[derive(Debug, Default)]
pub struct Shape {
    /// Brings rows that pss places.
    pub own: bool,
    pub on: Vec<On>,
}

/// The names to look for.
pub struct Names {
    /// By name: schema, and position of the partition or `None` for the table.
    relations: HashMap<String, Vec<(String, Option<usize>)>>,
    key_column: String,
    /// Place of the key in a row that is inserted without naming columns.
    key_position: usize,
}

impl Names {
    pub fn new(key_column: &str, key_position: usize) -> Names {
        Names { relations: HashMap::new(), key_column: key_column.to_owned(), key_position }
    }

    /// `name`: schema and name of the table, or of the partition at a position.
    pub fn add(&mut self, (schema, name): (String, String), partition: Option<usize>) {
        self.relations.entry(name).or_default().push((schema, partition));
    }

    /// The table (`Some(None)`) or partition that a name means. Which schema an unqualified one
    /// meant when it ran is not in the log: any.
    unsafe fn find(&self, relation: *const pg_sys::RangeVar) -> Option<Option<usize>> {
        // SAFETY: a node of the raw tree; its names are C strings or NULL.
        let (schema, name) =
            unsafe { (string((*relation).schemaname), string((*relation).relname)?) };
        let of_schema = |(own, _): &&(String, Option<usize>)| {
            schema.as_ref().is_none_or(|schema| schema == own)
        };
        self.relations.get(&name)?.iter().find(of_schema).map(|(_, partition)| *partition)
    }
}

/// What `text` is to the table of `names`. Raises what the parser raises.
pub fn shape(text: &str, names: &Names) -> Shape {
    let mut shape = Shape::default();
    let Ok(text) = CString::new(text) else { return shape };
    // SAFETY: parses a C string into a tree that lives in the current memory context; the walk
    // ends before the context does.
    unsafe {
        let statements = pg_sys::raw_parser(text.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        for statement in elements(statements) {
            add_statement((*statement.cast::<pg_sys::RawStmt>()).stmt, names, &mut shape);
        }
    }
    shape
}

unsafe fn add_statement(statement: *mut pg_sys::Node, names: &Names, shape: &mut Shape) {
    // SAFETY: each node is cast to what its tag says.
    unsafe {
        match (*statement).type_ {
            NodeTag::T_SelectStmt
            | NodeTag::T_UpdateStmt
            | NodeTag::T_DeleteStmt
            | NodeTag::T_MergeStmt => walk(statement, names, shape),
            NodeTag::T_InsertStmt => {
                let insert = statement.cast::<pg_sys::InsertStmt>();
                if names.find((*insert).relation) == Some(None) {
                    shape.own = true;
                    add_inserted(insert, names, shape);
                } else {
                    walk(statement, names, shape);
                }
            }
            NodeTag::T_CopyStmt => {
                let copy = statement.cast::<pg_sys::CopyStmt>();
                if (*copy).relation.is_null() {
                    walk((*copy).query, names, shape);
                } else if let Some(partition) = names.find((*copy).relation) {
                    shape.own |= (*copy).is_from && partition.is_none();
                    shape.on.push(partition.map_or(On::All, On::Partition));
                }
            }
            NodeTag::T_DeclareCursorStmt => {
                walk((*statement.cast::<pg_sys::DeclareCursorStmt>()).query, names, shape)
            }
            NodeTag::T_CreateTableAsStmt => {
                walk((*statement.cast::<pg_sys::CreateTableAsStmt>()).query, names, shape)
            }
            _ => {}
        }
    }
}

/// The keys of the rows that an INSERT into the table brings.
unsafe fn add_inserted(insert: *mut pg_sys::InsertStmt, names: &Names, shape: &mut Shape) {
    // SAFETY: nodes of the raw tree; columns are ResTargets, rows are Lists.
    unsafe {
        let columns = elements((*insert).cols);
        let is_key = |column: &*mut pg_sys::Node| {
            let name = (*column.cast::<pg_sys::ResTarget>()).name;
            string(name).as_ref() == Some(&names.key_column)
        };
        let position = match columns.is_empty() {
            true => Some(names.key_position),
            false => columns.iter().position(is_key),
        };
        let source = (*insert).selectStmt;
        let select = source.cast::<pg_sys::SelectStmt>();
        let has_rows = !source.is_null()
            && (*source).type_ == NodeTag::T_SelectStmt
            && !(*select).valuesLists.is_null();
        match position.filter(|_| has_rows) {
            Some(position) => {
                for row in elements((*select).valuesLists) {
                    let key = elements(row.cast()).get(position).and_then(|&v| value(v));
                    shape.on.push(On::Key(key.unwrap_or(Value::Unknown)));
                }
            }
            None => shape.on.push(On::All),
        }
    }
}

/// What a walk over one statement has met.
struct Walk<'a> {
    names: &'a Names,
    on_table: bool,
    partitions: Vec<usize>,
    /// Names that columns of the table may be qualified by.
    qualifiers: Vec<String>,
    conditions: Vec<Condition>,
    /// Not below OR or NOT: what is met here holds for every row.
    certain: bool,
}

/// `column = value`, one of several.
struct Condition {
    qualifier: Option<String>,
    of_key: bool,
    values: Vec<Value>,
}

unsafe fn walk(statement: *mut pg_sys::Node, names: &Names, shape: &mut Shape) {
    let mut walk = Walk {
        names,
        on_table: false,
        partitions: vec![],
        qualifiers: vec![],
        conditions: vec![],
        certain: true,
    };
    // SAFETY: a raw tree, and the walk that `visit` expects.
    unsafe { visit(statement, (&raw mut walk).cast()) };
    shape.on.extend(walk.partitions.iter().map(|&p| On::Partition(p)));
    if !walk.on_table {
        return;
    }
    let of_table = |c: &&Condition| {
        c.qualifier.as_ref().is_none_or(|qualifier| walk.qualifiers.contains(qualifier))
    };
    let values = |of_key: bool| -> Vec<Value> {
        let conditions = walk.conditions.iter().filter(of_table).filter(|c| c.of_key == of_key);
        conditions.flat_map(|c| c.values.clone()).collect()
    };
    let (numbers, keys) = (values(false), values(true));
    if !numbers.is_empty() {
        shape.on.extend(numbers.into_iter().map(On::Number));
    } else if !keys.is_empty() {
        shape.on.extend(keys.into_iter().map(On::Key));
    } else {
        shape.on.push(On::All);
    }
}

/// The walk as PostgreSQL's walker calls it. From Rust call `visit`: the guard here throws errors
/// past all Rust frames below it.
#[pg_guard]
unsafe extern "C-unwind" fn visited(node: *mut pg_sys::Node, walk: *mut c_void) -> bool {
    // SAFETY: PostgreSQL passes on what it was given, and nodes of the tree.
    unsafe { visit(node, walk) }
}

/// # Safety
/// `node` is NULL or a node of a raw tree; `walk` points to a `Walk`.
unsafe fn visit(node: *mut pg_sys::Node, walk: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: as said above; each node is cast to what its tag says. No reference to the walk
    // is held while others visit.
    unsafe {
        pg_sys::check_stack_depth();
        let mine = walk.cast::<Walk<'_>>();
        let certain = (*mine).certain;
        match (*node).type_ {
            NodeTag::T_RangeVar => (*mine).meet(node.cast()),
            NodeTag::T_A_Expr if certain => (*mine).note(node.cast()),
            NodeTag::T_BoolExpr => {
                let and = pg_sys::BoolExprType::AND_EXPR;
                (*mine).certain &= (*node.cast::<pg_sys::BoolExpr>()).boolop == and;
            }
            _ => {}
        }
        let stop = pg_sys::raw_expression_tree_walker(node, Some(visited), walk);
        (*mine).certain = certain;
        stop
    }
}

impl Walk<'_> {
    unsafe fn meet(&mut self, relation: *const pg_sys::RangeVar) {
        // SAFETY: a node of the raw tree.
        unsafe {
            match self.names.find(relation) {
                Some(Some(partition)) => self.partitions.push(partition),
                Some(None) => {
                    self.on_table = true;
                    let alias = (*relation).alias;
                    let name =
                        if alias.is_null() { (*relation).relname } else { (*alias).aliasname };
                    self.qualifiers.extend(string(name));
                }
                None => {}
            }
        }
    }

    /// Notes `column = value`, `value = column`, `column IN (..)` and `column = ANY (ARRAY[..])`.
    unsafe fn note(&mut self, expression: *const pg_sys::A_Expr) {
        // SAFETY: a node of the raw tree, its operands too.
        unsafe {
            let (kind, left, right) =
                ((*expression).kind, (*expression).lexpr, (*expression).rexpr);
            let operator = elements((*expression).name).last().and_then(|&n| node_string(n));
            if operator.as_deref() != Some("=") || left.is_null() || right.is_null() {
                return;
            }
            let (column, values) = match kind {
                pg_sys::A_Expr_Kind::AEXPR_OP => match (value(left), value(right)) {
                    (None, Some(value)) => (left, vec![value]),
                    (Some(value), None) => (right, vec![value]),
                    _ => return,
                },
                pg_sys::A_Expr_Kind::AEXPR_IN => (left, values(right.cast())),
                pg_sys::A_Expr_Kind::AEXPR_OP_ANY if (*right).type_ == NodeTag::T_A_ArrayExpr => {
                    (left, values((*right.cast::<pg_sys::A_ArrayExpr>()).elements))
                }
                _ => return,
            };
            let Some((qualifier, name)) = column_name(column) else { return };
            let of_key = name == self.names.key_column;
            if of_key || name.as_bytes() == PARTITION_COLUMN.to_bytes() {
                self.conditions.push(Condition { qualifier, of_key, values });
            }
        }
    }
}

unsafe fn values(list: *mut pg_sys::List) -> Vec<Value> {
    // SAFETY: a list of nodes.
    unsafe { elements(list).into_iter().map(|v| value(v).unwrap_or(Value::Unknown)).collect() }
}

/// A literal or parameter, casts apart.
unsafe fn value(node: *mut pg_sys::Node) -> Option<Value> {
    // SAFETY: each node is cast to what its tag says; a constant's value is a node as well.
    unsafe {
        match (*node).type_ {
            NodeTag::T_A_Const => {
                let constant = node.cast::<pg_sys::A_Const>();
                if (*constant).isnull {
                    return Some(Value::Unknown);
                }
                let text = match (*constant).val.node.type_ {
                    NodeTag::T_Integer => Some((*constant).val.ival.ival.to_string()),
                    NodeTag::T_Float => string((*constant).val.fval.fval),
                    NodeTag::T_String => string((*constant).val.sval.sval),
                    NodeTag::T_Boolean => Some((*constant).val.boolval.boolval.to_string()),
                    _ => None,
                };
                Some(text.map_or(Value::Unknown, Value::Literal))
            }
            NodeTag::T_ParamRef => {
                let number = (*node.cast::<pg_sys::ParamRef>()).number;
                let number = usize::try_from(number).ok().filter(|&n| n > 0);
                Some(number.map_or(Value::Unknown, Value::Parameter))
            }
            NodeTag::T_TypeCast => value((*node.cast::<pg_sys::TypeCast>()).arg),
            _ => None,
        }
    }
}

/// Qualifier and name of a column.
unsafe fn column_name(node: *mut pg_sys::Node) -> Option<(Option<String>, String)> {
    // SAFETY: each node is cast to what its tag says.
    unsafe {
        if (*node).type_ != NodeTag::T_ColumnRef {
            return None;
        }
        let fields = elements((*node.cast::<pg_sys::ColumnRef>()).fields);
        let (&name, qualifiers) = fields.split_last()?;
        Some((qualifiers.last().and_then(|&q| node_string(q)), node_string(name)?))
    }
}

unsafe fn node_string(node: *mut pg_sys::Node) -> Option<String> {
    // SAFETY: a node, cast to what its tag says.
    unsafe {
        match (*node).type_ {
            NodeTag::T_String => string((*node.cast::<pg_sys::String>()).sval),
            _ => None,
        }
    }
}

unsafe fn string(text: *const c_char) -> Option<String> {
    // SAFETY: NULL or a C string of the raw tree.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// The nodes of a list.
unsafe fn elements(list: *mut pg_sys::List) -> Vec<*mut pg_sys::Node> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: a list of pointers to nodes, of the length it says.
    unsafe {
        (0..(*list).length as usize).map(|i| (*(*list).elements.add(i)).ptr_value.cast()).collect()
    }
}
