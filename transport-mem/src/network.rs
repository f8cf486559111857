//! The network: its hosts, its links, its faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use chord::transport::{Endpoint, Frame, Incoming, InvalidEndpoint, Lane, PeerName};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::delivery::Queue;
use crate::frame;
use crate::host::{Condition, Counters, Host, Traffic};
use crate::link::Link;
use crate::trace::{Fate, Kind, Record, Trace};
use crate::transport::MemTransport;

/// The bounds of every host of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Largest frame, head and body together, in bytes; at most `u32::MAX`. 17 MiB by default.
    pub max_frame_bytes: usize,
    /// Calls that may be in flight from one host to another, at least 1. 1,024 by default.
    pub max_in_flight: usize,
    /// Frames of each lane that may wait for a host's `accept` or be on their way to it, at least 1; further
    /// callers wait. 1,024 by default.
    pub max_waiting: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { max_frame_bytes: 17 << 20, max_in_flight: 1024, max_waiting: 1024 }
    }
}

/// Why a host cannot listen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The name is no host name.
    #[error(transparent)]
    Name(#[from] InvalidEndpoint),
    /// The endpoint's scheme is not `mem`, or it carries no name.
    #[error("{0} is not of the form mem://NAME@HOST:PORT")]
    NotMem(Endpoint),
    /// Another host listens there.
    #[error("{0} is in use")]
    InUse(Endpoint),
}

/// A network in this process; a handle to it, to be cloned freely.
///
/// Hosts are named in [`partition`](Network::partition) and the like by their names. The fate of a frame is
/// decided when it is sent: what was on its way when a partition began still arrives. A host's calls to itself
/// know no faults.
#[derive(Clone)]
pub struct Network {
    shared: Arc<Shared>,
}

impl Network {
    /// A perfect network with the default [`Options`]. `seed` decides all that chance will decide.
    pub fn new(seed: u64) -> Network {
        Network::with_options(seed, Options::default())
    }

    /// A perfect network whose hosts have the bounds `options`.
    ///
    /// # Panics
    /// When a bound is outside of what its field allows.
    pub fn with_options(seed: u64, options: Options) -> Network {
        assert!(options.max_in_flight > 0 && options.max_waiting > 0, "the bounds are at least 1");
        assert!(u32::try_from(options.max_frame_bytes).is_ok(), "the frame limit is at most u32::MAX");
        let state = State {
            rng: SmallRng::seed_from_u64(seed),
            default_link: Link::default(),
            links: BTreeMap::new(),
            sides: BTreeMap::new(),
            isolated: BTreeSet::new(),
            hosts: BTreeMap::new(),
            counters: BTreeMap::new(),
            trace: None,
            delayed: Queue::default(),
        };
        let shared = Shared { options, state: Mutex::new(state), rescheduled: Notify::new() };
        Network { shared: Arc::new(shared) }
    }

    /// Where [`Network::listen`] lets the host `name` listen: `mem://NAME@NAME:1`.
    ///
    /// # Errors
    /// When `name` is no host name.
    pub fn endpoint(name: &str) -> Result<Endpoint, InvalidEndpoint> {
        format!("mem://{name}@{name}:1").parse()
    }

    /// Starts the host `name`, or starts it again after it has ended.
    ///
    /// # Panics
    /// When `name` is no host name or a host with it listens already; [`Network::listen_at`] says so instead.
    pub fn listen(&self, name: &str) -> MemTransport {
        let listening = Network::endpoint(name).map_err(ListenError::from).and_then(|at| self.listen_at(&at));
        match listening {
            Ok(transport) => transport,
            Err(error) => panic!("the host {name:?} cannot listen: {error}"),
        }
    }

    /// Starts a host at `endpoint`, whose name is the host's.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn listen_at(&self, endpoint: &Endpoint) -> Result<MemTransport, ListenError> {
        let name: PeerName = match endpoint.name() {
            Some(name) if endpoint.scheme() == "mem" => name.into(),
            _ => return Err(ListenError::NotMem(endpoint.clone())),
        };
        let mut state = self.shared.lock();
        match state.at(endpoint) {
            Some((taken, Slot::Listens(_))) => return Err(ListenError::InUse(taken.clone())),
            Some((silent, Slot::PoweredOff)) => {
                let silent = silent.clone();
                state.hosts.remove(&silent);
            }
            None => {}
        }
        let counters = Arc::clone(state.counters.entry(Arc::clone(&name)).or_default());
        let host = Arc::new(Host::new(endpoint.clone(), name, self.shared.options, counters));
        state.hosts.insert(endpoint.clone(), Slot::Listens(Arc::clone(&host)));
        drop(state);
        Ok(MemTransport::new(Arc::clone(&self.shared), host))
    }

    /// Sets the link between any two hosts that have none of their own.
    ///
    /// # Panics
    /// When a fraction is not from 0 to 1.
    pub fn set_default_link(&self, link: Link) {
        link.check();
        self.shared.lock().default_link = link;
    }

    /// Sets the link from the host `from` to the host `to`, in this direction.
    ///
    /// # Panics
    /// When a fraction is not from 0 to 1.
    pub fn set_link(&self, from: &str, to: &str, link: Link) {
        link.check();
        self.shared.lock().links.entry(from.to_owned()).or_default().insert(to.to_owned(), link);
    }

    /// Cuts the network into these groups of hosts, in place of an earlier partition. Hosts that are in none of
    /// them form a group together.
    pub fn partition(&self, groups: &[&[&str]]) {
        let sides = groups
            .iter()
            .zip(1..)
            .flat_map(|(group, side)| group.iter().map(move |name| ((*name).to_owned(), side)));
        self.shared.lock().sides = sides.collect();
    }

    /// Cuts the host off from every other one.
    pub fn isolate(&self, name: &str) {
        self.shared.lock().isolated.insert(name.to_owned());
    }

    /// Ends every partition and isolation. Links stay as they are.
    pub fn heal(&self) {
        let mut state = self.shared.lock();
        state.sides.clear();
        state.isolated.clear();
    }

    /// Kills the host's process: its own calls fail with `Closed`, calls it works on end with `Timeout` as soon
    /// as the news reach the caller, later ones are refused (`Unreachable`). Whether there was such a host.
    pub fn crash(&self, name: &str) -> bool {
        self.end_by_name(name, Condition::Crashed)
    }

    /// Takes the host's machine away: like [`Network::crash`], but nobody is told. Calls to it wait for their
    /// deadlines, until a host listens there again. Whether there was such a host.
    pub fn power_off(&self, name: &str) -> bool {
        self.end_by_name(name, Condition::PoweredOff)
    }

    /// Stops the host for a while, like SIGSTOP: it accepts nothing, its calls send nothing and do not end (not
    /// even by their deadlines), its replies stay with it. What is sent to it waits, up to the bound on waiting
    /// frames. The host's tasks do run on, but they can have no effect on other hosts. Whether there is such a
    /// host.
    pub fn freeze(&self, name: &str) -> bool {
        self.by_name(name).is_some_and(|host| host.change(Condition::Frozen))
    }

    /// Lets a frozen host go on. Whether there is such a host.
    pub fn thaw(&self, name: &str) -> bool {
        self.by_name(name).is_some_and(|host| host.change(Condition::Running))
    }

    /// Delivers `wire` to the host at `to` as if it had been read from a connection of nobody known. Bytes that
    /// are no frame are dropped, as is everything once the host's queue is full. Whether they were a frame and
    /// were delivered; nobody hears the reply.
    pub fn inject(&self, to: &Endpoint, wire: &[u8]) -> bool {
        let state = self.shared.lock();
        let Some((_, Slot::Listens(host))) = state.at(to) else { return false };
        let host = Arc::clone(host);
        drop(state);
        let frame = frame::decode(Bytes::copy_from_slice(wire), self.shared.options.max_frame_bytes);
        match frame {
            Some(frame) if host.try_reserve(Lane::Request) => {
                host.push(Lane::Request, Incoming::new(frame, None).0);
                true
            }
            _ => false,
        }
    }

    /// What the host has sent and received since it first listened, restarts included; zero for a stranger.
    pub fn traffic(&self, name: &str) -> Traffic {
        self.shared.lock().counters.get(name).map_or_else(Traffic::default, |counters| counters.read())
    }

    /// Starts a new trace, from now on.
    pub fn record(&self) {
        self.shared.lock().trace = Some(Trace::start());
    }

    /// The latest [`TRACE_RECORDS`](crate::TRACE_RECORDS) frames since [`Network::record`], in the order in
    /// which they were sent.
    pub fn trace(&self) -> Vec<Record> {
        self.shared.lock().trace.as_ref().map_or_else(Vec::new, Trace::records)
    }

    /// A hash of all frames since [`Network::record`], those that the trace no longer keeps too: equal for
    /// equal traces in every run of one build. `None` without a trace.
    pub fn fingerprint(&self) -> Option<u64> {
        self.shared.lock().trace.as_ref().map(Trace::fingerprint)
    }

    fn by_name(&self, name: &str) -> Option<Arc<Host>> {
        let state = self.shared.lock();
        state.hosts.values().find_map(|slot| match slot {
            Slot::Listens(host) if &*host.name == name => Some(Arc::clone(host)),
            _ => None,
        })
    }

    fn end_by_name(&self, name: &str, how: Condition) -> bool {
        self.by_name(name).is_some_and(|host| self.shared.end(&host, how))
    }
}

/// What a network's handles, hosts and delivery task share.
pub(crate) struct Shared {
    options: Options,
    /// Everything that decides what becomes of a frame. Never held across an `.await`.
    state: Mutex<State>,
    /// The first request on its way is another one.
    pub(crate) rescheduled: Notify,
}

pub(crate) struct State {
    rng: SmallRng,
    default_link: Link,
    /// Links of their own, by the name of the sender, then of the receiver.
    links: BTreeMap<String, BTreeMap<String, Link>>,
    /// The group of each host that a partition names; the others are in group 0.
    sides: BTreeMap<String, usize>,
    isolated: BTreeSet<String>,
    /// Hosts by endpoint, no two at one address. One that has ended, other than by losing its power, is not in it.
    hosts: BTreeMap<Endpoint, Slot>,
    counters: BTreeMap<PeerName, Arc<Counters>>,
    trace: Option<Trace>,
    pub(crate) delayed: Queue,
}

enum Slot {
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
        let mut fate = state.fate(&from.name, &to.name);
        if let Fate::Arrives(delay) = fate {
            let link = state.link(&from.name, &to.name);
            if link.duplicates(&mut state.rng) && to.try_reserve(lane) {
                fate = Fate::ArrivesTwice(delay, link.delay(&mut state.rng));
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
    pub(crate) fn send_reply(&self, from: &Host, to: &Host, frame: &Frame) -> Reply {
        let wire = frame::encode(frame);
        let mut state = self.lock();
        let fate = state.fate(&from.name, &to.name);
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
    /// Who listens at the address of `to`, under whatever name, or did until its power was lost.
    fn at(&self, to: &Endpoint) -> Option<(&Endpoint, &Slot)> {
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
