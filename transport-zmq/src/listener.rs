//! The serving side: one ROUTER for all peers, one task that reads requests and sends replies.

use std::sync::Arc;

use bytes::Bytes;
use chord::transport::{Frame, Incoming, Lane};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::{mpsc, oneshot};
use zeromq::{RouterRecvHalf, RouterSendHalf, RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

use crate::connection::message;
use crate::frame::{Header, Kind, Malformed, lane_index, too_large};
use crate::lifetime::Lifeline;
use crate::link::Context;
use crate::socket;

/// Replies sent before the listener reads again.
const MAX_BATCH: usize = 64;

/// Who asked, and under which id and lane.
struct Caller {
    /// The identity that ROUTER gave to the connection; it names nothing after its end.
    peer: Bytes,
    correlation: u64,
    lane: Lane,
}

/// The listener's task: serves until the transport closes, then waits until the library has let go.
pub(crate) async fn run(
    router: RouterSocket,
    context: Arc<Context>,
    accept_tx: mpsc::Sender<Incoming>,
    mut lifeline: Lifeline,
) {
    let backend = Arc::downgrade(&router.backend());
    let (send, recv) = router.split();
    tokio::select! {
        biased;
        () = lifeline.cut() => {}
        () = serve(send, recv, &context, &accept_tx) => {}
    }
    // Callers of `accept` learn of the end here; the library may need a little longer.
    drop(accept_tx);
    if !socket::released(backend).await {
        tracing::warn!(
            "connections that have not shaken hands, or whose peer does not read, stay until their peers end them"
        );
        context.counters.stuck_socket();
    }
}

async fn serve(
    mut send: RouterSendHalf,
    mut recv: RouterRecvHalf,
    context: &Context,
    accept_tx: &mpsc::Sender<Incoming>,
) {
    let mut unanswered = FuturesUnordered::new();
    let mut by_lane = [0; 3];
    // `FuturesUnordered` wakes itself once more whenever it has polled everything it holds, which would be at
    // each request of a quiet host. This one is polled once and never again.
    let (_never_tx, never_rx) = oneshot::channel();
    let nobody = Caller { peer: Bytes::new(), correlation: 0, lane: Lane::Control };
    unanswered.push(answered(nobody, never_rx));
    loop {
        tokio::select! {
            Some((caller, reply)) = unanswered.next() => {
                if context.batches && unanswered.len() > 1 {
                    // Replies that are about to come go out with this one.
                    tokio::task::yield_now().await;
                }
                by_lane[lane_index(caller.lane)] -= 1;
                reply_to(&mut send, caller, reply, context);
                for _ in 1..MAX_BATCH {
                    let Some(Some((caller, reply))) = unanswered.next().now_or_never() else { break };
                    by_lane[lane_index(caller.lane)] -= 1;
                    reply_to(&mut send, caller, reply, context);
                }
            }
            request = next_request(&mut recv, accept_tx) => {
                let Some((permit, message)) = request else { return };
                if let Some((caller, frame)) = admitted(message, &by_lane, &mut send, context) {
                    by_lane[lane_index(caller.lane)] += 1;
                    let (incoming, reply_rx) = Incoming::new(frame, None);
                    permit.send(incoming);
                    unanswered.push(answered(caller, reply_rx));
                }
            }
        }
    }
}

/// The next message, once there is room for it in the accept queue. Cancel safe.
async fn next_request<'a>(
    recv: &mut RouterRecvHalf,
    accept_tx: &'a mpsc::Sender<Incoming>,
) -> Option<(mpsc::Permit<'a, Incoming>, ZmqMessage)> {
    let permit = accept_tx.reserve().await.ok()?;
    match recv.recv().await {
        Ok(message) => Some((permit, message)),
        Err(error) => {
            tracing::error!(%error, "the ZeroMQ library stopped receiving");
            None
        }
    }
}

/// The request in `message`, unless it is malformed, too large, or past the bound on its lane. Those past it are
/// refused rather than left unread: on the one socket for all lanes they would keep `Control` out.
fn admitted(
    message: ZmqMessage,
    unanswered: &[usize; 3],
    send: &mut RouterSendHalf,
    context: &Context,
) -> Option<(Caller, Frame)> {
    let max = context.config.max_frame_bytes;
    match parse(message) {
        Ok((caller, frame)) if frame.len() > max => {
            context.counters.oversized();
            send_to(send, caller, Kind::TooLarge, &too_large(frame.len(), max), context);
            None
        }
        Ok((caller, _)) if unanswered[lane_index(caller.lane)] >= context.config.max_unanswered => {
            context.counters.overloaded();
            send_to(send, caller, Kind::Overloaded, &Frame::default(), context);
            None
        }
        Ok(request) => Some(request),
        Err(Malformed(reason)) => {
            context.counters.malformed(reason);
            None
        }
    }
}

async fn answered(caller: Caller, reply_rx: oneshot::Receiver<Frame>) -> (Caller, Option<Frame>) {
    (caller, reply_rx.await.ok())
}

fn parse(message: ZmqMessage) -> Result<(Caller, Frame), Malformed> {
    let mut parts = message.into_vecdeque().into_iter();
    let peer = parts.next().ok_or(Malformed("no identity"))?;
    let (Header { kind, lane, correlation }, frame) = Header::decode(parts)?;
    if kind != Kind::Request {
        return Err(Malformed("a reply where requests are expected"));
    }
    Ok((Caller { peer, correlation, lane }, frame))
}

fn reply_to(send: &mut RouterSendHalf, caller: Caller, reply: Option<Frame>, context: &Context) {
    let Some(frame) = reply else { return };
    let max = context.config.max_frame_bytes;
    if frame.len() > max {
        send_to(send, caller, Kind::TooLarge, &too_large(frame.len(), max), context);
    } else {
        send_to(send, caller, Kind::Reply, &frame, context);
    }
}

/// Queues a message for `caller`. Never waits: a caller that is gone, or whose queue is full, gets nothing.
fn send_to(send: &mut RouterSendHalf, caller: Caller, kind: Kind, frame: &Frame, context: &Context) {
    let header = Header { kind, lane: caller.lane, correlation: caller.correlation };
    let sent = send.send(message(Some(caller.peer), header, frame)).now_or_never();
    if !matches!(sent, Some(Ok(()))) {
        context.counters.undeliverable_reply();
    }
}
