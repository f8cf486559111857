//! Locks that serialise the updates of one key.

use tokio::sync::{Mutex, MutexGuard};

use crate::protocol::id::Id;

const SHARDS: usize = 512;

/// A lock for each shard of the keys, by the low bits of their ids.
///
/// A writer holds its key's lock from its look at the group record until its write is stored. So whoever changed
/// the record and then passed [`KeyLocks::barrier`] knows that every write that saw the earlier one is stored.
pub(crate) struct KeyLocks {
    shards: Vec<Mutex<()>>,
}

impl KeyLocks {
    pub(crate) fn new() -> KeyLocks {
        KeyLocks { shards: (0..SHARDS).map(|_| Mutex::new(())).collect() }
    }

    /// Waits for the lock of `id`.
    pub(crate) async fn lock(&self, id: &Id) -> MutexGuard<'_, ()> {
        let shard = &self.shards[id.low_u64() as usize % SHARDS];
        match shard.try_lock() {
            Ok(guard) => guard,
            Err(_) => shard.lock().await,
        }
    }

    /// Waits until every lock that was held has been let go once.
    pub(crate) async fn barrier(&self) {
        for shard in &self.shards {
            drop(shard.lock().await);
        }
    }
}
