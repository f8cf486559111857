//! Hand-offs over a link of 1 Mbit/s: they have the time that their bytes take, and a leave waits while they get on.

use std::sync::Arc;
use std::time::Duration;

use chord::protocol::id::{HashKind, Id, IdSpace};
use chord::storage::MemoryStorage;
use chord::storage::faulty::{DelayingFailing, Faults, Hang};
use chord::{Chord, Config, Error, VirtualNodes};
use chord_transport_mem::{Link, MemTransport, Network};
use tokio::time::{Instant, sleep, timeout};

/// 1 Mbit/s.
const RATE: u64 = 125_000;
/// The largest value.
const LARGE: usize = 16 << 20;

/// One virtual node at `id`.
fn config(name: &str, id: Id) -> Config {
    Config { virtual_nodes: VirtualNodes::Explicit(vec![(name.to_owned(), id)]), ..Config::named(name) }
}

fn space() -> IdSpace {
    IdSpace::new(160, HashKind::Sha1).expect("the default circle")
}

fn slow_network() -> Network {
    let network = Network::new(1);
    let latency = Duration::from_millis(20);
    network.set_default_link(Link { bytes_per_second: Some(RATE), ..Link::with_latency(latency) });
    network
}

async fn alone(network: &Network, id: Id) -> Chord<MemTransport> {
    Chord::create(network.listen("alice"), config("alice", id)).await.expect("a ring of one")
}

/// `bob` joins at `id` and serves.
async fn joined(network: &Network, alice: &Chord<MemTransport>, id: Id) -> Chord<MemTransport> {
    let known = [alice.endpoint().clone()];
    let bob = Chord::join(network.listen("bob"), &known, config("bob", id)).await.expect("it joins");
    let serves = async {
        while bob.status().await.groups.is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(600), serves).await.expect("the hand-off ends");
    bob
}

/// How long `bytes` take.
fn passing(bytes: usize) -> Duration {
    Duration::from_secs(bytes as u64 / RATE)
}

#[tokio::test(start_paused = true)]
async fn the_largest_value_crosses_a_slow_link_once_at_a_join_and_once_at_a_leave() {
    let network = slow_network();
    let key = "large";
    let at = space().id_of(key.as_bytes());
    let alice = alone(&network, space().add(&at, &Id::from_u128(1))).await;
    alice.put(key, vec![7; LARGE]).await.expect("it is its own");
    let begun = Instant::now();
    let bob = joined(&network, &alice, at).await;
    assert!(begun.elapsed() < passing(LARGE) + Duration::from_secs(10), "it took {:?}", begun.elapsed());
    assert!(network.traffic("alice").bytes_sent < 2 * LARGE as u64, "it was sent once");
    assert_eq!(bob.get(key).await.expect("it is its own").map(|value| value.len()), Some(LARGE));

    let begun = Instant::now();
    bob.leave().await.expect("it leaves");
    assert!(begun.elapsed() < passing(LARGE) + Duration::from_secs(10), "it took {:?}", begun.elapsed());
    assert!(network.traffic("bob").bytes_sent < 2 * LARGE as u64, "it was sent once");
    assert_eq!(alice.get(key).await.expect("it is its own").map(|value| value.len()), Some(LARGE));
}

#[tokio::test(start_paused = true)]
async fn a_leave_goes_on_for_minutes_while_its_entries_move() {
    let network = slow_network();
    let at = Id::from_u128(1 << 100);
    let alice = alone(&network, at).await;
    let bob = joined(&network, &alice, space().add(&at, &Id::from_u128(1))).await;
    let (count, bytes) = (300, 100_000);
    for i in 0..count {
        alice.put(format!("key{i}"), vec![7; bytes]).await.expect("nearly everything is its own");
    }
    let begun = Instant::now();
    alice.leave().await.expect("it leaves");
    assert!(begun.elapsed() > passing(count * bytes), "it took {:?}", begun.elapsed());
    assert_eq!(bob.count().await.expect("it is alone"), count as u64);
}

/// A host that is there, but stores nothing any more.
#[tokio::test(start_paused = true)]
async fn a_leave_ends_after_30_seconds_in_which_nothing_moved() {
    let network = slow_network();
    let at = Id::from_u128(1 << 100);
    let alice = alone(&network, at).await;
    let store = Arc::new(DelayingFailing::new(Arc::new(MemoryStorage::new()), Faults::default()));
    let known = [alice.endpoint().clone()];
    let bob = config("bob", space().add(&at, &Id::from_u128(1)));
    let bob = Chord::join_with(network.listen("bob"), &known, bob, store.clone()).await.expect("it joins");
    for i in 0..20 {
        alice.put(format!("key{i}"), vec![7; 100_000]).await.expect("it is its own");
    }
    let begun = Instant::now();
    let hang = async {
        sleep(Duration::from_secs(10)).await;
        store.hang(Hang::Writes);
    };
    let (result, ()) = tokio::join!(alice.leave(), hang);
    assert!(matches!(result, Err(Error::TryAgain { .. })), "{result:?}");
    let took = begun.elapsed();
    assert!((30..50).contains(&took.as_secs()), "it took {took:?}");
    assert!(alice.get("key1").await.expect("it goes on").is_some());
    drop(bob);
}

/// The rest of the largest value would have many minutes.
#[tokio::test(start_paused = true)]
async fn a_leave_does_not_wait_for_a_host_that_fell_silent() {
    let network = slow_network();
    let at = Id::from_u128(1 << 100);
    let alice = alone(&network, at).await;
    let _bob = joined(&network, &alice, space().add(&at, &Id::from_u128(1))).await;
    alice.put("large", vec![7; LARGE]).await.expect("it is its own");
    let begun = Instant::now();
    let freeze = async {
        sleep(Duration::from_secs(10)).await;
        assert!(network.freeze("bob"));
    };
    let (result, ()) = tokio::join!(alice.leave(), freeze);
    assert!(matches!(result, Err(Error::LastHost { .. } | Error::TryAgain { .. })), "{result:?}");
    assert!(begun.elapsed() < Duration::from_secs(45), "it took {:?}", begun.elapsed());
}
