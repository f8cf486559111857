//! A member of the ring that speaks for another one is refused, by name where the transport authenticates.

mod waiting;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use chord::protocol::group::TransferId;
use chord::protocol::id::{Id, Interval};
use chord::protocol::message::{Request, Response};
use chord::protocol::peer::{Host, HostName, Incarnation, Peer};
use chord::protocol::ring::Neighbours;
use chord::protocol::routing::Ask;
use chord::protocol::wire::{Header, decode_response, encode_request};
use chord::transport::{CallOptions, Endpoint, Frame, Incoming, Lane, PeerName, Transport, TransportError};
use chord_transport_mem::testkit::Cluster;
use tokio::time::Instant;
use waiting::soon;

/// Sends its host's name with every frame, and believes those of others: what certificates do.
struct Authenticating<T> {
    name: PeerName,
    inner: T,
}

#[async_trait]
impl<T: Transport> Transport for Authenticating<T> {
    fn endpoint(&self) -> &Endpoint {
        self.inner.endpoint()
    }

    fn max_frame_bytes(&self) -> usize {
        self.inner.max_frame_bytes()
    }

    async fn call(&self, to: &Endpoint, frame: Frame, options: CallOptions) -> Result<Frame, TransportError> {
        let mut head = BytesMut::new();
        head.put_u8(self.name.len() as u8);
        head.put_slice(self.name.as_bytes());
        head.put_slice(&frame.head);
        self.inner.call(to, Frame { head: head.freeze(), body: frame.body }, options).await
    }

    async fn accept(&self) -> Option<Incoming> {
        let mut outer = self.inner.accept().await?;
        let mut name = outer.frame.head.split_off(1);
        let head = name.split_off(outer.frame.head[0].into());
        let name = std::str::from_utf8(&name).expect("a host's name");
        let frame = Frame { head, body: std::mem::take(&mut outer.frame.body) };
        let (incoming, reply_rx) = Incoming::new(frame, Some(name.into()));
        tokio::spawn(async move {
            if let Ok(reply) = reply_rx.await {
                outer.reply(reply);
            }
        });
        Some(incoming)
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// Two hosts, and a stranger's transport. All of them are authenticated.
struct Scene {
    cluster: Cluster,
    stranger: Authenticating<Arc<dyn Transport>>,
    me: Arc<Host>,
}

impl Scene {
    async fn start() -> Scene {
        let wrap = |name: &str, inner| -> Arc<dyn Transport> {
            Arc::new(Authenticating { name: name.into(), inner })
        };
        let cluster = Cluster::builder()
            .configure(|config| config.sync_bytes_per_second = Some(1 << 20))
            .wrap_transport(wrap)
            .start(2)
            .await;
        let inner: Arc<dyn Transport> = Arc::new(cluster.network().listen("stranger"));
        let me = Arc::new(Host {
            name: HostName::new("stranger").expect("a name"),
            endpoint: inner.endpoint().clone(),
            incarnation: Incarnation(7),
        });
        Scene { cluster, stranger: Authenticating { name: "stranger".into(), inner }, me }
    }

    /// What the host at `to` answers to `request` as sent by the life `from`.
    async fn ask(&self, to: &Endpoint, from: Incarnation, request: &Request) -> Response {
        let hello = Request::Hello { host: self.me.clone() };
        let unknown =
            Header { ring_tag: 0, from: self.me.incarnation, to: Incarnation(0), remaining_ms: 1000 };
        let Response::Welcome { host, parameters, .. } = self.send(to, unknown, &hello).await else {
            panic!("an honest greeting is answered")
        };
        let header = Header { ring_tag: parameters.tag(), from, to: host.incarnation, ..unknown };
        self.send(to, header, request).await
    }

    async fn send(&self, to: &Endpoint, header: Header, request: &Request) -> Response {
        let frame = encode_request(header, request, Bytes::new()).expect("it fits");
        let options = CallOptions { deadline: Instant::now() + Duration::from_secs(1), lane: Lane::Control };
        let reply = self.stranger.call(to, frame, options).await.expect("it is answered");
        decode_response(&reply).expect("a response").1
    }

    /// The `i`-th host as others know it, with its virtual nodes.
    async fn victim(&self, i: usize) -> (Arc<Host>, Vec<Peer>) {
        let unknown =
            Header { ring_tag: 0, from: self.me.incarnation, to: Incarnation(0), remaining_ms: 1000 };
        let hello = Request::Hello { host: self.me.clone() };
        match self.send(self.cluster.node(i).endpoint(), unknown, &hello).await {
            Response::Welcome { host, nodes, .. } => (host, nodes),
            other => panic!("{other:?}"),
        }
    }
}

fn is_refused(response: &Response) -> bool {
    matches!(response, Response::Refused(_))
}

#[tokio::test(start_paused = true)]
async fn nobody_greets_asks_notifies_leaves_or_offers_in_the_name_of_another_host() {
    let scene = Scene::start().await;
    let (victim, nodes) = scene.victim(0).await;
    let node = scene.cluster.node(1);
    let to = node.endpoint();
    let me = &scene.me;
    let notify = |from: &Arc<Host>| {
        vec![Ask::Ping, Ask::Notify { to: Id::ZERO, from: Peer::new(nodes[0].id, from.clone()) }]
    };
    let alone = Neighbours { predecessor: None, successors: Vec::new() };
    let farewells = nodes.iter().map(|peer| (peer.clone(), alone.clone())).collect();
    let number = 1000;
    let offer = |from: &Arc<Host>, source| Request::Offer {
        transfer: TransferId { source, number },
        from: from.clone(),
        pieces: vec![(Interval::whole(), 1000)],
        leaving: true,
    };
    let forged = [
        Request::Hello { host: victim.clone() },
        Request::Round { host: victim.clone(), asks: Vec::new() },
        Request::Round { host: me.clone(), asks: notify(&victim) },
        Request::Leave { nodes: farewells },
        offer(&victim, victim.incarnation),
        offer(me, victim.incarnation),
    ];
    for request in forged {
        for from in [victim.incarnation, me.incarnation] {
            let response = scene.ask(to, from, &request).await;
            assert!(is_refused(&response), "{request:?} of {from:?}: {response:?}");
        }
    }
    // Its own name does not help who takes another's life, nor does its own life with another's name.
    let namesake = Arc::new(Host { incarnation: victim.incarnation, ..(**me).clone() });
    let response = scene.ask(to, me.incarnation, &Request::Hello { host: namesake }).await;
    assert!(is_refused(&response), "{response:?}");
    let mine =
        scene.ask(to, me.incarnation, &Request::Round { host: me.clone(), asks: vec![Ask::Ping] }).await;
    assert!(matches!(mine, Response::Round(_)), "{mine:?}");
    assert_eq!(node.ring().await.expect("both hosts answer").len(), 4);
}

#[tokio::test(start_paused = true)]
async fn nobody_goes_on_with_a_hand_off_that_another_host_offered() {
    let scene = Scene::start().await;
    for i in 0..64 {
        scene.cluster.node(0).put(format!("key {i}"), vec![0; 64 << 10]).await.expect("the ring serves");
    }
    let before = scene.cluster.node(0).count().await.expect("both hosts answer");
    let newcomer = scene.cluster.join("n2").await.expect("it joins");
    let hands_over = |i: usize| scene.cluster.node(i).neighbourhood().transfers > 0;
    soon("it learns", async || newcomer.neighbourhood().transfers > 0 && (hands_over(0) || hands_over(1)))
        .await;
    let (victim, _) = scene.victim(usize::from(!hands_over(0))).await;
    let mut refused = 0;
    for number in 1..20 {
        let transfer = TransferId { source: victim.incarnation, number };
        for request in [
            Request::Chunk { transfer, entries: Vec::new() },
            Request::Install { transfer, groups: Vec::new() },
            Request::Abort { transfer },
        ] {
            let stolen = scene.ask(newcomer.endpoint(), victim.incarnation, &request).await;
            refused += usize::from(is_refused(&stolen));
            let own = scene.ask(newcomer.endpoint(), scene.me.incarnation, &request).await;
            assert!(is_refused(&own), "{request:?}: {own:?}");
        }
    }
    assert!(refused >= 3, "{refused} of those in the victim's name, who hands over at this moment");
    scene.cluster.settle().await;
    assert_eq!(newcomer.count().await.expect("all hosts answer"), before);
}
