//! Where a host keeps its entries: the trait [`Storage`] and the store in memory.

mod clear;
#[cfg(any(test, feature = "conformance"))]
#[allow(clippy::disallowed_methods, reason = "the suite runs on a clock")]
pub mod conformance;
#[cfg(any(test, feature = "conformance"))]
#[allow(clippy::disallowed_methods, reason = "its delays are its purpose")]
pub mod faulty;
mod memory;

use async_trait::async_trait;
use bytes::Bytes;

pub use self::clear::clear_some;
pub use self::memory::MemoryStorage;
use crate::protocol::entry::Entry;
use crate::protocol::id::{Id, Interval};

/// A change of a store, applied as one: all of it or nothing, in this order.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Every entry whose id lies in one of these intervals is dropped. Where being seen half done harms nobody,
    /// [`clear_some`] spares others the wait for a large one.
    pub clear: Vec<Interval>,
    /// Each is stored unless the key is there with the same or a newer version.
    pub entries: Vec<Stored>,
    /// Keys to be dropped, if they still are at this very version (a tombstone that was collected, for instance).
    pub deletes: Vec<Stored>,
    /// The engine's own state (group records, counters), opaque to the store; replaces what was there. For durable hosts:
    /// this version of the engine keeps none in its store.
    pub state: Option<Bytes>,
}

impl Batch {
    /// A batch that stores one entry.
    pub fn one(stored: Stored) -> Batch {
        Batch { entries: vec![stored], ..Batch::default() }
    }
}

/// A key with the id it hashes to and what is stored for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The key's id.
    pub id: Id,
    /// The key.
    pub key: Bytes,
    /// Its entry.
    pub entry: Entry,
}

impl Stored {
    /// Bytes that this counts for in a page of [`Storage::scan`].
    pub fn len_bytes(&self) -> usize {
        self.key.len() + self.entry.value.as_ref().map_or(0, Bytes::len) + 64
    }
}

/// One page of a scan.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Entries in the store's scan order, tombstones included.
    pub entries: Vec<Stored>,
    /// Where to go on; `None` when the interval is done.
    pub next: Option<Cursor>,
}

/// A place in a scan: everything up to this key was seen. Ordered as the interval is: clockwise from its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The last id seen.
    pub id: Id,
    /// The last key seen.
    pub key: Bytes,
}

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StorageStats {
    /// Keys with a value (expired or not).
    pub entries: u64,
    /// Keys with a tombstone.
    pub tombstones: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// A store that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct StorageError(pub String);

/// A host's store.
///
/// What an implementation MUST do (tested by the public suite in `storage::conformance`, behind the feature
/// `conformance`, which a store of your own can run):
/// - `apply` is atomic and in force when it returns; a durable store has made it durable by then. After an error
///   either all or nothing of it is in force, and applying it again is harmless.
/// - Atomic means to readers, too: who has seen one change of a batch sees the others from then on, and a page of
///   a scan shows all of them or none.
/// - An entry never replaces one of the same or a newer version ([`Batch::entries`]), so that applying a batch
///   twice, or two batches in either order, gives the same.
/// - `get` and `scan` see every batch that was applied before they were called. A scan that runs beside writes
///   returns each key that was there throughout exactly once.
/// - Dropping a future of `apply` leaves all or nothing of it in force.
/// - Calls come concurrently from many tasks.
/// - Keys and values may be empty, and as long as the engine's configuration allows. Any number of keys may have
///   one id.
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// Applies `batch`.
    async fn apply(&self, batch: Batch) -> Result<(), StorageError>;

    /// The entry of `key`, a tombstone included.
    async fn get(&self, id: &Id, key: &[u8]) -> Result<Option<Entry>, StorageError>;

    /// Entries of `interval`, clockwise from its start and by key within an id, beginning after `after`, which is
    /// what [`Page::next`] said for the same interval. The key it names may be gone by now.
    ///
    /// A page holds as many entries as fit into `max_bytes` ([`Stored::len_bytes`]), and at least one, if there is
    /// one.
    async fn scan(
        &self,
        interval: Interval,
        after: Option<Cursor>,
        max_bytes: usize,
    ) -> Result<Page, StorageError>;

    /// The engine's own state, as the last batch that carried one left it. This version of the engine does not ask for it:
    /// a node begins with an empty store.
    async fn load(&self) -> Result<Option<Bytes>, StorageError>;

    /// What the store holds. May be approximate while writes run.
    async fn stats(&self) -> StorageStats;
}
