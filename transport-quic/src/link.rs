//! The caller's end of a connection.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use chord::transport::{Frame, Lane};
use quinn::{Connection, RecvStream, SendStream, VarInt};
use tokio::sync::{mpsc, oneshot};

use crate::frame::{
    Batch, Header, LANES, LaneReader, Message, Purpose, SMALL_FRAME_BYTES, StreamError, lane_index,
    parse_preface, preface, priority, read_frame, read_header,
};
use crate::large::{Slots, Upload};
use crate::tasks::Tasks;

/// Calls that wait for one lane's writer. What exceeds it waits in `call`, within its deadline.
const WRITER_QUEUE: usize = 256;

/// Why a connection was closed, as the peer is told.
pub(crate) const CLOSED: VarInt = VarInt::from_u32(0);
pub(crate) const MISBEHAVED: VarInt = VarInt::from_u32(1);
pub(crate) const REFUSED: VarInt = VarInt::from_u32(2);

/// What came instead of a reply.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing of the call was handed over; another connection may be tried.
    NotSent,
    /// The connection was lost after that.
    Lost(String),
    /// The call or its reply is beyond a limit, ours or the peer's.
    TooLarge { len: usize, max: usize },
}

type Outcome = Result<Frame, Failure>;

/// A connection to a peer that has let us in.
pub(crate) struct Link {
    connection: Connection,
    lanes: [mpsc::Sender<Outgoing>; 3],
    slots: Slots,
    max_frame_bytes: usize,
    lost: AtomicBool,
    /// Small calls that wait for their reply. Never held across an await.
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    last_id: u64,
    calls: HashMap<u64, oneshot::Sender<Outcome>>,
    lost: Option<String>,
}

struct Outgoing {
    id: u64,
    frame: Frame,
}

impl Link {
    /// Takes over `connection`, whose control lane `control` is open and confirmed; opens the other lanes.
    pub(crate) async fn start(
        connection: Connection,
        control: (SendStream, RecvStream),
        max_frame_bytes: usize,
        tasks: &Arc<Tasks>,
    ) -> Result<Arc<Link>, StreamError> {
        let mut streams = vec![control];
        for lane in &LANES[1..] {
            streams.push(open_lane(&connection, *lane).await?);
        }
        let (senders, receivers): (Vec<_>, Vec<_>) =
            LANES.iter().map(|_| mpsc::channel(WRITER_QUEUE)).unzip();
        let lanes = senders.try_into().expect("one for each lane");
        let link = Arc::new(Link {
            connection: connection.clone(),
            lanes,
            slots: Slots::new(),
            max_frame_bytes,
            lost: AtomicBool::new(false),
            waiting: Mutex::default(),
        });
        for ((send, recv), queue) in streams.into_iter().zip(receivers) {
            tasks.spawn(write_lane(connection.clone(), send, queue));
            tasks.spawn(read_lane(link.clone(), recv));
        }
        tasks.spawn(receive_replies(link.clone(), tasks.clone()));
        Ok(link)
    }

    /// One call. Dropping it forgets it here; a large frame not wholly sent is taken back.
    pub(crate) async fn call(&self, frame: &Frame, lane: Lane) -> Outcome {
        if frame.len() > SMALL_FRAME_BYTES {
            // Boxed, so that the usual small call does not carry its size.
            return Box::pin(self.call_large(frame, lane)).await;
        }
        let (reply_tx, reply_rx) = oneshot::channel();
        let id = self.waiting().insert(reply_tx).ok_or(Failure::NotSent)?;
        let mut entry = Entry { link: self, id, waits: true };
        let outgoing = Outgoing { id, frame: frame.clone() };
        if self.lanes[lane_index(lane)].send(outgoing).await.is_err() {
            return Err(Failure::NotSent);
        }
        let reply = reply_rx.await;
        entry.waits = false;
        match reply {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Lost(self.waiting().lost.clone().unwrap_or_default())),
        }
    }

    /// Whether the connection is known to be lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Ends the connection.
    pub(crate) fn close(&self) {
        self.lost.store(true, Ordering::Release);
        self.connection.close(CLOSED, b"idle");
    }

    async fn call_large(&self, frame: &Frame, lane: Lane) -> Outcome {
        let slot = self.slots.take(lane).await;
        let (send, mut recv) = self.connection.open_bi().await.map_err(|_| Failure::NotSent)?;
        let mut upload = Upload(send);
        let _ = upload.0.set_priority(priority(lane, true));
        let mut start = BytesMut::from(&preface(Purpose::Call, lane)[..]);
        Header::of(0, frame).put(&mut start);
        let sending = async {
            // Whatever ends the sending, the reading of the reply finds out what it means.
            let _ = upload.send(start, frame).await;
            drop(slot);
            std::future::pending::<Outcome>().await
        };
        tokio::select! {
            outcome = receive(&mut recv, self.max_frame_bytes) => outcome,
            outcome = sending => outcome,
        }
    }

    fn fail_all(&self, reason: String) {
        self.lost.store(true, Ordering::Release);
        let mut waiting = self.waiting();
        waiting.lost = Some(reason);
        waiting.calls.clear();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Registers a call under a new id, unless the connection is lost.
    fn insert(&mut self, reply_tx: oneshot::Sender<Outcome>) -> Option<u64> {
        if self.lost.is_some() {
            return None;
        }
        self.last_id += 1;
        self.calls.insert(self.last_id, reply_tx);
        Some(self.last_id)
    }
}

/// Removes a call from the table when it is given up.
struct Entry<'a> {
    link: &'a Link,
    id: u64,
    waits: bool,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if self.waits {
            self.link.waiting().calls.remove(&self.id);
        }
    }
}

/// Opens the stream of `lane` and tells the peer what it is.
pub(crate) async fn open_lane(
    connection: &Connection,
    lane: Lane,
) -> Result<(SendStream, RecvStream), StreamError> {
    let (mut send, recv) = connection.open_bi().await.map_err(quinn::WriteError::from)?;
    let _ = send.set_priority(priority(lane, false));
    send.write_all(&preface(Purpose::Lane, lane)).await?;
    Ok((send, recv))
}

/// Owns the sending half of a lane: whatever waits is written together.
async fn write_lane(connection: Connection, mut send: SendStream, mut queue: mpsc::Receiver<Outgoing>) {
    let mut waiting = Vec::with_capacity(WRITER_QUEUE);
    let mut batch = Batch::default();
    while queue.recv_many(&mut waiting, WRITER_QUEUE).await > 0 {
        for outgoing in waiting.drain(..) {
            batch.push(outgoing.id, &outgoing.frame);
        }
        if batch.write(&mut send).await.is_err() {
            break;
        }
    }
    connection.close(CLOSED, b"a lane ended");
}

async fn read_lane(link: Arc<Link>, recv: RecvStream) {
    let mut reader = LaneReader::new(recv);
    let error = loop {
        match reader.next() {
            Ok(Some(Message::Frame { id, frame })) => complete(&link, id, Ok(frame)),
            Ok(Some(Message::TooLarge { id, len, max })) => {
                complete(&link, id, Err(Failure::TooLarge { len, max }));
            }
            Ok(None) => match reader.fill().await {
                Ok(true) => {}
                Ok(false) => break StreamError::Truncated,
                Err(error) => break error,
            },
            Err(error) => break error,
        }
    };
    close_after(&link.connection, &error);
}

fn complete(link: &Link, id: u64, outcome: Outcome) {
    let caller = link.waiting().calls.remove(&id);
    if let Some(reply_tx) = caller {
        let _ = reply_tx.send(outcome);
    }
}

/// Ends a connection on which something went wrong; only a peer that broke the protocol is blamed.
pub(crate) fn close_after(connection: &Connection, error: &StreamError) {
    if let StreamError::Malformed(what) = error {
        tracing::warn!(peer = %connection.remote_address(), what, "closing a connection: protocol violation");
        connection.close(MISBEHAVED, what.as_bytes());
    } else {
        connection.close(CLOSED, b"a lane ended");
    }
}

/// Takes the streams that the peer opens for large replies, until the connection is lost; then every call that
/// waits learns of it.
async fn receive_replies(link: Arc<Link>, tasks: Arc<Tasks>) {
    let mut end = End { link: link.clone(), reason: "the transport is closed".to_owned() };
    loop {
        match link.connection.accept_bi().await {
            Ok((_, recv)) => {
                let link = link.clone();
                tasks.spawn(async move {
                    if let Err(error @ StreamError::Malformed(_)) = receive_reply(&link, recv).await {
                        close_after(&link.connection, &error);
                    }
                });
            }
            Err(error) => {
                tracing::debug!(peer = %link.connection.remote_address(), %error, "connection lost");
                end.reason = error.to_string();
                return;
            }
        }
    }
}

/// Fails the calls of a link when its task ends, by losing the connection or by being aborted.
struct End {
    link: Arc<Link>,
    reason: String,
}

impl Drop for End {
    fn drop(&mut self) {
        self.link.fail_all(std::mem::take(&mut self.reason));
    }
}

/// A reply to a call that nobody waits for is not read.
async fn receive_reply(link: &Link, mut recv: RecvStream) -> Result<(), StreamError> {
    let mut start = [0; 2];
    recv.read_exact(&mut start).await.map_err(|_| StreamError::Truncated)?;
    let (Purpose::Reply, _) = parse_preface(start)? else {
        return Err(StreamError::Malformed("the listener opened a stream that is no reply"));
    };
    let Header::Frame { id, head, body } = read_header(&mut recv).await? else {
        return Err(StreamError::Malformed("a reply's stream without a reply"));
    };
    let Some(mut reply_tx) = link.waiting().calls.remove(&id) else { return Ok(()) };
    let outcome = tokio::select! {
        outcome = receive_rest(&mut recv, head, body, link.max_frame_bytes) => outcome,
        () = reply_tx.closed() => return Ok(()),
    };
    if let Ok(outcome) = outcome {
        let _ = reply_tx.send(outcome);
    }
    Ok(())
}

async fn receive(recv: &mut RecvStream, max: usize) -> Outcome {
    let lost = |error: StreamError| Failure::Lost(error.to_string());
    match read_header(recv).await.map_err(lost)? {
        Header::TooLarge { len, max, .. } => Err(Failure::TooLarge { len, max }),
        Header::Frame { head, body, .. } => receive_rest(recv, head, body, max).await.map_err(lost)?,
    }
}

async fn receive_rest(
    recv: &mut RecvStream,
    head: usize,
    body: usize,
    max: usize,
) -> Result<Outcome, StreamError> {
    let len = head.saturating_add(body);
    if len > max {
        let _ = recv.stop(CLOSED);
        return Ok(Err(Failure::TooLarge { len, max }));
    }
    Ok(Ok(read_frame(recv, head, body).await?))
}
