//! The store in memory: sharded ordered maps behind ordinary locks.

mod scan;
mod shard;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use self::shard::Shard;
use super::{Batch, Cursor, Page, Storage, StorageError, StorageStats, Stored};
use crate::protocol::entry::Entry;
use crate::protocol::id::{Id, Interval};

/// Shards of a store. A page of a scan visits all of them, and batches of several entries lock many; a get does
/// not care. So as many as keep writers out of each other's way and a growing table's pause short.
const SHARDS: usize = 256;

/// Values up to this many bytes are copied. A larger one stays in the buffer it came in, which then lives as
/// long as the value does. The engine hands over none that is less than half of the body it came in.
const COPIED_VALUE_BYTES: usize = 4096;

/// A store that keeps everything in memory and loses it with the process.
///
/// Entries lie in shards by the low bits of their ids (a host owns arcs of the circle, so the high bits would
/// crowd them together). It never fails and never waits for anything but its own locks,
/// none of which is held across an `.await`.
///
/// What it keeps does not pin the caller's buffers: keys and small values are copied into a buffer of their own.
/// What `get` and `scan` return shares that buffer.
///
/// A batch of one entry touches one shard. A larger one locks every shard it touches for as long as it takes,
/// about a microsecond an entry, and [`Batch::clear`] locks all of them; who can do without the atomicity keeps
/// readers fast by applying smaller batches.
pub struct MemoryStorage {
    /// Taken before any shard: shared by a page of a scan, which visits shards one by one, and exclusively by a
    /// batch of several changes, so that no page shows a part of it. Guards no data.
    pages: RwLock<()>,
    /// Taken in ascending order by who needs several. Each guards its own entries.
    shards: Box<[RwLock<Shard>]>,
    /// Taken last. Guards the engine's state.
    state: RwLock<Option<Bytes>>,
}

impl MemoryStorage {
    /// An empty store.
    pub fn new() -> MemoryStorage {
        MemoryStorage {
            pages: RwLock::default(),
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            state: RwLock::default(),
        }
    }

    fn apply_one(&self, stored: Stored) {
        let stored = owned(stored);
        // The lock is released before what was replaced is dropped.
        let replaced = write(&self.shards[shard_of(&stored.id)]).put(stored);
        drop(replaced);
    }

    fn apply_all(&self, batch: Batch) {
        let entries: Vec<Stored> = batch.entries.into_iter().map(owned).collect();
        let touched: BTreeSet<usize> = if batch.clear.is_empty() {
            entries.iter().chain(&batch.deletes).map(|stored| shard_of(&stored.id)).collect()
        } else {
            (0..SHARDS).collect()
        };
        // Declared before the locks, so that it is freed after their release.
        let mut garbage = Vec::new();
        let _no_page = (!touched.is_empty()).then(|| write(&self.pages));
        let mut shards: BTreeMap<usize, RwLockWriteGuard<'_, Shard>> =
            touched.into_iter().map(|index| (index, write(&self.shards[index]))).collect();
        let locked = "every shard of the batch is locked";
        for interval in &batch.clear {
            shards.values_mut().for_each(|shard| shard.clear(interval, &mut garbage));
        }
        for stored in entries {
            let shard = shards.get_mut(&shard_of(&stored.id)).expect(locked);
            garbage.extend(shard.put(stored));
        }
        for stored in &batch.deletes {
            let shard = shards.get_mut(&shard_of(&stored.id)).expect(locked);
            garbage.extend(shard.remove(stored));
        }
        if let Some(state) = batch.state {
            *write(&self.state) = Some(Bytes::copy_from_slice(&state));
        }
    }
}

impl Default for MemoryStorage {
    fn default() -> Self {
        MemoryStorage::new()
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn apply(&self, mut batch: Batch) -> Result<(), StorageError> {
        let single = batch.entries.len() == 1
            && batch.clear.is_empty()
            && batch.deletes.is_empty()
            && batch.state.is_none();
        match batch.entries.pop_if(|_| single) {
            Some(stored) => self.apply_one(stored),
            None => self.apply_all(batch),
        }
        Ok(())
    }

    async fn get(&self, id: &Id, key: &[u8]) -> Result<Option<Entry>, StorageError> {
        Ok(read(&self.shards[shard_of(id)]).get(id, key).cloned())
    }

    async fn scan(
        &self,
        interval: Interval,
        after: Option<Cursor>,
        max_bytes: usize,
    ) -> Result<Page, StorageError> {
        let _no_batch = read(&self.pages);
        Ok(scan::page(&self.shards, interval, after, max_bytes))
    }

    async fn load(&self) -> Result<Option<Bytes>, StorageError> {
        Ok(read(&self.state).clone())
    }

    async fn stats(&self) -> StorageStats {
        self.shards.iter().fold(StorageStats::default(), |sum, shard| {
            let counts = read(shard).counts();
            StorageStats {
                entries: sum.entries + counts.entries,
                tombstones: sum.tombstones + counts.tombstones,
                bytes: sum.bytes + counts.bytes,
            }
        })
    }
}

fn shard_of(id: &Id) -> usize {
    // The remainder is below SHARDS, so it fits.
    (id.low_u64() % SHARDS as u64) as usize
}

/// `stored` without the buffers it came in: the key and a small value share one of their own.
fn owned(stored: Stored) -> Stored {
    let Stored { id, key, entry } = stored;
    let small = entry.value.as_ref().filter(|value| value.len() <= COPIED_VALUE_BYTES);
    let mut buffer = BytesMut::with_capacity(key.len() + small.map_or(0, Bytes::len));
    buffer.extend_from_slice(&key);
    buffer.extend_from_slice(small.map_or(&[], |value| value));
    let mut buffer = buffer.freeze();
    let value = match small {
        Some(_) => Some(buffer.split_off(key.len())),
        None => entry.value,
    };
    Stored { id, key: buffer, entry: Entry { value, ..entry } }
}

// Nothing panics while it holds a lock, and if it did, every shard would be whole: a poisoned lock is a lock.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
