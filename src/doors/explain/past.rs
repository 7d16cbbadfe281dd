//! What the catalog says of the epoch that placed a key, of moves since, and of a partition now.
//!
//! Read as the extension's owner: whoever may read the table sees the same through the views.

use pss_core::slots::SlotTable;
use pss_core::story::{Epoch, Expected, Moved};
use pss_core::virtual_key::VirtualKey;
use serde_json::Value;

use crate::catalog::{as_extension_owner, read};
use crate::error::Result;
use crate::meta::Meta;

/// What stood in the epoch that placed a key.
pub struct Then {
    pub epoch: Epoch,
    /// All weights, as the catalog has them.
    pub weights: String,
    /// What was expected of the partition, as the catalog has it.
    pub forecast: Option<String>,
    pub slots: Option<SlotTable>,
    pub moved: Moved,
}

/// The epoch of a virtual key, as far as it concerns `partition`; `None`: it is no longer kept.
pub fn epoch(meta: &Meta, key: VirtualKey, partition: u16) -> Result<Option<Then>> {
    let number = key.epoch();
    as_extension_owner(|| {
        read(|client| {
            let mut row = client.select(
                "SELECT e.published_at::timestamptz(0)::pg_catalog.text, e.reason, e.weights,
                        e.weights::pg_catalog.text, e.forecast OPERATOR(pg_catalog.->) 'partitions', e.slots,
                        m.keys, m.last::timestamptz(0)::pg_catalog.text
                 FROM pss.epoch e
                 LEFT JOIN LATERAL (
                     SELECT n.published_at FROM pss.epoch n
                     WHERE n.relation OPERATOR(pg_catalog.=) e.relation AND n.epoch OPERATOR(pg_catalog.>) e.epoch
                     ORDER BY n.epoch LIMIT 1) AS n ON true
                 CROSS JOIN LATERAL (
                     SELECT pg_catalog.sum(x.keys)::pg_catalog.int8 AS keys, pg_catalog.max(x.moved_at) AS last
                     FROM pss.move x
                     WHERE x.relation OPERATOR(pg_catalog.=) e.relation
                       AND x.to_partition OPERATOR(pg_catalog.=) $3
                       AND x.moved_at OPERATOR(pg_catalog.>=) e.published_at
                       AND x.moved_at OPERATOR(pg_catalog.<=) COALESCE(n.published_at, 'infinity')) AS m
                 WHERE e.relation OPERATOR(pg_catalog.=) $1 AND e.epoch OPERATOR(pg_catalog.=) $2",
                Some(1),
                &[meta.table.relation.into(), (number as i32).into(), i32::from(partition).into()],
            )?;
            if row.next().is_none() {
                return Ok(None);
            }
            let weights = row.get::<Vec<f64>>(3)?.unwrap_or_default();
            let forecast = row.get::<pgrx::JsonB>(5)?.map(|json| json.0);
            let all = forecast.as_ref().and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let is_this =
                |p: &Value| p.get("partition").and_then(Value::as_u64) == Some(partition.into());
            // Partitions may have come and gone: the forecast tells whose weight is whose.
            let position = match all {
                [] => meta
                    .position(partition)
                    .filter(|_| weights.len() == meta.table.partitions.len()),
                all => all.iter().position(is_this),
            };
            let of_this = position.and_then(|p| all.get(p));
            Ok(Some(Then {
                epoch: Epoch {
                    number,
                    published: row.get::<String>(1)?.unwrap_or_default(),
                    reason: row.get::<String>(2)?.unwrap_or_default(),
                    share: position.and_then(|p| weights.get(p).copied()),
                    expected: of_this.and_then(|this| expected(this, all)),
                },
                weights: row.get::<String>(4)?.unwrap_or_default(),
                forecast: of_this.map(Value::to_string),
                slots: row.get::<&[u8]>(6)?.and_then(SlotTable::from_bytes),
                moved: Moved {
                    keys: row.get::<i64>(7)?.unwrap_or(0),
                    last: row.get::<String>(8)?.unwrap_or_default(),
                },
            }))
        })
    })
}

/// What was expected of a partition, out of what is kept with an epoch.
fn expected(this: &Value, all: &[Value]) -> Option<Expected> {
    let of = |p: &Value, name: &str| p.get(name).and_then(Value::as_f64);
    let levels: Vec<f64> = all.iter().filter_map(|p| of(p, "level")).collect();
    Some(Expected {
        foreign: of(this, "foreign")?,
        committed: of(this, "committed")?,
        level: of(this, "level")?,
        lo: of(this, "lo")?,
        hi: of(this, "hi")?,
        mean: levels.iter().sum::<f64>() / levels.len().max(1) as f64,
    })
}

/// The epoch in force, as far as it concerns `partition`, with what is expected of it now; `None`:
/// keys are placed by capacity.
pub fn now(meta: &Meta, partition: u16) -> Result<Option<Epoch>> {
    let (epoch, fallback) = meta.epoch();
    if fallback {
        return Ok(None);
    }
    let position = meta.position(partition);
    as_extension_owner(|| {
        read(|client| {
            let mut row = client.select(
                "SELECT e.published_at::timestamptz(0)::pg_catalog.text, e.reason,
                        o.foreign_load[$3], o.committed_load[$3], o.level[$3], o.lo[$3], o.hi[$3],
                        (SELECT pg_catalog.avg(l) FROM pg_catalog.unnest(o.level) AS l)
                 FROM pss.epoch e
                 LEFT JOIN pss.outlook o ON o.relation OPERATOR(pg_catalog.=) e.relation
                 WHERE e.relation OPERATOR(pg_catalog.=) $1 AND e.epoch OPERATOR(pg_catalog.=) $2",
                Some(1),
                &[
                    meta.table.relation.into(),
                    (epoch.number as i32).into(),
                    position.map_or(0, |p| p as i32 + 1).into(),
                ],
            )?;
            let found = row.next().is_some();
            let text =
                |at| Ok::<_, pgrx::spi::Error>(if found { row.get::<String>(at)? } else { None });
            let number =
                |at| Ok::<_, pgrx::spi::Error>(if found { row.get::<f64>(at)? } else { None });
            let expected =
                match (number(3)?, number(4)?, number(5)?, number(6)?, number(7)?, number(8)?) {
                    (
                        Some(foreign),
                        Some(committed),
                        Some(level),
                        Some(lo),
                        Some(hi),
                        Some(mean),
                    ) => Some(Expected { foreign, committed, level, lo, hi, mean }),
                    _ => None,
                };
            Ok(Some(Epoch {
                number: epoch.number,
                published: text(1)?.unwrap_or_default(),
                reason: text(2)?.unwrap_or_default(),
                share: position.and_then(|p| epoch.weights.get(p).copied()),
                expected,
            }))
        })
    })
}
