//! One connected DEALER and the calls that wait on it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chord::transport::{Frame, Lane, TransportError};
use futures::channel::mpsc;
use futures::{FutureExt, StreamExt};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use zeromq::{DealerRecvHalf, DealerSendHalf, SocketEvent, SocketRecv, SocketSend, ZmqMessage};

use crate::counters::Counters;
use crate::frame::{Header, Kind, Malformed, parse_too_large};
use crate::lifetime::Lifeline;

/// What a call ends with when the peer answers.
pub(crate) type Answer = Result<Frame, TransportError>;

/// A connected DEALER: calls are handed over here, [`Connection::run`] brings the answers.
pub(crate) struct Connection {
    /// Guards the way out and the table of waiting calls. Never held across an await.
    state: Mutex<State>,
    /// Messages received, so that a call that timed out can tell whether the peer said anything meanwhile.
    heard: AtomicU64,
    drained: Notify,
}

struct State {
    /// `None` once the connection is lost.
    send: Option<DealerSendHalf>,
    /// At most the peer's bound on calls in flight: a call that ends removes its entry.
    waiting: HashMap<u64, oneshot::Sender<Answer>>,
    /// No new calls; the connection ends with the last that waits.
    retired: bool,
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
    pub(crate) fn new(send: DealerSendHalf) -> Connection {
        let state = State { send: Some(send), waiting: HashMap::new(), retired: false };
        Connection { state: Mutex::new(state), heard: AtomicU64::new(0), drained: Notify::new() }
    }

    /// Hands a request to the library. Never blocks: the library only queues, and what it would wait for is
    /// given up.
    pub(crate) fn hand_over(
        self: &Arc<Self>,
        correlation: u64,
        lane: Lane,
        frame: &Frame,
        now: Instant,
    ) -> Result<WaitingCall, NotSent> {
        let message = message(None, Header { kind: Kind::Request, lane, correlation }, frame);
        let (answer_tx, answer_rx) = oneshot::channel();
        let mut state = self.state.lock().expect("no holder panics");
        if state.retired {
            return Err(NotSent::Gone);
        }
        match state.send.as_mut().ok_or(NotSent::Gone)?.send(message).now_or_never() {
            Some(Ok(())) => state.waiting.insert(correlation, answer_tx),
            Some(Err(_)) => return Err(NotSent::Gone),
            None => return Err(NotSent::Full),
        };
        drop(state);
        Ok(WaitingCall {
            connection: self.clone(),
            correlation,
            answer_rx,
            answered: false,
            handed_over: now,
            heard_before: self.heard.load(Ordering::Relaxed),
        })
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
        let (send, waiting) = (state.send.take(), std::mem::take(&mut state.waiting));
        drop(state);
        drop((send, waiting));
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
    parts.push(header.encode(frame));
    if !frame.body.is_empty() {
        parts.push(frame.body.clone());
    }
    parts.try_into().expect("the header is always there")
}

fn answer(message: ZmqMessage, max: usize) -> Result<(u64, Answer), Malformed> {
    let (header, frame) = Header::decode(message.into_vecdeque().into_iter())?;
    let answer = match header.kind {
        Kind::Request => return Err(Malformed("a request where replies are expected")),
        Kind::Reply if frame.len() > max => Err(TransportError::TooLarge { len: frame.len(), max }),
        Kind::Reply => Ok(frame),
        Kind::TooLarge => {
            let (len, max) = parse_too_large(frame)?;
            Err(TransportError::TooLarge { len, max })
        }
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
