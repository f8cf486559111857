//! Questions about the ring end, also where every answer names somebody else to be asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chord::Error;
use chord::protocol::id::{HashKind, Id, IdSpace};
use chord::protocol::message::{Description, NodeDescription, Request, Response};
use chord::protocol::peer::{Host, HostName, Incarnation, Peer};
use chord::protocol::ring::Neighbours;
use chord::protocol::routing::{Answer, Ask, Route};
use chord::protocol::wire::{decode_request, encode_response};
use chord::transport::{CallOptions, Endpoint, Frame, Incoming, Transport, TransportError};
use chord_transport_mem::testkit::Cluster;
use tokio::time::{Instant, sleep, timeout};

/// How long an answer takes.
const DELAY: Duration = Duration::from_millis(400);
/// An operation's deadline, and a moment.
const LATEST: Duration = Duration::from_millis(5_050);

/// Answers whatever its host asks about the ring by naming one who has not been heard of.
struct Endless {
    named: AtomicU32,
    inner: Arc<dyn Transport>,
}

impl Endless {
    fn somebody(&self, number: u32) -> Arc<Host> {
        Arc::new(Host {
            name: HostName::new(&format!("h{number}")).expect("a name"),
            endpoint: format!("mem://h{number}@h{number}:1").parse().expect("an endpoint"),
            incarnation: Incarnation(1_000_000 + u128::from(number)),
        })
    }

    fn answer(&self, request: &Request) -> Option<Response> {
        let space = IdSpace::new(160, HashKind::Sha1).expect("a circle");
        let next = || self.named.fetch_add(1, Ordering::Relaxed);
        match request {
            Request::Describe => {
                let number = next();
                let node = NodeDescription {
                    label: "a node".into(),
                    peer: Peer::new(Id::from_u128(number.into()), self.somebody(number)),
                    neighbours: Neighbours {
                        predecessor: None,
                        successors: vec![Peer::new(
                            Id::from_u128(u128::from(number) + 1),
                            self.somebody(number + 1),
                        )],
                    },
                    fingers: Vec::new(),
                };
                Some(Response::Description(Box::new(Description {
                    host: self.somebody(number),
                    nodes: vec![node],
                    groups: Vec::new(),
                    keys: 0,
                    transfers: 0,
                    leaving: false,
                })))
            }
            Request::Round { asks, .. } => match asks[..] {
                [Ask::FindSuccessor { id, .. }] => {
                    let number = next();
                    let nearer = space.distance(&Id::from_u128(1 << (110 - number % 110)), &id);
                    Some(Response::Round(vec![Answer::Route(Route::Closer(vec![Peer::new(
                        nearer,
                        self.somebody(number),
                    )]))]))
                }
                _ => None,
            },
            _ => None,
        }
    }
}

#[async_trait]
impl Transport for Endless {
    fn endpoint(&self) -> &Endpoint {
        self.inner.endpoint()
    }

    fn max_frame_bytes(&self) -> usize {
        self.inner.max_frame_bytes()
    }

    async fn call(&self, to: &Endpoint, frame: Frame, options: CallOptions) -> Result<Frame, TransportError> {
        let (header, request) = decode_request(&frame).expect("a request");
        match self.answer(&request) {
            Some(response) => {
                sleep(DELAY).await;
                Ok(encode_response(header, &response, Bytes::new()).expect("it fits"))
            }
            None => self.inner.call(to, frame, options).await,
        }
    }

    async fn accept(&self) -> Option<Incoming> {
        self.inner.accept().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// A ring whose first host everybody leads astray, and so many others.
async fn misled(hosts: usize) -> Cluster {
    let cluster = Cluster::builder()
        .wrap_transport(|host, inner| {
            if host == "n0" { Arc::new(Endless { named: AtomicU32::new(0), inner }) } else { inner }
        })
        // Its fingers are not looked up again while the test runs.
        .configure(|config| {
            let day = Duration::from_secs(86_400);
            config.fix_fingers = chord::Interval::new(day, day);
        })
        .start(1)
        .await;
    for i in 1..=hosts {
        cluster.join(&format!("n{i}")).await.expect("it joins");
    }
    sleep(Duration::from_secs(20)).await;
    cluster
}

#[tokio::test(start_paused = true)]
async fn a_lookup_and_an_explanation_end_by_their_deadline_however_many_there_are_to_ask() {
    let cluster = misled(12).await;
    let node = cluster.node(0);
    let mut asked = 0;
    for i in 0..20 {
        let started = Instant::now();
        let found = timeout(Duration::from_secs(60), node.lookup(format!("key {i}"))).await;
        let found = found.expect("it ends");
        assert!(started.elapsed() <= LATEST, "it took {:?}", started.elapsed());
        asked += usize::from(matches!(found, Err(Error::Timeout { .. })));
        let started = Instant::now();
        let _ = timeout(Duration::from_secs(60), node.explain(format!("key {i}"))).await.expect("it ends");
        assert!(started.elapsed() <= LATEST, "it took {:?}", started.elapsed());
    }
    assert!(asked > 0, "some keys take a lookup");
}

#[tokio::test(start_paused = true)]
async fn a_walk_around_the_ring_ends_however_many_hosts_are_named() {
    let cluster = misled(1).await;
    let node = cluster.node(0);
    let limit = 6 * Duration::from_secs(5) + LATEST;
    timeout(limit, node.ring()).await.expect("it ends").expect("the node is open");
    timeout(limit, node.count()).await.expect("it ends").expect_err("somebody has not answered");
    let report = timeout(3 * limit, node.check()).await.expect("it ends").expect("the node is open");
    assert!(!report.unreachable.is_empty(), "who was not asked is named");
}
