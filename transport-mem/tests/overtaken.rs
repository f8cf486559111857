//! An update that others of its caller overtake on the way is executed like any other.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chord::{Chord, Config};
use chord_transport_mem::{Link, Network, Options};
use futures::future::join_all;

const UPDATES: usize = 20_000;

#[tokio::test(start_paused = true)]
async fn an_update_overtaken_by_a_thousand_others_has_a_certain_outcome() {
    let roomy = Options { max_in_flight: 4096, max_waiting: 4096, ..Options::default() };
    let network = Network::with_options(1, roomy);
    network.set_default_link(Link { latency: Duration::from_millis(1), reordering: 0.01, ..Link::default() });
    let alice = Chord::create(network.listen("alice"), Config::named("alice")).await.expect("a ring of one");
    let seeds = [alice.endpoint().clone()];
    let bob = Chord::join(network.listen("bob"), &seeds, Config::named("bob")).await.expect("it joins");
    let next = AtomicUsize::new(0);
    let workers = (0..400).map(|_| async {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= UPDATES {
                return;
            }
            if let Err(error) = bob.put(format!("key{i}"), "value").await {
                panic!("key{i}: {error}");
            }
        }
    });
    join_all(workers).await;
}
