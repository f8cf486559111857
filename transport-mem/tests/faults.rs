//! Each fault by itself, on tokio's paused clock: times are exact.

use std::sync::Arc;
use std::time::Duration;

use chord::transport::{CallOptions, Endpoint, Frame, Incoming, Lane, Transport, TransportError};
use chord_transport_mem::{Link, ListenError, MemTransport, Network, Options, Traffic};
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance, timeout};

const DEADLINE: Duration = Duration::from_secs(5);

type Outcome = Result<Frame, TransportError>;

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A network with an open `alice` and `bob`.
fn network(seed: u64) -> (Network, Arc<MemTransport>, Arc<MemTransport>) {
    let network = Network::new(seed);
    let (alice, bob) = (network.listen("alice"), network.listen("bob"));
    (network, Arc::new(alice), Arc::new(bob))
}

async fn call(from: &MemTransport, to: &str) -> Outcome {
    call_with(from, to, 0).await
}

async fn call_with(from: &MemTransport, to: &str, number: u8) -> Outcome {
    let options = CallOptions { deadline: Instant::now() + DEADLINE, lane: Lane::Request };
    let frame = Frame::new(vec![number], &b"body"[..]);
    from.call(&Network::endpoint(to).expect("a valid name"), frame, options).await
}

async fn accept(host: &MemTransport) -> Option<Incoming> {
    timeout(2 * DEADLINE, host.accept()).await.expect("accept gives a frame or ends")
}

fn start(from: &Arc<MemTransport>, to: &'static str) -> JoinHandle<Outcome> {
    let from = Arc::clone(from);
    tokio::spawn(async move { call(&from, to).await })
}

fn echo(host: &Arc<MemTransport>) -> JoinHandle<()> {
    let host = Arc::clone(host);
    tokio::spawn(async move {
        while let Some(incoming) = host.accept().await {
            answer(incoming);
        }
    })
}

fn answer(incoming: Incoming) {
    let frame = incoming.frame.clone();
    incoming.reply(frame);
}

/// Lets every task run until all wait.
async fn settle() {
    advance(Duration::ZERO).await;
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

fn is_timeout(outcome: &Outcome) -> bool {
    matches!(outcome, Err(TransportError::Timeout { .. }))
}

fn is_unreachable(outcome: &Outcome) -> bool {
    matches!(outcome, Err(TransportError::Unreachable { .. }))
}

#[tokio::test(start_paused = true)]
async fn latency_is_paid_on_the_way_there_and_back() {
    let (network, alice, bob) = network(1);
    echo(&bob);
    network.set_default_link(Link::with_latency(millis(20)));
    network.set_link("bob", "alice", Link::with_latency(millis(7)));
    let begun = Instant::now();
    call(&alice, "bob").await.unwrap();
    assert_eq!(begun.elapsed(), millis(27));
    call(&alice, "alice").await.unwrap_err();
    let begun = Instant::now();
    echo(&alice);
    call(&alice, "alice").await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO, "a host is next to itself");
}

#[tokio::test(start_paused = true)]
async fn jitter_stays_within_its_bound_and_varies() {
    let (network, alice, bob) = network(1);
    echo(&bob);
    network.set_link("alice", "bob", Link { latency: millis(10), jitter: millis(30), ..Link::default() });
    let mut times = Vec::new();
    for _ in 0..100 {
        let begun = Instant::now();
        call(&alice, "bob").await.unwrap();
        times.push(begun.elapsed());
    }
    assert!(times.iter().all(|time| (millis(10)..=millis(41)).contains(time)), "{times:?}");
    times.sort();
    times.dedup();
    assert!(times.len() > 20, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_request_or_reply_ends_with_timeout_at_the_deadline() {
    let lost = Link { loss: 1.0, ..Link::default() };
    for (from, to, executed) in [("alice", "bob", 0), ("bob", "alice", 1)] {
        let (network, alice, bob) = network(1);
        echo(&bob);
        network.set_link(from, to, lost);
        let begun = Instant::now();
        assert!(is_timeout(&call(&alice, "bob").await));
        assert_eq!(begun.elapsed(), DEADLINE);
        assert_eq!(network.traffic("bob").requests_received, executed);
    }
}

#[tokio::test(start_paused = true)]
async fn loss_hits_the_given_fraction() {
    let (network, alice, bob) = network(1);
    echo(&bob);
    network.set_link("alice", "bob", Link { loss: 0.2, ..Link::default() });
    let mut lost = 0;
    for _ in 0..1000 {
        lost += u32::from(call(&alice, "bob").await.is_err());
    }
    assert!((150..250).contains(&lost), "{lost} of 1000 were lost");
}

#[tokio::test(start_paused = true)]
async fn a_duplicated_request_arrives_twice_and_its_first_reply_counts() {
    let (network, alice, bob) = network(1);
    network.set_link("alice", "bob", Link { duplication: 1.0, latency: millis(5), ..Link::default() });
    let outcome = start(&alice, "bob");
    let first = accept(&bob).await.unwrap();
    let second = accept(&bob).await.unwrap();
    assert_eq!(first.frame, second.frame);
    second.reply(Frame::new("second", ""));
    first.reply(Frame::new("first", ""));
    let reply = outcome.await.unwrap().unwrap();
    assert!(reply.head == "first" || reply.head == "second");
    assert_eq!(network.traffic("bob").requests_received, 2);
    assert_eq!(network.traffic("alice").requests_sent, 1);
    assert_eq!(network.traffic("alice").replies_received, 1);
}

#[tokio::test(start_paused = true)]
async fn reordering_lets_frames_overtake_each_other_and_loses_none() {
    let (network, alice, bob) = network(1);
    network.set_link("alice", "bob", Link { latency: millis(1), reordering: 0.5, ..Link::default() });
    for number in 0..64 {
        let alice = Arc::clone(&alice);
        tokio::spawn(async move { call_with(&alice, "bob", number).await });
    }
    let mut arrived = Vec::new();
    for _ in 0..64 {
        arrived.push(accept(&bob).await.unwrap().frame.head[0]);
    }
    let mut sorted = arrived.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..64).collect::<Vec<u8>>());
    assert_ne!(arrived, sorted);
}

#[tokio::test(start_paused = true)]
async fn a_partition_cuts_between_its_groups_until_it_heals() {
    let (network, alice, bob) = network(1);
    let (carol, dave) = (Arc::new(network.listen("carol")), Arc::new(network.listen("dave")));
    for host in [&alice, &bob, &carol, &dave] {
        echo(host);
    }
    network.partition(&[&["alice", "bob"]]);
    assert!(call(&alice, "bob").await.is_ok());
    assert!(call(&carol, "dave").await.is_ok(), "those that no group names are together");
    for (from, to) in [(&alice, "carol"), (&dave, "bob")] {
        let begun = Instant::now();
        assert!(is_timeout(&call(from, to).await));
        assert_eq!(begun.elapsed(), DEADLINE);
    }
    network.partition(&[&["alice"], &["carol"]]);
    assert!(is_timeout(&call(&alice, "bob").await), "a new partition takes the place of the old one");
    network.isolate("dave");
    network.heal();
    assert!(call(&alice, "carol").await.is_ok());
    assert!(call(&dave, "bob").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_isolated_host_reaches_nobody_but_itself() {
    let (network, alice, bob) = network(1);
    echo(&alice);
    echo(&bob);
    network.isolate("alice");
    assert!(is_timeout(&call(&alice, "bob").await));
    assert!(is_timeout(&call(&bob, "alice").await));
    assert!(call(&alice, "alice").await.is_ok());
    network.crash("bob");
    assert!(is_timeout(&call(&alice, "bob").await), "not even a refusal comes through");
}

#[tokio::test(start_paused = true)]
async fn a_crash_resets_calls_refuses_later_ones_and_silences_the_host() {
    let (network, alice, bob) = network(1);
    network.set_default_link(Link::with_latency(millis(10)));
    let waiting = start(&alice, "bob");
    let incoming = accept(&bob).await.unwrap();
    let own = start(&bob, "alice");
    settle().await;
    let begun = Instant::now();
    assert!(network.crash("bob"));
    incoming.reply(Frame::new("from beyond", ""));
    assert_eq!(own.await.unwrap(), Err(TransportError::Closed));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(is_timeout(&waiting.await.unwrap()), "it may have been executed");
    assert_eq!(begun.elapsed(), millis(10), "the news take the way back");
    assert!(accept(&bob).await.is_none());
    assert_eq!(call(&bob, "alice").await, Err(TransportError::Closed));

    let begun = Instant::now();
    assert!(is_unreachable(&call(&alice, "bob").await));
    assert_eq!(begun.elapsed(), millis(20), "a refusal takes a round trip");
    assert!(!network.crash("bob"), "there is no such host");
    let again = Arc::new(network.listen("bob"));
    echo(&again);
    assert!(call(&alice, "bob").await.is_ok());
    drop(bob);
    assert!(call(&alice, "bob").await.is_ok(), "the end of the old life does not touch the new one");
}

#[tokio::test(start_paused = true)]
async fn a_crash_behind_a_partition_is_not_noticed() {
    let (network, alice, bob) = network(1);
    let begun = Instant::now();
    let waiting = start(&alice, "bob");
    let _incoming = accept(&bob).await.unwrap();
    network.partition(&[&["alice"], &["bob"]]);
    network.crash("bob");
    assert!(is_timeout(&waiting.await.unwrap()));
    assert_eq!(begun.elapsed(), DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn a_host_without_power_lets_callers_wait_for_their_deadlines() {
    let (network, alice, bob) = network(1);
    let begun = Instant::now();
    let waiting = start(&alice, "bob");
    let incoming = accept(&bob).await.unwrap();
    assert!(network.power_off("bob"));
    incoming.reply(Frame::default());
    assert!(is_timeout(&waiting.await.unwrap()));
    assert_eq!(begun.elapsed(), DEADLINE);
    assert!(is_timeout(&call(&alice, "bob").await));
    assert_eq!(begun.elapsed(), 2 * DEADLINE);
    assert_eq!(call(&bob, "alice").await, Err(TransportError::Closed));
    echo(&Arc::new(network.listen("bob")));
    assert!(call(&alice, "bob").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_frozen_host_takes_and_gives_nothing_until_it_is_thawed() {
    let (network, alice, bob) = network(1);
    let waiting = start(&alice, "bob");
    let incoming = accept(&bob).await.unwrap();
    assert!(network.freeze("bob"));
    answer(incoming);
    let piled: Vec<_> = (0..3).map(|_| start(&alice, "bob")).collect();
    let own = start(&bob, "alice");
    echo(&bob);
    echo(&alice);
    advance(DEADLINE / 2).await;
    settle().await;
    assert!(piled.iter().chain([&waiting, &own]).all(|call| !call.is_finished()));
    assert_eq!(network.traffic("bob").requests_sent, 0);

    assert!(network.thaw("bob"));
    for call in piled.into_iter().chain([waiting, own]) {
        assert!(call.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_frozen_host_learns_of_its_missed_deadline_when_thawed() {
    let (network, _alice, bob) = network(1);
    network.freeze("bob");
    let own = start(&bob, "alice");
    settle().await;
    advance(2 * DEADLINE).await;
    settle().await;
    assert!(!own.is_finished());
    network.thaw("bob");
    assert!(is_timeout(&own.await.unwrap()));
    assert_eq!(network.traffic("bob").requests_sent, 0);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_host_is_bounded_and_the_next_caller_waits() {
    let options = Options { max_waiting: 2, ..Options::default() };
    let network = Network::with_options(1, options);
    let (alice, bob) = (Arc::new(network.listen("alice")), Arc::new(network.listen("bob")));
    network.set_default_link(Link::with_latency(millis(1)));
    let mut calls: Vec<_> = (0..3).map(|_| start(&alice, "bob")).collect();
    settle().await;
    assert_eq!(network.traffic("alice").requests_sent, 2);
    answer(accept(&bob).await.unwrap());
    settle().await;
    assert_eq!(network.traffic("alice").requests_sent, 3);
    assert!(calls.remove(0).await.unwrap().is_ok());
    for call in calls {
        assert!(is_timeout(&call.await.unwrap()));
    }
    assert_eq!(network.traffic("bob").requests_received, 3);
    assert!(!network.inject(bob.endpoint(), &[0; 4]), "there is no room");
    drop(accept(&bob).await);
    assert!(network.inject(bob.endpoint(), &[0; 4]), "an empty frame");
    drop(accept(&bob).await);
    assert!(!network.inject(bob.endpoint(), &[0xff; 4]), "no frame");
}

#[tokio::test(start_paused = true)]
async fn lost_and_duplicated_frames_keep_no_place_in_the_queue() {
    let network = Network::with_options(1, Options { max_waiting: 2, ..Options::default() });
    let (alice, bob) = (network.listen("alice"), Arc::new(network.listen("bob")));
    echo(&bob);
    network.set_default_link(Link { loss: 1.0, ..Link::default() });
    for _ in 0..3 {
        assert!(is_timeout(&call(&alice, "bob").await));
    }
    network.set_default_link(Link { duplication: 1.0, ..Link::default() });
    for _ in 0..3 {
        assert!(call(&alice, "bob").await.is_ok());
    }
    assert_eq!(network.traffic("bob").requests_received, 6);
}

#[tokio::test(start_paused = true)]
async fn requests_arrive_in_the_order_of_their_times() {
    let (network, alice, bob) = network(1);
    for (number, latency) in [(0, 30), (1, 10), (2, 20), (3, 10)] {
        network.set_link("alice", "bob", Link::with_latency(millis(latency)));
        let alice = Arc::clone(&alice);
        tokio::spawn(async move { call_with(&alice, "bob", number).await });
        settle().await;
    }
    let begun = Instant::now();
    for (number, latency) in [(1, 10), (3, 10), (2, 20), (0, 30)] {
        assert_eq!(accept(&bob).await.unwrap().frame.head[0], number);
        assert_eq!(begun.elapsed(), millis(latency));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_that_was_sent_still_arrives() {
    let (network, alice, bob) = network(1);
    network.set_default_link(Link::with_latency(millis(10)));
    let cancelled = start(&alice, "bob");
    settle().await;
    cancelled.abort();
    answer(accept(&bob).await.unwrap());
    assert_eq!(network.traffic("bob").requests_received, 1);
}

#[tokio::test(start_paused = true)]
async fn the_delivery_task_ends_when_nothing_is_on_its_way() {
    let (network, alice, bob) = network(1);
    let server = echo(&bob);
    network.set_default_link(Link::with_latency(millis(10)));
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for _ in 0..3 {
        call(&alice, "bob").await.unwrap();
        settle().await;
        assert_eq!(tasks(), 1, "only the server is left");
    }
    bob.close().await;
    timeout(DEADLINE, server).await.expect("accept ends with the host").unwrap();
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn traffic_is_counted_by_host_and_over_restarts() {
    let (network, alice, bob) = network(1);
    echo(&bob);
    call(&alice, "bob").await.unwrap();
    let sent = Traffic {
        requests_sent: 1,
        replies_received: 1,
        bytes_sent: 5,
        bytes_received: 5,
        ..Traffic::default()
    };
    assert_eq!(network.traffic("alice"), sent);
    network.crash("alice");
    let alice = network.listen("alice");
    call(&alice, "bob").await.unwrap();
    assert_eq!(network.traffic("alice").requests_sent, 2);
    assert_eq!(network.traffic("bob").requests_received, 2);
    assert_eq!(network.traffic("bob").replies_sent, 2);
    assert_eq!(network.traffic("nobody"), Traffic::default());
}

#[tokio::test(start_paused = true)]
async fn callers_are_known_by_name_and_wrong_names_are_not_reached() {
    let (network, alice, bob) = network(1);
    let waiting = start(&alice, "bob");
    assert_eq!(accept(&bob).await.unwrap().peer().map(|name| &**name), Some("alice"));
    waiting.abort();
    let wrong: Endpoint = "mem://mallory@bob:1".parse().unwrap();
    let options = CallOptions { deadline: Instant::now() + DEADLINE, lane: Lane::Control };
    assert!(is_unreachable(&alice.call(&wrong, Frame::default(), options).await));
    assert_eq!(network.listen_at(bob.endpoint()).err(), Some(ListenError::InUse(bob.endpoint().clone())));
    let foreign: Endpoint = "quic://carol@carol:1".parse().unwrap();
    assert_eq!(network.listen_at(&foreign).err(), Some(ListenError::NotMem(foreign)));
    let nameless: Endpoint = "mem://bob:1".parse().unwrap();
    let call = alice.call(&nameless, Frame::default(), options);
    let serve = async { answer(accept(&bob).await.unwrap()) };
    assert_eq!(tokio::join!(call, serve).0, Ok(Frame::default()));
}
