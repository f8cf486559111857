//! Counting the keys of a ring: all of them, or an error.

mod waiting;

use std::time::Duration;

use chord::Error;
use chord_transport_mem::testkit::Cluster;
use tokio::time::sleep;
use waiting::soon;

const KEYS: u64 = 60;

async fn cluster_with_keys(hosts: usize) -> Cluster {
    let cluster = Cluster::of(hosts).await;
    for i in 0..KEYS {
        cluster.client(0).put(&format!("key{i}"), "value").await.expect("the ring serves");
    }
    cluster
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_host_owned_is_never_left_out_of_a_count() {
    let cluster = cluster_with_keys(3).await;
    let node = cluster.named("n0");
    assert_eq!(node.count().await.expect("every host answers"), KEYS);
    cluster.crash("n1").await;
    // The ring closes behind a dead host within seconds; what it owned stays out of reach.
    for _ in 0..30 {
        match node.count().await {
            Err(Error::Unavailable { have: 0, need: 1, .. }) => {}
            count => panic!("with a dead host: {count:?}"),
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(node.check().await.expect("the others answer").hosts, 2);
}

#[tokio::test(start_paused = true)]
async fn a_count_is_no_smaller_while_keys_change_hands() {
    let cluster = cluster_with_keys(2).await;
    let node = cluster.named("n0");
    for name in ["n2", "n3"] {
        cluster.join(name).await.expect("it joins");
        for _ in 0..50 {
            let count = node.count().await.expect("every host lives");
            assert!(count >= KEYS, "{count}");
            sleep(Duration::from_millis(7)).await;
        }
    }
    soon("each key is counted once", async || node.count().await.expect("every host lives") == KEYS).await;
}

/// Other hosts name it for a while; what it owned is counted where it went.
#[tokio::test(start_paused = true)]
async fn a_host_that_has_left_is_not_missed() {
    let cluster = cluster_with_keys(5).await;
    for name in ["n1", "n3"] {
        cluster.leave(name).await.expect("the others take its keys");
        for _ in 0..20 {
            assert_eq!(cluster.named("n0").count().await.expect("all others answer"), KEYS);
            sleep(Duration::from_millis(50)).await;
        }
    }
}
