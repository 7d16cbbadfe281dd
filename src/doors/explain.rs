//! `pss_explain_route`: decodes a key's virtual key and tells why it is where
//! it is, or where it would go.

use pgrx::AnyElement;
use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::virtual_key::VirtualKey;

use super::call::{Key, find_home, meta_for_select};
use crate::catalog::{Mapping, read, relation_name};
use crate::error::{OrRaise, PssError, Result};
use crate::homes::{self, Homes};
use crate::meta::Meta;
use crate::router::hash48;

type Story = Vec<(&'static str, String)>;
type Rows = TableIterator<'static, (name!(item, String), name!(value, String))>;

#[pg_extern(sql = false)]
fn pss_explain_route(relation: Option<pg_sys::Oid>, data_key: Option<AnyElement>) -> Rows {
    rows(tell(relation, data_key.map(Key::Typed)).or_raise())
}

#[pg_extern(sql = false)]
fn pss_explain_route_text(relation: Option<pg_sys::Oid>, data_key: Option<&str>) -> Rows {
    rows(tell(relation, data_key.map(Key::Text)).or_raise())
}

fn rows(story: Story) -> Rows {
    TableIterator::new(story.into_iter().map(|(item, value)| (item.to_string(), value)))
}

fn tell(relation: Option<pg_sys::Oid>, key: Option<Key<'_>>) -> Result<Story> {
    let meta = meta_for_select(relation)?;
    let key = key.ok_or_else(|| {
        PssError::new(PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED, "data key must not be NULL")
            .hint("Give a value of the distribution column.")
    })?;
    let key = key.datum(&meta)?;
    let mut story: Story = vec![
        ("table", relation_name(meta.table.relation)),
        ("distribution column", meta.table.distribution_column.clone()),
        ("key hash", format!("{:012x}", hash48(meta.key.hash(key)))),
    ];
    if meta.table.mapping == Mapping::Slot {
        by_slot(&meta, key, &mut story);
        return Ok(story);
    }
    match find_home(&meta, key) {
        Some((partition, virtual_key)) => placed(&meta, partition, virtual_key, &mut story)?,
        None => unplaced(&meta, &mut story),
    }
    Ok(story)
}

/// In slot mode nothing is known of the key itself: it goes to the owner of its slot.
fn by_slot(meta: &Meta, key: pg_sys::Datum, story: &mut Story) {
    let slot = meta.slot(meta.key.hash(key));
    let (epoch, fallback) = meta.epoch();
    let owner = &meta.table.partitions[usize::from(epoch.slots.owner(slot))];
    let homes = match homes::of(meta, key) {
        Homes::In(homes) => homes.iter().map(u16::to_string).collect::<Vec<_>>().join(", "),
        Homes::All => "any partition".into(),
    };
    story.push(("slot", slot.to_string()));
    story.push(("homes", homes));
    story.push(("partition", owner.number.to_string()));
    story.push(("leaf", relation_name(owner.leaf)));
    story.push(("epoch", epoch.number.to_string()));
    let reason = if fallback {
        "a row would go there by capacity, or to the newest home of its slot: there are no fresh weights"
    } else {
        "the partition owns the slot of the key in this epoch; earlier rows may be in the other homes"
    };
    story.push(("reason", reason.into()));
}

fn placed(meta: &Meta, partition: u16, virtual_key: i64, story: &mut Story) -> Result<()> {
    story.push(("partition", partition.to_string()));
    if let Some(position) = meta.position(partition) {
        story.push(("leaf", relation_name(meta.table.partitions[position].leaf)));
    }
    if virtual_key == 0 {
        story
            .push(("reason", "found in the partition itself: the row map has no entry yet".into()));
        return Ok(());
    }
    let key = VirtualKey::from_i64(virtual_key);
    story.push(("virtual key", format!("{:016x}", key.to_i64())));
    story.push(("epoch", key.epoch().to_string()));
    story.push(("slot", key.slot().to_string()));
    story.push(("hash bits", format!("{:06x}", key.bits())));
    let reason = match epoch_story(meta, key, partition, story)? {
        Some(owner) if owner == partition => {
            "the slot of its virtual key belonged to this partition"
        }
        Some(_) => "the key came with its partition, or its rows were there before",
        None => "its epoch is no longer kept",
    };
    story.push(("reason", reason.into()));
    Ok(())
}

/// Tells about the epoch that placed the key; returns who owned its slot.
fn epoch_story(
    meta: &Meta,
    key: VirtualKey,
    partition: u16,
    story: &mut Story,
) -> Result<Option<u16>> {
    let position = meta.position(partition).map_or(0, |p| p as i32 + 1);
    let found = read(|client| {
        let mut row = client.select(
            "SELECT published_at::pg_catalog.text, reason, weights::pg_catalog.text,
                    forecast OPERATOR(pg_catalog.->) 'partitions' OPERATOR(pg_catalog.->) ($3 OPERATOR(pg_catalog.-) 1),
                    slots
             FROM pss.epoch
             WHERE relation OPERATOR(pg_catalog.=) $1 AND epoch OPERATOR(pg_catalog.=) $2",
            Some(1),
            &[meta.table.relation.into(), (key.epoch() as i32).into(), position.into()],
        )?;
        if row.next().is_none() {
            return Ok(None);
        }
        let slots = row.get::<&[u8]>(5)?.and_then(pss_core::slots::SlotTable::from_bytes);
        Ok(Some((
            row.get::<String>(1)?,
            row.get::<String>(2)?,
            row.get::<String>(3)?,
            row.get::<pgrx::JsonB>(4)?,
            slots,
        )))
    })?;
    let Some((published, reason, weights, forecast, slots)) = found else { return Ok(None) };
    story.extend(published.map(|v| ("epoch published", v)));
    story.extend(reason.map(|v| ("epoch reason", v)));
    story.extend(weights.map(|v| ("weights", v)));
    story.extend(forecast.map(|v| ("forecast", v.0.to_string())));
    Ok(slots.map(|slots| {
        let owner = usize::from(slots.owner((usize::from(key.slot()) % slots.len()) as u16));
        meta.table.partitions.get(owner).map_or(u16::MAX, |p| p.number)
    }))
}

fn unplaced(meta: &Meta, story: &mut Story) {
    let (epoch, fallback) = meta.epoch();
    let weights: Vec<String> = epoch.weights.iter().map(|w| format!("{w:.4}")).collect();
    story.push(("partition", "none yet".into()));
    story.push(("epoch", epoch.number.to_string()));
    story.push(("weights", format!("{{{}}}", weights.join(","))));
    let reason = if fallback {
        "a new key would be placed by capacity: there are no fresh weights"
    } else {
        "a new key would be placed by these weights, the partition furthest behind its quota first"
    };
    story.push(("reason", reason.into()));
}
