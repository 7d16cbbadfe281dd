//! Tests of what only a server can test: shared memory, access methods,
//! snapshots, invalidation. Built with the feature `in_server_tests` alone, and
//! called by the testbed through one function that no script declares.
//!
//! Each test runs in a subtransaction that is rolled back. It fails by
//! panicking or by an ERROR.

use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;
use pgrx::{PgTryBuilder, pg_sys};
use pss_core::claim::Claimed;
use pss_core::control::Timetable;
use pss_core::level::{AHEAD, CLASSES, Fill};

use crate::clock::{now, timestamp};
use crate::key::KeyType;
use crate::latest;
use crate::map::{self, Entry, Map};
use crate::meta;
use crate::router::{Door, Router};
use crate::shmem::claims::{self, ClaimKey};
use crate::shmem::{cache, tables};
use crate::{catalog, guc, inputs, sampler};

const TESTS: &[(&str, fn())] = &[
    ("claims_agree_and_leave_nothing", claims_agree_and_leave_nothing),
    ("claims_are_released_by_a_rollback", claims_are_released_by_a_rollback),
    ("cache_names_table_and_hash", cache_names_table_and_hash),
    ("table_ranges_do_not_overlap", table_ranges_do_not_overlap),
    ("fill_survives_publication", fill_survives_publication),
    ("levels_go_by_number", levels_go_by_number),
    ("key_identity_is_the_types", key_identity_is_the_types),
    ("map_probe_sees_own_rows_until_rolled_back", map_probe_sees_own_rows_until_rolled_back),
    ("counts_of_a_rollback_are_taken_back", counts_of_a_rollback_are_taken_back),
    ("latest_sees_own_changes", latest_sees_own_changes),
    ("ddl_makes_a_description_stale", ddl_makes_a_description_stale),
    ("replay_restores_what_was_known", replay_restores_what_was_known),
    ("a_metric_holds_until_the_next_or_its_ttl", a_metric_holds_until_the_next_or_its_ttl),
    ("nothing_is_kept_for_ever", nothing_is_kept_for_ever),
    ("a_dropped_table_leaves_nothing", a_dropped_table_leaves_nothing),
    ("an_error_keeps_code_and_hint", an_error_keeps_code_and_hint),
];

/// Runs all tests; NULL: passed.
#[pg_extern(sql = false)]
fn pss_in_server_tests()
-> TableIterator<'static, (name!(test, String), name!(failure, Option<String>))> {
    let run = |(name, test): &(&str, fn())| (name.to_string(), in_subtransaction(*test));
    TableIterator::new(TESTS.iter().map(run).collect::<Vec<_>>())
}

/// Runs `test` and rolls back what it did; returns why it failed.
fn in_subtransaction(test: fn()) -> Option<String> {
    // SAFETY: a subtransaction is begun and ended in pairs, with memory context
    // and resource owner put back, as PL/pgSQL does for an exception block.
    unsafe {
        let (context, owner) = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(context);
        let failure = PgTryBuilder::new(move || {
            test();
            None
        })
        .catch_others(|e| Some(describe(&e)))
        .catch_rust_panic(|e| Some(describe(&e)))
        .execute();
        pg_sys::RollbackAndReleaseCurrentSubTransaction();
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = owner;
        failure
    }
}

fn describe(error: &CaughtError) -> String {
    match error {
        CaughtError::PostgresError(e)
        | CaughtError::ErrorReport(e)
        | CaughtError::RustPanic { ereport: e, .. } => e.message().to_string(),
    }
}

/// A table number that no table has.
fn nobody(n: u32) -> pg_sys::Oid {
    (4_294_000_000 + n).into()
}

fn sharded(name: &str) -> pg_sys::Oid {
    Spi::run(&format!("CREATE TABLE {name} (k bigint NOT NULL, v text)")).expect("create");
    Spi::run(&format!("SELECT * FROM pss_distribute_table('{name}', 'k', 4)")).expect("distribute");
    Spi::get_one(&format!("SELECT '{name}'::regclass::oid")).expect("spi").expect("exists")
}

fn claims_agree_and_leave_nothing() {
    let key = ClaimKey::new(nobody(1), 42);
    assert_eq!(claims::claim(key), Claimed::Tentative);
    assert_eq!(claims::claim(key), Claimed::Tentative);
    assert_eq!(claims::decide(&key, 3), 3);
    assert_eq!(claims::claim(key), Claimed::Final(3));
    assert_eq!(claims::decide(&key, 9), 3);
    claims::unpin_newest();
    claims::unpin_newest();
    assert_eq!(claims::decide(&key, 9), 3, "pinned once still");
    claims::unpin_newest();
    assert_eq!(claims::decide(&key, 9), 9, "the last pin removes the entry");
}

fn claims_are_released_by_a_rollback() {
    let key = ClaimKey::new(nobody(2), 42);
    let failure = in_subtransaction(|| {
        claims::claim(ClaimKey::new(nobody(2), 42));
        error!("on purpose");
    });
    assert_eq!(failure.as_deref(), Some("on purpose"));
    assert_eq!(claims::decide(&key, 9), 9, "there is no entry");
}

fn cache_names_table_and_hash() {
    let (a, b) = (nobody(3), nobody(4));
    let one = tables::register(a, 4, now()).expect("room");
    let other = tables::register(b, 4, now()).expect("room");
    let hash = 0x1234_5678_9ABC;
    cache::put(one, hash, one.cache_tag(), 7);
    assert_eq!(cache::get(hash, one.cache_tag()), Some(7));
    assert_eq!(cache::get(hash ^ 1 << 40, one.cache_tag()), None);
    assert_eq!(cache::get(hash, other.cache_tag()), None);
    let old = one.cache_tag();
    tables::invalidate_cache(a);
    assert_eq!(cache::get(hash, one.cache_tag()), None);
    cache::put(one, hash, old, 7);
    assert_eq!(cache::get(hash, old), None, "a fill under an old tag takes itself back");
    tables::forget(a);
    tables::forget(b);
}

fn table_ranges_do_not_overlap() {
    let wanted = [(10, 8), (11, 32), (12, 1), (13, 8)];
    let first = |n, partitions| {
        tables::register(nobody(n), partitions, now()).map(|t| t.partitions().as_ptr_range())
    };
    let mut ranges: Vec<_> = wanted.iter().map(|&(n, p)| first(n, p).expect("room")).collect();
    tables::forget(nobody(11));
    ranges[1] = first(14, 32).expect("the freed range");
    ranges.sort_by_key(|r| r.start);
    assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start));
    let too_many = crate::guc::MAX_PARTITIONS.get() as usize + 1;
    assert!(tables::register(nobody(15), too_many, now()).is_none());
    [10, 12, 13, 14].into_iter().for_each(|n| tables::forget(nobody(n)));
    assert!(tables::find(nobody(10)).is_none());
}

fn fill_survives_publication() {
    let table = tables::register(nobody(20), 2, now()).expect("room");
    let sent = Fill {
        levels: vec![[1.5; AHEAD], [2.5; AHEAD]],
        keys: [[0.25; AHEAD]; CLASSES],
        capacity: vec![1.0, 3.0],
        scale: [0.5; AHEAD],
    };
    table.partitions()[0].count_key(3, 1);
    table.publish_fill(0..2, Some(&sent), now() + 60_000_000);
    assert_eq!(table.partitions()[0].since_fill(), [0; CLASSES], "counted anew");
    let mut got = Fill { levels: vec![], capacity: vec![], ..sent.clone() };
    assert!(table.read_fill(0..2, &mut got));
    assert_eq!(got, sent);
    assert!(!table.read_fill(0..3, &mut got), "one came since");
    let longer = tables::register(nobody(20), 9, now()).expect("room");
    assert_eq!(longer.fill_until(), 0, "nothing was published of these");
    tables::forget(nobody(20));
}

/// Partitions 0, 1 and 7, of which the last has much more room: it is filled to the others' level.
fn levels_go_by_number() {
    Spi::run(
        "CREATE TABLE in_server_gaps (pss_partition int NOT NULL DEFAULT -1, k bigint NOT NULL)
             PARTITION BY LIST (pss_partition);
         CREATE TABLE in_server_gaps_0 PARTITION OF in_server_gaps FOR VALUES IN (0);
         CREATE TABLE in_server_gaps_1 PARTITION OF in_server_gaps FOR VALUES IN (1);
         CREATE TABLE in_server_gaps_7 PARTITION OF in_server_gaps FOR VALUES IN (7);
         CREATE INDEX ON in_server_gaps (k);
         SELECT pss_distribute_table('in_server_gaps', 'k')",
    )
    .expect("adopted");
    let relation =
        Spi::get_one("SELECT 'in_server_gaps'::regclass::oid").expect("spi").expect("made");
    let mut router = Router::open(relation).expect("sharded");
    let shared = tables::find(relation).expect("registered by the router");
    let fill = Fill {
        levels: vec![[10.0; AHEAD], [10.0; AHEAD], [0.0; AHEAD]],
        keys: [[1.0; AHEAD]; CLASSES],
        capacity: vec![1.0; 3],
        scale: [0.1; AHEAD],
    };
    let soon = now() + 60_000_000;
    shared.publish(0, soon);
    shared.publish_fill([0, 1, 7].into_iter(), Some(&fill), soon);
    for key in 0..25_i64 {
        router.route(Some(pg_sys::Datum::from(key)), None, Door::Call).expect("routed");
    }
    let sent = |number| shared.partition(number).expect("room").since_fill().iter().sum::<u32>();
    assert_eq!([0, 1, 7].map(sent), [5, 5, 15]);
    assert!((2..7).all(|number| sent(number) == 0), "there are no such partitions");
    tables::forget(relation);
}

fn key_identity_is_the_types() {
    let hash = |type_oid, text: &str| {
        let key = KeyType::new(type_oid, pg_sys::InvalidOid).expect("hashable");
        key.hash(key.parse(text, -1).expect("a literal"))
    };
    assert_eq!(hash(pg_sys::INT4OID, "-7"), hash(pg_sys::INT8OID, "-7"));
    assert_eq!(hash(pg_sys::NUMERICOID, "1.0"), hash(pg_sys::NUMERICOID, "1.00"));
    assert_eq!(hash(pg_sys::FLOAT8OID, "-0.0"), hash(pg_sys::FLOAT8OID, "0.0"));
    assert_ne!(hash(pg_sys::INT8OID, "1"), hash(pg_sys::INT8OID, "2"));
    assert!(KeyType::new(pg_sys::POINTOID, pg_sys::InvalidOid).is_err());
}

fn map_probe_sees_own_rows_until_rolled_back() {
    let relation = sharded("in_server_map");
    let oid = meta::table(relation).expect("spi").expect("sharded").table.map.expect("made");
    let found = || Map::open_here(oid, true).probe_dirty(99, false);
    assert_eq!(found(), None);
    thread_local!(static MAP: std::cell::Cell<u32> = const { std::cell::Cell::new(0) });
    MAP.set(oid.to_u32());
    let failure = in_subtransaction(|| {
        let mut map = Map::open_here(MAP.get().into(), true);
        map.insert(&[Entry { hash48: 99, partition: 3, virtual_key: 17 }]);
        let hit = map.probe_dirty(99, false).expect("own row");
        assert_eq!((hit.partition, hit.virtual_key, hit.settled, hit.own), (3, 17, true, true));
    });
    assert_eq!(failure, None);
    assert_eq!(found(), None, "the row went with its savepoint");
}

fn counts_of_a_rollback_are_taken_back() {
    let relation = sharded("in_server_counts");
    let mut router = Router::open(relation).expect("sharded");
    let shared = tables::find(relation).expect("registered by the router");
    let keys = || -> u64 { shared.partitions().iter().flat_map(|p| p.keys_by_class()).sum() };
    let before = keys();
    router.route(Some(pg_sys::Datum::from(5_i64)), None, Door::Call).expect("routed");
    router.route(Some(pg_sys::Datum::from(5_i64)), None, Door::Call).expect("routed");
    assert_eq!(keys(), before + 1, "one new key, however often asked");
    let partition = &shared.partitions()[0];
    let placed = partition.keys_by_class();
    partition.count_key(2, 1);
    let mut taken = [0; CLASSES];
    taken[2] = 1;
    partition.take_back(&taken, 1);
    assert_eq!(partition.keys_by_class(), placed);
    partition.take_back(&[u32::MAX; CLASSES], u64::MAX);
    assert_eq!(partition.keys_by_class(), [0; CLASSES], "never below zero");
}

fn latest_sees_own_changes() {
    let relation = sharded("in_server_latest");
    Spi::run("UPDATE pss.partition SET capacity = 7 WHERE partition = 2").expect("superuser");
    let capacity = latest::select(
        c"SELECT capacity FROM pss.partition WHERE relation = $1 AND partition = 2",
        relation,
        |rows| rows.get::<f64>(0, 1),
    );
    assert_eq!(capacity, Some(7.0));
}

fn ddl_makes_a_description_stale() {
    let relation = sharded("in_server_meta");
    let known = meta::table(relation).expect("spi").expect("sharded");
    assert!(!known.is_stale());
    Spi::run("ALTER TABLE in_server_meta ADD COLUMN more int").expect("alter");
    assert!(known.is_stale());
    map::set_complete(relation, false).expect("owner");
    // SAFETY: makes the change visible to this transaction.
    unsafe { pg_sys::CommandCounterIncrement() };
    assert!(!meta::table(relation).expect("spi").expect("sharded").table.map_complete);
}

fn replay_restores_what_was_known() {
    crate::worker::replay_restores_what_was_known(sharded("in_server_replay"));
}

fn a_metric_holds_until_the_next_or_its_ttl() {
    let relation = sharded("in_server_metric");
    let table = catalog::sharded_table(relation).expect("spi").expect("sharded");
    let second = 1_000_000;
    let ttl = i64::from(guc::METRIC_TTL.get()) * 1000;
    let at = now();
    let last = at - 4 * ttl;
    let record = |metric: &str, value: f64, at| {
        Spi::run_with_args(
            "SELECT pss_record_metric($1, 2, $2, $3, $4)",
            &[relation.into(), metric.into(), value.into(), timestamp(at).into()],
        )
        .expect("recorded");
    };
    record("expires", 10.0, last + ttl);
    record("is followed", 6.0, at - 20 * second);
    record("is followed", 0.0, at - 5 * second);
    record("began before", 3.0, last - ttl + 8 * second);
    let mut readings = sampler::read(&table, false).expect("spi");
    inputs::measure(&table, &Timetable::default(), last, at, &mut readings).expect("spi");
    let seconds = ttl as f64 / 1e6;
    let expected = (10.0 * seconds + 6.0 * 15.0 + 3.0 * 8.0) / (4.0 * seconds);
    for reading in readings {
        let expected = if reading.partition == 2 { expected } else { 0.0 };
        assert!((reading.metric_load - expected).abs() < 1e-6, "{reading:?}, not {expected}");
    }
}

fn nothing_is_kept_for_ever() {
    crate::worker::nothing_is_kept_for_ever(sharded("in_server_retention"));
}

fn a_dropped_table_leaves_nothing() {
    crate::worker::a_dropped_table_leaves_nothing(sharded("in_server_dropped"));
}

fn an_error_keeps_code_and_hint() {
    let seen = PgTryBuilder::new(|| {
        crate::error::not_preloaded().raise();
    })
    .catch_others(|e| match &e {
        CaughtError::PostgresError(e) | CaughtError::ErrorReport(e) => {
            assert_eq!(
                e.sql_error_code(),
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
            );
            assert!(e.hint().is_some_and(|hint| hint.contains("shared_preload_libraries")));
        }
        CaughtError::RustPanic { .. } => panic!("a user error became a panic"),
    });
    seen.execute();
}
