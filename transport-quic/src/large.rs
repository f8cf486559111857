//! Frames with a stream of their own.

use bytes::BytesMut;
use chord::transport::{Frame, Lane};
use quinn::{Connection, SendStream, VarInt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use std::sync::Arc;

use crate::frame::{Header, Purpose, StreamError, preface, priority, write_frame};

/// Large frames under way at once on one connection, in one direction: so many of calls and replies that a client
/// waits for, so many of range sync.
const INTERACTIVE_SLOTS: usize = 4;
const BULK_SLOTS: usize = 4;

/// Room for large frames. The sender takes a slot until the frame is acknowledged, which keeps the connection's
/// windows free for small frames; the receiver takes one until the engine has accepted the frame, which bounds
/// what one peer makes it hold.
#[derive(Clone)]
pub(crate) struct Slots {
    interactive: Arc<Semaphore>,
    bulk: Arc<Semaphore>,
}

impl Slots {
    pub(crate) fn new() -> Slots {
        Slots {
            interactive: Arc::new(Semaphore::new(INTERACTIVE_SLOTS)),
            bulk: Arc::new(Semaphore::new(BULK_SLOTS)),
        }
    }

    pub(crate) async fn take(&self, lane: Lane) -> OwnedSemaphorePermit {
        let slots = match lane {
            Lane::Control | Lane::Request => &self.interactive,
            Lane::Bulk => &self.bulk,
        };
        Arc::clone(slots).acquire_owned().await.expect("the slots are never closed")
    }
}

/// The sending half of a stream for one frame. Dropping it before all of it is acknowledged takes the frame back:
/// the receiver never sees half of one.
pub(crate) struct Upload(pub(crate) SendStream);

impl Drop for Upload {
    fn drop(&mut self) {
        let _ = self.0.reset(VarInt::from_u32(0));
    }
}

impl Upload {
    /// Writes `start` and `frame` and waits until the peer has them or wants no more of them.
    pub(crate) async fn send(&mut self, start: BytesMut, frame: &Frame) -> Result<(), StreamError> {
        write_frame(&mut self.0, start, frame).await?;
        let _ = self.0.finish();
        let _ = self.0.stopped().await;
        Ok(())
    }
}

/// Sends a large reply to the small call `id`, on a stream of its own towards the caller.
pub(crate) async fn send_reply(connection: Connection, slots: Slots, lane: Lane, id: u64, frame: Frame) {
    let _slot = slots.take(lane).await;
    let Ok((send, _)) = connection.open_bi().await else { return };
    let mut upload = Upload(send);
    let _ = upload.0.set_priority(priority(lane, true));
    let mut start = BytesMut::from(&preface(Purpose::Reply, lane)[..]);
    Header::of(id, &frame).put(&mut start);
    if let Err(error) = upload.send(start, &frame).await {
        tracing::debug!(%error, "a large reply was not taken");
    }
}
