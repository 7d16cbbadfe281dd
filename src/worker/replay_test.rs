//! Test inside the server: replaying pss.sample restores what was known before.
//!
//! Samples are taken in made-up time by the functions that the cycle uses, and
//! written; a memory made from them must not differ in any figure.

use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::level::CLASSES;
use pss_core::series::Counters;

use super::brain::Brain;
use super::memory;
use crate::clock::{now, timestamp};
use crate::sampler::{self, Reading};
use crate::shmem::statements::Statements;
use crate::{catalog, costs, guc, inputs};

const STEPS: i64 = 60;

/// `relation`: a sharded table of which nothing has been sampled.
pub fn replay_restores_what_was_known(relation: pg_sys::Oid) {
    let table = catalog::sharded_table(relation).expect("spi").expect("sharded");
    let interval_us = i64::from(guc::SAMPLE_INTERVAL.get()) * 1000;
    let begin = now() - STEPS * interval_us;
    // Runs from the middle of a step long ago to well after the last sample.
    Spi::run_with_args(
        "SELECT pss_expect($1, 2, 7, $2, $3)",
        &[
            relation.into(),
            timestamp(begin + 71 * interval_us / 2).into(),
            timestamp(begin + (STEPS + 9) * interval_us).into(),
        ],
    )
    .expect("declared");

    let mut live = Brain::new(
        table.partitions.len(),
        interval_us,
        begin,
        table.forecast_method,
        costs::defaults(),
    );
    live.expect(inputs::timetable(&table, None).expect("spi"));
    let published = table.capacity_shares();
    let mut last = None;
    for step in 0..STEPS {
        let at = begin + step * interval_us;
        record_metric(relation, step, at - interval_us / 3);
        let mut readings: Vec<Reading> = (0..4).map(|p| reading(p, step)).collect();
        if let Some(last) = last {
            inputs::measure(&table, live.expected(), last, at, &mut readings).expect("spi");
        }
        let loads = live.observe(&table, at, &readings);
        sampler::record(relation, at, &readings, &loads).expect("written");
        live.plan(&published);
        last = Some(at);
    }
    let told = Spi::get_one_with_args::<i64>(
        "SELECT count(*) FROM pss.sample WHERE relation = $1 AND
             (partition = 1 AND metric_load > 0 OR partition = 2 AND declared_load > 0)",
        &[relation.into()],
    );
    assert_eq!(told, Ok(Some(59 + 24)), "samples that carry what was told");

    let mut replayed = memory::recall(&table).expect("spi").brain;
    let plan = live.plan(&published);
    assert!(plan.outlook[2].foreign > 6.0, "what is declared is expected: {:?}", plan.outlook[2]);
    assert_eq!(format!("{plan:?}"), format!("{:?}", replayed.plan(&published)));
    assert_eq!(format!("{live:?}"), format!("{replayed:?}"));
}

fn record_metric(relation: pg_sys::Oid, step: i64, at: pg_sys::TimestampTz) {
    let value = (step % 7) as f64 + 0.5;
    Spi::run_with_args(
        "SELECT pss_record_metric($1, 1, 'queue', $2, $3)",
        &[relation.into(), value.into(), timestamp(at).into()],
    )
    .expect("recorded");
}

/// Counters of a partition with new keys, and reads that nobody foresees.
fn reading(partition: u16, step: i64) -> Reading {
    let keys = (step as u64) * (3 + u64::from(partition));
    let mut own_keys = [0; CLASSES];
    own_keys[0] = keys;
    let noise = (step as u64 + 1) * 1000 + (step as u64).wrapping_mul(0x9E37_79B9) % 997;
    Reading {
        partition,
        counters: Counters {
            inserted: keys,
            index_fetched: noise,
            busy_us: keys,
            ..Counters::default()
        },
        blocks_hit: 0,
        size: None,
        extent: None,
        own_rows: keys,
        own_keys,
        metric_load: 0.0,
        declared_load: 0.0,
        statements: Statements { read_us: keys, ..Statements::default() },
    }
}
