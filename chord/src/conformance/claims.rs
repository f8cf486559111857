//! The claims, one function each, in the order of the macro's list.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::Fixture;
use super::support::*;
use crate::transport::{Frame, Lane, Transport, TransportError};

/// Head and body arrive as they were sent and come back as they were answered, empty ones too, on every lane.
pub async fn a_call_brings_back_head_and_body_intact<F: Fixture>(fixture: &F) {
    let (caller, peer) = pair(fixture).await;
    echo(&peer);
    for lane in LANES {
        for (head, body) in [(0, 0), (1, 0), (0, 1), (3, 4), (300, 300), (65, 60_000), (60_000, 65)] {
            let sent = Frame::new(filled(head, head), filled(body, body));
            assert_echoes(&caller, &peer, sent, lane).await;
        }
    }
    assert_echoes(&peer, &peer, numbered(1), Lane::Request).await;
}

/// Replies find their calls although they are given in the opposite order.
pub async fn many_calls_in_flight_get_each_its_own_reply<F: Fixture>(fixture: &F) {
    let (caller, peer) = pair(fixture).await;
    let count = fixture.max_in_flight().min(256);
    let calls = join_all((0..count).map(|i| {
        let caller = &caller;
        let to = peer.endpoint();
        async move { caller.call(to, numbered(i), request(FAR)).await.expect("a reply") }
    }));
    let serve = async {
        let mut waiting = Vec::new();
        while waiting.len() < count {
            waiting.push(accept(&peer).await);
        }
        waiting.into_iter().rev().for_each(answer_same);
    };
    let (replies, ()) = tokio::join!(calls, serve);
    for (i, reply) in replies.into_iter().enumerate() {
        assert_eq!(reply, numbered(i), "call {i} got another call's reply");
    }
}

/// Two hosts that call each other at the same moment are both answered.
pub async fn calls_in_both_directions_at_once_are_answered<F: Fixture>(fixture: &F) {
    let (left, right) = pair(fixture).await;
    echo(&left);
    echo(&right);
    let count = fixture.max_in_flight().min(64);
    let calls = (0..count).map(|i| {
        let (left, right) = (&left, &right);
        async move {
            tokio::join!(
                assert_echoes(left, right, numbered(i), Lane::Request),
                assert_echoes(right, left, numbered(i), Lane::Request),
            )
        }
    });
    join_all(calls).await;
}

/// The frame limit that the transport tells is the configured one, and is itself allowed, for calls and replies,
/// whatever part of it is head.
pub async fn a_frame_at_the_limit_passes<F: Fixture>(fixture: &F) {
    let (caller, peer) = pair(fixture).await;
    echo(&peer);
    assert_eq!(caller.max_frame_bytes(), fixture.max_frame_bytes());
    let whole = filled(7, caller.max_frame_bytes());
    for lane in LANES {
        for head in [0, 24, whole.len()] {
            let sent = Frame::new(whole.slice(..head), whole.slice(head..));
            assert_echoes(&caller, &peer, sent, lane).await;
        }
    }
}

/// One byte more is refused by the caller's own transport, and nothing of it reaches the peer.
pub async fn an_oversize_frame_is_refused_and_not_delivered<F: Fixture>(fixture: &F) {
    let (caller, peer) = pair(fixture).await;
    let max = fixture.max_frame_bytes();
    for lane in LANES {
        let result = caller.call(peer.endpoint(), frame(max + 1), on(lane, FAR)).await;
        assert_eq!(result, Err(TransportError::TooLarge { len: max + 1, max }));
    }
    let serve = async {
        let first = accept(&peer).await;
        assert!(first.frame == numbered(1), "a refused frame was delivered");
        answer_same(first);
    };
    tokio::join!(assert_echoes(&caller, &peer, numbered(1), Lane::Request), serve);
}

/// A reply beyond the limit is an error for its caller, before the deadline or at it, and harms no other call.
pub async fn an_oversize_reply_fails_its_call_only<F: Fixture>(fixture: &F) {
    let (caller, peer) = pair(fixture).await;
    let max = fixture.max_frame_bytes();
    for lane in LANES {
        let serve = async {
            let (first, second) = (accept(&peer).await, accept(&peer).await);
            let (large, small) = if first.frame.body.is_empty() { (first, second) } else { (second, first) };
            large.reply(frame(max + 1));
            answer_same(small);
        };
        let (refused, (), ()) = tokio::join!(
            caller.call(peer.endpoint(), Frame::default(), on(lane, Duration::from_secs(2))),
            assert_echoes(&caller, &peer, numbered(1), lane),
            serve
        );
        let expected =
            matches!(refused, Err(TransportError::TooLarge { .. } | TransportError::Timeout { .. }));
        assert!(expected, "an oversize reply gave {:?}", refused.map(|reply| reply.len()));
    }
    echo(&peer);
    assert_echoes(&caller, &peer, numbered(2), Lane::Request).await;
}

/// A call to where nobody listens ends with `Unreachable`, well before its deadline.
pub async fn an_unknown_peer_is_unreachable_at_once<F: Fixture>(fixture: &F) {
    let (caller, peer) = pair(fixture).await;
    echo(&peer);
    let absent = fixture.absent();
    let begun = Instant::now();
    let calls = (0..4).map(|i| caller.call(&absent, numbered(i), request(Duration::from_secs(5))));
    for result in join_all(calls).await {
        assert!(
            matches!(&result, Err(TransportError::Unreachable { endpoint, .. }) if *endpoint == absent),
            "expected unreachable, got {result:?}"
        );
    }
    assert!(begun.elapsed() < Duration::from_millis(2500), "it took {:?} to find out", begun.elapsed());
    assert_echoes(&caller, &peer, numbered(9), Lane::Request).await;
}

/// A peer that closes while it works on a call ends that call with `Timeout` (it may have been executed) long
/// before its deadline.
pub async fn a_closed_peer_ends_the_call_it_was_working_on<F: Fixture>(fixture: &F) {
    let (caller, peer) = pair(fixture).await;
    let (call, _incoming) = held(&caller, &peer, FAR).await;
    let begun = Instant::now();
    peer.close().await;
    assert_timeout(call.await.expect("the call does not panic"));
    assert!(begun.elapsed() < FAR / 2, "it took {:?} to notice that the peer closed", begun.elapsed());
}

/// A peer that vanishes ends the call with `Timeout`, by the deadline at the latest.
pub async fn a_dropped_peer_ends_the_call_by_its_deadline<F: Fixture>(fixture: &F) {
    let (caller, peer) = pair(fixture).await;
    let within = Duration::from_secs(3);
    let begun = Instant::now();
    let (call, incoming) = held(&caller, &peer, within).await;
    kill(peer, tokio::spawn(async {})).await;
    drop(incoming);
    assert_timeout(call.await.expect("the call does not panic"));
    assert!(begun.elapsed() < within + TOLERANCE, "the call ended {:?} after its start", begun.elapsed());
}

/// After a peer came back on its address, closed or killed before, calls reach it again within a few tries,
/// and each try ends by its deadline.
pub async fn a_peer_restarted_on_its_address_is_reached_again<F: Fixture>(fixture: &F) {
    let (caller, mut peer) = pair(fixture).await;
    let endpoint = peer.endpoint().clone();
    for round in 0..4 {
        let server = echo(&peer);
        let within = Duration::from_secs(1);
        let mut failures = Vec::new();
        loop {
            let begun = Instant::now();
            let result = caller.call(&endpoint, numbered(round), request(within)).await;
            assert!(begun.elapsed() < within + TOLERANCE, "a call took {:?}", begun.elapsed());
            match result {
                Ok(reply) => break assert_eq!(reply, numbered(round)),
                Err(error) => failures.push(error),
            }
            assert!(failures.len() < 10, "the restarted peer is not reached again: {failures:?}");
        }
        if round % 2 == 0 {
            peer.close().await;
        }
        kill(peer, server).await;
        peer = Arc::new(fixture.open("peer", Some(&endpoint)).await);
        assert_eq!(*peer.endpoint(), endpoint, "the restarted peer has the same endpoint");
    }
}

/// A call without an answer delays no other call to the same peer.
pub async fn a_slow_call_delays_no_other<F: Fixture>(fixture: &F) {
    let (caller, peer) = pair(fixture).await;
    let (slow, incoming) = held(&caller, &peer, FAR * 2).await;
    echo(&peer);
    for i in 0..64 {
        assert_echoes(&caller, &peer, numbered(i), LANES[i % 3]).await;
    }
    assert!(!slow.is_finished(), "the slow call has no answer yet");
    answer_same(incoming);
    assert_eq!(slow.await.expect("the call does not panic"), Ok(numbered(0)));
}

/// A call ends with `Timeout` at its deadline: not before, little after. One past its deadline ends at once.
pub async fn a_deadline_is_kept<F: Fixture>(fixture: &F) {
    let (caller, peer) = pair(fixture).await;
    let holder = {
        let peer = Arc::clone(&peer);
        tokio::spawn(async move {
            let mut unanswered = Vec::new();
            while let Some(incoming) = peer.accept().await {
                unanswered.push(incoming);
            }
        })
    };
    for within in [Duration::from_millis(300), Duration::from_millis(50)] {
        let begun = Instant::now();
        assert_timeout(caller.call(peer.endpoint(), numbered(0), request(within)).await);
        let took = begun.elapsed();
        assert!(took + Duration::from_millis(5) >= within, "it gave up after {took:?} of {within:?}");
        assert!(took < within + TOLERANCE, "it gave up only after {took:?} of {within:?}");
    }
    holder.abort();
    echo(&peer);
    let begun = Instant::now();
    assert_timeout(caller.call(peer.endpoint(), numbered(0), request(Duration::ZERO)).await);
    assert!(begun.elapsed() < TOLERANCE, "a call past its deadline took {:?}", begun.elapsed());
    assert_echoes(&caller, &peer, numbered(1), Lane::Request).await;
}

/// An `Incoming` that is dropped unanswered ends its call with `Timeout`, by the deadline.
pub async fn a_call_dropped_by_the_peer_times_out<F: Fixture>(fixture: &F) {
    let (caller, peer) = pair(fixture).await;
    let within = Duration::from_millis(300);
    let begun = Instant::now();
    let (call, incoming) = held(&caller, &peer, within).await;
    drop(incoming);
    assert_timeout(call.await.expect("the call does not panic"));
    assert!(begun.elapsed() < within + TOLERANCE, "the call took {:?}", begun.elapsed());
    echo(&peer);
    assert_echoes(&caller, &peer, numbered(1), Lane::Request).await;
}

/// More calls than may be in flight are cancelled, some delivered and some barely begun; none counts any more.
pub async fn cancelled_calls_leave_nothing_behind<F: Fixture>(fixture: &F) {
    let (caller, peer) = pair(fixture).await;
    let often = fixture.max_in_flight() + 1;
    for i in 0..often {
        tokio::select! {
            result = caller.call(peer.endpoint(), numbered(i), request(FAR)) => {
                panic!("call {i} ended unanswered with {result:?}")
            }
            incoming = accept(&peer) => drop(incoming),
        }
    }
    echo(&peer);
    for i in 0..often {
        let call = caller.call(peer.endpoint(), numbered(i), request(FAR));
        if let Some(Err(error)) = call.now_or_never() {
            panic!("call {i} was refused: {error}");
        }
    }
    let calls = (0..fixture.max_in_flight().min(64))
        .map(|i| assert_echoes(&caller, &peer, numbered(i), Lane::Request));
    join_all(calls).await;
}

/// `accept` may be cancelled at any moment, and be called from several tasks: every frame is seen once.
pub async fn a_cancelled_accept_loses_no_frame<F: Fixture>(fixture: &F) {
    let (caller, peer) = pair(fixture).await;
    let servers: Vec<_> = (0..2)
        .map(|_| {
            let peer = Arc::clone(&peer);
            tokio::spawn(async move {
                loop {
                    match peer.accept().now_or_never() {
                        Some(Some(incoming)) => answer_same(incoming),
                        Some(None) => break,
                        None => tokio::task::yield_now().await,
                    }
                }
            })
        })
        .collect();
    for round in 0..16 {
        let calls = (0..fixture.max_in_flight().min(16))
            .map(|i| assert_echoes(&caller, &peer, numbered(round * 16 + i), Lane::Request));
        join_all(calls).await;
    }
    peer.close().await;
    for server in servers {
        server.await.expect("accept ends with None once the transport is closed");
    }
}

/// Closing ends calls in flight with `Closed` and a waiting `accept` with `None`; later ones too. Closing again
/// is harmless, and the peer goes on.
pub async fn closing_ends_what_is_in_flight<F: Fixture>(fixture: &F) {
    let (caller, peer) = pair(fixture).await;
    let waiting = {
        let caller = Arc::clone(&caller);
        tokio::spawn(async move { caller.accept().await.is_none() })
    };
    let mut calls = Vec::new();
    for _ in 0..fixture.max_in_flight().min(32) {
        calls.push(held(&caller, &peer, FAR * 2).await);
    }
    caller.close().await;
    for (call, _incoming) in calls {
        let result = timeout(FAR, call).await.expect("a call outlived its transport");
        assert_eq!(result.expect("the call does not panic"), Err(TransportError::Closed));
    }
    let ended = timeout(FAR, waiting).await.expect("accept outlived its transport");
    assert!(ended.expect("accept does not panic"), "accept gave a frame after the closing");
    caller.close().await;
    assert!(caller.accept().await.is_none());
    let late = caller.call(peer.endpoint(), numbered(1), request(FAR)).await;
    assert_eq!(late, Err(TransportError::Closed));

    echo(&peer);
    let other = open(fixture, "other").await;
    assert_echoes(&other, &peer, numbered(2), Lane::Request).await;
}

/// Once `close` has returned, the transport's tasks are gone.
pub async fn closing_leaves_no_task<F: Fixture>(fixture: &F) {
    let before = Handle::current().metrics().num_alive_tasks();
    let hosts = busy_pair(fixture).await;
    for (transport, server) in hosts {
        transport.close().await;
        server.await.expect("accept ends with None once the transport is closed");
    }
    assert_tasks_end(before).await;
}

/// A transport that is dropped without being closed ends its tasks too.
pub async fn dropping_leaves_no_task<F: Fixture>(fixture: &F) {
    let before = Handle::current().metrics().num_alive_tasks();
    for (transport, server) in busy_pair(fixture).await {
        kill(transport, server).await;
    }
    assert_tasks_end(before).await;
}

/// Whatever bytes arrive at the listener, it goes on serving old peers and new ones.
pub async fn garbage_from_the_wire_is_survived<F: Fixture>(fixture: &F) {
    let (caller, peer) = pair(fixture).await;
    echo(&peer);
    assert_echoes(&caller, &peer, numbered(0), Lane::Request).await;
    let mut samples: Vec<Vec<u8>> = vec![
        Vec::new(),
        vec![0],
        vec![0; 4096],
        vec![0xff; 64],
        vec![0xff; 65_536],
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
    ];
    samples.extend((1..24).map(|i| filled(i * 7919, i * i * 17).to_vec()));
    for (i, sample) in samples.iter().enumerate() {
        fixture.garbage(peer.endpoint(), sample).await;
        assert_echoes(&caller, &peer, numbered(i), Lane::Request).await;
    }
    let newcomer = open(fixture, "newcomer").await;
    assert_echoes(&newcomer, &peer, numbered(1), Lane::Request).await;
}

/// While large `Bulk` calls to a peer follow each other without a pause, `Control` and `Request` calls overtake
/// them. Were they to queue behind what was in flight before them, each would see all of it complete; half of it
/// on average is the limit here.
pub async fn bulk_does_not_starve_the_other_lanes<F: Fixture>(fixture: &F) {
    assert_overtaken(fixture, Lane::Bulk, [Lane::Control, Lane::Request]).await;
}

/// While large `Request` calls to a peer follow each other without a pause, `Control` calls overtake them, in the same
/// measure: a value does not keep signs of life waiting.
pub async fn large_requests_do_not_delay_control<F: Fixture>(fixture: &F) {
    assert_overtaken(fixture, Lane::Request, [Lane::Control; 2]).await;
}

async fn assert_overtaken<F: Fixture>(fixture: &F, slow: Lane, urgent: [Lane; 2]) {
    let (caller, peer) = pair(fixture).await;
    echo(&peer);
    for lane in LANES {
        assert_echoes(&caller, &peer, numbered(0), lane).await;
    }
    let large_in_flight = (fixture.max_in_flight() - 1).min(32);
    let urgent_calls = 16;
    let large = frame(fixture.max_frame_bytes());
    let completed = Arc::new(AtomicUsize::new(0));
    let mut large_calls = JoinSet::new();
    for _ in 0..large_in_flight {
        let (caller, to, large) = (Arc::clone(&caller), peer.endpoint().clone(), large.clone());
        let completed = Arc::clone(&completed);
        large_calls.spawn(async move {
            loop {
                let reply = caller.call(&to, large.clone(), on(slow, FAR * 3)).await;
                assert_eq!(reply.expect("a large reply").len(), large.len());
                completed.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    while completed.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    let before = completed.load(Ordering::Relaxed);
    for i in 0..urgent_calls {
        assert_echoes(&caller, &peer, numbered(i), urgent[i % 2]).await;
    }
    let overtaken = completed.load(Ordering::Relaxed) - before;
    assert!(large_calls.try_join_next().is_none(), "a large call failed");
    let limit = urgent_calls * large_in_flight / 2;
    assert!(overtaken <= limit, "{overtaken} large calls ended before {urgent_calls} urgent ones did");
}

/// The call past the bound on calls in flight to a peer on a lane is refused at once with `Overloaded`; calls to others
/// are not, and once there are answers there is room again.
pub async fn calls_past_the_bound_are_refused_at_once<F: Fixture>(fixture: &F) {
    let (caller, peer) = pair(fixture).await;
    let mut calls = Vec::new();
    for _ in 0..fixture.max_in_flight() {
        calls.push(held(&caller, &peer, FAR * 2).await);
    }
    let begun = Instant::now();
    let refused = caller.call(peer.endpoint(), numbered(1), request(FAR * 2)).await;
    assert_eq!(refused, Err(TransportError::Overloaded { endpoint: peer.endpoint().clone() }));
    assert!(begun.elapsed() < TOLERANCE, "the refusal took {:?}", begun.elapsed());

    let other = open(fixture, "other").await;
    echo(&other);
    assert_echoes(&caller, &other, numbered(2), Lane::Request).await;

    for (call, incoming) in calls {
        answer_same(incoming);
        assert_eq!(call.await.expect("the call does not panic"), Ok(numbered(0)));
    }
    echo(&peer);
    assert_echoes(&caller, &peer, numbered(3), Lane::Request).await;
}

/// While as many `Request` calls to a peer as may be are waiting for their answers, `Control` and `Bulk` calls to it
/// go through.
pub async fn a_full_lane_takes_no_other_lanes_room<F: Fixture>(fixture: &F) {
    let (caller, peer) = pair(fixture).await;
    let mut calls = Vec::new();
    for _ in 0..fixture.max_in_flight() {
        calls.push(held(&caller, &peer, FAR * 2).await);
    }
    let refused = caller.call(peer.endpoint(), numbered(1), request(FAR)).await;
    assert_eq!(refused, Err(TransportError::Overloaded { endpoint: peer.endpoint().clone() }));
    let server = echo(&peer);
    for lane in [Lane::Control, Lane::Bulk] {
        assert_echoes(&caller, &peer, numbered(2), lane).await;
    }
    assert!(calls.iter().all(|(call, _)| !call.is_finished()), "the requests have no answers yet");
    for (call, incoming) in calls {
        answer_same(incoming);
        assert_eq!(call.await.expect("the call does not panic"), Ok(numbered(0)));
    }
    peer.close().await;
    server.await.expect("accept ends with None once the transport is closed");
}
