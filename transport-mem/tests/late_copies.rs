//! A copy of an update that was long on its way.

mod stranger;
mod waiting;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chord::protocol::message::{ActionHead, ItemReply, OperationId, Request, Response, UpdateItem};
use chord::protocol::wire::{decode_request, decode_response};
use chord::transport::{CallOptions, Endpoint, Frame, Incoming, Transport, TransportError};
use chord::{Action, Condition, Update};
use chord_transport_mem::Link;
use chord_transport_mem::testkit::{Cluster, ClusterBuilder};
use stranger::{Stranger, updates};
use waiting::soon;

/// What a host hands over takes it seconds.
fn slow() -> ClusterBuilder {
    Cluster::builder()
        .link(Link::with_latency(Duration::from_millis(1)))
        .configure(|config| config.sync_bytes_per_second = Some(128 << 10))
}

async fn fill(cluster: &Cluster) {
    for i in 0..64 {
        cluster.node(0).put(format!("key {i}"), vec![0; 64 << 10]).await.expect("the ring serves");
    }
}

fn increment() -> Update {
    Update { action: Action::Add(1), condition: Condition::Always, return_previous: false }
}

/// The ring names a newcomer, which refuses an update that the owner before then executes; when the newcomer owns the key,
/// a copy of the first message arrives.
#[tokio::test(start_paused = true)]
async fn a_late_copy_of_a_refused_update_is_not_executed_by_who_owns_the_key_by_then() {
    let cluster = slow().start(1).await;
    fill(&cluster).await;
    let newcomer = cluster.join("n1").await.expect("it joins");
    soon("it learns", async || newcomer.neighbourhood().transfers > 0).await;
    let stranger = Stranger::greets(cluster.network(), "stranger", newcomer.endpoint()).await;
    let keys: Vec<Bytes> = (0..40).map(|i| format!("counter {i}").into()).collect();
    let request = |i: usize| {
        let item =
            UpdateItem { action: ActionHead::Add(1), ..stranger.set(i as u64 + 1, keys[i].clone(), 0) };
        updates(vec![item])
    };
    for (i, key) in keys.iter().enumerate() {
        let (refused, _) = stranger.asks(&request(i), Bytes::new()).await.expect("it is answered");
        let Response::Items(replies) = refused else { panic!("{refused:?}") };
        assert!(matches!(replies[..], [ItemReply::NotMine(_)]), "{replies:?}");
        cluster.node(0).update(key, increment()).await.expect("the owner serves");
    }
    cluster.settle().await;
    for i in 0..keys.len() {
        let copy = stranger.asks(&request(i), Bytes::new()).await;
        assert!(copy.is_err(), "whoever sent it was answered long ago: {copy:?}");
    }
    let mut moved = 0;
    for key in &keys {
        let count = newcomer.get(key).await.expect("the ring serves");
        assert_eq!(count, Some("1".into()), "{key:?} was counted once");
        moved += usize::from(newcomer.explain(key).await.expect("the ring serves").owner == "n1");
    }
    assert!(moved > 5, "{moved} keys changed hands");
}

/// The names of the updates that a host sent, and how many of them were refused.
#[derive(Default)]
struct Sent {
    names: Mutex<BTreeMap<OperationId, usize>>,
    refused: Mutex<usize>,
}

struct Observed {
    sent: Arc<Sent>,
    inner: Arc<dyn Transport>,
}

#[async_trait]
impl Transport for Observed {
    fn endpoint(&self) -> &Endpoint {
        self.inner.endpoint()
    }

    fn max_frame_bytes(&self) -> usize {
        self.inner.max_frame_bytes()
    }

    async fn call(&self, to: &Endpoint, frame: Frame, options: CallOptions) -> Result<Frame, TransportError> {
        let (_, request) = decode_request(&frame).expect("a request");
        let Request::Update { trail, items } = request else {
            return self.inner.call(to, frame, options).await;
        };
        // What is passed on keeps its name.
        if !trail.forwarded {
            let mut names = self.sent.names.lock().expect("nobody panics");
            items.iter().for_each(|item| *names.entry(item.operation).or_default() += 1);
        }
        let reply = self.inner.call(to, frame, options).await?;
        if let Response::Items(replies) = decode_response(&reply).expect("a response").1 {
            let refused = replies.iter().filter(|reply| matches!(reply, ItemReply::NotMine(_))).count();
            *self.sent.refused.lock().expect("nobody panics") += refused;
        }
        Ok(reply)
    }

    async fn accept(&self) -> Option<Incoming> {
        self.inner.accept().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_that_was_refused_is_sent_again_under_another_name_of_many_as_of_one() {
    let sent = Arc::new(Sent::default());
    let its = sent.clone();
    let observe = move |host: &str, inner| -> Arc<dyn Transport> {
        if host == "n1" { Arc::new(Observed { sent: its.clone(), inner }) } else { inner }
    };
    let cluster = slow().virtual_nodes(8).wrap_transport(observe).start(2).await;
    fill(&cluster).await;
    let newcomer = cluster.join("n2").await.expect("it joins");
    soon("it learns", async || newcomer.neighbourhood().transfers > 0).await;
    let keys: Vec<String> = (0..100).map(|i| format!("counter {i}")).collect();
    let all: Vec<_> = keys.iter().map(|key| (key, increment())).collect();
    for key in &keys {
        cluster.node(1).lookup(key).await.expect("the ring tells it about the newcomer");
    }
    for key in &keys {
        cluster.node(1).update(key, increment()).await.expect("the ring serves");
    }
    let after_one = *sent.refused.lock().expect("nobody panics");
    for result in cluster.node(1).update_many(&all).await {
        result.expect("the ring serves");
    }
    let after_many = *sent.refused.lock().expect("nobody panics");
    assert!(0 < after_one && after_one < after_many, "refused: {after_one}, then {after_many}");
    let once = |names: &BTreeMap<OperationId, usize>| names.values().all(|times| *times == 1);
    assert!(once(&sent.names.lock().expect("nobody panics")), "a name was sent twice");
    for key in &keys {
        assert_eq!(cluster.node(0).get(key).await.expect("the ring serves"), Some("2".into()));
    }
}
