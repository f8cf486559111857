//! The libraries below our transports, used directly: 64 bytes there and back, found again by a correlation id.
//!
//! *The same work* is a library behind what no request and response protocol can do without: callers that wait until
//! a deadline, and a server whose handler gets the requests through a queue and answers in any order. The *one loop*
//! has neither: the server answers as it reads, the client counts what comes back.

pub(crate) mod quic;
pub(crate) mod zmq;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

/// Bytes of a request and of a reply, without the correlation id.
pub(crate) const FRAME_BYTES: usize = 64;

/// How long a caller waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests that wait for the handler, and answers that wait for the writer.
const QUEUE: usize = 1024;

/// Who answers at the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serving {
    /// A handler, which gets the requests through a queue and whose answers go out as they come.
    Handler,
    /// The loop that reads them.
    OneLoop,
}

/// Starts a handler that sends back what it gets: where its requests go in, and its answers come out.
fn handler<M: Send + 'static>() -> (mpsc::Sender<M>, mpsc::Receiver<M>) {
    let (asked_tx, mut asked_rx) = mpsc::channel(QUEUE);
    let (answers_tx, answers_rx) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        while let Some(message) = asked_rx.recv().await {
            if answers_tx.send(message).await.is_err() {
                return;
            }
        }
    });
    (asked_tx, answers_rx)
}

/// Waits for a caller's reply, for a bounded time as every caller must.
async fn reply(reply_rx: oneshot::Receiver<Bytes>) -> Bytes {
    let reply = timeout_at(Instant::now() + PATIENCE, reply_rx).await;
    reply.expect("the server is quick").expect("the connection holds")
}

/// Callers that wait, by correlation id.
#[derive(Default)]
pub(crate) struct Waiting {
    /// Held for one step of the map, never across an await.
    callers: Mutex<(u64, HashMap<u64, oneshot::Sender<Bytes>>)>,
}

impl Waiting {
    /// A new correlation id, and where its reply will come.
    pub(crate) fn begin(&self) -> (u64, oneshot::Receiver<Bytes>) {
        let (reply_tx, reply_rx) = oneshot::channel();
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        callers.0 += 1;
        let correlation = callers.0;
        callers.1.insert(correlation, reply_tx);
        (correlation, reply_rx)
    }

    /// Hands `reply` to the caller that waits for it.
    pub(crate) fn end(&self, correlation: u64, reply: Bytes) {
        let caller = self.callers.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&correlation);
        let _ = caller.expect("a reply to a call").send(reply);
    }
}

/// Length, correlation id and body.
pub(crate) fn encode(correlation: u64, body: &[u8], out: &mut BytesMut) {
    out.put_u32(body.len() as u32);
    out.put_u64(correlation);
    out.put_slice(body);
}

/// The next whole frame of `received`.
pub(crate) fn decode(received: &mut BytesMut) -> Option<(u64, Bytes)> {
    let len = u32::from_be_bytes(received.get(..4)?.try_into().ok()?) as usize;
    if received.len() < 12 + len {
        return None;
    }
    let mut frame = received.split_to(12 + len).freeze();
    frame.advance(4);
    let correlation = frame.get_u64();
    Some((correlation, frame))
}
