//! One host: whether it runs, what waits for it, what it has in flight.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use chord::transport::{Endpoint, Incoming, Lane, PeerName, TransportError};
use tokio::sync::{Notify, Semaphore};

use crate::network::Options;

/// Whether a host runs, and if not, how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Running,
    /// Stopped for a while: it neither takes nor gives anything.
    Frozen,
    /// Ended by itself. Replies it gave before still arrive.
    Closed,
    /// Killed. Its peers are told by the reset of their connections.
    Crashed,
    /// Its machine is gone. Its peers are told nothing.
    PoweredOff,
}

impl Condition {
    pub(crate) fn has_ended(self) -> bool {
        !matches!(self, Condition::Running | Condition::Frozen)
    }
}

/// Frames and bytes that a host sent and received. Bytes are those of heads and bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Calls that the host sent out, those lost on their way too.
    pub requests_sent: u64,
    /// Calls that reached it.
    pub requests_received: u64,
    /// Replies that it sent to callers that still waited for them.
    pub replies_sent: u64,
    /// Replies that reached it.
    pub replies_received: u64,
    /// Bytes of all that it sent.
    pub bytes_sent: u64,
    /// Bytes of all that reached it.
    pub bytes_received: u64,
}

/// What [`Traffic`] is read from; a host that restarts goes on counting where it was.
#[derive(Default)]
pub(crate) struct Counters {
    requests_sent: AtomicU64,
    requests_received: AtomicU64,
    replies_sent: AtomicU64,
    replies_received: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
}

impl Counters {
    pub(crate) fn request_sent(&self, len: usize) {
        count(&self.requests_sent, &self.bytes_sent, len);
    }

    pub(crate) fn reply_sent(&self, len: usize) {
        count(&self.replies_sent, &self.bytes_sent, len);
    }

    pub(crate) fn reply_received(&self, len: usize) {
        count(&self.replies_received, &self.bytes_received, len);
    }

    pub(crate) fn read(&self) -> Traffic {
        Traffic {
            requests_sent: self.requests_sent.load(Ordering::Relaxed),
            requests_received: self.requests_received.load(Ordering::Relaxed),
            replies_sent: self.replies_sent.load(Ordering::Relaxed),
            replies_received: self.replies_received.load(Ordering::Relaxed),
            bytes_sent: self.bytes_sent.load(Ordering::Relaxed),
            bytes_received: self.bytes_received.load(Ordering::Relaxed),
        }
    }
}

fn count(frames: &AtomicU64, bytes: &AtomicU64, len: usize) {
    frames.fetch_add(1, Ordering::Relaxed);
    bytes.fetch_add(len as u64, Ordering::Relaxed);
}

/// One life of a host, from `listen` to its end.
pub(crate) struct Host {
    pub(crate) name: PeerName,
    pub(crate) endpoint: Endpoint,
    pub(crate) options: Options,
    pub(crate) counters: Arc<Counters>,
    /// Room in each lane's queue. A sender takes a place before it sends; `take` gives it back.
    rooms: [Semaphore; 3],
    /// Never held across an `.await`, nor while another lock is taken.
    inner: Mutex<Inner>,
    /// A frame was queued, or the condition changed: what `accept` waits for.
    arrived: Notify,
    /// The condition changed: what calls wait for.
    changed: Notify,
}

struct Inner {
    condition: Condition,
    /// Frames that wait for `accept`, by lane; each at most `max_waiting` long.
    queues: [VecDeque<Incoming>; 3],
    /// Calls in flight to each peer, by lane; no entry is all 0.
    in_flight: BTreeMap<Endpoint, [usize; 3]>,
}

impl Host {
    pub(crate) fn new(endpoint: Endpoint, name: PeerName, options: Options, counters: Arc<Counters>) -> Host {
        Host {
            name,
            endpoint,
            options,
            counters,
            rooms: std::array::from_fn(|_| Semaphore::new(options.max_waiting)),
            inner: Mutex::new(Inner {
                condition: Condition::Running,
                queues: Default::default(),
                in_flight: BTreeMap::new(),
            }),
            arrived: Notify::new(),
            changed: Notify::new(),
        }
    }

    /// Moves on to `condition` unless the host has ended; whether it did. Ending drops what waits for `accept`.
    pub(crate) fn change(&self, condition: Condition) -> bool {
        let mut inner = self.lock();
        if inner.condition.has_ended() {
            return false;
        }
        inner.condition = condition;
        let dropped = condition.has_ended().then(|| std::mem::take(&mut inner.queues));
        drop(inner);
        drop(dropped);
        if matches!(condition, Condition::Closed | Condition::Crashed) {
            self.rooms.iter().for_each(Semaphore::close);
        }
        self.changed.notify_waiters();
        self.arrived.notify_waiters();
        true
    }

    /// Waits until the condition is one that `accepted` names, and returns it.
    pub(crate) async fn condition(&self, accepted: impl Fn(Condition) -> bool) -> Condition {
        loop {
            let changed = self.changed.notified();
            let condition = self.lock().condition;
            if accepted(condition) {
                return condition;
            }
            changed.await;
        }
    }

    /// Waits until the host has ended.
    pub(crate) async fn ended(&self) {
        self.condition(Condition::has_ended).await;
    }

    /// Waits while the host is frozen.
    pub(crate) async fn awake(&self) -> Condition {
        self.condition(|condition| condition != Condition::Frozen).await
    }

    /// Waits until the host's peers are told that it has ended.
    pub(crate) async fn reset(&self) {
        self.condition(|condition| matches!(condition, Condition::Closed | Condition::Crashed)).await;
    }

    /// Counts a call to `to` on `lane`, until the guard is dropped.
    pub(crate) fn begin_call<'a>(
        &'a self,
        to: &'a Endpoint,
        lane: Lane,
    ) -> Result<InFlight<'a>, TransportError> {
        let mut inner = self.lock();
        if inner.condition.has_ended() {
            return Err(TransportError::Closed);
        }
        let lane = index(lane);
        match inner.in_flight.get_mut(to) {
            Some(counts) if counts[lane] >= self.options.max_in_flight => {
                return Err(TransportError::Overloaded { endpoint: to.clone() });
            }
            Some(counts) => counts[lane] += 1,
            None => {
                let mut counts = [0; 3];
                counts[lane] = 1;
                inner.in_flight.insert(to.clone(), counts);
            }
        }
        Ok(InFlight { host: self, to, lane })
    }

    /// Takes a place in the queue of `lane`, waiting for one if need be; whether the host still listens. The
    /// place is to be filled by [`Host::push`].
    pub(crate) async fn reserve(&self, lane: Lane) -> bool {
        self.rooms[index(lane)].acquire().await.map(|place| place.forget()).is_ok()
    }

    /// Takes a place in the queue of `lane` if there is one.
    pub(crate) fn try_reserve(&self, lane: Lane) -> bool {
        self.rooms[index(lane)].try_acquire().map(|place| place.forget()).is_ok()
    }

    /// Gives back a place whose frame is lost.
    pub(crate) fn release(&self, lane: Lane) {
        self.rooms[index(lane)].add_permits(1);
    }

    /// Queues a frame in the place reserved for it; drops it if the host has ended.
    pub(crate) fn push(&self, lane: Lane, incoming: Incoming) {
        let mut inner = self.lock();
        if inner.condition.has_ended() {
            return;
        }
        count(&self.counters.requests_received, &self.counters.bytes_received, incoming.frame.len());
        inner.queues[index(lane)].push_back(incoming);
        drop(inner);
        self.arrived.notify_one();
    }

    /// The next frame, the most urgent lane first; `None` once the host has ended.
    pub(crate) async fn accept(&self) -> Option<Incoming> {
        loop {
            let arrived = self.arrived.notified();
            {
                let mut inner = self.lock();
                if inner.condition.has_ended() {
                    return None;
                }
                let next = if inner.condition == Condition::Running { inner.take() } else { None };
                if let Some((lane, incoming)) = next {
                    drop(inner);
                    self.rooms[lane].add_permits(1);
                    return Some(incoming);
                }
            }
            arrived.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds the lock")
    }
}

impl Inner {
    fn take(&mut self) -> Option<(usize, Incoming)> {
        self.queues.iter_mut().enumerate().find_map(|(lane, queue)| Some((lane, queue.pop_front()?)))
    }
}

/// A call that counts as in flight while this lives.
pub(crate) struct InFlight<'a> {
    host: &'a Host,
    to: &'a Endpoint,
    lane: usize,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let mut inner = self.host.lock();
        if let Some(counts) = inner.in_flight.get_mut(self.to) {
            counts[self.lane] -= 1;
            if *counts == [0; 3] {
                inner.in_flight.remove(self.to);
            }
        }
    }
}

/// The queue of a lane, in the order in which `accept` empties them.
pub(crate) fn index(lane: Lane) -> usize {
    match lane {
        Lane::Control => 0,
        Lane::Request => 1,
        Lane::Bulk => 2,
    }
}
