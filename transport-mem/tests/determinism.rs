//! The same seed gives the same network.

use std::sync::Arc;
use std::time::Duration;

use chord::transport::{CallOptions, Frame, Lane, Transport};
use chord_transport_mem::{Fate, Link, Network, Record};
use tokio::task::JoinSet;
use tokio::time::Instant;

const HOSTS: [&str; 5] = ["ada", "bea", "cleo", "dora", "eva"];

/// Five hosts that gossip over bad links while one of them crashes and comes back and a partition passes.
async fn scenario(seed: u64) -> (Vec<Record>, Option<u64>, Vec<bool>) {
    let network = Network::new(seed);
    network.record();
    network.set_default_link(Link {
        latency: Duration::from_millis(5),
        jitter: Duration::from_millis(20),
        loss: 0.05,
        duplication: 0.1,
        reordering: 0.2,
        bytes_per_second: Some(10_000),
    });
    let mut tasks = JoinSet::new();
    let mut outcomes = Vec::new();
    let mut hosts = Vec::new();
    for name in HOSTS {
        let host = Arc::new(network.listen(name));
        serve(&mut tasks, &host);
        hosts.push(host);
    }
    for round in 0..10 {
        match round {
            3 => network.partition(&[&HOSTS[..2], &HOSTS[2..]]),
            5 => network.heal(),
            6 => assert!(network.crash("eva")),
            8 => {
                hosts[4] = Arc::new(network.listen("eva"));
                serve(&mut tasks, &hosts[4]);
            }
            _ => {}
        }
        let calls = hosts.iter().enumerate().flat_map(|(i, from)| {
            (0..hosts.len()).map(move |j| {
                let to = Network::endpoint(HOSTS[j]).expect("a valid name");
                let frame = Frame::new(vec![round, i as u8], vec![j as u8; i * 100]);
                let deadline = Instant::now() + Duration::from_millis(100);
                async move { from.call(&to, frame, CallOptions { deadline, lane: Lane::Request }).await }
            })
        });
        let results = futures::future::join_all(calls).await;
        outcomes.extend(results.iter().map(Result::is_ok));
    }
    (network.trace(), network.fingerprint(), outcomes)
}

fn serve(tasks: &mut JoinSet<()>, host: &Arc<chord_transport_mem::MemTransport>) {
    let host = Arc::clone(host);
    tasks.spawn(async move {
        while let Some(incoming) = host.accept().await {
            let frame = incoming.frame.clone();
            incoming.reply(frame);
        }
    });
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let (trace, fingerprint, outcomes) = scenario(7).await;
    for fate in ["Arrives(", "ArrivesTwice(", "Lost", "Cut", "Refused"] {
        let seen = trace.iter().any(|record| format!("{:?}", record.fate).starts_with(fate));
        assert!(seen, "the scenario has no frame that {fate}");
    }
    assert!(outcomes.contains(&true) && outcomes.contains(&false));
    for _ in 0..3 {
        let (again, fingerprint_again, outcomes_again) = scenario(7).await;
        assert_eq!(again.len(), trace.len());
        for (i, (left, right)) in trace.iter().zip(&again).enumerate() {
            assert_eq!(left, right, "the traces differ from record {i} on");
        }
        assert_eq!((fingerprint_again, &outcomes_again), (fingerprint, &outcomes));
    }
    let (other, fingerprint_other, _) = scenario(8).await;
    assert_ne!(other, trace);
    assert_ne!(fingerprint_other, fingerprint);
}

#[tokio::test(start_paused = true)]
async fn the_trace_says_what_became_of_each_frame() {
    let network = Network::new(1);
    let (alice, bob) = (network.listen("alice"), Arc::new(network.listen("bob")));
    assert_eq!((network.trace(), network.fingerprint()), (Vec::new(), None));
    let mut tasks = JoinSet::new();
    serve(&mut tasks, &bob);
    network.set_link("alice", "bob", Link::with_latency(Duration::from_millis(3)));
    network.record();
    let options = CallOptions { deadline: Instant::now() + Duration::from_secs(1), lane: Lane::Request };
    alice.call(bob.endpoint(), Frame::new("head", "body"), options).await.expect("an echo");
    let trace = network.trace();
    let [request, reply] = &trace[..] else { panic!("two frames were sent: {trace:?}") };
    assert_eq!((&*request.from, &*request.to, request.len), ("alice", "bob", 8));
    assert_eq!(request.fate, Fate::Arrives(Duration::from_millis(3)));
    assert_eq!((&*reply.from, &*reply.to, reply.len), ("bob", "alice", 8));
    assert_eq!((reply.at, reply.fate), (Duration::from_millis(3), Fate::Arrives(Duration::ZERO)));
    assert_eq!(request.hash, reply.hash, "the echo has the same content");
}
