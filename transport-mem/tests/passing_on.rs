//! Keys that arrive together while they change hands are passed on together, and wait together for their record.

mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chord::protocol::message::{
    ActionHead, GetItem, ItemReply, OperationId, Request, Response, Trail, UpdateItem,
};
use chord::protocol::peer::{Host, HostName, Incarnation};
use chord::protocol::wire::{Header, decode_response, encode_request, split_values};
use chord::transport::{CallOptions, Endpoint, Frame, Incoming, Lane, Transport, TransportError};
use chord::{Condition, Config, Expiry};
use chord_transport_mem::MemTransport;
use chord_transport_mem::testkit::Cluster;
use futures::future::join_all;
use tokio::time::{Instant, sleep};
use waiting::soon;

/// The byte of a frame's head that says what kind of message it is, and two of those kinds.
const KIND: usize = 5;
const OPERATIONS: [u8; 2] = [5, 6];
const INSTALL: u8 = 10;
/// The stranger's life.
const ME: Incarnation = Incarnation(7);

#[derive(Default)]
struct Post {
    /// Installations stay with their sender.
    held: AtomicBool,
    /// One is there.
    waits: AtomicBool,
    /// Operations that were sent.
    operations: AtomicUsize,
}

/// What `n0` sends goes through the post.
struct Posted {
    post: Arc<Post>,
    inner: Arc<dyn Transport>,
}

#[async_trait]
impl Transport for Posted {
    fn endpoint(&self) -> &Endpoint {
        self.inner.endpoint()
    }

    fn max_frame_bytes(&self) -> usize {
        self.inner.max_frame_bytes()
    }

    async fn call(&self, to: &Endpoint, frame: Frame, options: CallOptions) -> Result<Frame, TransportError> {
        let kind = frame.head[KIND];
        self.post.operations.fetch_add(usize::from(OPERATIONS.contains(&kind)), Ordering::Relaxed);
        while kind == INSTALL && self.post.held.load(Ordering::Relaxed) {
            self.post.waits.store(true, Ordering::Relaxed);
            sleep(Duration::from_millis(1)).await;
        }
        self.inner.call(to, frame, options).await
    }

    async fn accept(&self) -> Option<Incoming> {
        self.inner.accept().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

const KEYS: usize = 200;

fn keys() -> impl Iterator<Item = Bytes> {
    (0..KEYS).map(|i| format!("key {i}").into())
}

/// `n0` has handed the keys of an interval over to `n1`, which has not heard that it is the owner.
async fn fenced(configure: impl Fn(&mut Config) + Send + Sync + 'static) -> (Cluster, Arc<Post>) {
    let post = Arc::new(Post::default());
    let its = post.clone();
    let cluster = Cluster::builder()
        .configure(configure)
        .wrap_transport(
            move |host, inner| {
                if host == "n0" { Arc::new(Posted { post: its.clone(), inner }) } else { inner }
            },
        )
        .start(1)
        .await;
    for (i, key) in keys().enumerate() {
        cluster.node(0).put(key, format!("{i}")).await.expect("the ring serves");
    }
    post.held.store(true, Ordering::Relaxed);
    cluster.join("n1").await.expect("it joins");
    soon("the hand-off is decided", async || post.waits.load(Ordering::Relaxed)).await;
    (cluster, post)
}

/// A host of no ring that asks one node.
struct Stranger {
    transport: MemTransport,
    to: Endpoint,
    header: Header,
}

impl Stranger {
    /// Greets the `i`-th node of `cluster`, whose requests it gives `patience`.
    async fn greet(cluster: &Cluster, i: usize, patience: Duration) -> Stranger {
        let transport = cluster.network().listen("stranger");
        let me = Arc::new(Host {
            name: HostName::new("stranger").expect("a name"),
            endpoint: transport.endpoint().clone(),
            incarnation: ME,
        });
        let remaining_ms = patience.as_millis() as u32;
        let header = Header { ring_tag: 0, from: ME, to: Incarnation(0), remaining_ms };
        let mut stranger = Stranger { transport, to: cluster.node(i).endpoint().clone(), header };
        let (welcome, _) = stranger.call(&Request::Hello { host: me }, Bytes::new()).await;
        let Response::Welcome { host, parameters, .. } = welcome else { panic!("{welcome:?}") };
        stranger.header = Header { ring_tag: parameters.tag(), to: host.incarnation, ..header };
        stranger
    }

    async fn call(&self, request: &Request, body: Bytes) -> (Response, Bytes) {
        let frame = encode_request(self.header, request, body).expect("it fits");
        let deadline = Instant::now() + Duration::from_millis(self.header.remaining_ms.into());
        let options = CallOptions { deadline, lane: Lane::Request };
        let reply = self.transport.call(&self.to, frame, options).await.expect("it is answered");
        (decode_response(&reply).expect("a response").1, reply.body)
    }
}

/// What `n0` answers to `request` of a stranger, a second before the new owner hears that it is the owner.
async fn ask(cluster: &Cluster, post: &Post, request: &Request, body: Bytes) -> (Vec<ItemReply>, Vec<Bytes>) {
    let stranger = Stranger::greet(cluster, 0, Duration::from_secs(3)).await;
    let released = async {
        sleep(Duration::from_secs(1)).await;
        post.held.store(false, Ordering::Relaxed);
    };
    let ((response, body), ()) = tokio::join!(stranger.call(request, body), released);
    let Response::Items(replies) = response else { panic!("{response:?}") };
    let values = split_values(&body, replies.iter().map(ItemReply::value_bytes)).expect("they fit");
    (replies, values)
}

#[tokio::test(start_paused = true)]
async fn reads_of_keys_that_change_hands_are_passed_on_in_one_call_and_answered_in_order() {
    let (cluster, post) = fenced(|_| {}).await;
    let space = cluster.node(0).neighbourhood().space;
    let items = keys().map(|key| GetItem { id: space.id_of(&key), key }).collect();
    let request = Request::Get { trail: Trail::default(), items };
    let (_, values) = ask(&cluster, &post, &request, Bytes::new()).await;
    for (i, value) in values.iter().enumerate() {
        assert_eq!(value, &Bytes::from(format!("{i}")));
    }
    assert_eq!(post.operations.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn updates_of_keys_that_change_hands_are_passed_on_in_one_call_and_answered_in_order() {
    let (cluster, post) = fenced(|_| {}).await;
    let space = cluster.node(0).neighbourhood().space;
    let new = |i: usize| Bytes::from(format!("new {i}"));
    let item = |(i, key): (usize, Bytes)| UpdateItem {
        operation: OperationId { caller: ME, counter: i as u64 + 1 },
        id: space.id_of(&key),
        key,
        action: ActionHead::Set(Expiry::Never),
        condition: Condition::Always,
        return_previous: true,
        value_bytes: new(i).len() as u32,
    };
    let request = Request::Update { trail: Trail::default(), items: keys().enumerate().map(item).collect() };
    let body: Vec<Bytes> = (0..KEYS).map(new).collect();
    let (_, found) = ask(&cluster, &post, &request, body.concat().into()).await;
    for (i, (key, previous)) in keys().zip(found).enumerate() {
        assert_eq!(previous, Bytes::from(format!("{i}")));
        assert_eq!(cluster.node(1).get(&key).await.expect("the ring serves"), Some(new(i)));
    }
    assert_eq!(post.operations.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_waits_for_a_record_does_not_keep_it_out() {
    const CROWD: usize = 16;
    let patience = Duration::from_secs(20);
    let (cluster, post) = fenced(|config| config.max_serving = CROWD).await;
    let (space, served) = {
        let view = cluster.node(0).neighbourhood();
        (view.space, view.served)
    };
    let changes_hands =
        |key: &Bytes| !served.iter().any(|(interval, _)| interval.contains(&space.id_of(key)));
    let key = keys().find(changes_hands).expect("some key is the newcomer's");
    let trail = Trail { min_epoch: u64::MAX, forwarded: false };
    let request = Request::Get { trail, items: vec![GetItem { id: space.id_of(&key), key }] };
    let stranger = Stranger::greet(&cluster, 1, patience).await;
    let crowd = join_all((0..CROWD).map(|_| stranger.call(&request, Bytes::new())));
    let one_too_many = async {
        sleep(Duration::from_secs(1)).await;
        let (response, _) = stranger.call(&request, Bytes::new()).await;
        assert!(matches!(response, Response::Overloaded), "the crowd fills the node: {response:?}");
        post.held.store(false, Ordering::Relaxed);
    };
    let began = Instant::now();
    let (answers, ()) = tokio::join!(crowd, one_too_many);
    for (response, _) in answers {
        let Response::Items(replies) = response else { panic!("{response:?}") };
        assert!(matches!(replies[..], [ItemReply::Found { .. }]), "{replies:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}
