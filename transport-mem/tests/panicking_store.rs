//! A store that panics: its panics are errors of single calls, and the node goes on.

mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chord::protocol::entry::Entry;
use chord::protocol::id::{Id, Interval};
use chord::storage::{Batch, Cursor, MemoryStorage, Page, Storage, StorageError, StorageStats};
use chord::{Error, Expiry, PutOptions};
use chord_transport_mem::testkit::Cluster;
use tokio::time::sleep;
use waiting::soon;

/// Panics in every call while it is told to.
#[derive(Default)]
struct Panicking {
    store: MemoryStorage,
    panics: AtomicBool,
}

impl Panicking {
    fn panics(&self, panics: bool) {
        self.panics.store(panics, Ordering::Relaxed);
    }

    fn call(&self) -> &MemoryStorage {
        assert!(!self.panics.load(Ordering::Relaxed), "out of disks");
        &self.store
    }
}

#[async_trait]
impl Storage for Panicking {
    async fn apply(&self, batch: Batch) -> Result<(), StorageError> {
        self.call().apply(batch).await
    }

    async fn get(&self, id: &Id, key: &[u8]) -> Result<Option<Entry>, StorageError> {
        self.call().get(id, key).await
    }

    async fn scan(
        &self,
        interval: Interval,
        after: Option<Cursor>,
        max_bytes: usize,
    ) -> Result<Page, StorageError> {
        self.call().scan(interval, after, max_bytes).await
    }

    async fn load(&self) -> Result<Option<Bytes>, StorageError> {
        self.call().load().await
    }

    async fn stats(&self) -> StorageStats {
        self.call().stats().await
    }
}

/// One host whose store may panic; others that join it have stores in memory.
async fn start() -> (Cluster, Arc<Panicking>) {
    let store = Arc::new(Panicking::default());
    let first = store.clone();
    let of = move |name: &str| -> Arc<dyn Storage> {
        if name == "n0" { first.clone() } else { Arc::new(MemoryStorage::new()) }
    };
    (Cluster::builder().storage(of).start(1).await, store)
}

fn says_so<T>(result: Result<T, Error>) -> bool {
    match result {
        Err(Error::Storage(reason) | Error::Indeterminate { reason, .. }) => {
            reason.contains("panicked: out of disks")
        }
        _ => false,
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_store_is_an_error_of_the_operation_and_keeps_no_lock() {
    let (cluster, store) = start().await;
    let node = cluster.node(0);
    node.put("key", "first").await.expect("the store works");
    store.panics(true);
    assert!(says_so(node.get("key").await));
    assert!(says_so(node.put("key", "second").await));
    assert!(node.count().await.is_err());
    store.panics(false);
    node.put("key", "third").await.expect("the store works again");
    assert_eq!(node.get("key").await.expect("the store works again"), Some("third".into()));
}

#[tokio::test(start_paused = true)]
async fn the_sweep_goes_on_after_the_store_has_panicked() {
    let (cluster, store) = start().await;
    let options = PutOptions { expiry: Expiry::InMillis(2_000), ..PutOptions::default() };
    cluster.node(0).put_with("key", "value", options).await.expect("the store works");
    store.panics(true);
    sleep(Duration::from_secs(5)).await;
    store.panics(false);
    soon("it is collected", async || store.store.stats().await == StorageStats::default()).await;
}

#[tokio::test(start_paused = true)]
async fn a_hand_off_during_which_the_store_panics_begins_anew() {
    let (cluster, store) = start().await;
    let keys: Vec<String> = (0..200).map(|i| format!("key {i}")).collect();
    for key in &keys {
        cluster.node(0).put(key, "value").await.expect("the store works");
    }
    store.panics(true);
    cluster.join("n1").await.expect("it joins");
    sleep(Duration::from_secs(5)).await;
    assert!(cluster.node(1).neighbourhood().served.is_empty(), "nothing could be copied");
    store.panics(false);
    cluster.settle().await;
    for key in &keys {
        assert_eq!(cluster.node(1).get(key).await.expect("the ring serves"), Some("value".into()));
    }
}
