//! A store that stops storing.

use async_trait::async_trait;
use bytes::Bytes;
use chord::protocol::entry::Entry;
use chord::protocol::id::{Id, Interval};
use chord::storage::{Batch, Cursor, MemoryStorage, Page, Storage, StorageError, StorageStats};
use tokio::sync::watch;

/// An empty store in memory whose `apply` does not return any more once it hangs.
pub(crate) struct Hanging {
    store: MemoryStorage,
    hangs: watch::Sender<bool>,
}

impl Hanging {
    pub(crate) fn new() -> Hanging {
        Hanging { store: MemoryStorage::new(), hangs: watch::Sender::new(false) }
    }

    pub(crate) fn hang(&self) {
        self.hangs.send_replace(true);
    }
}

#[async_trait]
impl Storage for Hanging {
    async fn apply(&self, batch: Batch) -> Result<(), StorageError> {
        let mut hangs = self.hangs.subscribe();
        // The sender lives as long as this store.
        let _ = hangs.wait_for(|hangs| !hangs).await;
        self.store.apply(batch).await
    }

    async fn get(&self, id: &Id, key: &[u8]) -> Result<Option<Entry>, StorageError> {
        self.store.get(id, key).await
    }

    async fn scan(
        &self,
        interval: Interval,
        after: Option<Cursor>,
        max_bytes: usize,
    ) -> Result<Page, StorageError> {
        self.store.scan(interval, after, max_bytes).await
    }

    async fn load(&self) -> Result<Option<Bytes>, StorageError> {
        self.store.load().await
    }

    async fn stats(&self) -> StorageStats {
        self.store.stats().await
    }
}
