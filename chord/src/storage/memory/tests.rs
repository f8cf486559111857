use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt as _;
use proptest::prelude::*;

use super::*;
use crate::protocol::entry::Version;

/// Futures of this store are ready at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("memory never waits")
}

fn stored(id: Id, key: &[u8], counter: u64, value: Option<Bytes>) -> Stored {
    let version = Version { epoch: 1, counter };
    Stored { id, key: Bytes::copy_from_slice(key), entry: Entry { version, value, expires_at: None } }
}

/// Bytes whose buffer lives as long as the counter's second handle.
fn tracked(len: usize) -> (Bytes, Arc<Vec<u8>>) {
    struct Owner(Arc<Vec<u8>>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    let buffer = Arc::new(vec![7; len]);
    (Bytes::from_owner(Owner(Arc::clone(&buffer))), buffer)
}

#[test]
fn keys_states_and_small_values_do_not_keep_the_buffer_they_came_in() {
    let store = MemoryStorage::new();
    let (bytes, buffer) = tracked(1 << 20);
    let small = bytes.slice(100..100 + COPIED_VALUE_BYTES);
    let first = Stored { key: bytes.slice(..70), ..stored(Id::ZERO, b"", 1, Some(small)) };
    let second = Stored { key: bytes.slice(..80), ..stored(Id::ZERO, b"", 1, None) };
    now(store.apply(Batch::one(first.clone()))).unwrap();
    let state = Some(bytes.slice(5..10));
    now(store.apply(Batch { entries: vec![second], state, ..Batch::default() })).unwrap();
    assert_eq!(now(store.get(&Id::ZERO, &first.key)).unwrap(), Some(first.entry.clone()));
    drop((bytes, first));
    assert_eq!(Arc::strong_count(&buffer), 1, "something in the store keeps the buffer");
}

#[test]
fn a_large_value_is_not_copied() {
    let store = MemoryStorage::new();
    let value = Bytes::from(vec![1; COPIED_VALUE_BYTES + 1]);
    now(store.apply(Batch::one(stored(Id::ZERO, b"k", 1, Some(value.clone()))))).unwrap();
    let found = now(store.get(&Id::ZERO, b"k")).unwrap().unwrap().value.unwrap();
    assert_eq!(found.as_ptr(), value.as_ptr());
}

#[test]
fn a_cleared_store_gives_its_tables_back() {
    let store = MemoryStorage::new();
    let entries = (0..10_000u128).map(|n| stored(Id::from_u128(n), b"k", 1, None)).collect();
    now(store.apply(Batch { entries, ..Batch::default() })).unwrap();
    let clear = vec![Interval::new(Id::ZERO, Id::from_u128(9_999))];
    now(store.apply(Batch { clear, ..Batch::default() })).unwrap();
    assert_eq!(now(store.stats()).tombstones, 1, "id 0 lies before the interval");
    assert!(store.shards.iter().all(|shard| read(shard).capacity() < 10), "a table kept its size");
}

/// The store as one map.
#[derive(Default)]
struct Model(BTreeMap<(Id, Bytes), Entry>);

impl Model {
    fn apply(&mut self, batch: Batch) {
        self.0.retain(|(id, _), _| !batch.clear.iter().any(|interval| interval.contains(id)));
        for Stored { id, key, entry } in batch.entries {
            let there = self.0.entry((id, key)).or_insert_with(|| entry.clone());
            if there.version < entry.version {
                *there = entry;
            }
        }
        for Stored { id, key, entry } in batch.deletes {
            let place = (id, key);
            if self.0.get(&place).is_some_and(|there| there.version == entry.version) {
                self.0.remove(&place);
            }
        }
    }

    /// Clockwise from the interval's start: what lies past it, then what lies past zero.
    fn scan(&self, interval: Interval) -> Vec<Stored> {
        let inside = self.0.iter().filter(|((id, _), _)| interval.contains(id));
        let (past_zero, first): (Vec<_>, Vec<_>) = inside.partition(|((id, _), _)| *id <= interval.after);
        let clockwise = first.into_iter().chain(past_zero);
        clockwise
            .map(|((id, key), entry)| Stored { id: *id, key: key.clone(), entry: entry.clone() })
            .collect()
    }

    fn stats(&self) -> StorageStats {
        let live = self.0.values().filter(|entry| entry.value.is_some()).count();
        let len = |(place, entry): (&(Id, Bytes), &Entry)| {
            place.1.len() + entry.value.as_ref().map_or(0, Bytes::len)
        };
        StorageStats {
            entries: live as u64,
            tombstones: (self.0.len() - live) as u64,
            bytes: self.0.iter().map(len).sum::<usize>() as u64,
        }
    }
}

/// A few ids at both ends of the circle, and some that share a shard.
fn any_id() -> impl Strategy<Value = Id> {
    prop_oneof![
        (0..6u128).prop_map(Id::from_u128),
        (0..3u128).prop_map(|n| Id::from_u128(n * SHARDS as u128)),
        (250..=255u8).prop_map(|last| {
            let mut bytes = [0xff; 20];
            bytes[19] = last;
            Id::from_bytes(bytes)
        }),
    ]
}

fn any_interval() -> impl Strategy<Value = Interval> {
    (any_id(), any_id()).prop_map(|(after, upto)| Interval::new(after, upto))
}

fn any_stored() -> impl Strategy<Value = Stored> {
    (any_id(), 0..4usize, 1..5u64).prop_map(|(id, key, counter)| {
        // A version names one write of a key, so the value follows from it.
        let value = (counter % 3 > 0).then(|| vec![counter as u8; 40 * counter as usize]);
        stored(id, &b"abc"[..key], counter, value.map(Bytes::from))
    })
}

fn any_batch() -> impl Strategy<Value = Batch> {
    let clear = prop_oneof![
        6 => Just(Vec::new()),
        1 => proptest::collection::vec(any_interval(), 1..3),
    ];
    let entries = proptest::collection::vec(any_stored(), 0..20);
    let deletes = proptest::collection::vec(any_stored(), 0..4);
    (clear, entries, deletes).prop_map(|(clear, entries, deletes)| Batch {
        clear,
        entries,
        deletes,
        state: None,
    })
}

proptest! {
    #[test]
    fn the_store_does_what_one_ordered_map_would(
        batches in proptest::collection::vec(any_batch(), 1..8),
        interval in any_interval(),
        max_bytes in prop_oneof![Just(0usize), 1..2_000usize, Just(usize::MAX)],
    ) {
        let (store, mut model) = (MemoryStorage::new(), Model::default());
        for batch in batches {
            now(store.apply(batch.clone())).unwrap();
            model.apply(batch);
        }
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = now(store.scan(interval, after, max_bytes)).unwrap();
            let bytes: usize = page.entries.iter().map(Stored::len_bytes).sum();
            prop_assert!(bytes <= max_bytes || page.entries.len() == 1);
            found.extend(page.entries);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        prop_assert_eq!(found, model.scan(interval));
        prop_assert_eq!(now(store.stats()), model.stats());
        for ((id, key), entry) in &model.0 {
            prop_assert_eq!(now(store.get(id, key)).unwrap(), Some(entry.clone()));
        }
    }
}
