//! A link with a bounded rate, on tokio's paused clock: times are exact.

use std::sync::Arc;
use std::time::Duration;

use chord::transport::{CallOptions, Endpoint, Frame, Lane, Transport, TransportError};
use chord_transport_mem::{Link, MemTransport, Network};
use tokio::time::Instant;

const LATENCY: Duration = Duration::from_millis(20);
const RATE: u64 = 1000;

/// Two hosts, of which bob sends every frame back, and the way to bob bounded.
fn network() -> (Network, MemTransport, Endpoint) {
    let network = Network::new(1);
    let link = Link { bytes_per_second: Some(RATE), ..Link::with_latency(LATENCY) };
    network.set_link("alice", "bob", link);
    let (alice, bob) = (network.listen("alice"), Arc::new(network.listen("bob")));
    let endpoint = bob.endpoint().clone();
    tokio::spawn(async move {
        while let Some(incoming) = bob.accept().await {
            let frame = incoming.frame.clone();
            incoming.reply(frame);
        }
    });
    (network, alice, endpoint)
}

/// When the call has ended, and how.
async fn timed(
    from: &MemTransport,
    to: &Endpoint,
    lane: Lane,
    bytes: usize,
    time: Duration,
) -> (Duration, Result<Frame, TransportError>) {
    let begun = Instant::now();
    let options = CallOptions { deadline: begun + time, lane };
    let result = from.call(to, Frame::new(vec![0; 100], vec![0; bytes - 100]), options).await;
    (begun.elapsed(), result)
}

const FAR: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn frames_of_one_lane_pass_one_after_the_other() {
    let (_network, alice, bob) = network();
    let (first, second) =
        tokio::join!(timed(&alice, &bob, Lane::Bulk, 2000, FAR), timed(&alice, &bob, Lane::Bulk, 1000, FAR),);
    assert_eq!([first.0, second.0], [2, 3].map(|seconds| Duration::from_secs(seconds) + LATENCY));
    let later = timed(&alice, &bob, Lane::Bulk, 1000, FAR).await;
    assert_eq!(later.0, Duration::from_secs(1) + LATENCY, "nothing is under way any more");
}

#[tokio::test(start_paused = true)]
async fn lanes_do_not_delay_each_other() {
    let (_network, alice, bob) = network();
    let (bulk, control) = tokio::join!(
        timed(&alice, &bob, Lane::Bulk, 2000, FAR),
        timed(&alice, &bob, Lane::Control, 100, FAR),
    );
    assert!(bulk.1.is_ok());
    assert_eq!(control.0, Duration::from_millis(100) + LATENCY);
}

#[tokio::test(start_paused = true)]
async fn replies_pass_at_the_rate_of_their_own_direction() {
    let (network, alice, bob) = network();
    network.set_link("bob", "alice", Link { bytes_per_second: Some(2 * RATE), ..Link::default() });
    let (took, result) = timed(&alice, &bob, Lane::Request, 1000, FAR).await;
    assert!(result.is_ok());
    assert_eq!(took, Duration::from_millis(1500) + LATENCY);
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_passes_though_nobody_waits_for_it() {
    let (_network, alice, bob) = network();
    let given_up = timed(&alice, &bob, Lane::Bulk, 2000, Duration::from_secs(1)).await;
    assert!(matches!(given_up.1, Err(TransportError::Timeout { .. })));
    let (took, _) = timed(&alice, &bob, Lane::Bulk, 1000, FAR).await;
    assert_eq!(took, Duration::from_secs(2) + LATENCY);
}
