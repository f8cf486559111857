//! What the conformance suite cannot know: ZeroMQ's own hazards and this crate's answers to them.

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use chord::transport::{Endpoint, Frame, Transport, TransportError};
use chord_transport_zmq::{ZmqConfig, ZmqError, ZmqTransport};
use common::{call, config, echo, open, until, within};
use tokio::net::TcpListener;
use zeromq::{DealerSocket, RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

const SHORT: Duration = Duration::from_millis(200);

fn frame(text: &'static str) -> Frame {
    Frame::new(text, "body")
}

/// A message as this crate frames it, with `kind` at its place.
fn framed(kind: u8, correlation: u64, head: &[u8]) -> Bytes {
    let mut bytes = b"CHZQ\x01".to_vec();
    bytes.extend([kind, 1, 0]);
    bytes.extend(correlation.to_be_bytes());
    bytes.extend((head.len() as u32).to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(head);
    bytes.into()
}

fn message(parts: &[&[u8]]) -> ZmqMessage {
    let parts: Vec<_> = parts.iter().map(|part| Bytes::copy_from_slice(part)).collect();
    parts.try_into().expect("there are parts")
}

/// A ROUTER of the bare library, and the endpoint to call it at.
async fn bare_router() -> (RouterSocket, Endpoint) {
    let mut router = RouterSocket::new();
    let bound = router.bind("tcp://127.0.0.1:0").await.expect("a loopback port").to_string();
    (router, bound.replace("tcp://", "zmq://bare@").parse().expect("an endpoint"))
}

#[tokio::test]
async fn an_address_beyond_loopback_is_refused_unless_the_network_is_trusted() {
    let listen = ZmqConfig { listen: "zmq://0.0.0.0:0".parse().unwrap(), ..config("n1") };
    let refused = ZmqTransport::bind(listen.clone()).await.err().unwrap();
    assert!(matches!(refused, ZmqError::NotTrusted { .. }), "{refused}");
    let text = refused.to_string();
    assert!(
        text.contains("no authentication") && text.contains("73-byte") && text.contains("trusted_network")
    );

    let advertised: Endpoint = "zmq://n1@192.0.2.1:7000".parse().unwrap();
    let advertise = ZmqConfig { advertise: Some(advertised.clone()), ..config("n1") };
    let refused = ZmqTransport::bind(advertise.clone()).await.err().unwrap();
    assert!(matches!(refused, ZmqError::NotTrusted { endpoint, .. } if endpoint == advertised));

    let trusted = open(ZmqConfig { trusted_network: true, ..advertise }).await;
    assert_eq!(*trusted.endpoint(), advertised);
    assert!(trusted.local_addr().ip().is_loopback());

    let everywhere = ZmqTransport::bind(ZmqConfig { trusted_network: true, ..listen }).await.err().unwrap();
    assert!(matches!(everywhere, ZmqError::Invalid { field: "advertise", .. }), "{everywhere}");
}

#[tokio::test]
async fn a_call_beyond_loopback_is_refused_unless_the_network_is_trusted() {
    let caller = open(config("caller")).await;
    let outside: Endpoint = "zmq://n1@192.0.2.1:7000".parse().unwrap();
    let begun = Instant::now();
    let refused = caller.call(&outside, frame("q"), within(Duration::from_secs(10))).await.unwrap_err();
    assert!(matches!(&refused, TransportError::Unreachable { reason, .. } if reason.contains("loopback")));
    assert!(begun.elapsed() < Duration::from_secs(1));
    let other = caller.call(&"mem://n1@127.0.0.1:1".parse().unwrap(), frame("q"), within(SHORT)).await;
    assert!(matches!(other, Err(TransportError::Unreachable { .. })));
}

#[tokio::test]
async fn the_endpoint_advertises_the_name_and_the_bound_port() {
    let host = open(config("n1")).await;
    assert_eq!(host.endpoint().name(), Some("n1"));
    assert_eq!(host.endpoint().address(), host.local_addr().to_string());
    assert_ne!(host.endpoint().port(), 0);

    let taken = ZmqConfig { listen: host.endpoint().clone(), ..config("n1") };
    assert!(matches!(ZmqTransport::bind(taken).await, Err(ZmqError::Network { .. })));
    let unnamed = "zmq://localhost:7000".parse().unwrap();
    let named = open(ZmqConfig { advertise: Some(unnamed), ..config("n2") }).await;
    assert_eq!(named.endpoint().as_str(), "zmq://n2@localhost:7000");
}

#[tokio::test]
async fn hostile_messages_to_a_listener_are_counted_and_dropped() {
    let (host, caller) = (open(config("host")).await, open(config("caller")).await);
    echo(&host);
    let mut hostile = DealerSocket::new();
    hostile.connect(&format!("tcp://{}", host.local_addr())).await.unwrap();
    let reply = framed(2, 0, b"");
    let samples: [&[&[u8]]; 6] =
        [&[b""], &[b"CHZQ"], &[&[0xff; 24]], &[&reply], &[b"a", b"b"], &[b"a", b"b", b"c"]];
    for (sent, sample) in samples.into_iter().enumerate() {
        hostile.send(message(sample)).await.unwrap();
        until("the message is counted", || host.stats().malformed == sent as u64 + 1).await;
    }
    hostile.send(message(&[&framed(1, 77, b"well formed")])).await.unwrap();
    let answer = hostile.recv().await.unwrap();
    assert_eq!(answer.get(0), Some(&framed(2, 77, b"well formed")));
    assert_eq!(call(&caller, &host, frame("q")).await, Ok(frame("q")));
}

#[tokio::test]
async fn hostile_replies_are_counted_and_dropped() {
    let caller = open(config("caller")).await;
    let (mut router, endpoint) = bare_router().await;
    let server = tokio::spawn(async move {
        let request = router.recv().await.unwrap();
        let (peer, request) = (request.get(0).unwrap().clone(), request.get(1).unwrap().clone());
        let correlation = u64::from_be_bytes(request[8..16].try_into().unwrap());
        let hostile =
            [framed(1, correlation, b"a request"), framed(3, correlation, b"too short"), Bytes::new()];
        for sample in hostile.into_iter().chain([framed(2, correlation + 1, b"of another call")]) {
            router.send(message(&[&peer, &sample])).await.unwrap();
        }
        router.send(message(&[&peer, &framed(2, correlation, b"the reply")])).await.unwrap();
        router
    });
    let reply = caller.call(&endpoint, frame("q"), within(Duration::from_secs(10))).await;
    assert_eq!(reply, Ok(Frame::new("the reply", "")));
    let stats = caller.stats();
    assert_eq!((stats.malformed, stats.late_replies), (3, 1));
    drop(server.await.unwrap());
}

#[tokio::test]
async fn a_request_beyond_the_callees_limit_is_refused_by_it_and_not_executed() {
    let caller = open(config("caller")).await;
    let host = open(ZmqConfig { max_frame_bytes: 1000, ..config("host") }).await;
    echo(&host);
    let refused = call(&caller, &host, Frame::new("", vec![0; 1001])).await;
    assert_eq!(refused, Err(TransportError::TooLarge { len: 1001, max: 1000 }));
    assert_eq!(host.stats().oversized, 1);
    assert!(call(&caller, &host, Frame::new("", vec![0; 1000])).await.is_ok());
}

#[tokio::test]
async fn a_reply_to_a_caller_that_is_gone_is_counted_and_dropped() {
    let (caller, host) = (open(config("caller")).await, open(config("host")).await);
    let asking = {
        let (caller, host) = (caller.clone(), host.clone());
        tokio::spawn(async move { call(&caller, &host, frame("q")).await })
    };
    let incoming = host.accept().await.unwrap();
    caller.close().await;
    assert_eq!(asking.await.unwrap(), Err(TransportError::Closed));
    let other = open(config("other")).await;
    let (held, reply) = tokio::join!(
        async {
            let held = host.accept().await.unwrap();
            incoming.reply(frame("too late"));
            until("the reply is dropped", || host.stats().undeliverable_replies == 1).await;
            held.reply(frame("r"));
        },
        call(&other, &host, frame("q")),
    );
    assert_eq!((held, reply), ((), Ok(frame("r"))));
}

#[tokio::test]
async fn a_burst_of_first_calls_shares_one_dial_that_ends_in_time() {
    let caller = open(ZmqConfig { dial_timeout: SHORT, ..config("caller") }).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint: Endpoint = format!("zmq://silent@{}", silent.local_addr().unwrap()).parse().unwrap();
    let calls = (0..8).map(|_| caller.call(&endpoint, frame("q"), within(Duration::from_secs(10))));
    for result in futures::future::join_all(calls).await {
        assert!(matches!(result, Err(TransportError::Unreachable { .. })), "{result:?}");
    }
    let mut accepted = Vec::new();
    while let Ok(connection) = tokio::time::timeout(SHORT, silent.accept()).await {
        accepted.push(connection.unwrap());
    }
    assert_eq!(accepted.len(), 2, "one connection asks whether anyone listens, one speaks ZeroMQ");
}

#[tokio::test]
async fn a_call_in_the_pause_after_a_failed_dial_reaches_a_peer_that_came_back() {
    let pause = Duration::from_secs(1);
    let caller = open(ZmqConfig { redial_min: pause, redial_max: pause, ..config("caller") }).await;
    let host = open(config("host")).await;
    let endpoint = host.endpoint().clone();
    host.close().await;
    let unreachable = |result| matches!(result, Err(TransportError::Unreachable { .. }));
    assert!(unreachable(caller.call(&endpoint, frame("q"), within(Duration::from_secs(10))).await));

    let begun = Instant::now();
    assert!(unreachable(caller.call(&endpoint, frame("q"), within(SHORT)).await));
    assert!(begun.elapsed() < SHORT, "a call that cannot outlast the pause fails at once");

    let host = open(ZmqConfig { listen: endpoint, ..config("host") }).await;
    echo(&host);
    assert_eq!(call(&caller, &host, frame("q")).await, Ok(frame("q")));
    assert!(begun.elapsed() >= pause / 2, "it waited for the end of the pause");
}

#[tokio::test]
async fn a_peer_that_was_restarted_between_calls_costs_one_call_at_most() {
    let (caller, mut host) = (open(config("caller")).await, open(config("host")).await);
    let endpoint = host.endpoint().clone();
    for _ in 0..4 {
        echo(&host);
        let mut reply = call(&caller, &host, frame("q")).await;
        if let Err(TransportError::Timeout { reason, .. }) = &reply {
            assert!(reason.contains("lost"), "the call met the end of the former connection: {reason}");
            reply = call(&caller, &host, frame("q")).await;
        }
        assert_eq!(reply, Ok(frame("q")));
        host.close().await;
        host = open(ZmqConfig { listen: endpoint.clone(), ..config("host") }).await;
    }
}

#[tokio::test]
async fn a_lost_connection_fails_what_waits_on_it_at_once() {
    let (caller, host) = (open(config("caller")).await, open(config("host")).await);
    let begun = Instant::now();
    let (lost, ()) = tokio::join!(call(&caller, &host, frame("q")), async {
        drop(host.accept().await.unwrap());
        host.close().await;
    });
    assert!(
        matches!(&lost, Err(TransportError::Timeout { reason, .. }) if reason.contains("lost")),
        "{lost:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_connection_over_which_nothing_is_heard_is_given_up() {
    let (mut router, endpoint) = bare_router().await;
    let caller = open(ZmqConfig { stale_after: SHORT / 2, ..config("caller") }).await;
    let mut connections = Vec::new();
    for deadline in [SHORT, SHORT / 4, SHORT / 4] {
        let unanswered = caller.call(&endpoint, frame("q"), within(deadline));
        let (result, request) = tokio::join!(unanswered, router.recv());
        assert!(matches!(result, Err(TransportError::Timeout { .. })));
        connections.push(request.unwrap().get(0).unwrap().clone());
    }
    assert_ne!(connections[0], connections[1], "the silent connection was used again");
    assert_eq!(connections[1], connections[2], "a short deadline says nothing about the connection");
}

#[tokio::test]
async fn beyond_the_bound_on_peers_the_idlest_is_forgotten_and_found_again() {
    let caller = open(ZmqConfig { max_peers: 1, ..config("caller") }).await;
    let (left, right) = (open(config("left")).await, open(config("right")).await);
    echo(&left);
    for _ in 0..3 {
        assert_eq!(call(&caller, &left, frame("q")).await, Ok(frame("q")));
        let (reply, ()) = tokio::join!(call(&caller, &right, frame("q")), async {
            let incoming = right.accept().await.unwrap();
            let refused = call(&caller, &left, frame("q")).await;
            assert_eq!(refused, Err(TransportError::Overloaded { endpoint: left.endpoint().clone() }));
            incoming.reply(frame("r"));
        });
        assert_eq!(reply, Ok(frame("r")));
    }
}
