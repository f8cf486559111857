//! One connected DEALER and the calls that wait on it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chord::transport::{Frame, Lane};
use futures::channel::mpsc;
use futures::{FutureExt, StreamExt};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use zeromq::{DealerRecvHalf, DealerSendHalf, SocketEvent, SocketRecv, SocketSend, ZmqMessage};

use crate::counters::Counters;
use crate::frame::{Header, Kind, Malformed, parse_too_large};
use crate::lifetime::Lifeline;

/// Requests that are queued before they are flushed without waiting for more.
const MAX_BATCH: usize = 1024;

/// What a call ends with, unless the connection is lost.
pub(crate) enum Answer {
    Reply(Frame),
    /// The peer, or we, refused a frame of `len` bytes for a limit of `max`.
    TooLarge {
        len: usize,
        max: usize,
    },
    /// The library's queue was full when the request was to be flushed, or the peer has too many unanswered.
    Overloaded,
}

/// A connected DEALER: calls are handed over here, [`Connection::run`] brings the answers.
pub(crate) struct Connection {
    /// Guards the way out and the table of waiting calls. Never held across an await.
    state: Mutex<State>,
    /// Messages received, so that a call that timed out can tell whether the peer said anything meanwhile.
    heard: AtomicU64,
    drained: Notify,
    queued: Notify,
    batches: bool,
}

struct State {
    /// `None` once the connection is lost.
    send: Option<DealerSendHalf>,
    /// Requests for [`Connection::flush`]; at most [`MAX_BATCH`].
    outbox: Vec<(u64, ZmqMessage)>,
    /// At most the peer's bounds on calls in flight: a call that ends removes its entry.
    waiting: HashMap<u64, oneshot::Sender<Answer>, BuildHasherDefault<CorrelationHasher>>,
    /// No new calls; the connection ends with the last that waits.
    retired: bool,
}

/// Correlation ids are counted up by ourselves: they need no mixing.
#[derive(Default)]
struct CorrelationHasher(u64);

impl Hasher for CorrelationHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 << 8) | u64::from(byte);
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Why a frame was not handed over. It was certainly not sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotSent {
    /// The connection is lost or retired.
    Gone,
    /// The library's queue is full.
    Full,
}

/// A call whose frame was handed over. Dropping it forgets the call; the peer may execute it all the same.
pub(crate) struct WaitingCall {
    connection: Arc<Connection>,
    correlation: u64,
    answer_rx: oneshot::Receiver<Answer>,
    answered: bool,
    handed_over: Instant,
    heard_before: u64,
}

impl Connection {
    pub(crate) fn new(send: DealerSendHalf, batches: bool) -> Connection {
        let state =
            State { send: Some(send), outbox: Vec::new(), waiting: HashMap::default(), retired: false };
        Connection {
            state: Mutex::new(state),
            heard: AtomicU64::new(0),
            drained: Notify::new(),
            queued: Notify::new(),
            batches,
        }
    }

    /// Hands a request over; never blocks. It goes to the library at once, or, where that costs a system call
    /// for each of many, is queued for [`Connection::flush`].
    pub(crate) fn hand_over(
        self: &Arc<Self>,
        correlation: u64,
        lane: Lane,
        frame: &Frame,
        now: Instant,
    ) -> Result<WaitingCall, NotSent> {
        let message = message(None, Header { kind: Kind::Request, lane, correlation }, frame);
        let (answer_tx, answer_rx) = oneshot::channel();
        let mut guard = self.state.lock().expect("no holder panics");
        let state = &mut *guard;
        let send = state.send.as_mut().filter(|_| !state.retired).ok_or(NotSent::Gone)?;
        if self.batches && !state.waiting.is_empty() {
            state.waiting.insert(correlation, answer_tx);
            state.outbox.push((correlation, message));
            match state.outbox.len() {
                1 => self.queued.notify_one(),
                MAX_BATCH.. => state.flush(),
                _ => {}
            }
        } else {
            queue(send, message)?;
            state.waiting.insert(correlation, answer_tx);
        }
        drop(guard);
        Ok(WaitingCall {
            connection: self.clone(),
            correlation,
            answer_rx,
            answered: false,
            handed_over: now,
            heard_before: self.heard.load(Ordering::Relaxed),
        })
    }

    /// Hands what calls have queued to the library, in batches, for ever.
    async fn flush(&self) {
        loop {
            self.queued.notified().await;
            // Whoever is about to call goes first and is part of the batch.
            tokio::task::yield_now().await;
            self.state.lock().expect("no holder panics").flush();
        }
    }

    /// Takes no more calls and ends when none waits any more.
    pub(crate) fn retire(&self) {
        let mut state = self.state.lock().expect("no holder panics");
        state.retired = true;
        if state.waiting.is_empty() {
            self.drained.notify_one();
        }
    }

    /// Brings answers until the connection is lost, retired and drained, or the transport closes; says why.
    /// Then whoever still waits is told at once, and the way out is closed.
    pub(crate) async fn run(
        &self,
        mut recv: DealerRecvHalf,
        mut monitor: mpsc::Receiver<SocketEvent>,
        max_frame_bytes: usize,
        counters: &Counters,
        lifeline: &mut Lifeline,
    ) -> &'static str {
        let _guard = LoseOnDrop(self);
        tokio::select! {
            biased;
            () = lifeline.cut() => "the transport is closing",
            () = disconnected(&mut monitor) => "the connection was lost",
            () = self.drained.notified() => "it was given up",
            () = self.read(&mut recv, max_frame_bytes, counters) => "the connection failed",
            () = self.flush() => unreachable!("it never ends"),
        }
    }

    async fn read(&self, recv: &mut DealerRecvHalf, max: usize, counters: &Counters) {
        while let Ok(message) = recv.recv().await {
            self.heard.fetch_add(1, Ordering::Relaxed);
            match answer(message, max) {
                Ok((correlation, answer)) => match self.forget(correlation) {
                    // An error means that the caller has just gone.
                    Some(answer_tx) => drop(answer_tx.send(answer)),
                    None => counters.late_reply(),
                },
                Err(Malformed(reason)) => counters.malformed(reason),
            }
        }
    }

    fn forget(&self, correlation: u64) -> Option<oneshot::Sender<Answer>> {
        let mut state = self.state.lock().expect("no holder panics");
        let answer_tx = state.waiting.remove(&correlation);
        if state.retired && state.waiting.is_empty() {
            self.drained.notify_one();
        }
        answer_tx
    }

    fn lose(&self) {
        let mut state = self.state.lock().expect("no holder panics");
        let lost = (state.send.take(), std::mem::take(&mut state.outbox), std::mem::take(&mut state.waiting));
        drop(state);
        drop(lost);
    }
}

impl State {
    fn flush(&mut self) {
        let Some(send) = &mut self.send else { return };
        for (correlation, message) in self.outbox.drain(..) {
            // A lost connection tells everyone who waits when it ends.
            if queue(send, message) == Err(NotSent::Full)
                && let Some(answer_tx) = self.waiting.remove(&correlation)
            {
                let _ = answer_tx.send(Answer::Overloaded);
            }
        }
    }
}

struct LoseOnDrop<'a>(&'a Connection);

impl Drop for LoseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.lose();
    }
}

impl WaitingCall {
    /// The answer; `None` when the connection was lost before it came. Cancel safe.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let answer = (&mut self.answer_rx).await;
        self.answered = true;
        answer.ok()
    }

    /// Whether, by now, the peer has said nothing for `limit` since this call was handed over.
    pub(crate) fn heard_nothing_for(&self, limit: std::time::Duration) -> bool {
        self.connection.heard.load(Ordering::Relaxed) == self.heard_before
            && self.handed_over.elapsed() >= limit
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for WaitingCall {
    fn drop(&mut self) {
        if !self.answered {
            self.connection.forget(self.correlation);
        }
    }
}

/// A message of ours; to a ROUTER's `peer`, or from a DEALER.
pub(crate) fn message(peer: Option<Bytes>, header: Header, frame: &Frame) -> ZmqMessage {
    let mut parts = Vec::with_capacity(3);
    parts.extend(peer);
    header.encode(frame, &mut parts);
    parts.try_into().expect("there is a first part")
}

/// Puts a message into the library's queue. Never waits: what the library would wait for is given up.
fn queue(send: &mut DealerSendHalf, message: ZmqMessage) -> Result<(), NotSent> {
    match send.send(message).now_or_never() {
        Some(Ok(())) => Ok(()),
        Some(Err(_)) => Err(NotSent::Gone),
        None => Err(NotSent::Full),
    }
}

fn answer(message: ZmqMessage, max: usize) -> Result<(u64, Answer), Malformed> {
    let (header, frame) = Header::decode(message.into_vecdeque().into_iter())?;
    let answer = match header.kind {
        Kind::Request => return Err(Malformed("a request where replies are expected")),
        Kind::Reply if frame.len() > max => Answer::TooLarge { len: frame.len(), max },
        Kind::Reply => Answer::Reply(frame),
        Kind::TooLarge => {
            let (len, max) = parse_too_large(frame)?;
            Answer::TooLarge { len, max }
        }
        Kind::Overloaded => Answer::Overloaded,
    };
    Ok((header.correlation, answer))
}

async fn disconnected(monitor: &mut mpsc::Receiver<SocketEvent>) {
    while let Some(event) = monitor.next().await {
        if matches!(event, SocketEvent::Disconnected(_)) {
            return;
        }
    }
}
