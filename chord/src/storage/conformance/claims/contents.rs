//! What a store keeps.

use std::sync::Arc;

use bytes::Bytes;

use crate::protocol::entry::Version;
use crate::protocol::id::{Id, Interval};
use crate::storage::conformance::support::*;
use crate::storage::{Batch, Storage, StorageStats};

/// A tombstone is an entry: it replaces, it is found, it is scanned, it keeps older values out.
pub async fn tombstones_are_stored_and_scanned(store: Arc<dyn Storage>) {
    let id = around(3);
    apply(&*store, Batch::one(tombstone(id, "never", 1))).await;
    apply(&*store, Batch::one(value(id, "once", 1, "value"))).await;
    apply(&*store, Batch::one(tombstone(id, "once", 2))).await;
    apply(&*store, Batch::one(value(id, "once", 1, "value"))).await;
    let expected = [tombstone(id, "never", 1), tombstone(id, "once", 2)];
    for stored in &expected {
        assert_holds(&*store, stored).await;
    }
    assert_same(&scan(&*store, EVERYTHING).await, &expected, "a scan");
    assert_eq!(get(&*store, id, b"unknown").await, None, "a key that was never stored has no entry");
}

/// Version, value and expiry come back from `get` and `scan` as they were stored, at their extremes too. An
/// entry whose time is over is an entry: expiry is the engine's business.
pub async fn entries_come_back_whole(store: Arc<dyn Storage>) {
    let mut expected = Vec::new();
    for (n, expires_at) in (0..).zip([None, Some(0), Some(1), Some(u64::MAX)]) {
        for (m, number) in (0..).zip([0, 1, u64::MAX]) {
            let mut stored = value(around(10 * n + m), vec![0, n, 0xff, m], 0, vec![m; 100]);
            stored.entry.version = Version { epoch: number, counter: u64::MAX - number };
            stored.entry.expires_at = expires_at;
            expected.push(stored);
        }
    }
    apply(&*store, storing(expected.clone())).await;
    for stored in &expected {
        assert_holds(&*store, stored).await;
    }
    assert_same(&scan(&*store, EVERYTHING).await, &expected, "a scan");
}

/// A key may be empty or have 64 KiB, a value may be empty or have 16 MiB, and an empty value is no tombstone.
pub async fn keys_and_values_may_be_empty_or_large(store: Arc<dyn Storage>) {
    let bytes =
        |len: usize, seed: u8| -> Bytes { (0..len).map(|i| (i >> 8) as u8 ^ i as u8 ^ seed).collect() };
    let mut expected = Vec::new();
    for (n, key_len) in (0..).zip([0, 1, 64 << 10]) {
        for (m, value_len) in (0..).zip([0, 1, 4096, 4097, 64 << 10, 1 << 20]) {
            expected.push(value(around(10 * n + m), bytes(key_len, m), 1, bytes(value_len, n)));
        }
    }
    expected.push(value(around(100), bytes(64 << 10, 100), 1, bytes(16 << 20, 100)));
    for stored in &expected {
        apply(&*store, Batch::one(stored.clone())).await;
    }
    for stored in &expected {
        let found = get(&*store, stored.id, &stored.key).await;
        assert!(found.as_ref() == Some(&stored.entry), "the entry at {} comes back", stored.id);
    }
    assert_same(&scan(&*store, EVERYTHING).await, &expected, "a scan");
}

/// Keys are told apart by id and key together: many keys at one id, as on a circle of 8 bits, and one key at
/// many ids.
pub async fn keys_that_share_an_id_are_kept_apart(store: Arc<dyn Storage>) {
    let ids = [0, 1, 255].map(Id::from_u128);
    let mut expected = Vec::new();
    for id in ids {
        for n in 0..60u8 {
            expected.push(value(id, vec![n / 8; usize::from(n % 8)], 1, [n].to_vec()));
        }
    }
    expected.sort_by(|a, b| (a.id, &a.key).cmp(&(b.id, &b.key)));
    expected.dedup_by(|a, b| (a.id, &a.key) == (b.id, &b.key));
    // Neither in order nor all in one batch.
    for n in 0..expected.len() {
        apply(&*store, Batch::one(expected[(n * 37) % expected.len()].clone())).await;
    }
    for stored in &expected {
        assert_holds(&*store, stored).await;
    }
    assert_same(&scan(&*store, EVERYTHING).await, &expected, "a scan");
    let (dropped, kept): (Vec<_>, Vec<_>) =
        expected.into_iter().partition(|stored| stored.key.len() % 2 == 1);
    apply(&*store, deleting(dropped)).await;
    assert_same(&scan(&*store, EVERYTHING).await, &kept, "a scan when every other key was dropped");
}

/// The state is none at first, then what the last batch with one carried; other batches leave it alone. An
/// empty state is a state.
pub async fn the_state_is_kept_until_it_is_replaced(store: Arc<dyn Storage>) {
    assert_eq!(load(&*store).await, None, "an empty store has no state");
    for state in ["first", "second, and longer", "", "last"] {
        let state = Some(Bytes::from(state));
        apply(&*store, Batch { state: state.clone(), ..storing(vec![value(around(1), "k", 1, "v")]) }).await;
        assert_eq!(load(&*store).await, state);
        apply(&*store, Batch::one(value(around(1), "k", 2, "v"))).await;
        apply(&*store, clearing(vec![Interval::whole()])).await;
        apply(&*store, Batch::default()).await;
        assert_eq!(load(&*store).await, state, "batches without a state leave it");
    }
    let large = Bytes::from(vec![5; 1 << 20]);
    apply(&*store, Batch { state: Some(large.clone()), ..Batch::default() }).await;
    assert!(load(&*store).await == Some(large), "a state of 1 MiB comes back");
}

/// While nothing is written the stats say exactly what the store holds.
pub async fn the_stats_count_what_is_there(store: Arc<dyn Storage>) {
    async fn assert_stats(store: &dyn Storage, entries: u64, tombstones: u64, bytes: u64) {
        assert_eq!(store.stats().await, StorageStats { entries, tombstones, bytes });
    }
    assert_stats(&*store, 0, 0, 0).await;
    let id = around(5);
    apply(&*store, storing(vec![value(id, "four", 1, "12345"), tombstone(id, "tomb", 1)])).await;
    assert_stats(&*store, 1, 1, 13).await;
    apply(&*store, Batch::one(value(id, "four", 1, "ignored"))).await;
    assert_stats(&*store, 1, 1, 13).await;
    apply(&*store, Batch::one(value(id, "four", 2, "1"))).await;
    assert_stats(&*store, 1, 1, 9).await;
    let mut expired = value(id, "tomb", 2, "12");
    expired.entry.expires_at = Some(1);
    apply(&*store, Batch::one(expired)).await;
    assert_stats(&*store, 2, 0, 11).await;
    apply(&*store, Batch::one(tombstone(id, "four", 3))).await;
    assert_stats(&*store, 1, 1, 10).await;
    apply(&*store, deleting(vec![tombstone(id, "four", 3)])).await;
    assert_stats(&*store, 1, 0, 6).await;
    apply(&*store, clearing(vec![Interval::whole()])).await;
    assert_stats(&*store, 0, 0, 0).await;
}
