//! The peers that this host calls: their connections, and what is in flight to them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chord::transport::{Endpoint, Lane};
use tokio::sync::watch;

use crate::dial::{Dialler, dial};
use crate::frame::lane_index;
use crate::link::Link;
use crate::tasks::Tasks;

/// Peers by endpoint, a bounded number.
pub(crate) struct Pool {
    max_peers: usize,
    max_in_flight: usize,
    clock: AtomicU64,
    /// Never held across an await.
    peers: Mutex<HashMap<Endpoint, Arc<Peer>>>,
}

/// One peer.
pub(crate) struct Peer {
    endpoint: Endpoint,
    /// By lane.
    in_flight: [AtomicUsize; 3],
    /// The pool's clock when the last call began.
    used: AtomicU64,
    /// Never held across an await.
    state: Mutex<State>,
}

enum State {
    Down,
    Dialling(watch::Receiver<Option<Dialled>>),
    Up(Arc<Link>),
}

type Dialled = Result<Arc<Link>, Arc<str>>;

/// A call's place among those in flight to a peer on its lane, given back when dropped.
pub(crate) struct Slot {
    peer: Arc<Peer>,
    lane: Lane,
}

impl Pool {
    pub(crate) fn new(max_peers: usize, max_in_flight: usize) -> Pool {
        Pool { max_peers, max_in_flight, clock: AtomicU64::new(0), peers: Mutex::default() }
    }

    /// A place for a call to `endpoint` on `lane`; `None` when as many as allowed are in flight to it there, or to as
    /// many peers. A new peer may push out the one that has been idle longest.
    pub(crate) fn slot(&self, endpoint: &Endpoint, lane: Lane) -> Option<Slot> {
        let mut peers = lock(&self.peers);
        if let Some(peer) = peers.get(endpoint) {
            return self.admit(peer, lane);
        }
        if peers.len() >= self.max_peers {
            let idle = peers.values().filter(|peer| peer.is_idle());
            let oldest = idle.min_by_key(|peer| peer.used.load(Ordering::Relaxed))?.clone();
            peers.remove(&oldest.endpoint);
            oldest.close();
        }
        let peer = Arc::new(Peer::new(endpoint.clone()));
        let slot = self.admit(&peer, lane);
        peers.insert(endpoint.clone(), peer);
        slot
    }

    /// Counts a call in, under the table's lock: so a peer that is idle under it stays so.
    fn admit(&self, peer: &Arc<Peer>, lane: Lane) -> Option<Slot> {
        let in_flight = &peer.in_flight[lane_index(lane)];
        if in_flight.load(Ordering::Relaxed) >= self.max_in_flight {
            return None;
        }
        in_flight.fetch_add(1, Ordering::Relaxed);
        peer.used.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Some(Slot { peer: peer.clone(), lane })
    }

    /// Lets go of every connection, and so of the socket beneath them.
    pub(crate) fn clear(&self) {
        for (_, peer) in lock(&self.peers).drain() {
            *lock(&peer.state) = State::Down;
        }
    }
}

impl Slot {
    /// The connection to the peer, dialled if there is none; whoever asks meanwhile waits for the same dial,
    /// which goes on when the one that began it is dropped.
    /// `dialler` gives what to dial with, unless the transport is closed.
    pub(crate) async fn link(
        &self,
        dialler: impl FnOnce() -> Option<Arc<Dialler>>,
        tasks: &Arc<Tasks>,
    ) -> Dialled {
        let mut outcome = match self.peer.link_or_dial(dialler, tasks) {
            Ok(link) => return Ok(link),
            Err(outcome) => outcome,
        };
        match outcome.wait_for(Option::is_some).await {
            Ok(dialled) => dialled.clone().expect("waited for"),
            Err(_) => Err("the dial was abandoned".into()),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.peer.in_flight[lane_index(self.lane)].fetch_sub(1, Ordering::Relaxed);
    }
}

impl Peer {
    fn new(endpoint: Endpoint) -> Peer {
        Peer {
            endpoint,
            in_flight: Default::default(),
            used: AtomicU64::new(0),
            state: Mutex::new(State::Down),
        }
    }

    fn is_idle(&self) -> bool {
        self.in_flight.iter().all(|calls| calls.load(Ordering::Relaxed) == 0)
    }

    fn link_or_dial(
        self: &Arc<Peer>,
        dialler: impl FnOnce() -> Option<Arc<Dialler>>,
        tasks: &Arc<Tasks>,
    ) -> Result<Arc<Link>, watch::Receiver<Option<Dialled>>> {
        let mut state = lock(&self.state);
        match &*state {
            State::Up(link) if !link.is_lost() => return Ok(link.clone()),
            State::Dialling(outcome) if outcome.has_changed().is_ok() => return Err(outcome.clone()),
            _ => {}
        }
        let (outcome_tx, outcome) = watch::channel(None);
        let Some(dialler) = dialler() else { return Err(outcome) };
        *state = State::Dialling(outcome.clone());
        let (peer, set) = (self.clone(), tasks.clone());
        tasks.spawn(async move {
            let dialled = dial(&dialler, &peer.endpoint, &set).await.map_err(Arc::from);
            *lock(&peer.state) = match &dialled {
                Ok(link) => State::Up(link.clone()),
                Err(_) => State::Down,
            };
            outcome_tx.send_replace(Some(dialled));
        });
        Err(outcome)
    }

    fn close(&self) {
        if let State::Up(link) = &*lock(&self.state) {
            link.close();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
