//! Locks that serialise the updates of one key.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, timeout_at};

use crate::protocol::id::Id;

const SHARDS: usize = 512;

/// Holds a key's lock until it is dropped. A task of its own may hold it on.
pub(crate) type KeyLock = OwnedMutexGuard<()>;

/// A lock for each shard of the keys, by the low bits of their ids.
///
/// A writer holds its key's lock from its look at the group record until its write is stored. So whoever changed
/// the record and then passed [`KeyLocks::barrier`] knows that every write that saw the earlier one is stored.
///
/// A write that hangs in the store keeps its lock for as long as that takes, whatever becomes of its caller: later
/// writes of the shard end by their deadlines with nothing done, and the barrier is not passed. Whoever waits at the
/// barrier must not make others wait longer than they would for a lock: a hand-off that holds writes back gives up.
pub(crate) struct KeyLocks {
    shards: Vec<Arc<Mutex<()>>>,
}

impl KeyLocks {
    pub(crate) fn new() -> KeyLocks {
        KeyLocks { shards: (0..SHARDS).map(|_| Arc::default()).collect() }
    }

    /// The lock of `id`, if nobody holds it.
    pub(crate) fn try_lock(&self, id: &Id) -> Option<KeyLock> {
        self.shard(id).try_lock_owned().ok()
    }

    /// Waits for the lock of `id` until `deadline`; `None` if it is not to be had by then.
    pub(crate) async fn lock_by(&self, id: &Id, deadline: Instant) -> Option<KeyLock> {
        match self.try_lock(id) {
            Some(lock) => Some(lock),
            None => Box::pin(timeout_at(deadline, self.shard(id).lock_owned())).await.ok(),
        }
    }

    /// Waits until every lock that was held has been let go once.
    pub(crate) async fn barrier(&self) {
        for shard in &self.shards {
            drop(shard.lock().await);
        }
    }

    fn shard(&self, id: &Id) -> Arc<Mutex<()>> {
        self.shards[id.low_u64() as usize % SHARDS].clone()
    }
}
