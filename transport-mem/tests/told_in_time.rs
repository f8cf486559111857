//! Another host's "not executed" arrives before its asker stops waiting, for each key of many on its own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chord::storage::faulty::{DelayingFailing, Faults, Hang};
use chord::storage::{MemoryStorage, Storage};
use chord::{Config, Error, Receipt};
use chord_transport_mem::Link;
use chord_transport_mem::testkit::{Cluster, Node};
use tokio::time::Instant;

type Store = DelayingFailing<MemoryStorage>;

/// Two hosts that are 20 ms from each other, of which `n0` has the store beside them.
async fn start() -> (Cluster, Arc<Store>) {
    let store = Arc::new(DelayingFailing::new(Arc::new(MemoryStorage::new()), Faults::default()));
    let hung = store.clone();
    let of = move |name: &str| -> Arc<dyn Storage> {
        if name == "n0" { hung.clone() } else { Arc::new(MemoryStorage::new()) }
    };
    let link = Link::with_latency(Duration::from_millis(20));
    let cluster = Cluster::builder().link(link).storage(of).start(2).await;
    cluster.settle().await;
    (cluster, store)
}

/// Keys that `n0` answers for.
async fn keys(count: usize, node: &Node) -> Vec<String> {
    let mut keys = Vec::new();
    for i in 0.. {
        let key = format!("key {i}");
        if node.explain(&key).await.expect("the ring serves").owner == "n0" {
            keys.push(key);
        }
        if keys.len() == count {
            break;
        }
    }
    keys
}

/// What `operation` comes to, which must be by its deadline.
async fn in_time<R>(operation: impl Future<Output = R>) -> R {
    let started = Instant::now();
    let result = operation.await;
    let latest = Config::default().operation_deadline;
    assert!(started.elapsed() <= latest, "it took {:?}", started.elapsed());
    result
}

fn is_indeterminate(result: &Result<Receipt, Error>) -> bool {
    matches!(result, Err(Error::Indeterminate { .. }))
}

fn is_not_executed(result: &Result<Receipt, Error>) -> bool {
    matches!(result, Err(Error::TryAgain { .. }))
}

fn entries(keys: &[String]) -> Vec<(&String, Bytes)> {
    keys.iter().map(|key| (key, Bytes::from_static(b"value"))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_write_that_waited_in_vain_at_another_host_was_not_executed() {
    let (cluster, store) = start().await;
    let node = cluster.node(1);
    let key = &keys(1, &node).await[0];
    store.hang(Hang::Writes);
    let first = in_time(node.put(key, "first")).await;
    assert!(is_indeterminate(&first), "{first:?}");
    let second = in_time(node.put(key, "second")).await;
    assert!(is_not_executed(&second), "{second:?}");
    store.hang(Hang::Nothing);
    let third = node.put(key, "third").await.expect("the store works");
    assert!(third.existed, "it found what was stored late");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_waits_does_not_use_up_the_time_of_the_others_of_its_message() {
    let (cluster, store) = start().await;
    let node = cluster.node(1);
    let keys = keys(100, &node).await;
    store.hang(Hang::WritesOf(keys[0].clone().into()));
    let results = in_time(node.put_many(&entries(&keys))).await;
    assert!(is_indeterminate(&results[0]), "{:?}", results[0]);
    let stored = results.iter().filter(|result| result.is_ok()).count();
    assert!(stored >= 95, "{stored} of 99, of which one in 512 shares the lock");
    assert!(results[1..].iter().all(|result| result.is_ok() || is_not_executed(result)));
}

#[tokio::test(start_paused = true)]
async fn what_was_not_begun_by_the_deadline_of_its_message_is_not_executed_later() {
    let (cluster, store) = start().await;
    let node = cluster.node(1);
    let keys = keys(100, &node).await;
    store.hang(Hang::Everything);
    for result in in_time(node.put_many(&entries(&keys))).await {
        assert!(is_not_executed(&result), "{result:?}");
    }
    store.hang(Hang::Nothing);
    assert_eq!(node.count().await.expect("both answer"), 0);
}
