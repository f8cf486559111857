//! What the claims share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Fixture;
use crate::transport::{CallOptions, Frame, Incoming, Lane, Transport, TransportError};

/// A deadline that no call should come near.
pub(super) const FAR: Duration = Duration::from_secs(10);

/// How much later than asked a busy machine may let something happen.
pub(super) const TOLERANCE: Duration = Duration::from_secs(1);

pub(super) const LANES: [Lane; 3] = [Lane::Control, Lane::Request, Lane::Bulk];

pub(super) fn request(within: Duration) -> CallOptions {
    on(Lane::Request, within)
}

pub(super) fn on(lane: Lane, within: Duration) -> CallOptions {
    CallOptions { deadline: Instant::now() + within, lane }
}

/// `len` bytes that differ from one `seed` to the next.
pub(super) fn filled(seed: usize, len: usize) -> Bytes {
    (0..len).map(|i| (i.wrapping_mul(31) ^ (i >> 8) ^ seed ^ (seed >> 8)) as u8).collect()
}

/// A frame of `len` bytes, head and body together.
pub(super) fn frame(len: usize) -> Frame {
    let mut head = filled(len, len);
    let body = head.split_off(len.min(24));
    Frame::new(head, body)
}

/// A frame that carries `number` in its head.
pub(super) fn numbered(number: usize) -> Frame {
    Frame::new(number.to_be_bytes().to_vec(), Bytes::from_static(b"body"))
}

pub(super) fn answer_same(incoming: Incoming) {
    let frame = incoming.frame.clone();
    incoming.reply(frame);
}

/// Answers every frame with itself until the transport closes.
pub(super) fn echo<T: Transport>(transport: &Arc<T>) -> JoinHandle<()> {
    let transport = Arc::clone(transport);
    tokio::spawn(async move {
        while let Some(incoming) = transport.accept().await {
            answer_same(incoming);
        }
    })
}

pub(super) async fn open<F: Fixture>(fixture: &F, name: &str) -> Arc<F::Transport> {
    let transport = fixture.open(name, None).await;
    assert_eq!(transport.endpoint().name(), Some(name), "the endpoint carries the host's name");
    Arc::new(transport)
}

/// A caller and a peer that nobody serves yet.
pub(super) async fn pair<F: Fixture>(fixture: &F) -> (Arc<F::Transport>, Arc<F::Transport>) {
    (open(fixture, "caller").await, open(fixture, "peer").await)
}

/// Ends `server` and drops the last handle to `transport`, as a crash would.
pub(super) async fn kill<T: Transport>(transport: Arc<T>, server: JoinHandle<()>) {
    server.abort();
    let _ = server.await;
    assert_eq!(Arc::strong_count(&transport), 1, "the fixture keeps no handle");
    drop(transport);
}

pub(super) async fn assert_echoes<T: Transport>(caller: &T, peer: &T, sent: Frame, lane: Lane) {
    let reply = caller.call(peer.endpoint(), sent.clone(), on(lane, FAR)).await.expect("an echo");
    assert!(reply == sent, "the echo of {} + {} bytes differs on {lane:?}", sent.head.len(), sent.body.len());
}

pub(super) async fn accept<T: Transport>(transport: &T) -> Incoming {
    transport.accept().await.expect("the transport is open")
}

/// Starts `call` in a task and returns when `peer` has it.
pub(super) async fn held<T: Transport>(
    caller: &Arc<T>,
    peer: &Arc<T>,
    within: Duration,
) -> (JoinHandle<Result<Frame, TransportError>>, Incoming) {
    let (from, to) = (Arc::clone(caller), peer.endpoint().clone());
    let call = tokio::spawn(async move { from.call(&to, numbered(0), request(within)).await });
    (call, accept(peer).await)
}

pub(super) fn assert_timeout(result: Result<Frame, TransportError>) {
    assert!(matches!(result, Err(TransportError::Timeout { .. })), "expected a timeout, got {result:?}");
}

/// Waits until the runtime runs no more tasks than `before`.
pub(super) async fn assert_tasks_end(before: usize) {
    let metrics = Handle::current().metrics();
    let end = Instant::now() + FAR;
    while metrics.num_alive_tasks() > before {
        assert!(Instant::now() < end, "{} tasks are left behind", metrics.num_alive_tasks() - before);
        tokio::task::yield_now().await;
    }
}

/// Two hosts that talk on every lane; their servers end when their transports close.
pub(super) async fn busy_pair<F: Fixture>(fixture: &F) -> [(Arc<F::Transport>, JoinHandle<()>); 2] {
    let (left, right) = pair(fixture).await;
    let servers = (echo(&left), echo(&right));
    for lane in LANES {
        assert_echoes(&left, &right, frame(fixture.max_frame_bytes() / 2), lane).await;
        assert_echoes(&right, &left, numbered(1), lane).await;
    }
    let absent = left.call(&fixture.absent(), numbered(2), request(FAR)).await;
    assert!(absent.is_err(), "nobody listens there");
    [(left, servers.0), (right, servers.1)]
}
