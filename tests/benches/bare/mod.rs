//! The libraries below our transports, used directly for the same work: 64 bytes there and back, found again by a
//! correlation id.

pub(crate) mod quic;
pub(crate) mod zmq;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::sync::oneshot;

/// Bytes of a request and of a reply, without the correlation id.
pub(crate) const FRAME_BYTES: usize = 64;

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
