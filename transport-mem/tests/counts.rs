//! What nodes count: keys where they are served, operations where they begin.

mod waiting;

use bytes::Bytes;
use chord_transport_mem::testkit::Cluster;
use waiting::soon;

#[tokio::test(start_paused = true)]
async fn copies_that_a_newcomer_learns_are_not_counted_before_it_serves_them() {
    let slow = |config: &mut chord::Config| config.sync_bytes_per_second = Some(256 << 10);
    let cluster = Cluster::builder().configure(slow).start(1).await;
    let node = cluster.node(0);
    for i in 0..64 {
        node.put(format!("key {i}"), vec![0; 32 << 10]).await.expect("the store works");
    }
    let newcomer = cluster.join("n1").await.expect("it joins");
    soon("copies arrive", async || cluster.storage("n1").stats().await.entries > 0).await;
    assert!(newcomer.neighbourhood().served.is_empty());
    assert_eq!(newcomer.status().await.keys, 0);
    assert_eq!(node.status().await.keys, 64);
    assert_eq!(newcomer.count().await.expect("both hosts answer"), 64);
    cluster.settle().await;
    assert!(newcomer.status().await.keys > 0);
    assert_eq!(newcomer.count().await.expect("both hosts answer"), 64);
}

#[tokio::test(start_paused = true)]
async fn every_operation_is_counted_once_where_it_begins_whichever_way_it_takes() {
    let cluster = Cluster::builder().start(3).await;
    let node = cluster.node(0);
    let before = node.status().await.counters.operations;
    let keys: Vec<String> = (0..100).map(|i| format!("key {i}")).collect();
    for key in &keys {
        node.put(key, "value").await.expect("the ring serves");
        node.get(key).await.expect("the ring serves");
    }
    let entries: Vec<(&String, Bytes)> = keys.iter().map(|key| (key, Bytes::from("value"))).collect();
    assert!(node.put_many(&entries).await.iter().all(Result::is_ok));
    assert!(node.get_many(&keys).await.iter().all(Result::is_ok));
    assert_eq!(node.status().await.counters.operations - before, 400);
}
