//! `pss_explain_route`: decodes a key's virtual key and tells why it is where it is, or where it
//! would go; first in figures, then as a story in sentences.
//!
//! - [`past`]: what the catalog says of an epoch, of moves, of the partitions now
//! - [`chance`]: where a new key would go
//!
//! Only looks; must never assign, count or lock anything.

mod chance;
mod past;

use pgrx::AnyElement;
use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::story::{self, BySlot, Moved, Naming, Place, Placed, Spread};
use pss_core::virtual_key::VirtualKey;

use super::call::{Key, find_home, meta_for_select};
use crate::catalog::{Mapping, relation_name};
use crate::error::{OrRaise, PssError, Result};
use crate::homes::{self, Homes};
use crate::hot_keys;
use crate::meta::Meta;
use crate::router::hash48;

type Items = Vec<(&'static str, String)>;
type Rows = TableIterator<'static, (name!(item, String), name!(value, String))>;

#[pg_extern(sql = false)]
fn pss_explain_route(relation: Option<pg_sys::Oid>, data_key: Option<AnyElement>) -> Rows {
    rows(tell(relation, data_key.map(Key::Typed)).or_raise())
}

#[pg_extern(sql = false)]
fn pss_explain_route_text(relation: Option<pg_sys::Oid>, data_key: Option<&str>) -> Rows {
    rows(tell(relation, data_key.map(Key::Text)).or_raise())
}

fn rows(items: Items) -> Rows {
    TableIterator::new(items.into_iter().map(|(item, value)| (item.to_string(), value)))
}

fn tell(relation: Option<pg_sys::Oid>, key: Option<Key<'_>>) -> Result<Items> {
    let meta = meta_for_select(relation)?;
    let key = key.ok_or_else(|| {
        PssError::new(PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED, "data key must not be NULL")
            .hint("Give a value of the distribution column.")
    })?;
    let key = key.datum(&meta)?;
    let mut items: Items = vec![
        ("table", relation_name(meta.table.relation)),
        ("distribution column", meta.table.distribution_column.clone()),
        ("key hash", format!("{:012x}", hash48(meta.key.hash(key)))),
    ];
    let story = if meta.table.mapping == Mapping::Slot {
        by_slot(&meta, key, &mut items)?
    } else if let Some(homes) = meta.table.homes_of(hash48(meta.key.hash(key))) {
        spread(&meta, homes, &mut items)
    } else {
        match find_home(&meta, key) {
            Some(home) => placed(&meta, key, home, &mut items)?,
            None => chance::unplaced(&meta, key, &mut items)?,
        }
    };
    let hot = hot_keys::share_of(&meta, meta.key.hash(key)).map(story::of_hot);
    items.extend(story.into_iter().chain(hot).map(|sentence| ("story", sentence)));
    Ok(items)
}

/// The partition of that number, to be named.
fn place(meta: &Meta, number: u16) -> Place {
    let leaf = meta.position(number).map(|p| relation_name(meta.table.partitions[p].leaf));
    Place { number, leaf: leaf.unwrap_or_default() }
}

/// A spread key goes to several homes by their shares: no virtual key says which.
fn spread(meta: &Meta, homes: &[u16], items: &mut Items) -> Vec<String> {
    let (epoch, _) = meta.epoch();
    let share = |home: u16| meta.position(home).map_or(0.0, |p| epoch.weights[p]);
    let weights: Vec<String> = homes.iter().map(|&home| format!("{:.4}", share(home))).collect();
    items.push(("homes", homes.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")));
    items.push(("epoch", epoch.number.to_string()));
    items.push(("weights", weights.join(", ")));
    items.push(("reason", "the key is spread over several partitions".into()));
    let homes = homes.iter().map(|&home| (place(meta, home), share(home))).collect();
    story::of_spread(&Spread { homes, partitions: meta.table.partitions.len() })
}

/// In slot mode nothing is known of the key itself: it goes to the owner of its slot.
fn by_slot(meta: &Meta, key: pg_sys::Datum, items: &mut Items) -> Result<Vec<String>> {
    let slot = meta.slot(meta.key.hash(key));
    let (epoch, fallback) = meta.epoch();
    let owner = place(meta, meta.table.partitions[usize::from(epoch.slots.owner(slot))].number);
    let (homes, listed) = match homes::of(meta, key) {
        Homes::In(homes) => {
            let listed: Vec<String> = homes.iter().map(u16::to_string).collect();
            (homes, listed.join(", "))
        }
        Homes::All => (Vec::new(), "any partition".into()),
    };
    items.push(("slot", slot.to_string()));
    items.push(("homes", listed));
    items.push(("partition", owner.number.to_string()));
    items.push(("leaf", owner.leaf.clone()));
    items.push(("epoch", epoch.number.to_string()));
    let reason = if fallback {
        "a row would go there by capacity, or to the newest home of its slot: there are no fresh weights"
    } else {
        "the partition owns the slot of the key in this epoch; earlier rows may be in the other homes"
    };
    items.push(("reason", reason.into()));
    let now = past::now(meta, owner.number)?;
    let (slots, partitions) = (meta.table.slots, meta.table.partitions.len());
    Ok(story::by_slot(&BySlot { slot, slots, owner, now, homes, partitions }))
}

fn placed(
    meta: &Meta,
    key: pg_sys::Datum,
    (partition, virtual_key): (u16, i64),
    items: &mut Items,
) -> Result<Vec<String>> {
    let home = place(meta, partition);
    items.push(("partition", partition.to_string()));
    if !home.leaf.is_empty() {
        items.push(("leaf", home.leaf.clone()));
    }
    let key_of_map = (virtual_key != 0).then(|| VirtualKey::from_i64(virtual_key));
    let then = match key_of_map {
        Some(key) => past::epoch(meta, key, partition)?,
        None => None,
    };
    let naming = naming(meta, partition, key_of_map, then.as_ref());
    if let Some(key) = key_of_map {
        items.push(("virtual key", format!("{:016x}", key.to_i64())));
        items.push(("epoch", key.epoch().to_string()));
        items.push(("slot", key.slot().to_string()));
        items.push(("hash bits", format!("{:06x}", key.bits())));
    }
    if let Some(then) = &then {
        items.push(("epoch published", then.epoch.published.clone()));
        items.push(("epoch reason", then.epoch.reason.clone()));
        items.push(("weights", then.weights.clone()));
        items.extend(then.forecast.clone().map(|forecast| ("forecast", forecast)));
    }
    let reason = match naming {
        Naming::NoEntry => "found in the partition itself: the row map has no entry yet",
        Naming::Slot { .. } => "the slot of its virtual key belonged to this partition",
        Naming::Elsewhere { .. } => {
            "the key came with its partition, or its rows were there before"
        }
        Naming::Forgotten => "its epoch is no longer kept",
    };
    items.push(("reason", reason.into()));
    let partitions = meta.table.partitions.len();
    let (homes, opens) = match homes::of(meta, key) {
        Homes::In(others) => {
            let opens = others.len();
            let others = others.into_iter().filter(|other| *other != partition);
            (std::iter::once(home).chain(others.map(|other| place(meta, other))).collect(), opens)
        }
        Homes::All => (vec![home], partitions),
    };
    let (then, moved) = then.map_or((None, Moved::default()), |t| (Some(t.epoch), t.moved));
    let now = past::now(meta, partition)?;
    Ok(story::of_placed(&Placed { homes, naming, then, moved, now, opens: (opens, partitions) }))
}

/// How the virtual key names the partition, if it does.
fn naming(
    meta: &Meta,
    partition: u16,
    key: Option<VirtualKey>,
    then: Option<&past::Then>,
) -> Naming {
    let Some(key) = key else { return Naming::NoEntry };
    let Some(slots) = then.and_then(|then| then.slots.as_ref()) else { return Naming::Forgotten };
    let slot = (usize::from(key.slot()) % slots.len()) as u16;
    let owner = usize::from(slots.owner(slot));
    let owner = meta.table.partitions.get(owner).map_or(u16::MAX, |p| p.number);
    if owner == partition {
        Naming::Slot { slot, slots: slots.len() }
    } else {
        Naming::Elsewhere { slot, owner }
    }
}
