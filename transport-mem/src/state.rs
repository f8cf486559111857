//! What a network consists of, and what it makes of each frame.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use chord::transport::{Endpoint, Frame, Incoming, Lane, PeerName};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::delivery::Queue;
use crate::frame;
use crate::host::{self, Condition, Counters, Host};
use crate::link::Link;
use crate::network::Options;
use crate::trace::{Fate, Kind, Trace};

/// What a network's handles, hosts and delivery task share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    /// Everything that decides what becomes of a frame. Never held across an `.await`.
    pub(crate) state: Mutex<State>,
    /// The first request on its way is another one.
    pub(crate) rescheduled: Notify,
}

pub(crate) struct State {
    rng: SmallRng,
    pub(crate) default_link: Link,
    /// Links of their own, by the name of the sender, then of the receiver.
    pub(crate) links: BTreeMap<String, BTreeMap<String, Link>>,
    /// Until when the lanes of a link with a bounded rate are taken, by sender and receiver.
    taken: BTreeMap<(PeerName, PeerName), [Instant; 3]>,
    /// The group of each host that a partition names; the others are in group 0.
    pub(crate) sides: BTreeMap<String, usize>,
    pub(crate) isolated: BTreeSet<String>,
    /// Hosts by endpoint, no two at one address. One that has ended, other than by losing its power, is not in it.
    pub(crate) hosts: BTreeMap<Endpoint, Slot>,
    pub(crate) counters: BTreeMap<PeerName, Arc<Counters>>,
    pub(crate) trace: Option<Trace>,
    pub(crate) delayed: Queue,
}

pub(crate) enum Slot {
    Listens(Arc<Host>),
    PoweredOff,
}

/// Who answers at an endpoint.
pub(crate) enum Route {
    Peer(Arc<Host>),
    /// Nobody, which the caller learns after a round trip.
    Refused {
        after: Duration,
        reason: &'static str,
    },
    /// Nothing will ever be heard from there.
    Silence,
}

/// What becomes of a reply.
pub(crate) enum Reply {
    Arrives(Frame),
    ArrivesAt(Instant, Frame),
    Silence,
}

type ReplyReceiver = oneshot::Receiver<Frame>;

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }

    /// Ends `host`; whether it had not ended before.
    pub(crate) fn end(&self, host: &Arc<Host>, how: Condition) -> bool {
        let mut state = self.lock();
        if matches!(state.hosts.get(&host.endpoint), Some(Slot::Listens(listens)) if Arc::ptr_eq(listens, host))
        {
            if how == Condition::PoweredOff {
                state.hosts.insert(host.endpoint.clone(), Slot::PoweredOff);
            } else {
                state.hosts.remove(&host.endpoint);
            }
        }
        drop(state);
        host.change(how)
    }

    /// Finds who listens at `to`; `wire`, the frame that `from` wants to send there, is for the record.
    pub(crate) fn route(&self, from: &Host, to: &Endpoint, wire: &Bytes) -> Route {
        let mut state = self.lock();
        let (silent, reason) = match state.at(to) {
            Some((at, Slot::Listens(host))) if at == to || to.name().is_none() => {
                return Route::Peer(Arc::clone(host));
            }
            Some((_, Slot::PoweredOff)) => (true, ""),
            Some((_, Slot::Listens(_))) => (false, "another host listens there"),
            None => (false, "nobody listens there"),
        };
        let name = to.name().unwrap_or(to.host());
        let fate = match state.fate(&from.name, name) {
            Fate::Arrives(_) if silent => Fate::Lost,
            Fate::Arrives(_) => Fate::Refused,
            fate => fate,
        };
        from.counters.request_sent(frame::len(wire));
        state.note(&from.name, name, Kind::Request, wire, fate);
        if fate != Fate::Refused {
            return Route::Silence;
        }
        let after = state.link(&from.name, name).latency + state.link(name, &from.name).latency;
        Route::Refused { after, reason }
    }

    /// Sends a request for which a place is reserved. Where its reply will come, and that of its copy if it is
    /// duplicated; `None` if it is lost.
    pub(crate) fn send_request(
        self: &Arc<Self>,
        from: &Host,
        to: &Arc<Host>,
        lane: Lane,
        wire: Bytes,
    ) -> Option<(ReplyReceiver, Option<ReplyReceiver>)> {
        let mut state = self.lock();
        let passing = state.pass(&from.name, &to.name, lane, frame::len(&wire));
        let mut fate = state.fate(&from.name, &to.name).later(passing);
        if let Fate::Arrives(delay) = fate {
            let link = state.link(&from.name, &to.name);
            if link.duplicates(&mut state.rng) && to.try_reserve(lane) {
                fate = Fate::ArrivesTwice(delay, passing + link.delay(&mut state.rng));
            }
        }
        from.counters.request_sent(frame::len(&wire));
        state.note(&from.name, &to.name, Kind::Request, &wire, fate);
        drop(state);
        let arrive = |delay: Duration| {
            let (incoming, reply_rx) = Incoming::new(self.parse(wire.clone()), Some(Arc::clone(&from.name)));
            if delay.is_zero() {
                to.push(lane, incoming);
            } else {
                self.schedule(Instant::now() + delay, to, lane, incoming);
            }
            reply_rx
        };
        match fate {
            Fate::Arrives(delay) => Some((arrive(delay), None)),
            Fate::ArrivesTwice(delay, copy) => Some((arrive(delay), Some(arrive(copy)))),
            Fate::Lost | Fate::Cut | Fate::Refused => {
                to.release(lane);
                None
            }
        }
    }

    /// Sends a reply, which is within the limit.
    pub(crate) fn send_reply(&self, from: &Host, to: &Host, lane: Lane, frame: &Frame) -> Reply {
        let wire = frame::encode(frame);
        let mut state = self.lock();
        let passing = state.pass(&from.name, &to.name, lane, frame.len());
        let fate = state.fate(&from.name, &to.name).later(passing);
        from.counters.reply_sent(frame.len());
        state.note(&from.name, &to.name, Kind::Reply, &wire, fate);
        drop(state);
        match fate {
            Fate::Arrives(delay) if delay.is_zero() => Reply::Arrives(self.parse(wire)),
            Fate::Arrives(delay) => Reply::ArrivesAt(Instant::now() + delay, self.parse(wire)),
            _ => Reply::Silence,
        }
    }

    /// How long news of a host's end take from `from` to `to`; `None` if they do not arrive.
    pub(crate) fn latency(&self, from: &Host, to: &Host) -> Option<Duration> {
        let state = self.lock();
        let cut = state.is_cut(&from.name, &to.name);
        (!cut).then(|| state.link(&from.name, &to.name).latency)
    }

    fn parse(&self, wire: Bytes) -> Frame {
        frame::decode(wire, self.options.max_frame_bytes).expect("the sender encoded it within the limit")
    }
}

impl State {
    pub(crate) fn new(seed: u64) -> State {
        State {
            rng: SmallRng::seed_from_u64(seed),
            default_link: Link::default(),
            links: BTreeMap::new(),
            taken: BTreeMap::new(),
            sides: BTreeMap::new(),
            isolated: BTreeSet::new(),
            hosts: BTreeMap::new(),
            counters: BTreeMap::new(),
            trace: None,
            delayed: Queue::default(),
        }
    }

    /// Who listens at the address of `to`, under whatever name, or did until its power was lost.
    pub(crate) fn at(&self, to: &Endpoint) -> Option<(&Endpoint, &Slot)> {
        let same_address = |at: &Endpoint| at.scheme() == to.scheme() && at.address() == to.address();
        self.hosts.get_key_value(to).or_else(|| self.hosts.iter().find(|(at, _)| same_address(at)))
    }

    fn link(&self, from: &str, to: &str) -> Link {
        if from == to {
            return Link::default();
        }
        let own = self.links.get(from).and_then(|links| links.get(to));
        own.copied().unwrap_or(self.default_link)
    }

    fn is_cut(&self, from: &str, to: &str) -> bool {
        let isolated = self.isolated.contains(from) || self.isolated.contains(to);
        from != to && (isolated || self.sides.get(from) != self.sides.get(to))
    }

    /// Lets a frame of `bytes` pass after those that were sent before it; how long it is until it has.
    fn pass(&mut self, from: &PeerName, to: &PeerName, lane: Lane, bytes: usize) -> Duration {
        let passing = self.link(from, to).passing(bytes);
        if passing.is_zero() || self.is_cut(from, to) {
            return Duration::ZERO;
        }
        let now = Instant::now();
        let lanes = self.taken.entry((Arc::clone(from), Arc::clone(to))).or_insert([now; 3]);
        let taken = &mut lanes[host::index(lane)];
        *taken = (*taken).max(now) + passing;
        *taken - now
    }

    /// Draws what becomes of the next frame, leaving duplication aside.
    fn fate(&mut self, from: &str, to: &str) -> Fate {
        let link = self.link(from, to);
        if self.is_cut(from, to) {
            Fate::Cut
        } else if link.loses(&mut self.rng) {
            Fate::Lost
        } else {
            Fate::Arrives(link.delay(&mut self.rng))
        }
    }

    fn note(&mut self, from: &PeerName, to: &str, kind: Kind, wire: &Bytes, fate: Fate) {
        if let Some(trace) = &mut self.trace {
            trace.add(from, to, kind, wire, fate);
        }
    }
}
