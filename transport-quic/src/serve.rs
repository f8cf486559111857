//! The listener's end of connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use chord::transport::{Frame, Incoming, Lane, PeerName};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use quinn::{Connection, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::certs;
use crate::frame::{
    Batch, Header, LaneReader, Message, Purpose, READY, SMALL_FRAME_BYTES, StreamError, lane_index,
    parse_preface, priority, read_frame, read_header,
};
use crate::large::{Slots, Upload, send_reply};
use crate::link::{CLOSED, REFUSED, close_after};
use crate::tasks::{Place, Tasks};

/// Handshakes under way at once; more are refused, and [`dial`](crate::dial::dial) tries again. Each costs about a
/// millisecond of work, for which the hosts that are let in already wait in the meantime. Past a part of them an
/// address must prove that it is no forgery before it gets one.
const MAX_HANDSHAKES: usize = 64;
const UNPROVEN_HANDSHAKES: usize = 32;

/// Connections that quinn keeps for peers that were not let in; more are refused. A handshake that failed counts as
/// long as quinn remembers it, so that its refusal can be repeated: three probe timeouts, whose length the
/// stranger's delays decide. So it is this, and not the number of handshakes, that bounds the memory strangers take.
pub(crate) const MAX_STRANGERS: usize = 256;

/// A frame that waits for `accept`, with the room that a large one takes.
pub(crate) struct Arrived {
    pub(crate) incoming: Incoming,
    _slot: Option<OwnedSemaphorePermit>,
}

/// What the listener needs.
#[derive(Clone)]
pub(crate) struct Listener {
    pub(crate) queue: mpsc::Sender<Arrived>,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) connections: Arc<Semaphore>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) max_frame_bytes: usize,
    pub(crate) max_in_flight: usize,
}

/// Takes connections until the endpoint is closed.
pub(crate) async fn listen(endpoint: quinn::Endpoint, listener: Listener) {
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    let strangers = Arc::new(Semaphore::new(MAX_STRANGERS));
    while let Some(incoming) = endpoint.accept().await {
        let free = handshakes.available_permits();
        if free == 0 || strangers.available_permits() == 0 {
            incoming.refuse();
        } else if free <= MAX_HANDSHAKES - UNPROVEN_HANDSHAKES && incoming.may_retry() {
            let _ = incoming.retry();
        } else if let (Ok(handshake), Ok(stranger)) =
            (handshakes.clone().try_acquire_owned(), strangers.clone().try_acquire_owned())
        {
            let tasks = listener.tasks.clone();
            tasks.spawn(serve(incoming, handshake, Place::new(stranger), listener.clone()));
        }
    }
}

/// A connection from a peer.
struct Inbound {
    connection: Connection,
    peer: PeerName,
    listener: Listener,
    receiving: Slots,
    replying: Slots,
    /// One bit for each lane whose stream was opened.
    lanes: AtomicU8,
}

async fn serve(
    incoming: quinn::Incoming,
    handshake: OwnedSemaphorePermit,
    stranger: Arc<Place>,
    listener: Listener,
) {
    let address = incoming.remote_address();
    // Quinn starts the connection's driver in here.
    let accepted = Place::of_driver(&stranger, || incoming.accept());
    let connection = match timeout(listener.handshake_timeout, async { accepted?.await }).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(peer = %address, %error, "handshake failed"),
        Err(_) => return tracing::debug!(peer = %address, "handshake timed out"),
    };
    drop(handshake);
    let Ok(_place) = listener.connections.clone().try_acquire_owned() else {
        return connection.close(REFUSED, b"too many connections");
    };
    let Some(peer) = peer_name(&connection) else {
        return connection.close(REFUSED, b"the certificate names no host");
    };
    stranger.give_back();
    let inbound = Arc::new(Inbound {
        connection,
        peer,
        listener,
        receiving: Slots::new(),
        replying: Slots::new(),
        lanes: AtomicU8::new(0),
    });
    while let Ok((send, recv)) = inbound.connection.accept_bi().await {
        let tasks = &inbound.listener.tasks;
        tasks.spawn(serve_stream(inbound.clone(), send, recv));
    }
}

/// The host that the verified certificate of `connection` was issued to.
fn peer_name(connection: &Connection) -> Option<PeerName> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    Some(certs::subject_name(chain.first()?)?.into())
}

async fn serve_stream(inbound: Arc<Inbound>, send: SendStream, mut recv: RecvStream) {
    let mut start = [0; 2];
    if recv.read_exact(&mut start).await.is_err() {
        return;
    }
    let served = match parse_preface(start) {
        Ok((Purpose::Lane, lane)) => serve_lane(&inbound, lane, send, recv).await,
        Ok((Purpose::Call, lane)) => return serve_call(&inbound, lane, send, recv).await,
        Ok((Purpose::Reply, _)) => Err(StreamError::Malformed("the dialler opened a reply's stream")),
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        close_after(&inbound.connection, &error);
    }
}

/// Serves the small calls of one lane, whose replies are written together as they become ready. While the queue
/// is full, or as many calls as allowed wait for their replies, nothing more is read.
async fn serve_lane(
    inbound: &Inbound,
    lane: Lane,
    mut send: SendStream,
    recv: RecvStream,
) -> Result<(), StreamError> {
    let bit = 1 << lane_index(lane);
    if inbound.lanes.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
        return Err(StreamError::Malformed("a lane was opened twice"));
    }
    let _ = send.set_priority(priority(lane, false));
    if lane == Lane::Control {
        send.write_all(&[READY]).await?;
    }
    let Listener { queue, max_in_flight, .. } = &inbound.listener;
    let mut reader = LaneReader::new(recv);
    let mut replies = FuturesUnordered::new();
    let mut large_replies = FuturesUnordered::new();
    let mut batch = Batch::default();
    let mut parked = None;
    loop {
        let mut drained = false;
        while parked.is_none() && replies.len() + large_replies.len() < *max_in_flight {
            let Some(message) = reader.next()? else {
                drained = true;
                break;
            };
            let Message::Frame { id, frame } = message else {
                return Err(StreamError::Malformed("a refusal where a call was expected"));
            };
            let (arrived, reply_rx) = arrival(inbound, frame, None);
            replies.push(reply_to(id, reply_rx));
            parked = queue.try_send(arrived).err().map(mpsc::error::TrySendError::into_inner);
        }
        tokio::select! {
            filled = reader.fill(), if drained => if !filled? { return Ok(()) },
            permit = queue.reserve(), if parked.is_some() => match permit {
                Ok(permit) => permit.send(parked.take().expect("checked by the branch's condition")),
                Err(_) => return Ok(()),
            },
            Some(reply) = replies.next(), if !replies.is_empty() => {
                let mut ready = Some(reply);
                while let Some((id, reply)) = ready {
                    if let Some(frame) = reply {
                        large_replies.extend(answer(inbound, lane, &mut batch, id, frame));
                    }
                    ready = replies.next().now_or_never().flatten();
                }
                if !batch.is_empty() {
                    batch.write(&mut send).await?;
                }
            }
            Some(()) = large_replies.next(), if !large_replies.is_empty() => {}
            _ = inbound.connection.closed(), if !drained => return Ok(()),
        }
    }
}

/// Adds a small reply to `batch`; a large one becomes a future that sends it.
fn answer(
    inbound: &Inbound,
    lane: Lane,
    batch: &mut Batch,
    id: u64,
    frame: Frame,
) -> Option<impl Future<Output = ()> + use<>> {
    let max = inbound.listener.max_frame_bytes;
    if frame.len() > max {
        batch.push_too_large(id, frame.len(), max);
    } else if frame.len() <= SMALL_FRAME_BYTES {
        batch.push(id, &frame);
    } else {
        return Some(send_reply(inbound.connection.clone(), inbound.replying.clone(), lane, id, frame));
    }
    None
}

async fn reply_to(id: u64, reply_rx: oneshot::Receiver<Frame>) -> (u64, Option<Frame>) {
    (id, reply_rx.await.ok())
}

fn arrival(
    inbound: &Inbound,
    frame: Frame,
    slot: Option<OwnedSemaphorePermit>,
) -> (Arrived, oneshot::Receiver<Frame>) {
    let (incoming, reply_rx) = Incoming::new(frame, Some(inbound.peer.clone()));
    (Arrived { incoming, _slot: slot }, reply_rx)
}

/// Serves a large call on its own stream. A caller that has gone is noticed by its stopping the stream.
async fn serve_call(inbound: &Inbound, lane: Lane, send: SendStream, mut recv: RecvStream) {
    let mut upload = Upload(send);
    let stopped = upload.0.stopped();
    let exchange = async {
        let served = exchange(inbound, lane, &mut upload, &mut recv).await;
        if let Err(error @ StreamError::Malformed(_)) = served {
            close_after(&inbound.connection, &error);
        }
    };
    tokio::select! {
        () = exchange => {}
        _ = stopped => {}
    }
}

async fn exchange(
    inbound: &Inbound,
    lane: Lane,
    upload: &mut Upload,
    recv: &mut RecvStream,
) -> Result<(), StreamError> {
    let Header::Frame { id, head, body } = read_header(recv).await? else {
        return Err(StreamError::Malformed("a refusal where a call was expected"));
    };
    let max = inbound.listener.max_frame_bytes;
    let _ = upload.0.set_priority(priority(lane, true));
    let mut start = BytesMut::new();
    let len = head.saturating_add(body);
    if len > max {
        let _ = recv.stop(CLOSED);
        Header::TooLarge { id, len, max }.put(&mut start);
        return upload.send(start, &Frame::default()).await;
    }
    let slot = inbound.receiving.take(lane).await;
    let frame = read_frame(recv, head, body).await?;
    let (arrived, reply_rx) = arrival(inbound, frame, Some(slot));
    if inbound.listener.queue.send(arrived).await.is_err() {
        return Ok(());
    }
    let Ok(reply) = reply_rx.await else { return Ok(()) };
    if reply.len() > max {
        Header::TooLarge { id, len: reply.len(), max }.put(&mut start);
        return upload.send(start, &Frame::default()).await;
    }
    Header::of(id, &reply).put(&mut start);
    if reply.len() <= SMALL_FRAME_BYTES {
        let _ = upload.0.set_priority(priority(lane, false));
        return upload.send(start, &reply).await;
    }
    let _slot = inbound.replying.take(lane).await;
    upload.send(start, &reply).await
}
