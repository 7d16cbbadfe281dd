//! The sentences, word by word.

use super::*;

fn place(number: u16) -> Place {
    Place { number, leaf: format!("orders_p{number}") }
}

fn epoch(number: u32, share: f64) -> Epoch {
    let expected =
        Expected { foreign: 2.0, committed: 3.0, level: 6.0, lo: 5.0, hi: 7.0, mean: 8.0 };
    Epoch {
        number,
        published: "10:00".into(),
        reason: "filling to a level by forecasts".into(),
        share: Some(share),
        expected: Some(expected),
    }
}

#[test]
fn a_placed_key_tells_then_and_now() {
    let story = of_placed(&Placed {
        homes: vec![place(3)],
        naming: Naming::Slot { slot: 7, slots: 4096 },
        then: Some(epoch(17, 0.31)),
        moved: Moved::default(),
        now: Some(epoch(19, 0.12)),
        opens: (1, 4),
    });
    assert_eq!(
        story,
        [
            "All rows of this key are in partition 3 (orders_p3).",
            "It has been there since epoch 17, published at 10:00: filling to a level by \
             forecasts.",
            "Its virtual key fell into slot 7 of 4096, which was that partition's.",
            "The partition was to get 31.0 % of the new keys then (an equal share is 25.0 %).",
            "Expected of it then was a load of 6.0 (5.0 to 7.0), 2.0 of it foreign and 3.0 of \
             earlier keys, beside a mean of 8.0.",
            "No keys were moved there while that epoch was in force, so it was placed there \
             when it was new.",
            "Now, in epoch 19, the partition gets 12.0 % of the new keys; this one stays \
             where its rows are.",
            "Expected of it now is a load of 6.0 (5.0 to 7.0), 2.0 of it foreign and 3.0 of \
             earlier keys, beside a mean of 8.0.",
            "A read by this key opens 1 of 4 partitions.",
        ]
    );
}

#[test]
fn what_is_not_known_is_not_told() {
    let story = of_placed(&Placed {
        homes: vec![Place { number: 3, leaf: String::new() }, place(1)],
        naming: Naming::Forgotten,
        then: None,
        moved: Moved::default(),
        now: None,
        opens: (4, 4),
    });
    assert_eq!(
        story,
        [
            "The rows of this key are spread over partition 3, which is no more and partition \
             1 (orders_p1).",
            "The epoch that placed it is no longer kept, and with it went the reason.",
            "New keys are placed by capacity now, for want of fresh weights; this one stays \
             where its rows are.",
            "A read by this key opens all 4 partitions.",
        ]
    );
    let moved = Moved { keys: 21, last: "11:00".into() };
    let story = of_placed(&Placed {
        homes: vec![place(3)],
        naming: Naming::Elsewhere { slot: 9, owner: 2 },
        then: Some(Epoch { number: 1, ..Epoch::default() }),
        moved,
        now: None,
        opens: (1, 4),
    });
    assert!(story[2].contains("Slot 9 of its virtual key was partition 2's"), "{story:?}");
    assert!(story[3].starts_with("21 keys were moved there"), "{story:?}");
}

#[test]
fn a_new_key_tells_where_it_would_go_and_what_is_refused() {
    let to_level = of_unplaced(&Unplaced {
        likely: place(2),
        way: Way::Level(vec![(0, 1.31), (1, 1.0), (2, 0.82)]),
        shares: vec![(0, 0.2), (1, 0.3), (2, 0.5)],
        closed: vec![(4, "disabled".into())],
        map_complete: true,
    });
    assert_eq!(
        to_level,
        [
            "This key has no home yet: no row and no reservation of it is known.",
            "It would be placed to a level, where it raises the expected peaks least: now in \
             partition 2 (orders_p2).",
            "While it lives, that partition is expected at 0.82 of the mean utilization, and \
             partition 0, the highest, at 1.31.",
            "Partition 4 takes no new keys: it is disabled.",
            "The shares of new keys are now 20.0 % to 0, 30.0 % to 1, 50.0 % to 2.",
            "A read by it opens all 3 partitions: only a home that is known lets others be \
             left out.",
        ]
    );
    let by_quota = of_unplaced(&Unplaced {
        likely: place(0),
        way: Way::Quota(vec![1, 2]),
        shares: (0..20).map(|n| (n, 0.05)).collect(),
        closed: vec![],
        map_complete: false,
    });
    assert_eq!(by_quota[2], "Partitions 1 and 2 would be refused now, being ahead of quota.");
    assert!(by_quota[3].ends_with("5.0 % to 7, and so on."), "{by_quota:?}");
    assert!(by_quota[4].ends_with("the row map is not complete."), "{by_quota:?}");
    let by_capacity = of_unplaced(&Unplaced {
        likely: place(0),
        way: Way::Capacity("pss.enabled is off"),
        shares: vec![(0, 1.0)],
        closed: vec![],
        map_complete: true,
    });
    assert_eq!(
        by_capacity[1],
        "It would be placed by capacity, because pss.enabled is off; most likely in partition \
         0 (orders_p0)."
    );
}

#[test]
fn a_slot_tells_its_homes() {
    let key = BySlot {
        slot: 5,
        slots: 4096,
        owner: place(3),
        now: Some(Epoch { share: None, expected: None, ..epoch(2, 0.0) }),
        homes: vec![1, 2, 3],
        partitions: 4,
    };
    let story = by_slot(&key);
    assert_eq!(story[2], "Earlier rows may also be in partitions 1 and 2.");
    assert_eq!(story[3], "A read by this key opens 3 of 4 partitions.");
    let anywhere = by_slot(&BySlot { homes: vec![], now: None, ..key });
    assert!(anywhere[1].ends_with("there are no fresh weights."));
    assert_eq!(anywhere[2], "Rows of the slot may be in any partition.");
}

#[test]
fn a_spread_key_tells_its_homes_and_their_parts() {
    let spread = |shares: [f64; 2]| {
        let homes = [2, 0].map(place).into_iter().zip(shares).collect();
        of_spread(&Spread { homes, partitions: 4 })
    };
    let story = spread([0.3, 0.1]);
    assert!(
        story[0].ends_with("its homes are partition 2 (orders_p2) and partition 0 (orders_p0).")
    );
    assert!(story[1].ends_with(": 75.0 % to 2 and 25.0 % to 0."), "{story:?}");
    assert_eq!(story[2], "A read by this key opens 2 of 4 partitions.");
    assert!(spread([0.0, 0.0])[1].ends_with(": 50.0 % to 2 and 50.0 % to 0."));
}

#[test]
fn a_hot_key_tells_its_share() {
    let sentence = of_hot(0.25);
    assert!(sentence.starts_with("It is a hot key: it brings 25.0 % of the"), "{sentence}");
}
