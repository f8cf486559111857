//! A call for many keys is over by its deadline, however many of them nobody answers for.

use std::time::Duration;

use bytes::Bytes;
use chord::{Chord, Config};
use chord_transport_mem::{Link, MemTransport, Network};
use tokio::time::{Instant, sleep};

/// Beside the deadline itself.
const SLACK: Duration = Duration::from_millis(500);

/// What is left of two hosts, and which keys of many the other had.
async fn widowed(network: &Network) -> Chord<MemTransport> {
    network.set_default_link(Link::with_latency(Duration::from_millis(1)));
    let alice = Chord::create(network.listen("alice"), Config::named("alice")).await.expect("a ring of one");
    let seeds = [alice.endpoint().clone()];
    let bob = Chord::join(network.listen("bob"), &seeds, Config::named("bob")).await.expect("it joins");
    sleep(Duration::from_secs(20)).await;
    bob.stop().await;
    sleep(Duration::from_secs(20)).await;
    alice
}

fn keys() -> Vec<String> {
    (0..4000).map(|i| format!("key{i}")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_read_of_many_keys_ends_by_its_deadline_when_half_of_them_are_unavailable() {
    let alice = widowed(&Network::new(1)).await;
    let begun = Instant::now();
    let results = alice.get_many(&keys()).await;
    let failed = results.iter().filter(|result| result.is_err()).count();
    assert!(failed > 500 && failed < 3500, "{failed} failed");
    let limit = Config::default().operation_deadline + SLACK;
    assert!(begun.elapsed() <= limit, "it took {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn writes_of_one_unavailable_key_wait_for_it_once() {
    let alice = widowed(&Network::new(1)).await;
    let keys = keys();
    let read = alice.get_many(&keys).await;
    let dead = &keys[read.iter().position(|result| result.is_err()).expect("bob had keys")];
    let begun = Instant::now();
    let puts: Vec<_> = (0..50).map(|_| (dead.clone(), Bytes::from("value"))).collect();
    let results = alice.put_many(&puts).await;
    let unavailable = |result: &Result<_, _>| matches!(result, Err(chord::Error::Unavailable { .. }));
    assert!(results.iter().all(unavailable), "{:?}", results[0]);
    let limit = Config::default().operation_deadline / 2;
    assert!(begun.elapsed() <= limit, "it took {:?}", begun.elapsed());
}
