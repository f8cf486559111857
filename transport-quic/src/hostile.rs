//! A peer with a valid certificate that does not keep to the protocol, and strangers in great number.

use std::sync::Arc;
use std::time::Duration;

use chord::transport::{CallOptions, Endpoint, Frame, Lane, Transport, TransportError};
use quinn::{Connection, ConnectionError, VarInt};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::certs::{Certificates, dns_name};
use crate::serve::MAX_STRANGERS;
use crate::tasks::{Place, Tasks, TrackedRuntime};
use crate::{QuicConfig, QuicTransport, tls};

const SOON: Duration = Duration::from_secs(10);

fn certificates() -> [Certificates; 2] {
    Certificates::ephemeral(&["server", "mallory"]).unwrap().try_into().unwrap()
}

fn config(certificates: &Certificates) -> QuicConfig {
    QuicConfig::new("quic://127.0.0.1:0".parse().unwrap(), certificates.clone())
}

async fn server(certificates: &Certificates) -> Arc<QuicTransport> {
    let server = Arc::new(QuicTransport::bind(config(certificates)).await.unwrap());
    let serving = server.clone();
    tokio::spawn(async move {
        while let Some(incoming) = serving.accept().await {
            let frame = incoming.frame.clone();
            incoming.reply(frame);
        }
    });
    server
}

/// A bare QUIC connection with a valid certificate.
async fn raw(certificates: &Certificates, to: &Endpoint) -> (quinn::Endpoint, Connection) {
    let settings = tls::settings(&config(certificates)).unwrap();
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = to.address().parse().unwrap();
    let name = dns_name(to.name().unwrap());
    let connection = endpoint.connect_with(settings.client, address, &name).unwrap().await.unwrap();
    (endpoint, connection)
}

async fn assert_serves(server: &QuicTransport, caller: &QuicTransport) {
    let options = CallOptions { deadline: Instant::now() + SOON, lane: Lane::Request };
    let reply = caller.call(server.endpoint(), Frame::new("a", "b"), options).await;
    assert_eq!(reply, Ok(Frame::new("a", "b")));
}

fn header(kind: u8, head: u32, body: u32) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(7u64.to_be_bytes());
    bytes.extend(head.to_be_bytes());
    bytes.extend(body.to_be_bytes());
    bytes
}

#[tokio::test]
async fn a_peer_that_breaks_the_protocol_loses_its_connection_and_harms_no_other() {
    let [ours, theirs] = certificates();
    let server = server(&ours).await;
    let honest = QuicTransport::bind(config(&theirs)).await.unwrap();
    let with = |start: [u8; 2], message: Vec<u8>| [start.to_vec(), message].concat();
    let violations = [
        vec![0, 0],
        vec![1, 3],
        vec![0xff; 64],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        with([3, 0], header(0, 0, 0)),
        with([1, 1], header(9, 0, 0)),
        with([1, 1], header(1, 0, 0)),
        with([1, 1], header(0, 0, 65_537)),
        with([1, 1], header(0, u32::MAX, u32::MAX)),
        with([1, 1], [header(0, 1, 1), vec![1, 2], vec![0xee; 40]].concat()),
        with([2, 1], header(1, 0, 0)),
        with([2, 1], header(5, 0, 0)),
    ];
    for violation in violations {
        let (_endpoint, connection) = raw(&theirs, server.endpoint()).await;
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(&violation).await.unwrap();
        let reason = timeout(SOON, connection.closed()).await.expect("the connection is closed");
        let blamed = matches!(&reason, ConnectionError::ApplicationClosed(close) if close.error_code == VarInt::from_u32(1));
        assert!(blamed, "{violation:?}: {reason}");
        assert_serves(&server, &honest).await;
    }
}

#[tokio::test]
async fn a_lane_cannot_be_opened_twice() {
    let [ours, theirs] = certificates();
    let server = server(&ours).await;
    let (_endpoint, connection) = raw(&theirs, server.endpoint()).await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let (mut send, recv) = connection.open_bi().await.unwrap();
        send.write_all(&[1, 0]).await.unwrap();
        streams.push((send, recv));
    }
    timeout(SOON, connection.closed()).await.expect("the connection is closed");
}

#[tokio::test]
async fn an_announced_length_beyond_the_limit_is_refused_without_reading_on() {
    let [ours, theirs] = certificates();
    let server = server(&ours).await;
    let (_endpoint, connection) = raw(&theirs, server.endpoint()).await;
    for (head, body) in [(0, u32::MAX), (u32::MAX, u32::MAX), (18 << 20, 0)] {
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(&[vec![2, 1], header(0, head, body)].concat()).await.unwrap();
        let mut refusal = [0; 17];
        timeout(SOON, recv.read_exact(&mut refusal)).await.expect("an answer").unwrap();
        assert_eq!(refusal[0], 1, "too large");
    }
}

#[tokio::test]
async fn large_frames_announced_and_never_sent_hold_up_nobody_else() {
    let [ours, theirs] = certificates();
    let server = server(&ours).await;
    let (_endpoint, connection) = raw(&theirs, server.endpoint()).await;
    let mut streams = Vec::new();
    for _ in 0..64 {
        let (mut send, recv) = connection.open_bi().await.unwrap();
        send.write_all(&[vec![2, 1], header(0, 0, 16 << 20), vec![0; 100]].concat()).await.unwrap();
        streams.push((send, recv));
    }
    let honest = QuicTransport::bind(config(&theirs)).await.unwrap();
    let options = CallOptions { deadline: Instant::now() + SOON, lane: Lane::Request };
    let large = Frame::new("", vec![5; 1 << 20]);
    let reply = honest.call(server.endpoint(), large.clone(), options).await;
    assert!(reply == Ok(large));
}

#[tokio::test]
async fn half_a_large_frame_is_never_delivered() {
    let [ours, theirs] = certificates();
    let server = QuicTransport::bind(config(&ours)).await.unwrap();
    let (_endpoint, connection) = raw(&theirs, server.endpoint()).await;
    for finish in [true, false] {
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(&[vec![2, 1], header(0, 4, 100_000), vec![0; 50_000]].concat()).await.unwrap();
        if finish {
            send.finish().unwrap();
        } else {
            send.reset(VarInt::from_u32(0)).unwrap();
        }
        let ended = timeout(SOON, recv.read_to_end(1)).await.expect("the server gives the stream up");
        assert!(ended.is_err() || ended == Ok(Vec::new()), "{ended:?}");
    }
    let honest = QuicTransport::bind(config(&theirs)).await.unwrap();
    let (served, ()) = tokio::join!(assert_first_is_answered(&server), assert_serves(&server, &honest));
    assert_eq!(served, Frame::new("a", "b"));
}

async fn assert_first_is_answered(server: &QuicTransport) -> Frame {
    let incoming = server.accept().await.unwrap();
    let frame = incoming.frame.clone();
    incoming.reply(frame.clone());
    frame
}

#[tokio::test]
async fn a_server_that_answers_nonsense_fails_the_call_and_is_dialled_anew() {
    let [ours, theirs] = certificates();
    let settings = tls::settings(&config(&ours)).unwrap();
    let liar = quinn::Endpoint::server(settings.server, "127.0.0.1:0".parse().unwrap()).unwrap();
    let to: Endpoint = format!("quic://server@{}", liar.local_addr().unwrap()).parse().unwrap();
    let caller = QuicTransport::bind(config(&theirs)).await.unwrap();
    for nonsense in [header(0, u32::MAX, 1), header(7, 0, 0), vec![0xff; 40]] {
        let lie = async {
            let connection = liar.accept().await.unwrap().await.unwrap();
            let (mut control, _) = connection.accept_bi().await.unwrap();
            control.write_all(&[1]).await.unwrap();
            let (mut request, mut calls) = connection.accept_bi().await.unwrap();
            calls.read_exact(&mut [0; 19]).await.unwrap();
            request.write_all(&nonsense).await.unwrap();
            timeout(SOON, connection.closed()).await.expect("the caller closes the connection");
        };
        let options = CallOptions { deadline: Instant::now() + SOON * 3, lane: Lane::Request };
        let (result, ()) = tokio::join!(caller.call(&to, Frame::new("a", "b"), options), lie);
        assert!(matches!(result, Err(TransportError::Timeout { .. })), "{result:?}");
    }
}

#[tokio::test]
async fn a_crowd_of_strangers_is_refused_while_hosts_are_served() {
    let [ours, theirs] = certificates();
    let server = server(&ours).await;
    let honest = QuicTransport::bind(config(&theirs)).await.unwrap();
    assert_serves(&server, &honest).await;
    let [stranger, _] = certificates();
    let settings = tls::settings(&config(&stranger)).unwrap();
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = server.endpoint().address().parse().unwrap();
    let crowd: Vec<_> = (0..400)
        .map(|_| endpoint.connect_with(settings.client.clone(), address, &dns_name("server")).unwrap())
        .map(tokio::spawn)
        .collect();
    let newcomer = QuicConfig { dial_timeout: SOON, ..config(&theirs) };
    let newcomer = QuicTransport::bind(newcomer).await.unwrap();
    assert_serves(&server, &newcomer).await;
    assert_serves(&server, &honest).await;
    for stranger in crowd {
        let ended = timeout(SOON * 2, stranger).await.expect("each is told").unwrap();
        assert!(ended.is_err(), "a stranger was let in");
    }
}

#[tokio::test]
async fn a_stranger_keeps_its_place_until_quinn_has_forgotten_it() {
    let [ours, _] = certificates();
    let [theirs, _] = certificates();
    let drivers = Arc::<Tasks>::default();
    let settings = tls::settings(&config(&ours)).unwrap();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let runtime = Arc::new(TrackedRuntime(drivers));
    let listener = quinn::Endpoint::new(settings.endpoint, Some(settings.server), socket, runtime).unwrap();

    let settings = tls::settings(&config(&theirs)).unwrap();
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let dial = endpoint.connect_with(settings.client, address, &dns_name("server")).unwrap();
    let dialling = tokio::spawn(dial);

    let places = Arc::new(Semaphore::new(1));
    let place = Place::new(places.clone().try_acquire_owned().unwrap());
    let incoming = listener.accept().await.unwrap();
    let accepted = Place::of_driver(&place, || incoming.accept()).unwrap();
    drop(place);
    assert!(accepted.await.is_err(), "it has another authority");
    assert_eq!((listener.open_connections(), places.available_permits()), (1, 0), "its refusal is kept");
    drop(timeout(SOON, places.acquire()).await.expect("the place is free again").unwrap());
    assert_eq!(listener.open_connections(), 0);
    assert!(dialling.await.unwrap().is_err());
}

#[tokio::test]
async fn a_host_that_was_let_in_keeps_no_place_of_a_stranger() {
    let [ours, theirs] = certificates();
    let server = server(&ours).await;
    let mut connections = Vec::new();
    for _ in 0..MAX_STRANGERS + 1 {
        connections.push(raw(&theirs, server.endpoint()).await);
    }
    let honest = QuicTransport::bind(config(&theirs)).await.unwrap();
    assert_serves(&server, &honest).await;
}
