//! One shard: its entries, found by a hash and walked in order, and their counts.
//!
//! The hash table is what makes a get nearly as cheap as in a bare map (an ordered map alone takes twice as long
//! among a million keys); the set of ids beside it is touched only when an id appears, goes, or is scanned.

use std::collections::{BTreeSet, HashMap, hash_map};
use std::ops::Bound;
use std::slice;

use bytes::Bytes;

use crate::protocol::entry::Entry;
use crate::protocol::id::{Id, Interval};
use crate::storage::{Cursor, StorageStats, Stored};

/// A run of ids that does not pass zero.
pub(super) type Run = (Bound<Id>, Bound<Id>);

/// The runs of `interval`, clockwise from its start: one, or two when it passes zero.
pub(super) fn runs(interval: &Interval) -> Vec<Run> {
    let (after, upto) = (Bound::Excluded(interval.after), Bound::Included(interval.upto));
    if interval.contains(&Id::ZERO) {
        vec![(after, Bound::Unbounded), (Bound::Unbounded, upto)]
    } else {
        vec![(after, upto)]
    }
}

#[derive(Default)]
pub(super) struct Shard {
    places: HashMap<Id, Place>,
    /// The ids of `places`.
    order: BTreeSet<Id>,
    counts: StorageStats,
}

/// The entries at one id, sorted by key. On circles of more than a few bits there is hardly ever a second one;
/// on a tiny circle putting a new key costs a move of its neighbours.
enum Place {
    One(Item),
    Many(Vec<Item>),
}

/// A key and its entry.
pub(super) struct Item {
    key: Bytes,
    entry: Entry,
}

impl Shard {
    pub(super) fn counts(&self) -> StorageStats {
        self.counts
    }

    /// Ids that its table has memory for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.places.capacity()
    }

    pub(super) fn get(&self, id: &Id, key: &[u8]) -> Option<&Entry> {
        let items = self.places.get(id)?.items();
        let index = find(items, key).ok()?;
        Some(&items[index].entry)
    }

    /// Stores `stored` unless the key is there with the same or a newer version. Returns what is no longer
    /// needed.
    pub(super) fn put(&mut self, stored: Stored) -> Option<Item> {
        let item = Item { key: stored.key, entry: stored.entry };
        let place = match self.places.entry(stored.id) {
            hash_map::Entry::Vacant(vacant) => {
                self.counts = item.added_to(self.counts);
                self.order.insert(*vacant.key());
                vacant.insert(Place::One(item));
                return None;
            }
            hash_map::Entry::Occupied(occupied) => occupied.into_mut(),
        };
        match find(place.items(), &item.key) {
            Ok(index) => {
                let there = &mut place.items_mut()[index];
                if item.entry.version <= there.entry.version {
                    return Some(item);
                }
                self.counts = item.added_to(there.taken_from(self.counts));
                Some(std::mem::replace(there, item))
            }
            Err(index) => {
                self.counts = item.added_to(self.counts);
                place.insert(index, item);
                None
            }
        }
    }

    /// Drops the key of `stored` if it is at that very version, and returns it.
    pub(super) fn remove(&mut self, stored: &Stored) -> Option<Item> {
        let hash_map::Entry::Occupied(mut occupied) = self.places.entry(stored.id) else {
            return None;
        };
        let index = find(occupied.get().items(), &stored.key).ok()?;
        if occupied.get().items()[index].entry.version != stored.entry.version {
            return None;
        }
        let item = match occupied.get_mut() {
            Place::Many(items) if items.len() > 1 => items.remove(index),
            _ => {
                self.order.remove(&stored.id);
                occupied.remove().into_items().pop()?
            }
        };
        self.counts = item.taken_from(self.counts);
        Some(item)
    }

    /// Moves the entries of `interval` to `garbage`.
    pub(super) fn clear(&mut self, interval: &Interval, garbage: &mut Vec<Item>) {
        for run in runs(interval) {
            let ids: Vec<Id> = self.order.range(run).copied().collect();
            for id in ids {
                self.order.remove(&id);
                for item in self.places.remove(&id).map_or(Vec::new(), Place::into_items) {
                    self.counts = item.taken_from(self.counts);
                    garbage.push(item);
                }
            }
        }
        if self.places.len() < self.places.capacity() / 4 {
            self.places.shrink_to_fit();
        }
    }

    /// The entries of `run` in order, from the first one past `after`.
    pub(super) fn walk<'a>(
        &'a self,
        run: Run,
        after: Option<&'a Cursor>,
    ) -> impl Iterator<Item = (&'a Id, &'a Item)> {
        let start = after.map_or(run.0, |cursor| Bound::Included(cursor.id));
        self.order.range((start, run.1)).flat_map(move |id| {
            let items = self.places.get(id).map_or(&[][..], Place::items);
            let seen = match after {
                Some(cursor) if cursor.id == *id => items.partition_point(|item| item.key <= cursor.key),
                _ => 0,
            };
            items[seen..].iter().map(move |item| (id, item))
        })
    }
}

impl Place {
    fn items(&self) -> &[Item] {
        match self {
            Place::One(item) => slice::from_ref(item),
            Place::Many(items) => items,
        }
    }

    fn items_mut(&mut self) -> &mut [Item] {
        match self {
            Place::One(item) => slice::from_mut(item),
            Place::Many(items) => items,
        }
    }

    fn into_items(self) -> Vec<Item> {
        match self {
            Place::One(item) => vec![item],
            Place::Many(items) => items,
        }
    }

    fn insert(&mut self, index: usize, item: Item) {
        let mut items = std::mem::replace(self, Place::Many(Vec::new())).into_items();
        items.insert(index, item);
        *self = Place::Many(items);
    }
}

impl Item {
    pub(super) fn key(&self) -> &Bytes {
        &self.key
    }

    pub(super) fn stored_at(&self, id: Id) -> Stored {
        Stored { id, key: self.key.clone(), entry: self.entry.clone() }
    }

    fn bytes(&self) -> u64 {
        (self.key.len() + self.entry.value.as_ref().map_or(0, Bytes::len)) as u64
    }

    fn added_to(&self, counts: StorageStats) -> StorageStats {
        let live = u64::from(self.entry.value.is_some());
        StorageStats {
            entries: counts.entries + live,
            tombstones: counts.tombstones + 1 - live,
            bytes: counts.bytes + self.bytes(),
        }
    }

    fn taken_from(&self, counts: StorageStats) -> StorageStats {
        let live = u64::from(self.entry.value.is_some());
        StorageStats {
            entries: counts.entries - live,
            tombstones: counts.tombstones - (1 - live),
            bytes: counts.bytes - self.bytes(),
        }
    }
}

fn find(items: &[Item], key: &[u8]) -> Result<usize, usize> {
    items.binary_search_by(|item| item.key.as_ref().cmp(key))
}
