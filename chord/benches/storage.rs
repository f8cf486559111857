//! A get of one key among a million, id hash included, against a bare `HashMap`; puts; and a whole scan.
//!
//! `cargo bench -p chord --bench storage`. Both get loops are *dependent*: the value found names the next key,
//! so that no two lookups overlap. The rounds of both alternate, and the medians are compared.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chord::protocol::id::{Id, IdSpace, Interval};
use chord::storage::{Batch, MemoryStorage, Storage, Stored, clear_some};
use chord::{Version, protocol::entry::Entry};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

const VALUE_BYTES: usize = 128;
/// Many short ones, so that the median is not what a busy machine made of a few.
const ROUNDS: usize = 10_000;

fn main() {
    // `cargo test --benches` runs this without `--bench`: a short check that it works.
    let keys = if std::env::args().any(|arg| arg == "--bench") { 1_000_000 } else { 100_000 };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(compare(keys));
}

async fn compare(keys: usize) {
    let pairs = pairs(keys);
    let space = IdSpace::default();
    let store: Arc<dyn Storage> = Arc::new(MemoryStorage::new());

    for (what, counter) in [("put, new key", 1), ("put, known key", 2)] {
        let mut times = Vec::new();
        for round in pairs.chunks(keys / ROUNDS) {
            let started = Instant::now();
            for (key, value) in round {
                let stored =
                    Stored { id: space.id_of(key), key: key.clone(), entry: entry(counter, value.clone()) };
                store.apply(Batch::one(stored)).await.expect("memory does not fail");
            }
            times.push(started.elapsed());
        }
        report(what, median(times), keys / ROUNDS);
    }
    let map: HashMap<Bytes, Bytes> =
        pairs.iter().map(|(k, v)| (Bytes::copy_from_slice(k), Bytes::copy_from_slice(v))).collect();

    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    let (mut key, mut bare_key) = (pairs[0].0.to_vec(), pairs[0].0.to_vec());
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for _ in 0..keys / ROUNDS {
            let found = &map[&bare_key[..]];
            bare_key.copy_from_slice(&found[..KEY_BYTES]);
        }
        bare.push(started.elapsed());
        let started = Instant::now();
        for _ in 0..keys / ROUNDS {
            let found = store.get(&space.id_of(&key), &key).await.expect("memory does not fail");
            let value = found.and_then(|entry| entry.value).expect("every key is there");
            key.copy_from_slice(&value[..KEY_BYTES]);
        }
        ours.push(started.elapsed());
    }
    assert_eq!(key, bare_key, "both went the same way");
    let (ours, bare) = (median(ours), median(bare));
    report("bare HashMap, dependent", bare, keys / ROUNDS);
    report("get, id hash included, dependent", ours, keys / ROUNDS);
    println!("{:<34} {:>9.2}", "ratio (promised: at most 2)", ours.as_secs_f64() / bare.as_secs_f64());

    let (mut times, mut seen, mut after) = (Vec::new(), 0, None);
    loop {
        let started = Instant::now();
        let page = store.scan(Interval::whole(), after, 1 << 20).await.expect("memory does not fail");
        times.push(started.elapsed());
        seen += page.entries.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, keys, "a scan sees every key");
    let a_page = seen / times.len();
    report("scan by pages of 1 MiB, an entry", median(times), a_page);

    let half = space.add_power(&Id::ZERO, space.bits() - 1);
    let (mut times, mut rest) = (Vec::new(), Some(Interval::new(Id::ZERO, half)));
    while let Some(left) = rest {
        let started = Instant::now();
        rest = clear_some(&*store, left).await.expect("memory does not fail");
        times.push(started.elapsed());
    }
    let longest = times.iter().max().copied().unwrap_or_default();
    let all: Duration = times.iter().sum();
    let left = store.stats().await.entries as usize;
    report("clear half in pieces, an entry", all, keys - left);
    println!("{:<34} {:>9.2} ms", "  the longest piece", longest.as_secs_f64() * 1e3);

    let clearing = Instant::now();
    let batch = Batch { clear: vec![Interval::new(half, Id::ZERO)], ..Batch::default() };
    store.apply(batch).await.expect("memory does not fail");
    report("clear the other half at once", clearing.elapsed(), left);
    println!("{:<34} {:>9.2} ms", "  during which all wait", clearing.elapsed().as_secs_f64() * 1e3);
}

const KEY_BYTES: usize = 16;

/// Keys in random order, each with a value that begins with the next one: one circle through all of them.
fn pairs(count: usize) -> Vec<(Bytes, Bytes)> {
    let mut keys: Vec<String> = (0..count).map(|i| format!("key:{i:012}")).collect();
    let mut rng = StdRng::seed_from_u64(1);
    keys.shuffle(&mut rng);
    let mut pairs: Vec<(Bytes, Bytes)> = (0..count)
        .map(|i| {
            let mut value = keys[(i + 1) % count].clone().into_bytes();
            value.resize(VALUE_BYTES, b'.');
            (Bytes::from(keys[i].clone()), Bytes::from(value))
        })
        .collect();
    // Loaded in another order than they are visited in, or memory would be walked in order.
    pairs.shuffle(&mut rng);
    pairs
}

fn entry(counter: u64, value: Bytes) -> Entry {
    Entry { version: Version { epoch: 1, counter }, value: Some(value), expires_at: None }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn report(what: &str, time: Duration, count: usize) {
    println!("{what:<34} {:>9.1} ns", time.as_nanos() as f64 / count as f64);
}
