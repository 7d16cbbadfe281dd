//! Settings: one prefix, real types and units, the right context for each.
//!
//! POSTMASTER: sizes of shared memory and number of workers. SIGHUP: what the
//! worker does. USERSET: the session's own routing.

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};

/// Which door routes rows that name no partition.
#[derive(PostgresGucEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Routing {
    /// The planner door; the inbox trigger for what has no plan of ours.
    #[name = c"planner"]
    Planner,
    /// The inbox trigger alone.
    #[name = c"trigger"]
    Trigger,
    /// None: rows must name their partition.
    #[name = c"off"]
    Off,
}

/// What the worker does about rows that are worth moving.
#[derive(PostgresGucEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rebalance {
    /// Nothing; what was started waits.
    #[name = c"off"]
    Off,
    /// Says so in pss.events.
    #[name = c"advise"]
    Advise,
    /// Moves them.
    #[name = c"auto"]
    Auto,
}

pub static REBALANCE: GucSetting<Rebalance> = GucSetting::<Rebalance>::new(Rebalance::Advise);
/// Seconds.
pub static REBALANCE_PATIENCE: GucSetting<i32> = GucSetting::<i32>::new(3600);
/// Rows per second; 0: no limit.
pub static REBALANCE_RATE: GucSetting<i32> = GucSetting::<i32>::new(1000);
pub static ROUTING: GucSetting<Routing> = GucSetting::<Routing>::new(Routing::Planner);
pub static PRUNE: GucSetting<bool> = GucSetting::<bool>::new(true);
pub static ENABLED: GucSetting<bool> = GucSetting::<bool>::new(true);
/// Milliseconds.
pub static SAMPLE_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(10_000);
/// Milliseconds.
pub static REFRESH_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(10_000);
/// Milliseconds.
pub static WEIGHTS_TTL: GucSetting<i32> = GucSetting::<i32>::new(60_000);
/// Minutes.
pub static SAMPLE_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(14 * 24 * 60);
/// Milliseconds.
pub static METRIC_TTL: GucSetting<i32> = GucSetting::<i32>::new(60_000);
/// Milliseconds.
pub static PROBE_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(30_000);
/// Seconds.
pub static RESERVATION_TTL: GucSetting<i32> = GucSetting::<i32>::new(3600);
/// Minutes.
pub static HISTORY_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(5 * 7 * 24 * 60);
pub static GAIN: GucSetting<f64> = GucSetting::<f64>::new(0.8);
pub static DEAD_BAND: GucSetting<f64> = GucSetting::<f64>::new(0.03);
pub static LOG_DECISIONS: GucSetting<bool> = GucSetting::<bool>::new(false);
pub static TRACK_STATEMENTS: GucSetting<bool> = GucSetting::<bool>::new(true);
/// Cost units per millisecond.
pub static STATEMENT_COST: GucSetting<f64> = GucSetting::<f64>::new(0.0);
pub static CALIBRATE_COSTS: GucSetting<bool> = GucSetting::<bool>::new(false);
/// Kilobytes.
pub static MAX_MAP_SIZE: GucSetting<i32> = GucSetting::<i32>::new(10 * 1024 * 1024);
pub static MAX_WORKERS: GucSetting<i32> = GucSetting::<i32>::new(2);
pub static HOT_KEYS_TRACKED: GucSetting<i32> = GucSetting::<i32>::new(64);
pub static MAX_TABLES: GucSetting<i32> = GucSetting::<i32>::new(64);
pub static MAX_PARTITIONS: GucSetting<i32> = GucSetting::<i32>::new(4096);
/// Kilobytes.
pub static CACHE_SIZE: GucSetting<i32> = GucSetting::<i32>::new(16 * 1024);

pub fn init() {
    GucRegistry::define_enum_guc(
        c"pss.routing",
        c"Which door routes rows that name no partition.",
        c"planner: before native tuple routing, with the inbox trigger behind it; trigger: the inbox trigger alone; off: rows must name pss_partition.",
        &ROUTING,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"pss.prune",
        c"Open only the partitions that can hold rows of the keys a statement asks for.",
        c"Off: all partitions are opened, as PostgreSQL does by itself. Plans that are cached heed it, too.",
        &PRUNE,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"pss.enabled",
        c"Place new keys by forecast.",
        c"Off: new keys are placed in proportion to capacity, at once.",
        &ENABLED,
        GucContext::Sighup,
        GucFlags::default(),
    );
    define_int(
        c"pss.sample_interval",
        c"Time between two samples of the partitions' statistics.",
        c"Shorter intervals see load sooner and cost more.",
        &SAMPLE_INTERVAL,
        (100, 3_600_000),
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    define_int(
        c"pss.refresh_interval",
        c"Time between two decisions about weights.",
        c"A decision publishes a new epoch only if the weights differ enough.",
        &REFRESH_INTERVAL,
        (100, 3_600_000),
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    define_int(
        c"pss.weights_ttl",
        c"Time after which weights that nobody confirmed are no longer used.",
        c"New keys are then placed in proportion to capacity.",
        &WEIGHTS_TTL,
        (1_000, 86_400_000),
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    define_int(
        c"pss.sample_retention",
        c"How long samples, forecasts, metrics, scores, events and old epochs are kept.",
        c"Older ones are deleted by the worker; declared loads, so long after their end.",
        &SAMPLE_RETENTION,
        (10, 525_600),
        GucContext::Sighup,
        GucFlags::UNIT_MIN,
    );
    define_int(
        c"pss.history_retention",
        c"How long means of the load over five minutes are kept.",
        c"Cycles of a day and of a week are learnt from them, also after a restart.",
        &HISTORY_RETENTION,
        (60, 525_600),
        GucContext::Sighup,
        GucFlags::UNIT_MIN,
    );
    define_int(
        c"pss.reservation_ttl",
        c"Time after which a data key without rows may lose its home.",
        c"So long a call of pss_get_partition holds for rows that are still to come.",
        &RESERVATION_TTL,
        (0, 31_536_000),
        GucContext::Suset,
        GucFlags::UNIT_S,
    );
    define_int(
        c"pss.metric_ttl",
        c"Time for which a recorded metric counts if no newer value comes.",
        c"Should be longer than the time between two calls of pss_record_metric.",
        &METRIC_TTL,
        (1_000, 86_400_000),
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    define_int(
        c"pss.probe_interval",
        c"Time between two probes of a partition that failed.",
        c"It goes back to service when its files are there and its disk has room; one that fails again soon is probed less often.",
        &PROBE_INTERVAL,
        (100, 86_400_000),
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    define_float(
        c"pss.gain",
        c"Part of the way towards the computed shares that one decision goes.",
        c"1 goes all the way; smaller values damp noise.",
        &GAIN,
        (0.05, 1.0),
        GucContext::Sighup,
    );
    define_float(
        c"pss.dead_band",
        c"Smallest change of a share, as a fraction, that publishes a new epoch.",
        c"0 publishes every decision.",
        &DEAD_BAND,
        (0.0, 1.0),
        GucContext::Sighup,
    );
    GucRegistry::define_bool_guc(
        c"pss.log_decisions",
        c"Write the worker's decisions to the server log.",
        c"They are in pss.events in any case.",
        &LOG_DECISIONS,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"pss.track_statements",
        c"Count the statements that read and write partitions, and their time.",
        c"Shown in pss.query_patterns.",
        &TRACK_STATEMENTS,
        GucContext::Suset,
        GucFlags::default(),
    );
    define_float(
        c"pss.statement_cost",
        c"Load of a millisecond of statement execution on a partition, in cost units (one inserted row is 1).",
        c"INSERTs are left out. 0: load is what the tuple and block counters say; time would count the same work again. Set it where queries use much CPU and touch few tuples.",
        &STATEMENT_COST,
        (0.0, 1e6),
        GucContext::Sighup,
    );
    GucRegistry::define_enum_guc(
        c"pss.rebalance",
        c"What the worker does about existing rows that are worth moving.",
        c"off: nothing, and what was started waits; advise: it says so in pss.events; auto: it moves them.",
        &REBALANCE,
        GucContext::Sighup,
        GucFlags::default(),
    );
    define_int(
        c"pss.rebalance_patience",
        c"Time within which an excess of load is left to decay by itself.",
        c"Only an excess that outlasts it is worth moving rows for.",
        &REBALANCE_PATIENCE,
        (1, 31_536_000),
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    define_int(
        c"pss.rebalance_rate",
        c"Rows that a rebalancing moves in a second.",
        c"0: as many as can be.",
        &REBALANCE_RATE,
        (0, 10_000_000),
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"pss.calibrate_costs",
        c"Measure load with costs learnt from the time that statements take.",
        c"Where they explain it enough, see pss.costs. Off: with the default costs. What pss_set_cost has set counts in any case.",
        &CALIBRATE_COSTS,
        GucContext::Sighup,
        GucFlags::default(),
    );
    define_int(
        c"pss.max_map_size",
        c"Largest expected size of a row map that pss_distribute_table accepts.",
        c"A larger table is refused with an estimate.",
        &MAX_MAP_SIZE,
        (64, i32::MAX),
        GucContext::Userset,
        GucFlags::UNIT_KB,
    );
}

/// What shared memory and worker start depend on: PostgreSQL ends a session that would define
/// these later than at the server's start.
pub fn init_for_start() {
    define_int(
        c"pss.max_workers",
        c"Most databases that are worked on at the same time.",
        c"Databases take turns when there are more.",
        &MAX_WORKERS,
        (1, 64),
        GucContext::Postmaster,
        GucFlags::default(),
    );
    define_int(
        c"pss.max_tables",
        c"Sharded tables, over all databases, that shared memory has room for.",
        c"Tables beyond it are placed in proportion to capacity.",
        &MAX_TABLES,
        (1, 10_000),
        GucContext::Postmaster,
        GucFlags::default(),
    );
    define_int(
        c"pss.max_partitions",
        c"Partitions, over all sharded tables, that shared memory has room for.",
        c"Tables beyond it are placed in proportion to capacity.",
        &MAX_PARTITIONS,
        (8, 1_000_000),
        GucContext::Postmaster,
        GucFlags::default(),
    );
    define_int(
        c"pss.hot_keys_tracked",
        c"Data keys of each sharded table that are tracked as hot.",
        c"Every key with more than one in so many of a table's recent rows is found. 32 bytes a key for each of pss.max_tables; 0: none.",
        &HOT_KEYS_TRACKED,
        (0, 4096),
        GucContext::Postmaster,
        GucFlags::default(),
    );
    define_int(
        c"pss.cache_size",
        c"Shared memory for the writers' cache of key to partition.",
        c"Eight bytes a key.",
        &CACHE_SIZE,
        (4096, 16 * 1024 * 1024),
        GucContext::Postmaster,
        GucFlags::UNIT_KB,
    );
}

/// Reserves the prefix: a misspelt `pss.` setting is an error, not a placeholder.
pub fn reserve_prefix() {
    // SAFETY: called from _PG_init after the last definition; the string is static.
    unsafe { pgrx::pg_sys::MarkGUCPrefixReserved(c"pss".as_ptr()) };
}

type Text = &'static std::ffi::CStr;

fn define_int(
    name: Text,
    short: Text,
    long: Text,
    setting: &'static GucSetting<i32>,
    (min, max): (i32, i32),
    context: GucContext,
    flags: GucFlags,
) {
    GucRegistry::define_int_guc(name, short, long, setting, min, max, context, flags);
}

fn define_float(
    name: Text,
    short: Text,
    long: Text,
    setting: &'static GucSetting<f64>,
    (min, max): (f64, f64),
    context: GucContext,
) {
    GucRegistry::define_float_guc(
        name,
        short,
        long,
        setting,
        min,
        max,
        context,
        GucFlags::default(),
    );
}
