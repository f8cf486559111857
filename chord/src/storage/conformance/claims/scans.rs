//! What a scan returns.

use std::sync::Arc;

use crate::protocol::id::{Id, Interval};
use crate::storage::conformance::support::*;
use crate::storage::{Batch, Cursor, Storage, Stored};

/// A thousand keys or so, at ids all around the circle and at its ends, a few at each.
async fn filled(store: &dyn Storage) -> Vec<Stored> {
    let mut ids: Vec<Id> = (0..=255).map(around).collect();
    ids.extend([Id::ZERO, Id::from_u128(1), LAST]);
    let mut all = Vec::new();
    for (n, id) in ids.into_iter().enumerate() {
        all.extend((0..n % 8).map(|k| value(id, format!("key {k}"), 1, vec![b'v'; n])));
    }
    apply(store, storing(all.clone())).await;
    all.sort_by(|a, b| (a.id, &a.key).cmp(&(b.id, &b.key)));
    all
}

/// What of `all`, sorted, lies in `interval`, clockwise from its start.
fn expected(all: &[Stored], interval: Interval) -> Vec<Stored> {
    let start = all.partition_point(|stored| stored.id <= interval.after);
    let clockwise = all[start..].iter().chain(&all[..start]);
    clockwise.filter(|stored| interval.contains(&stored.id)).cloned().collect()
}

/// A scan of (after, upto] returns what lies there and nothing else, clockwise from `after` and by key within an
/// id, passing zero where the interval does, whatever the size of its pages.
pub async fn a_scan_goes_clockwise_from_its_start(store: Arc<dyn Storage>) {
    let all = filled(&*store).await;
    let ends = [Id::ZERO, Id::from_u128(1), around(1), around(60), around(61), around(200), LAST];
    let between = Id::from_bytes([0x77; 20]);
    for after in ends.into_iter().chain([between]) {
        for upto in ends.into_iter().chain([between]) {
            let interval = Interval::new(after, upto);
            let found = pages(&*store, interval, 3000).await.concat();
            assert_same(&found, &expected(&all, interval), &interval.to_string());
        }
    }
    let interval = Interval::new(around(250), around(5));
    let single = pages(&*store, interval, 1).await;
    assert_same(&single.concat(), &expected(&all, interval), "one entry a page");
    let whole = pages(&*store, interval, usize::MAX).await;
    assert_same(&whole.concat(), &expected(&all, interval), "all in one page");
    assert_eq!(whole.len(), 1, "without a bound there is one page");
}

/// (a, a] is the whole circle: each entry once, those at `a` last, whether there is an entry at `a` or not.
pub async fn a_scan_of_the_whole_circle_begins_where_it_is_cut(store: Arc<dyn Storage>) {
    let all = filled(&*store).await;
    for cut in [Id::ZERO, LAST, around(60), around(255), Id::from_bytes([0x77; 20])] {
        let interval = Interval::new(cut, cut);
        let found = pages(&*store, interval, 10_000).await.concat();
        assert_same(&found, &expected(&all, interval), &interval.to_string());
    }
}

/// A page holds as many entries as fit into its bound, and one at least, if there is one; there is no page after
/// the last entry, and an interval without entries has one empty page.
pub async fn a_page_keeps_its_bound(store: Arc<dyn Storage>) {
    assert_eq!(pages(&*store, Interval::whole(), 1000).await, [[]], "an empty store has one empty page");
    let sizes = [0, 900, 10, 10, 5000, 836, 837, 0, 0, 0];
    let all: Vec<Stored> = (0..).zip(sizes).map(|(n, size)| value(around(n), "", 1, vec![n; size])).collect();
    apply(&*store, storing(all.clone())).await;
    for max_bytes in [0, 1, 63, 64, 65, 900, 1000, 1024, 6000, 100_000, usize::MAX] {
        let found = pages(&*store, Interval::new(LAST, around(100)), max_bytes).await;
        assert_same(&found.concat(), &all, "by pages");
        assert!(found.iter().all(|page| !page.is_empty()), "pages of {max_bytes} bytes");
        for (page, next) in found.iter().zip(&found[1..]) {
            let bytes: usize = page.iter().chain(next.first()).map(Stored::len_bytes).sum();
            assert!(bytes > max_bytes, "a page of {max_bytes} bytes had room for the next entry");
        }
    }
    let beyond = Interval::new(around(100), around(101));
    assert_eq!(pages(&*store, beyond, 1000).await, [[]], "an interval without entries has one empty page");
}

/// A scan goes on after the place its cursor names, be the key there or gone, and sees what was stored beyond it
/// in the meantime.
pub async fn a_scan_goes_on_after_a_key_that_is_gone(store: Arc<dyn Storage>) {
    let ids = [around(200), around(250), around(5), around(9)];
    let interval = Interval::new(around(190), around(10));
    let all: Vec<Stored> =
        ids.iter().flat_map(|id| ["a", "b", "c"].map(|key| value(*id, key, 1, "v"))).collect();
    apply(&*store, storing(all.clone())).await;
    for (n, stored) in all.iter().enumerate() {
        let after = Some(Cursor { id: stored.id, key: stored.key.clone() });
        let there = page(&*store, interval, after.clone(), usize::MAX).await;
        apply(&*store, deleting(vec![stored.clone()])).await;
        let gone = page(&*store, interval, after, usize::MAX).await;
        apply(&*store, Batch::one(stored.clone())).await;
        for found in [there, gone] {
            assert_same(&found.entries, &all[n + 1..], &format!("after {:?} at {}", stored.key, stored.id));
            assert_eq!(found.next, None, "the interval is done");
        }
    }

    let new = [value(ids[1], "b+", 1, "new"), value(ids[2], "A", 1, "new")];
    apply(&*store, storing(new.to_vec())).await;
    let after = Some(Cursor { id: ids[1], key: "b".into() });
    let found = page(&*store, interval, after, usize::MAX).await.entries;
    assert_same(&found[..3], &[new[0].clone(), all[5].clone(), new[1].clone()], "what was stored since");
}
