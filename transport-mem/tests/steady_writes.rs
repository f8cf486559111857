//! A hand-off ends, however steadily its keys are written, and writes wait for no more than its last entries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chord::{Chord, Config, VirtualNodes};
use chord_transport_mem::{Link, MemTransport, Network};
use futures::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

const DELAY: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(120);

fn config(name: &str) -> Config {
    Config { virtual_nodes: VirtualNodes::Count(1), ..Config::named(name) }
}

/// Writes `each_ms` of `keys` keys a millisecond, in turn, whether or not earlier writes are done.
struct Writer {
    task: JoinHandle<Vec<JoinHandle<Duration>>>,
    stop: Arc<AtomicBool>,
}

impl Writer {
    fn start(node: &Chord<MemTransport>, each_ms: usize, keys: usize, value: &'static [u8]) -> Writer {
        let stop = Arc::new(AtomicBool::new(false));
        let (node, stopped) = (node.clone(), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let mut writes = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(1)).await;
                for _ in 0..each_ms {
                    let (node, key) = (node.clone(), format!("key{}", writes.len() % keys));
                    writes.push(tokio::spawn(async move {
                        let begun = Instant::now();
                        node.put(key, value).await.expect("it is written");
                        begun.elapsed()
                    }));
                }
            }
            writes
        });
        Writer { task, stop }
    }

    /// How long each write took. Every one must have been done.
    async fn stop(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        let writes = self.task.await.expect("no panic");
        join_all(writes).await.into_iter().map(|took| took.expect("no panic")).collect()
    }
}

async fn serves(node: &Chord<MemTransport>) {
    let begun = async {
        while node.status().await.groups.is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, begun).await.expect("the hand-off to the joiner ends");
}

#[tokio::test(start_paused = true)]
async fn a_hand_off_ends_while_many_keys_are_written_in_each_round_trip() {
    let network = Network::new(1);
    network.set_default_link(Link::with_latency(DELAY));
    let alice = Chord::create(network.listen("alice"), config("alice")).await.expect("a ring of one");
    let writer = Writer::start(&alice, 8, 20_000, b"value");
    let bob = Chord::join(network.listen("bob"), &[alice.endpoint().clone()], config("bob")).await;
    let bob = bob.expect("it joins");
    serves(&bob).await;
    assert!(writer.stop().await.len() > 1000, "hardly any load");
}

/// What is written in the meantime alone would take two seconds at that rate.
#[tokio::test(start_paused = true)]
async fn the_bound_on_the_rate_of_a_hand_off_does_not_apply_while_writes_wait_for_it() {
    let network = Network::new(1);
    network.set_default_link(Link::with_latency(DELAY));
    let slow = Config { sync_bytes_per_second: Some(100_000), ..config("alice") };
    let alice = Chord::create(network.listen("alice"), slow).await.expect("a ring of one");
    let writer = Writer::start(&alice, 1, 40, &[7; 10_000]);
    sleep(Duration::from_millis(100)).await;
    let bob = Chord::join(network.listen("bob"), &[alice.endpoint().clone()], config("bob")).await;
    let bob = bob.expect("it joins");
    serves(&bob).await;
    let waits = writer.stop().await;
    let longest = waits.iter().max().expect("there were writes");
    assert!(waits.len() > 1000, "hardly any load: the copy takes seconds");
    assert!(*longest <= 15 * DELAY, "a write waited for {longest:?}");
}

/// The backlog of what is written meanwhile holds 4096 keys, here 2 MB: sent as a whole between two chunks of the copy,
/// it would make the copy last seven times as long, and then every write wait for it at once.
#[tokio::test(start_paused = true)]
async fn neither_the_copy_nor_the_writes_stand_still_while_writes_outrun_the_link() {
    const RATE: usize = 1_000_000;
    const KEYS: usize = 20_000;
    const VALUE: usize = 400;
    const WRITERS: usize = 32;
    let network = Network::new(1);
    network.set_default_link(Link { bytes_per_second: Some(RATE as u64), ..Link::with_latency(DELAY) });
    let alice = Chord::create(network.listen("alice"), config("alice")).await.expect("a ring of one");
    for i in 0..KEYS {
        alice.put(format!("key{i}"), vec![7; VALUE]).await.expect("it is its own");
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writer = |number: usize| {
        let (alice, stopped) = (alice.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            let (mut longest, mut count) = (Duration::ZERO, 0);
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let key = format!("key{}", (number + WRITERS * count) % KEYS);
                alice.put(key, vec![8; VALUE]).await.expect("it is written");
                longest = longest.max(begun.elapsed());
                count += 1;
                sleep(Duration::from_millis(1)).await;
            }
            (longest, count)
        })
    };
    let writers: Vec<_> = (0..WRITERS).map(writer).collect();
    let begun = Instant::now();
    let bob = Chord::join(network.listen("bob"), &[alice.endpoint().clone()], config("bob")).await;
    let bob = bob.expect("it joins");
    serves(&bob).await;
    let took = begun.elapsed();
    stop.store(true, Ordering::Relaxed);
    let writes: Vec<(Duration, usize)> =
        join_all(writers).await.into_iter().map(|writes| writes.expect("no panic")).collect();
    let longest = writes.iter().map(|(longest, _)| *longest).max().expect("there are writers");
    let count: usize = writes.iter().map(|(_, count)| count).sum();
    println!("the hand-off took {took:?}, {count} writes meanwhile, the longest {longest:?}");
    assert!(took < Duration::from_secs(40), "it took {took:?}");
    assert!(count * VALUE > RATE * took.as_secs() as usize / 4, "{count} writes in {took:?}");
    assert!(longest < Duration::from_secs(2), "a write waited for {longest:?}");
}
