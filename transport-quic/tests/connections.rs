//! How connections come, go and are counted.

mod support;

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use chord::transport::{CallOptions, Frame, Lane, Transport, TransportError};
use chord_transport_quic::certs::Certificates;
use chord_transport_quic::{QuicConfig, QuicTransport};
use support::{answer_with_name, ask, bind, call, config, open, unreachable};
use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout};

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// A transport that answers, on a runtime that can be shot down: then its socket vanishes without a goodbye.
fn mortal(config: QuicConfig) -> (Runtime, Arc<QuicTransport>) {
    let runtime = runtime();
    let transport = runtime.block_on(async {
        let end = Instant::now() + Duration::from_secs(10);
        let transport = loop {
            match QuicTransport::bind(config.clone()).await {
                Ok(transport) => break Arc::new(transport),
                Err(error) => assert!(Instant::now() < end, "{error}"),
            }
        };
        answer_with_name(&transport);
        transport
    });
    (runtime, transport)
}

#[test]
fn a_peer_that_crashed_and_came_back_is_reached_long_before_the_idle_timeout() {
    let certificates = Certificates::ephemeral(&["caller", "peer"]).unwrap();
    let mut peer_config = config(&certificates[1]);
    let main = runtime();
    let caller = main.block_on(bind(&certificates[0]));
    let mut life = mortal(peer_config.clone());
    let endpoint = life.1.endpoint().clone();
    peer_config.listen = endpoint.clone();
    assert_eq!(main.block_on(ask(&caller, &endpoint)).as_deref(), Ok("caller"));
    for _ in 0..3 {
        life.0.shutdown_timeout(Duration::from_secs(5));
        drop(life.1);
        life = mortal(peer_config.clone());
        let begun = Instant::now();
        let first = main.block_on(ask(&caller, &endpoint));
        assert!(matches!(first, Err(TransportError::Timeout { .. })), "{first:?}");
        assert_eq!(main.block_on(ask(&caller, &endpoint)).as_deref(), Ok("caller"));
        assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
    }
}

#[test]
fn a_crashed_peer_is_unreachable_once_its_silence_is_noticed() {
    let certificates = Certificates::ephemeral(&["caller", "peer"]).unwrap();
    let main = runtime();
    let mut impatient = config(&certificates[0]);
    impatient.idle_timeout = Duration::from_millis(600);
    impatient.keep_alive = Duration::from_millis(200);
    let caller = main.block_on(open(impatient));
    let (life, peer) = mortal(config(&certificates[1]));
    let endpoint = peer.endpoint().clone();
    assert_eq!(main.block_on(ask(&caller, &endpoint)).as_deref(), Ok("caller"));
    life.shutdown_timeout(Duration::from_secs(5));
    drop(peer);
    let begun = Instant::now();
    let lost = main.block_on(ask(&caller, &endpoint));
    assert!(matches!(lost, Err(TransportError::Timeout { .. })), "{lost:?}");
    unreachable(main.block_on(ask(&caller, &endpoint)));
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
}

#[tokio::test]
async fn an_idle_connection_is_kept_alive() {
    let certificates = Certificates::ephemeral(&["caller", "peer"]).unwrap();
    let mut short = config(&certificates[1]);
    short.idle_timeout = Duration::from_millis(400);
    short.keep_alive = Duration::from_millis(100);
    let peer = open(short.clone()).await;
    let caller =
        open(QuicConfig { name: "caller".into(), certificates: certificates[0].clone(), ..short }).await;
    let options = CallOptions { deadline: Instant::now() + Duration::from_secs(10), lane: Lane::Bulk };
    let patient = caller.call(peer.endpoint(), Frame::new("slow", ""), options);
    let serve = async {
        let incoming = peer.accept().await.unwrap();
        let silence = timeout(Duration::from_millis(1500), peer.accept()).await;
        assert!(silence.is_err(), "nobody else calls");
        incoming.reply(Frame::new("late", ""));
    };
    let (reply, ()) = tokio::join!(patient, serve);
    assert_eq!(reply, Ok(Frame::new("late", "")));
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused_and_a_place_given_back_is_taken() {
    let certificates = Certificates::ephemeral(&["server", "caller"]).unwrap();
    let mut limited = config(&certificates[0]);
    limited.max_connections = 4;
    let server = open(limited).await;
    answer_with_name(&server);
    let mut callers = Vec::new();
    for i in 0..12 {
        let caller = bind(&certificates[1]).await;
        let result = ask(&caller, server.endpoint()).await;
        if i < 4 {
            assert_eq!(result.as_deref(), Ok("caller"), "connection {i}");
        } else {
            unreachable(result);
        }
        callers.push(caller);
    }
    for caller in &callers[..4] {
        assert_eq!(ask(caller, server.endpoint()).await.as_deref(), Ok("caller"));
    }
    callers[0].close().await;
    let end = Instant::now() + Duration::from_secs(10);
    while let Err(error) = ask(&callers[11], server.endpoint()).await {
        assert!(Instant::now() < end, "{error}");
    }
}

#[tokio::test]
async fn a_new_peer_takes_the_place_of_the_one_idle_longest_but_of_no_busy_one() {
    let names = ["caller", "a", "b", "c"];
    let certificates = Certificates::ephemeral(&names).unwrap();
    let mut limited = config(&certificates[0]);
    limited.max_connections = 2;
    let caller = open(limited).await;
    let peers = [bind(&certificates[1]).await, bind(&certificates[2]).await, bind(&certificates[3]).await];
    for peer in &peers[1..] {
        answer_with_name(peer);
    }
    let busy = {
        let (caller, to) = (caller.clone(), peers[0].endpoint().clone());
        tokio::spawn(async move { call(&caller, &to, Frame::new("hold", "")).await })
    };
    let held = peers[0].accept().await.unwrap();
    for _ in 0..3 {
        for peer in &peers[1..] {
            assert_eq!(ask(&caller, peer.endpoint()).await.as_deref(), Ok("caller"));
        }
    }
    let second = {
        let (caller, to) = (caller.clone(), peers[0].endpoint().clone());
        tokio::spawn(async move { call(&caller, &to, Frame::new("hold too", "")).await })
    };
    let held_too = peers[0].accept().await.unwrap();
    held_too.reply(Frame::default());
    assert_eq!(second.await.unwrap(), Ok(Frame::default()));
    held.reply(Frame::default());
    assert_eq!(busy.await.unwrap(), Ok(Frame::default()));
}

#[tokio::test]
async fn a_thousand_datagrams_of_garbage_stop_nobody() {
    let certificates = Certificates::ephemeral(&["server", "caller"]).unwrap();
    let (server, caller) = (bind(&certificates[0]).await, bind(&certificates[1]).await);
    answer_with_name(&server);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut state = 1u64;
    for i in 0..1000 {
        let datagram: Vec<u8> = (0..i * 7 % 1500)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 33) as u8
            })
            .collect();
        // Half of them look like QUIC: a long header's first packet of version 1.
        let mut datagram = datagram;
        if i % 2 == 0 && datagram.len() > 6 {
            datagram[..6].copy_from_slice(&[0xc0 | (i as u8 & 0x3f), 0, 0, 0, 1, 8]);
        }
        socket.send_to(&datagram, server.endpoint().address()).unwrap();
        if i % 100 == 0 {
            assert_eq!(ask(&caller, server.endpoint()).await.as_deref(), Ok("caller"));
        }
    }
    let newcomer = bind(&certificates[1]).await;
    assert_eq!(ask(&newcomer, server.endpoint()).await.as_deref(), Ok("caller"));
}

#[tokio::test]
async fn one_dial_serves_all_who_wait_for_it_even_when_the_first_gives_up() {
    let certificates = Certificates::ephemeral(&["server", "caller"]).unwrap();
    let mut single = config(&certificates[0]);
    single.max_connections = 1;
    let (server, caller) = (open(single).await, bind(&certificates[1]).await);
    answer_with_name(&server);
    let options = |within| CallOptions { deadline: Instant::now() + within, lane: Lane::Request };
    let hasty = caller.call(server.endpoint(), Frame::default(), options(Duration::from_nanos(1)));
    let patient = (0..32).map(|_| ask(&caller, server.endpoint()));
    let (hasty, patient) = tokio::join!(hasty, futures::future::join_all(patient));
    assert!(hasty.is_err());
    for result in patient {
        assert_eq!(result.as_deref(), Ok("caller"), "a second connection would have been refused");
    }
}
