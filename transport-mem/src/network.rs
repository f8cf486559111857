//! The handle to a network: hosts are started, links set and faults made here.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chord::transport::{Endpoint, Incoming, InvalidEndpoint, Lane, PeerName};
use tokio::sync::Notify;

use crate::frame;
use crate::host::{Condition, Host, Traffic};
use crate::link::Link;
use crate::state::{Shared, Slot, State};
use crate::trace::{Record, Trace};
use crate::transport::MemTransport;

/// The bounds of every host of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Largest frame, head and body together, in bytes; at most `u32::MAX`. 17 MiB by default.
    pub max_frame_bytes: usize,
    /// Calls that may be in flight from one host to another on each lane, at least 1. 1,024 by default.
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
        let shared = Shared { options, state: Mutex::new(State::new(seed)), rescheduled: Notify::new() };
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
    /// When a fraction is not from 0 to 1, or a rate is 0.
    pub fn set_default_link(&self, link: Link) {
        link.check();
        self.shared.lock().default_link = link;
    }

    /// Sets the link from the host `from` to the host `to`, in this direction.
    ///
    /// # Panics
    /// When a fraction is not from 0 to 1, or a rate is 0.
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
