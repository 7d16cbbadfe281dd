//! The story of one decision, in sentences that people read: where a key is and why, or where it
//! would go.
//!
//! It only words what it is given. What is not known is left out or said to be unknown; it must
//! never guess.

/// Partitions that are listed one by one; of more, the first of them.
const LISTED: usize = 8;

/// A partition, as its number and its table's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its number.
    pub number: u16,
    /// The name of its table; empty: there is none any more.
    pub leaf: String,
}

impl Place {
    fn words(&self) -> String {
        match self.leaf.as_str() {
            "" => format!("partition {}, which is no more", self.number),
            leaf => format!("partition {} ({leaf})", self.number),
        }
    }
}

/// What was expected of one partition, mean over the control window (cost units/s).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// Foreign load.
    pub foreign: f64,
    /// Load of keys placed earlier.
    pub committed: f64,
    /// All load, with the new keys.
    pub level: f64,
    /// Lower bound of `level`.
    pub lo: f64,
    /// Upper bound of `level`.
    pub hi: f64,
    /// Mean of `level` over all partitions.
    pub mean: f64,
}

/// What an epoch had in store for one partition.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Epoch {
    /// Its number.
    pub number: u32,
    /// When it was published.
    pub published: String,
    /// Why its weights were what they were.
    pub reason: String,
    /// The partition's share of new keys, 0 to 1.
    pub share: Option<f64>,
    /// What was expected of it.
    pub expected: Option<Expected>,
}

/// How the virtual key of a placed key names its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// The row map has no entry of the key yet.
    NoEntry,
    /// Its epoch is no longer kept.
    Forgotten,
    /// The slot of its virtual key belonged to the partition.
    Slot {
        /// The slot.
        slot: u16,
        /// Slots there are.
        slots: usize,
    },
    /// The slot belonged to another partition.
    Elsewhere {
        /// The slot.
        slot: u16,
        /// Who owned it.
        owner: u16,
    },
}

/// Keys moved to a partition while an epoch was in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// Keys.
    pub keys: i64,
    /// When the last of them were moved.
    pub last: String,
}

/// A key that has a home.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// Where it is: its homes, the first is the one that its virtual key is about.
    pub homes: Vec<Place>,
    /// Why there.
    pub naming: Naming,
    /// The epoch that its virtual key names, if it is kept.
    pub then: Option<Epoch>,
    /// What was moved there while that epoch was in force.
    pub moved: Moved,
    /// The epoch in force now; `None`: new keys are placed by capacity.
    pub now: Option<Epoch>,
    /// Partitions that a read by this key opens, and how many there are.
    pub opens: (usize, usize),
}

/// Why new keys are placed as they are.
#[derive(Debug, Clone, PartialEq)]
pub enum Way {
    /// By capacity, for want of fresh weights; the reason in words.
    Capacity(&'static str),
    /// Where it raises the expected peaks least: by partition, the utilization that is expected
    /// while such a key brings its load, relative to the table's.
    Level(Vec<(u16, f64)>),
    /// By quota; partitions that are ahead of theirs are refused.
    Quota(Vec<u16>),
}

/// A key that has no home.
#[derive(Debug, Clone, PartialEq)]
pub struct Unplaced {
    /// Where it would go now, most likely.
    pub likely: Place,
    /// Why.
    pub way: Way,
    /// By partition: number and share of new keys, 0 to 1.
    pub shares: Vec<(u16, f64)>,
    /// Partitions that take no new keys, and the state that says so.
    pub closed: Vec<(u16, String)>,
    /// The row map knows every key.
    pub map_complete: bool,
}

/// A key of a table that is mapped by slot.
#[derive(Debug, Clone, PartialEq)]
pub struct BySlot {
    /// Its slot.
    pub slot: u16,
    /// Slots there are.
    pub slots: usize,
    /// Who takes its rows now.
    pub owner: Place,
    /// The epoch in force; `None`: rows go by capacity, or to the newest home of the slot.
    pub now: Option<Epoch>,
    /// Where rows of the slot may be; empty: anywhere.
    pub homes: Vec<u16>,
    /// How many partitions there are.
    pub partitions: usize,
}

/// A key that is spread over several partitions.
#[derive(Debug, Clone, PartialEq)]
pub struct Spread {
    /// Its homes, and the share of new keys that each has now, 0 to 1.
    pub homes: Vec<(Place, f64)>,
    /// How many partitions there are.
    pub partitions: usize,
}

/// The story of a key that has a home, a sentence each.
pub fn of_placed(placed: &Placed) -> Vec<String> {
    let Placed { homes, naming, then, moved, now, opens } = placed;
    let mut story = Vec::new();
    let Some(home) = homes.first() else { return story };
    if homes.len() == 1 {
        story.push(format!("All rows of this key are in {}.", home.words()));
    } else {
        let homes: Vec<String> = homes.iter().map(Place::words).collect();
        story.push(format!("The rows of this key are spread over {}.", listed(&homes)));
    }
    if let Some(Epoch { number, published, reason, .. }) = then {
        story.push(format!(
            "It has been there since epoch {number}, published at {published}: {reason}."
        ));
    }
    story.push(match naming {
        Naming::NoEntry => "It was found in the partition itself: the row map has no entry of it \
                            yet, and so nothing tells how it came there."
            .to_owned(),
        Naming::Forgotten => "The epoch that placed it is no longer kept, and with it went the \
                              reason."
            .to_owned(),
        Naming::Slot { slot, slots } => {
            format!("Its virtual key fell into slot {slot} of {slots}, which was that partition's.")
        }
        Naming::Elsewhere { slot, owner } => format!(
            "Slot {slot} of its virtual key was partition {owner}'s: its row named the partition, \
             or was there before."
        ),
    });
    if let Some(epoch) = then {
        let of_table = opens.1;
        story.extend(epoch.share.map(|share| {
            format!(
                "The partition was to get {} of the new keys then (an equal share is {}).",
                percent(share),
                percent(1.0 / of_table.max(1) as f64)
            )
        }));
        story.extend(
            epoch.expected.map(|expected| format!("Expected of it then was {}.", load(&expected))),
        );
        story.push(match moved {
            Moved { keys: 0, .. } => "No keys were moved there while that epoch was in force, so \
                                      it was placed there when it was new."
                .to_owned(),
            Moved { keys: 1, last } => {
                format!("One key was moved there while that epoch was in force, at {last}: it may be that one.")
            }
            Moved { keys, last } => format!(
                "{keys} keys were moved there while that epoch was in force, the last at {last}: \
                 it may be one of them."
            ),
        });
    }
    story.extend(now_there(now.as_ref()));
    story.push(reads(*opens));
    story
}

/// The story of a key that has none, a sentence each.
pub fn of_unplaced(unplaced: &Unplaced) -> Vec<String> {
    let Unplaced { likely, way, shares, closed, map_complete } = unplaced;
    let mut story =
        vec!["This key has no home yet: no row and no reservation of it is known.".into()];
    let to = likely.words();
    match way {
        Way::Capacity(why) => {
            story.push(format!(
                "It would be placed by capacity, because {why}; most likely in {to}."
            ));
        }
        Way::Level(levels) => {
            story.push(format!(
                "It would be placed to a level, where it raises the expected peaks least: now in {to}."
            ));
            story.extend(extremes(likely.number, levels));
        }
        Way::Quota(refused) => {
            story.push(format!(
                "It would be placed by quota, at random by the shares: most likely in {to}."
            ));
            if !refused.is_empty() {
                story.push(format!(
                    "{} would be refused now, being ahead of quota.",
                    capitalized(&partitions(refused))
                ));
            }
        }
    }
    for (number, state) in closed {
        story.push(format!("Partition {number} takes no new keys: it is {state}."));
    }
    let share = |(number, share): &(u16, f64)| format!("{} to {number}", percent(*share));
    let listed_shares: Vec<String> = shares.iter().take(LISTED).map(share).collect();
    let rest = if shares.len() > LISTED { ", and so on" } else { "" };
    story.push(format!("The shares of new keys are now {}{rest}.", listed_shares.join(", ")));
    story.push(if *map_complete {
        format!(
            "A read by it opens all {} partitions: only a home that is known lets others be left out.",
            shares.len()
        )
    } else {
        format!("A read by it opens all {} partitions: the row map is not complete.", shares.len())
    });
    story
}

/// The story of a key of a table that is mapped by slot, a sentence each.
pub fn by_slot(key: &BySlot) -> Vec<String> {
    let BySlot { slot, slots, owner, now, homes, partitions: all } = key;
    let mut story = vec![format!(
        "This table is mapped by slot: nothing is known of a single key, and this one goes with slot \
         {slot} of {slots}."
    )];
    story.push(match now {
        Some(Epoch { number, published, reason, .. }) => format!(
            "A row goes to {}, which owns the slot in epoch {number}, published at {published}: {reason}.",
            owner.words()
        ),
        None => format!(
            "A row goes to {}, by capacity or as the newest home of the slot: there are no fresh weights.",
            owner.words()
        ),
    });
    story.extend(now.as_ref().and_then(|epoch| epoch.share).map(|share| {
        format!(
            "That partition has {} of the slots' weight (an equal share is {}).",
            percent(share),
            percent(1.0 / (*all).max(1) as f64)
        )
    }));
    story.extend(
        now.as_ref()
            .and_then(|epoch| epoch.expected)
            .map(|expected| format!("Expected of it is {}.", load(&expected))),
    );
    let earlier: Vec<u16> = homes.iter().copied().filter(|home| *home != owner.number).collect();
    if homes.is_empty() {
        story.push("Rows of the slot may be in any partition.".into());
    } else if !earlier.is_empty() {
        story.push(format!("Earlier rows may also be in {}.", partitions(&earlier)));
    }
    let opens = if homes.is_empty() { *all } else { homes.len() };
    story.push(reads((opens, *all)));
    story
}

/// The story of a key that is spread, a sentence each.
pub fn of_spread(key: &Spread) -> Vec<String> {
    let homes: Vec<String> = key.homes.iter().map(|(place, _)| place.words()).collect();
    let all: f64 = key.homes.iter().map(|(_, share)| share).sum();
    let parts = key.homes.iter().map(|(place, share)| {
        let part = if all > 0.0 { share / all } else { 1.0 / key.homes.len() as f64 };
        format!("{} to {}", percent(part), place.number)
    });
    vec![
        format!("The key is spread by pss_spread_key; its homes are {}.", listed(&homes)),
        format!(
            "Each row goes to one of them, in proportion to their shares of new keys: {}.",
            listed(&parts.collect::<Vec<_>>())
        ),
        reads((key.homes.len(), key.partitions)),
    ]
}

/// That a key is hot: `share` is the least part of the table's recent rows that it brings.
pub fn of_hot(share: f64) -> String {
    format!(
        "It is a hot key: it brings {} of the table's recent rows or more, wherever it is.",
        percent(share)
    )
}

/// Where the key's partition stands now.
fn now_there(now: Option<&Epoch>) -> Vec<String> {
    let Some(epoch) = now else {
        return vec![
            "New keys are placed by capacity now, for want of fresh weights; this one stays where \
             its rows are."
                .to_owned(),
        ];
    };
    let mut story = Vec::new();
    story.extend(epoch.share.map(|share| {
        format!(
            "Now, in epoch {}, the partition gets {} of the new keys; this one stays where its rows are.",
            epoch.number,
            percent(share)
        )
    }));
    let expected = epoch.expected;
    story.extend(expected.map(|expected| format!("Expected of it now is {}.", load(&expected))));
    story
}

fn load(expected: &Expected) -> String {
    let Expected { foreign, committed, level, lo, hi, mean } = *expected;
    // Not "-0.0", which a little less than nothing would be.
    let [foreign, committed, level, lo, hi, mean] =
        [foreign, committed, level, lo, hi, mean].map(|x| (10.0 * x).round() / 10.0 + 0.0);
    format!(
        "a load of {level:.1} ({lo:.1} to {hi:.1}), {foreign:.1} of it foreign and {committed:.1} of \
         earlier keys, beside a mean of {mean:.1}"
    )
}

/// Where the chosen partition stands among the others.
fn extremes(chosen: u16, levels: &[(u16, f64)]) -> Option<String> {
    let of = |number| levels.iter().find(|(n, _)| *n == number).map(|(_, level)| *level);
    let (highest, top) = levels.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let chosen_level = of(chosen)?;
    Some(if *highest == chosen {
        format!(
            "While it lives, that partition is expected at {chosen_level:.2} of the mean utilization."
        )
    } else {
        format!(
            "While it lives, that partition is expected at {chosen_level:.2} of the mean utilization, \
             and partition {highest}, the highest, at {top:.2}."
        )
    })
}

fn reads((opens, all): (usize, usize)) -> String {
    let partitions = if all == 1 { "partition" } else { "partitions" };
    if opens >= all {
        format!("A read by this key opens all {all} {partitions}.")
    } else {
        format!("A read by this key opens {opens} of {all} {partitions}.")
    }
}

fn partitions(numbers: &[u16]) -> String {
    let names: Vec<String> = numbers.iter().map(u16::to_string).collect();
    let partition = if numbers.len() == 1 { "partition" } else { "partitions" };
    format!("{partition} {}", listed(&names))
}

/// "a, b and c".
fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests;
