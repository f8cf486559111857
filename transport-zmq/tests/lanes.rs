//! Lanes beside each other: what is large, or too much, on one keeps no other waiting.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chord::transport::{CallOptions, Endpoint, Frame, Lane, Transport, TransportError};
use chord_transport_zmq::ZmqConfig;
use common::{call, config, echo, open, until, within};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

const VALUE: usize = 16 << 20;
/// What a connection carries in each direction until it stalls.
const STALLS_AT: usize = 1 << 20;

fn question() -> Frame {
    Frame::new("q", "body")
}

/// A relay to a host, whose connections stall until it is opened.
#[derive(Clone)]
struct Relay {
    opened: Arc<Semaphore>,
    stalled: Arc<AtomicUsize>,
}

impl Relay {
    /// Listens, and gives the endpoint to call instead of `to`.
    async fn to(to: &Endpoint) -> (Relay, Endpoint) {
        let relay = Relay { opened: Arc::new(Semaphore::new(0)), stalled: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let at = format!("zmq://host@{}", listener.local_addr().expect("it is bound"));
        let (relaying, to) = (relay.clone(), to.address().to_owned());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&to).await.expect("the host listens");
                let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
                tokio::spawn(relaying.clone().carry(near_read, far_write));
                tokio::spawn(relaying.clone().carry(far_read, near_write));
            }
        });
        (relay, at.parse().expect("an endpoint"))
    }

    async fn carry(self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let (mut buffer, mut carried) = (vec![0; 64 << 10], 0);
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            carried += read;
            if carried > STALLS_AT && self.opened.available_permits() == 0 {
                self.stalled.fetch_add(1, Ordering::Relaxed);
                drop(self.opened.acquire().await);
            }
            if to.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    }
}

#[tokio::test]
async fn signs_of_life_do_not_wait_behind_a_large_value_on_its_way() {
    let (caller, host) = (open(config("caller")).await, open(config("host")).await);
    let (relay, endpoint) = Relay::to(host.endpoint()).await;
    let serving = host.clone();
    tokio::spawn(async move {
        while let Some(incoming) = serving.accept().await {
            let body = if &incoming.frame.head[..] == b"get" { vec![7; VALUE] } else { Vec::new() };
            incoming.reply(Frame::new("r", body));
        }
    });
    let patient = within(Duration::from_secs(60));
    let large = |head: &'static str, bytes| {
        let (caller, endpoint) = (caller.clone(), endpoint.clone());
        tokio::spawn(async move { caller.call(&endpoint, Frame::new(head, vec![7; bytes]), patient).await })
    };
    let get = large("get", 0);
    until("the reply is on its way", || relay.stalled.load(Ordering::Relaxed) == 1).await;
    let put = large("put", VALUE);
    until("the request is on its way", || relay.stalled.load(Ordering::Relaxed) == 2).await;

    for _ in 0..8 {
        let ping = CallOptions { lane: Lane::Control, ..within(Duration::from_secs(10)) };
        let pong = caller.call(&endpoint, Frame::new("ping", ""), ping).await;
        assert_eq!(pong, Ok(Frame::new("r", "")));
    }
    assert!(!get.is_finished() && !put.is_finished(), "the values are still on their way");
    relay.opened.add_permits(1);
    assert_eq!(get.await.unwrap().expect("a reply").body.len(), VALUE);
    assert_eq!(put.await.unwrap(), Ok(Frame::new("r", "")));
}

#[tokio::test]
async fn requests_past_the_bound_on_unanswered_ones_are_refused_and_control_goes_on() {
    let few = ZmqConfig { accept_queue: 2, max_unanswered: 2, ..config("host") };
    let (caller, host) = (open(config("caller")).await, open(few).await);
    let mut held = Vec::new();
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let (caller, host) = (caller.clone(), host.clone());
        let to = host.clone();
        waiting.push(tokio::spawn(async move { call(&caller, &to, question()).await }));
        held.push(host.accept().await.unwrap());
    }
    let refused = call(&caller, &host, question()).await;
    assert_eq!(refused, Err(TransportError::Overloaded { endpoint: host.endpoint().clone() }));
    assert_eq!(host.stats().overloaded, 1);

    let server = echo(&host);
    for lane in [Lane::Control, Lane::Bulk] {
        let options = CallOptions { lane, ..within(Duration::from_secs(10)) };
        assert_eq!(caller.call(host.endpoint(), question(), options).await, Ok(question()));
    }
    held.into_iter().for_each(|incoming| incoming.reply(Frame::new("r", "")));
    for call in waiting {
        assert_eq!(call.await.unwrap(), Ok(Frame::new("r", "")));
    }
    assert_eq!(call(&caller, &host, question()).await, Ok(question()));
    server.abort();
}
