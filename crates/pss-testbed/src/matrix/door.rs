//! The doors: columns of the table, each a way for the same statement to reach the router.
//!
//! Must never change the statement itself: a door is a setting, a protocol, or what the name `t`
//! stands for.

use super::statement::Protocol;

/// What the statement's `t` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// The sharded table.
    Table,
    /// A view over it that PostgreSQL updates by itself.
    View,
    /// The only leaf of a sharded table of one partition.
    Leaf,
}

/// A column of the table.
#[derive(Debug)]
pub struct Door {
    pub name: &'static str,
    /// What the head of the page says of it.
    pub what: &'static str,
    pub stands: Stands,
    pub protocol: Protocol,
    /// Settings of the session.
    pub session: &'static str,
    /// Options of pss_distribute_table.
    pub distribution: &'static str,
    /// Keys are assigned by pss_get_partitions before the statement runs.
    pub calls_first: bool,
}

const PLAIN: Door = Door {
    name: "table",
    what: "the statement as it is: the planner door, for COPY the COPY door",
    stands: Stands::Table,
    protocol: Protocol::Simple,
    session: "",
    distribution: "partitions => 4",
    calls_first: false,
};

/// All doors; the first is the one that says what PostgreSQL itself can do.
pub const DOORS: &[Door] = &[
    PLAIN,
    Door {
        name: "prepared",
        what: "the same by the extended protocol, with generic plans",
        protocol: Protocol::Extended,
        session: "SET plan_cache_mode = force_generic_plan",
        ..PLAIN
    },
    Door {
        name: "trigger",
        what: "with pss.routing = trigger: rows go by the inbox",
        session: "SET pss.routing = trigger",
        ..PLAIN
    },
    Door {
        name: "call",
        what: "after pss_get_partitions() has assigned the keys; rows must be where it said",
        calls_first: true,
        ..PLAIN
    },
    Door { name: "view", what: "on a view over the table", stands: Stands::View, ..PLAIN },
    Door {
        name: "leaf",
        what: "on the leaf of a table of one partition",
        stands: Stands::Leaf,
        distribution: "partitions => 1",
        ..PLAIN
    },
    Door {
        name: "slot",
        what: "on a table in slot mode",
        distribution: "partitions => 4, mapping => 'slot'",
        ..PLAIN
    },
];
