//! What a batch does.

use std::sync::Arc;

use crate::protocol::entry::{Entry, Version};
use crate::protocol::id::{Id, Interval};
use crate::storage::conformance::support::*;
use crate::storage::{Batch, Storage, Stored};

/// An entry replaces an older one, whatever they hold, and neither one of the same version nor a newer one.
pub async fn the_newer_version_decides(store: Arc<dyn Storage>) {
    let id = around(7);
    let at = |epoch, counter, value: Option<&'static str>| {
        let entry =
            Entry { version: Version { epoch, counter }, value: value.map(Into::into), expires_at: None };
        Stored { id, key: "key".into(), entry }
    };
    let first = at(2, 10, Some("first"));
    apply(&*store, Batch::one(first.clone())).await;
    for ignored in [
        at(2, 10, Some("the same version")),
        at(2, 10, None),
        at(2, 9, Some("an older counter")),
        at(1, u64::MAX, Some("an older epoch")),
        at(1, u64::MAX, None),
        at(0, 0, Some("the oldest")),
    ] {
        apply(&*store, Batch::one(ignored)).await;
        assert_holds(&*store, &first).await;
    }
    for newer in [
        at(2, 11, Some("a newer counter")),
        at(3, 0, Some("a newer epoch")),
        at(3, 1, None),
        at(3, 2, Some("after a tombstone")),
        at(u64::MAX, u64::MAX, Some("the newest")),
    ] {
        apply(&*store, Batch::one(newer.clone())).await;
        assert_holds(&*store, &newer).await;
    }
}

/// Batches of entries give the same in every order, however often each comes, and so do the entries of one.
pub async fn batches_may_come_in_any_order(store: Arc<dyn Storage>) {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for (n, order) in (0..).zip(orders) {
        let (a, b) = (around(n), around(n + 100));
        let batches = [
            storing(vec![value(a, "a", 1, "a1"), value(b, "b", 3, "b3")]),
            storing(vec![value(a, "a", 3, "a3"), tombstone(b, "b", 2)]),
            storing(vec![tombstone(a, "a", 2), value(b, "b", 1, "b1")]),
        ];
        for i in order {
            apply(&*store, batches[i].clone()).await;
        }
        for i in order {
            apply(&*store, batches[i].clone()).await;
        }
        assert_holds(&*store, &value(a, "a", 3, "a3")).await;
        assert_holds(&*store, &value(b, "b", 3, "b3")).await;

        let all = batches.map(|batch| batch.entries);
        let at = |id: Id, stored: &Stored| Stored { id, ..stored.clone() };
        let c = around(n + 200);
        let entries = order.iter().flat_map(|i| &all[*i]).map(|stored| at(c, stored)).collect();
        apply(&*store, storing(entries)).await;
        assert_holds(&*store, &value(c, "a", 3, "a3")).await;
        assert_holds(&*store, &value(c, "b", 3, "b3")).await;
    }
}

/// Within a batch the intervals are cleared first, then the entries are stored, then the keys are dropped.
pub async fn a_batch_clears_then_stores_then_deletes(store: Arc<dyn Storage>) {
    let (kept, back, gone) = (around(10), around(20), around(30));
    let before = vec![value(kept, "k", 5, "old"), value(back, "k", 5, "old"), value(gone, "k", 5, "old")];
    apply(&*store, storing(before)).await;
    let batch = Batch {
        clear: vec![Interval::new(kept, gone)],
        entries: vec![value(back, "k", 1, "of an older version"), value(gone, "k", 6, "new")],
        deletes: vec![value(gone, "k", 6, "new"), value(kept, "k", 6, "never there")],
        state: None,
    };
    apply(&*store, batch).await;
    assert_holds(&*store, &value(kept, "k", 5, "old")).await;
    assert_holds(&*store, &value(back, "k", 1, "of an older version")).await;
    assert_eq!(get(&*store, gone, b"k").await, None, "stored and dropped in one batch");
}

/// A clear drops every entry, tombstones too, whose id lies in (after, upto], and no other.
pub async fn a_clear_drops_its_intervals_and_nothing_else(store: Arc<dyn Storage>) {
    let ids = [Id::ZERO, Id::from_u128(1), around(50), around(100), around(150), around(200), LAST];
    let intervals = |after: Id, upto: Id| vec![Interval::new(after, upto)];
    let cases = [
        intervals(around(50), around(150)),
        intervals(around(60), around(140)),
        intervals(around(150), around(50)),
        intervals(around(200), Id::ZERO),
        intervals(LAST, Id::ZERO),
        intervals(around(200), LAST),
        intervals(around(60), around(70)),
        intervals(around(100), around(100)),
        intervals(LAST, LAST),
        vec![Interval::whole()],
        vec![Interval::new(LAST, Id::from_u128(1)), Interval::new(around(50), around(100))],
    ];
    for (counter, clear) in (1..).zip(cases) {
        let all =
            || ids.into_iter().flat_map(|id| [value(id, "v", counter, "v"), tombstone(id, "t", counter)]);
        apply(&*store, storing(all().collect())).await;
        apply(&*store, clearing(clear.clone())).await;
        for stored in all() {
            let cleared = clear.iter().any(|interval| interval.contains(&stored.id));
            let expected = (!cleared).then_some(stored.entry);
            let found = get(&*store, stored.id, &stored.key).await;
            assert_eq!(found, expected, "{} after a clear of {clear:?}", stored.id);
        }
        apply(&*store, clearing(vec![Interval::whole()])).await;
        assert_same(&scan(&*store, EVERYTHING).await, &[], "after a clear of the whole circle");
    }
}

/// A key is dropped if it is at the very version that the delete names, with or without a value.
pub async fn a_delete_needs_the_very_version(store: Arc<dyn Storage>) {
    let id = around(9);
    apply(&*store, Batch::one(value(id, "key", 5, "value"))).await;
    apply(&*store, deleting(vec![value(id, "key", 4, "value"), value(id, "key", 6, "value")])).await;
    apply(&*store, deleting(vec![value(id, "another", 5, "value"), value(around(8), "key", 5, "value")]))
        .await;
    let mut newer = value(id, "key", 5, "value");
    newer.entry.version.epoch += 1;
    apply(&*store, deleting(vec![newer])).await;
    assert_holds(&*store, &value(id, "key", 5, "value")).await;
    apply(&*store, deleting(vec![tombstone(id, "key", 5)])).await;
    assert_eq!(get(&*store, id, b"key").await, None, "dropped at its version");

    apply(&*store, Batch::one(value(id, "key", 1, "again"))).await;
    assert_holds(&*store, &value(id, "key", 1, "again")).await;
    apply(&*store, Batch::one(tombstone(id, "key", 2))).await;
    apply(&*store, deleting(vec![tombstone(id, "key", 2)])).await;
    assert_eq!(get(&*store, id, b"key").await, None, "a tombstone dropped at its version");
    assert_same(&scan(&*store, EVERYTHING).await, &[], "after the last key was dropped");
}
