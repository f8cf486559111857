//! What the engine itself costs: gets and puts of one key among a million on a ring of one node, beside a bare
//! `HashMap` doing the same in the same run, and a get one hop away over memory, beside the bare call.
//!
//! `cargo bench -p chord-tests --bench local [-- --json --rounds N]`. Lookups are *dependent*: the value found names
//! the next key, so that no two overlap. Every turn is short, so that what else the machine does falls on both.

#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chord::transport::{CallOptions, Frame, Lane, Transport};
use chord_tests::ring::{Node, Wires, quick, settled, start};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use support::{Arguments, Better, Figure, Goal, one_by_one, print, runtime};

const KEY_BYTES: usize = 16;
const VALUE_BYTES: usize = 128;
/// Operations of one side in a turn.
const STEPS: usize = 500;

fn main() {
    let arguments = Arguments::parse(400);
    let keys = if arguments.full { 1_000_000 } else { 2_000 };
    let mut figures = runtime().block_on(here(keys, &arguments));
    figures.push(runtime().block_on(one_hop(&arguments)));
    print(&figures, &arguments);
}

/// Keys in random order, each with a value that begins with the next one: one circle through all of them.
fn circle(count: usize) -> Vec<(Bytes, Bytes)> {
    let mut keys: Vec<String> = (0..count).map(|i| format!("key:{i:012}")).collect();
    keys.shuffle(&mut StdRng::seed_from_u64(1));
    let value = |next: &str| {
        let mut value = next.as_bytes().to_vec();
        value.resize(VALUE_BYTES, b'.');
        Bytes::from(value)
    };
    let mut pairs: Vec<(Bytes, Bytes)> = (0..count)
        .map(|i| (Bytes::copy_from_slice(keys[i].as_bytes()), value(&keys[(i + 1) % count])))
        .collect();
    pairs.shuffle(&mut StdRng::seed_from_u64(2));
    pairs
}

async fn here(keys: usize, arguments: &Arguments) -> Vec<Figure> {
    let pairs = circle(keys);
    let node = start(&Wires::mem(), &[], quick("alone")).await;
    for (key, value) in &pairs {
        node.put(key, value.clone()).await.expect("this node is the owner");
    }
    let mut map: HashMap<Bytes, Bytes> =
        pairs.iter().map(|(k, v)| (Bytes::copy_from_slice(k), Bytes::copy_from_slice(v))).collect();

    let figure = |name: &str, goal| Figure::new(name, "ns", Better::Lower, "bare HashMap", goal);
    let mut gets = figure("get, one node, 1 of the keys, dependent", Goal::Cost(2.0));
    let mut puts = figure("put over a known key, one node", Goal::None);
    let (mut key, mut bare_key) = (pairs[0].0.to_vec(), pairs[0].0.to_vec());
    let mut overwritten = pairs.iter().cycle();
    for _ in 0..arguments.rounds {
        let bare_get = nanos(Instant::now(), || {
            for _ in 0..STEPS {
                let value = &map[&bare_key[..]];
                bare_key.copy_from_slice(&value[..KEY_BYTES]);
            }
        });
        let started = Instant::now();
        for _ in 0..STEPS {
            let value = node.get(&key).await.expect("this node is the owner").expect("every key is there");
            key.copy_from_slice(&value[..KEY_BYTES]);
        }
        gets.add(nanos(started, || ()), bare_get);

        let batch: Vec<_> = overwritten.by_ref().take(STEPS).collect();
        let bare_put = nanos(Instant::now(), || {
            for (key, value) in &batch {
                map.insert(key.clone(), Bytes::copy_from_slice(value));
            }
        });
        let started = Instant::now();
        for (key, value) in &batch {
            node.put(key, Bytes::copy_from_slice(value)).await.expect("this node is the owner");
        }
        puts.add(nanos(started, || ()), bare_put);
    }
    assert_eq!(key, bare_key, "both went the same way");
    node.stop().await;
    vec![gets, puts]
}

/// Nanoseconds for each of a turn's steps since `started`, after `work`.
fn nanos(started: Instant, work: impl FnOnce()) -> f64 {
    work();
    started.elapsed().as_secs_f64() * 1e9 / STEPS as f64
}

/// A get whose owner is another host, over memory and one thread.
async fn one_hop(arguments: &Arguments) -> Figure {
    let wires = Wires::mem();
    let first = start(&wires, &[], quick("first")).await;
    let _second = start(&wires, &[first.endpoint().clone()], quick("second")).await;
    settled(&first, 2).await;
    let keys = far_keys(&first).await;

    let (caller, server) = (wires.listen("caller").await, wires.listen("server").await);
    let to = server.endpoint().clone();
    tokio::spawn(answer(server));
    let mut figure =
        Figure::new("get one hop away, mem: p50", "us", Better::Lower, "bare mem call", Goal::None);
    let (first, caller, to) = (&first, &caller, &to);
    let mut next = keys.iter().cycle();
    for _ in 0..arguments.rounds {
        let ours = one_by_one(STEPS, || {
            let key = next.next().expect("there are keys");
            async move {
                first.get(key).await.expect("the owner answers").expect("the key is there");
            }
        });
        let ours = ours.await;
        let bare = one_by_one(STEPS, || async move {
            let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
            let frame = Frame { head: Bytes::from_static(&[5; 64]), body: Bytes::new() };
            let options = CallOptions { deadline, lane: Lane::Request };
            caller.call(to, frame, options).await.expect("a reply");
        });
        figure.add(ours, bare.await);
    }
    figure
}

async fn answer(transport: Arc<dyn Transport>) {
    while let Some(incoming) = transport.accept().await {
        incoming.reply(Frame { head: Bytes::new(), body: Bytes::from_static(&[5; VALUE_BYTES]) });
    }
}

/// Keys, stored, that the second host owns.
async fn far_keys(first: &Node) -> Vec<String> {
    let mut keys = Vec::new();
    for i in 0..1_000 {
        let key = format!("key:{i:012}");
        first.put(&key, vec![b'.'; VALUE_BYTES]).await.expect("the owner answers");
        let found = first.lookup(&key).await.expect("the ring answers");
        if found.host == "second" {
            keys.push(key);
        }
    }
    keys
}
