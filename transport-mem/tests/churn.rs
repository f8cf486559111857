//! Hosts come, go and fail while keys are written and read: nothing that was acknowledged is lost.

mod audit;

use std::sync::Arc;
use std::time::Duration;

use audit::Audit;
use bytes::Bytes;
use chord::Error;
use chord::storage::faulty::{DelayingFailing, Faults};
use chord::storage::{MemoryStorage, Storage};
use chord_transport_mem::Link;
use chord_transport_mem::testkit::{Cluster, ClusterBuilder};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const KEYS: usize = 24;
const DELAY: Duration = Duration::from_millis(5);
const PACE: Duration = Duration::from_millis(2);

/// A watched cluster that hands over in small chunks.
fn builder() -> ClusterBuilder {
    Cluster::builder().link(Link::with_latency(DELAY)).configure(|config| config.chunk_bytes = 256).watched()
}

fn key(i: usize) -> String {
    format!("key{i}")
}

/// Lets `what` happen while clients of the hosts `through` write and read. What went wrong for them.
async fn under_load<R>(
    cluster: &Cluster,
    through: &[&str],
    what: impl Future<Output = R>,
) -> (R, Vec<Error>) {
    let keys: Vec<String> = (0..KEYS).map(key).collect();
    let start = |name: &&str| Audit::start(cluster.history().client(cluster.named(name)), keys.clone(), PACE);
    let audits: Vec<Audit> = through.iter().map(start).collect();
    sleep(100 * PACE).await;
    let result = what.await;
    sleep(500 * PACE).await;
    let mut errors = Vec::new();
    for audit in audits {
        errors.extend(audit.stop().await);
    }
    (result, errors)
}

/// The ring settles, every key is there, and the history is that of so many registers.
async fn assert_nothing_is_lost(cluster: &Cluster) {
    cluster.settle().await;
    for i in 0..KEYS {
        let client = cluster.client(i % cluster.names().len());
        let mut read = client.get(&key(i)).await;
        for _ in 0..20 {
            if !matches!(read, Err(Error::Storage(_))) {
                break;
            }
            read = client.get(&key(i)).await;
        }
        assert!(read.expect("the ring is settled").is_some(), "key{i} is gone");
    }
    cluster.assert_safe();
    cluster.history().check().expect("no acknowledged write is lost");
}

#[tokio::test(start_paused = true)]
async fn two_hosts_join_at_once() {
    let cluster = builder().start(2).await;
    let joins = async { tokio::join!(cluster.join("a"), cluster.join("b")) };
    let ((a, b), errors) = under_load(&cluster, &["n0", "n1"], joins).await;
    a.and(b).expect("both join");
    assert!(errors.is_empty(), "{errors:?}");
    assert_nothing_is_lost(&cluster).await;
    assert_eq!(cluster.check().await.hosts, 4);
}

#[tokio::test(start_paused = true)]
async fn a_host_joins_while_another_leaves() {
    let cluster = builder().start(3).await;
    let both = async { tokio::join!(cluster.leave("n1"), cluster.join("a")) };
    let ((left, joined), errors) = under_load(&cluster, &["n0", "n2"], both).await;
    left.expect("it leaves");
    joined.expect("it joins");
    assert!(errors.is_empty(), "{errors:?}");
    assert_nothing_is_lost(&cluster).await;
}

#[tokio::test(start_paused = true)]
async fn two_hosts_leave_at_once() {
    let cluster = builder().start(4).await;
    let both = async { tokio::join!(cluster.leave("n1"), cluster.leave("n2")) };
    let ((one, two), errors) = under_load(&cluster, &["n0", "n3"], both).await;
    one.and(two).expect("both leave");
    assert!(errors.is_empty(), "{errors:?}");
    assert_nothing_is_lost(&cluster).await;
    assert_eq!(cluster.check().await.hosts, 2);
}

#[tokio::test(start_paused = true)]
async fn the_owner_goes_on_serving_when_its_learner_crashes_in_the_middle_of_the_copy() {
    let cluster = builder().start(2).await;
    for i in KEYS..KEYS + 300 {
        cluster.client(0).put(&key(i), vec![b'v'; 100]).await.expect("the ring is settled");
    }
    let crash = async {
        let new = cluster.join("new").await.expect("it joins");
        let received = async || new.status().await.counters.entries_received;
        while received().await == 0 {
            sleep(PACE).await;
        }
        assert!(new.neighbourhood().served.is_empty(), "it serves nothing yet");
        cluster.crash("new").await;
    };
    let ((), errors) = under_load(&cluster, &["n0", "n1"], crash).await;
    // What was asked of the learner when it crashed may, for all the asker knows, have been done.
    let unknown = |error: &Error| matches!(error, Error::Indeterminate { .. });
    assert!(errors.iter().all(unknown), "{errors:?}");
    for i in 0..KEYS + 300 {
        assert!(cluster.client(1).get(&key(i)).await.expect("its owner serves").is_some(), "key{i}");
    }
    assert_nothing_is_lost(&cluster).await;
}

#[tokio::test(start_paused = true)]
async fn puts_that_are_dropped_at_any_moment_of_a_hand_off_lose_nothing_acknowledged() {
    for seed in 0..10 {
        let cluster = builder().seed(seed).start(2).await;
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut puts = JoinSet::new();
        for i in 0..40 * KEYS {
            let client = cluster.client(i % 2);
            let patience = rng.random_range(Duration::ZERO..12 * DELAY);
            let begin = rng.random_range(Duration::ZERO..Duration::from_secs(1));
            puts.spawn(async move {
                sleep(begin).await;
                let key = key(i % KEYS);
                let put = client.put(&key, format!("{i}"));
                timeout(patience, put).await.is_ok_and(|put| put.is_ok())
            });
        }
        sleep(20 * DELAY).await;
        cluster.join("a").await.expect("it joins");
        cluster.leave("n1").await.expect("it leaves");
        let acknowledged = puts.join_all().await.into_iter().filter(|done| *done).count();
        assert!(acknowledged > 100 && acknowledged < 39 * KEYS, "{acknowledged} were acknowledged");
        assert_nothing_is_lost(&cluster).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_frame_of_a_hand_off_may_come_twice_and_late() {
    let link = Link { jitter: 4 * DELAY, duplication: 1.0, reordering: 0.3, ..Link::with_latency(DELAY) };
    let cluster = builder().link(link).start(2).await;
    let both = async {
        cluster.join("a").await.expect("it joins");
        cluster.settle().await;
        cluster.leave("n1").await.expect("it leaves");
    };
    let ((), errors) = under_load(&cluster, &["n0"], both).await;
    assert!(errors.is_empty(), "{errors:?}");
    assert_nothing_is_lost(&cluster).await;
}

#[tokio::test(start_paused = true)]
async fn stores_that_delay_and_fail_lose_nothing_acknowledged_while_keys_change_hands() {
    for seed in 0..10 {
        let faults =
            Faults { seed, max_delay: 2 * DELAY, fail_before: 0.05, fail_after: 0.05, fail_reads: 0.05 };
        let store = move |_: &str| -> Arc<dyn Storage> {
            Arc::new(DelayingFailing::new(Arc::new(MemoryStorage::new()), faults.clone()))
        };
        let cluster = builder().seed(seed).storage(store).start(2).await;
        let changes = async {
            cluster.join("a").await.expect("it joins");
            cluster.settle().await;
            cluster.leave("n1").await.expect("it leaves");
        };
        let ((), errors) = under_load(&cluster, &["n0"], changes).await;
        let from_store = |error: &Error| matches!(error, Error::Storage(_) | Error::Indeterminate { .. });
        assert!(errors.iter().all(from_store), "{errors:?}");
        assert!(!errors.is_empty(), "the stores fail");
        assert_nothing_is_lost(&cluster).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_largest_values_move_with_their_keys() {
    let cluster = Cluster::builder().link(Link::with_latency(DELAY)).start(1).await;
    let value = |i: usize| Bytes::from(vec![i as u8; 16 << 20]);
    for i in 0..6 {
        cluster.node(0).put(key(i), value(i)).await.expect("16 MiB are allowed");
    }
    let new = cluster.join("new").await.expect("it joins");
    cluster.settle().await;
    let moved = new.status().await.keys;
    assert!(moved > 0 && moved < 6, "some of the keys are the newcomer's: {moved}");
    for i in 0..6 {
        assert!(new.get(key(i)).await.expect("it answers") == Some(value(i)), "key{i}");
        new.put(key(i), value(i + 6)).await.expect("it writes");
    }
    cluster.leave("n0").await.expect("it leaves");
    for i in 0..6 {
        assert!(new.get(key(i)).await.expect("it answers") == Some(value(i + 6)), "key{i}");
    }
}
