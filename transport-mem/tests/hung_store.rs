//! A store that hangs: whoever waits for it is told by the deadline what is known, and when it wakes nothing is lost
//! and nothing is reordered.

mod waiting;

use std::sync::Arc;
use std::time::Duration;

use chord::storage::faulty::{DelayingFailing, Faults, Hang};
use chord::storage::{MemoryStorage, Storage};
use chord::{Chord, Config, Error, Receipt};
use chord_transport_mem::testkit::Cluster;
use tokio::time::{Instant, sleep};
use waiting::soon;

type Store = DelayingFailing<MemoryStorage>;

/// When an operation is over at the latest: its deadline, and a moment.
const LATEST: Duration = Duration::from_millis(5_050);

/// A cluster whose host `n0` has the store beside it.
async fn start(hosts: usize) -> (Cluster, Arc<Store>) {
    start_with(hosts, |_| {}).await
}

async fn start_with(
    hosts: usize,
    configure: impl Fn(&mut Config) + Send + Sync + 'static,
) -> (Cluster, Arc<Store>) {
    let store = Arc::new(DelayingFailing::new(Arc::new(MemoryStorage::new()), Faults::default()));
    let hung = store.clone();
    let of = move |name: &str| -> Arc<dyn Storage> {
        if name == "n0" { hung.clone() } else { Arc::new(MemoryStorage::new()) }
    };
    (Cluster::builder().configure(configure).storage(of).start(hosts).await, store)
}

/// What `operation` comes to, which must be by its deadline.
async fn in_time<R>(operation: impl Future<Output = R>) -> R {
    let started = Instant::now();
    let result = operation.await;
    assert!(started.elapsed() <= LATEST, "it took {:?}", started.elapsed());
    result
}

fn is_indeterminate(result: &Result<Receipt, Error>) -> bool {
    matches!(result, Err(Error::Indeterminate { .. }))
}

fn is_not_executed(result: &Result<Receipt, Error>) -> bool {
    matches!(result, Err(Error::TryAgain { .. }))
}

/// A key of each host, as `here` counts hops: 0 for one of its own.
async fn key_with_hops<T: chord::transport::Transport>(here: &Chord<T>, hops: usize) -> String {
    for i in 0..1000 {
        let key = format!("key {i}");
        if here.put(&key, "first").await.expect("the ring serves").hops == hops {
            return key;
        }
    }
    panic!("no key of 1000 takes {hops} hops");
}

#[tokio::test(start_paused = true)]
async fn reads_and_writes_on_a_store_that_hangs_end_by_their_deadline_with_no_effect() {
    let (cluster, store) = start(1).await;
    let node = cluster.node(0);
    node.put("key", "first").await.expect("the store works");
    store.hang(Hang::Everything);
    let read = in_time(node.get("key")).await;
    assert!(matches!(read, Err(Error::Timeout { .. })), "{read:?}");
    for result in [in_time(node.put("key", "second")).await, in_time(node.delete("key")).await] {
        assert!(is_not_executed(&result), "{result:?}");
    }
    let keys: Vec<String> = (0..100).map(|i| format!("key {i}")).collect();
    for result in in_time(node.get_many(&keys)).await {
        assert!(matches!(result, Err(Error::Timeout { .. })), "{result:?}");
    }
    let entries: Vec<_> = keys.iter().map(|key| (key, "value".into())).collect();
    for result in in_time(node.put_many(&entries)).await {
        assert!(is_not_executed(&result), "{result:?}");
    }
    store.hang(Hang::Nothing);
    assert_eq!(node.get("key").await.expect("it woke"), Some("first".into()));
    assert_eq!(node.count().await.expect("it woke"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_hangs_in_the_store_is_indeterminate_and_later_ones_wait_for_it() {
    let (cluster, store) = start(1).await;
    let node = cluster.node(0);
    for dropped in [false, true] {
        store.hang(Hang::Writes);
        let first = tokio::spawn({
            let node = node.clone();
            async move { in_time(node.put("key", "first")).await }
        });
        sleep(Duration::from_secs(1)).await;
        if dropped {
            first.abort();
        } else {
            let result = first.await.expect("it does not panic");
            assert!(is_indeterminate(&result), "{result:?}");
        }
        let second = in_time(node.put("key", "second")).await;
        assert!(is_not_executed(&second), "{second:?}");
        let third = tokio::spawn({
            let node = node.clone();
            async move { node.delete("key").await }
        });
        sleep(Duration::from_secs(1)).await;
        store.hang(Hang::Nothing);
        let third = third.await.expect("it does not panic").expect("the store woke in time");
        assert!(third.existed, "it found what was stored late");
        assert_eq!(node.get("key").await.expect("the store works"), None, "nothing older landed later");
    }
}

#[tokio::test(start_paused = true)]
async fn others_that_ask_a_host_whose_store_hangs_are_told_by_their_deadline() {
    let (cluster, store) = start(2).await;
    let node = cluster.node(1);
    let key = key_with_hops(&node, 1).await;
    store.hang(Hang::Everything);
    let read = in_time(node.get(&key)).await;
    assert!(matches!(read, Err(Error::Timeout { .. })), "{read:?}");
    let count = in_time(node.count()).await;
    assert!(matches!(&count, Err(Error::Timeout { reason }) if reason.contains("n0")), "{count:?}");
    let hung = cluster.node(0);
    let count = in_time(hung.count()).await;
    assert!(matches!(&count, Err(Error::Timeout { reason }) if reason.contains("n0")), "{count:?}");
    assert!(in_time(hung.status()).await.uptime_ms > 0);
    store.hang(Hang::Writes);
    let write = in_time(node.put(&key, "second")).await;
    assert!(is_indeterminate(&write), "{write:?}");
    store.hang(Hang::Nothing);
    soon("it lands", async || node.get(&key).await.is_ok_and(|found| found == Some("second".into()))).await;
}

#[tokio::test(start_paused = true)]
async fn leaving_with_a_store_that_hangs_ends_with_an_error_and_the_node_goes_on_when_it_wakes() {
    for (hosts, hang) in [(1, Hang::Writes), (1, Hang::Everything), (2, Hang::Writes), (2, Hang::Everything)]
    {
        let (cluster, store) = start(hosts).await;
        let node = cluster.node(0);
        let key = key_with_hops(&node, 0).await;
        store.hang(Hang::Writes);
        let write = in_time(node.put(&key, "second")).await;
        assert!(is_indeterminate(&write), "{write:?}");
        store.hang(hang.clone());
        let started = Instant::now();
        let left = node.leave().await;
        assert!(matches!(left, Err(Error::TryAgain { .. })), "{hosts} hosts, {hang:?}: {left:?}");
        assert!(started.elapsed() <= Duration::from_secs(36), "it took {:?}", started.elapsed());
        store.hang(Hang::Nothing);
        let at = |i| cluster.node(if hosts == 1 { 0 } else { i });
        soon("it lands", async || at(0).get(&key).await.is_ok_and(|found| found == Some("second".into())))
            .await;
        at(0).put(&key, "third").await.expect("writes are not held back any more");
        if hosts == 2 {
            node.leave().await.expect("the store works");
        }
        assert_eq!(at(1).get(&key).await.expect("the ring serves"), Some("third".into()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_hangs_while_its_host_hands_over_does_not_hold_the_others_back() {
    let slow = |config: &mut Config| config.sync_bytes_per_second = Some(1 << 20);
    let (cluster, store) = start_with(1, slow).await;
    let node = cluster.node(0);
    for i in 0..64 {
        node.put(format!("key {i}"), vec![0; 64 << 10]).await.expect("the store works");
    }
    cluster.join("n1").await.expect("it joins");
    soon("the hand-off begins", async || node.status().await.transfers > 0).await;
    // The writes before it are stored, and what is copied takes seconds.
    sleep(Duration::from_millis(500)).await;
    store.hang(Hang::WritesOf("stuck".into()));
    let stuck = in_time(node.put("stuck", "second")).await;
    assert!(is_indeterminate(&stuck), "{stuck:?}");
    for i in (0..640).map(|i| i % 64) {
        let started = Instant::now();
        node.put(format!("key {i}"), "second").await.expect("nothing is held back for long");
        assert!(started.elapsed() < Duration::from_secs(3), "held back for {:?}", started.elapsed());
        sleep(Duration::from_millis(50)).await;
    }
    assert!(cluster.node(1).neighbourhood().served.is_empty(), "nothing is handed over while a write hangs");
    store.hang(Hang::Nothing);
    cluster.settle().await;
    assert_eq!(node.get("stuck").await.expect("the ring serves"), Some("second".into()));
    soon("every key is there once", async || node.count().await.expect("both answer") == 65).await;
}

#[tokio::test(start_paused = true)]
async fn where_every_host_is_busy_a_read_ends_with_timeout_and_a_write_was_not_executed() {
    let one_at_a_time = |config: &mut Config| match config.name.as_str() {
        "n0" => config.max_serving = 1,
        "n2" => config.operation_deadline = Duration::from_secs(30),
        _ => {}
    };
    let (cluster, store) = start_with(3, one_at_a_time).await;
    let (node, patient) = (cluster.node(1), cluster.node(2));
    let key = key_with_hops(&cluster.node(0), 0).await;
    store.hang(Hang::Everything);
    // It occupies the one place at the only host that may answer for the key.
    let occupies = tokio::spawn({
        let key = key.clone();
        async move { patient.put(&key, "first").await }
    });
    sleep(Duration::from_secs(1)).await;
    let (read, write) = tokio::join!(in_time(node.get(&key)), in_time(node.put(&key, "second")));
    assert!(matches!(read, Err(Error::Timeout { .. })), "{read:?}");
    assert!(is_not_executed(&write), "{write:?}");
    assert!(!occupies.is_finished(), "the host was busy all the time");
}

/// What is written during a hand-off is noted; were one begun that cannot get on, the notes would be full and all
/// writes would wait for the one that hangs.
#[tokio::test(start_paused = true)]
async fn a_write_that_hangs_before_a_hand_off_stops_the_writes_of_its_own_lock_alone() {
    let (cluster, store) = start(1).await;
    let node = cluster.node(0);
    store.hang(Hang::WritesOf("stuck".into()));
    let stuck = in_time(node.put("stuck", "second")).await;
    assert!(is_indeterminate(&stuck), "{stuck:?}");
    cluster.join("n1").await.expect("it joins");
    let (keys, mut failed) = (6_000, 0);
    for i in 0..keys {
        let result = in_time(node.put(format!("other {i}"), "value")).await;
        assert!(result.is_ok() || is_not_executed(&result), "{result:?}");
        failed += usize::from(result.is_err());
    }
    assert!((1..=40).contains(&failed), "{failed} of {keys} keys had to wait, of which one in 512 may");
    store.hang(Hang::Nothing);
    cluster.settle().await;
    let stored = 1 + keys - failed;
    soon("every key is there once", async || node.count().await.expect("both answer") == stored as u64).await;
}

/// What is written during a hand-off is noted, up to a bound; what is not taken away from the notes makes writes wait.
#[tokio::test(start_paused = true)]
async fn a_new_host_whose_store_hangs_makes_no_write_at_the_old_one_fail() {
    let store = Arc::new(DelayingFailing::new(Arc::new(MemoryStorage::new()), Faults::default()));
    let hung = store.clone();
    let of = move |name: &str| -> Arc<dyn Storage> {
        if name == "n1" { hung.clone() } else { Arc::new(MemoryStorage::new()) }
    };
    let cluster = Cluster::builder().storage(of).start(1).await;
    let node = cluster.node(0);
    // So many that there are some in each interval that the new host is to own.
    let (first, keys) = (2_000, 20_000);
    for i in 0..first {
        node.put(format!("first {i}"), "value").await.expect("the ring serves");
    }
    store.hang(Hang::Writes);
    cluster.join("n1").await.expect("it joins");
    for i in 0..keys {
        node.put(format!("other {i}"), "value").await.expect("writes go on");
        sleep(Duration::from_millis(1)).await;
    }
    assert!(
        cluster.node(1).neighbourhood().served.is_empty(),
        "nothing is decided for one that stores nothing"
    );
    store.hang(Hang::Nothing);
    cluster.settle().await;
    soon("every key is there once", async || node.count().await.expect("both answer") == first + keys).await;
}
