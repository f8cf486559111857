//! The engine: the only place that awaits a transport.
//!
//! [`Node`] is one host. Its files are what it does: [`serve`] answers others, [`call`] asks them, [`maintain`] keeps
//! the ring, [`route`] finds who answers for a key, [`execute`] reads and writes what this host owns, [`hand_off`]
//! and [`learn`] move ownership ([`progress`] tells whether they get on), [`sweep`] collects what is over, [`join`] and [`leave`] begin and end it,
//! [`describe`] tells about it, [`store`] is where its entries are. Every decision is taken in [`crate::protocol`].

pub(crate) mod answers;
pub(crate) mod at_once;
pub(crate) mod backoff;
pub(crate) mod call;
pub(crate) mod count;
pub(crate) mod deadline;
pub(crate) mod describe;
pub(crate) mod dirty;
pub(crate) mod execute;
pub(crate) mod hand_off;
pub(crate) mod items;
pub(crate) mod join;
pub(crate) mod keys;
pub(crate) mod learn;
pub(crate) mod leave;
pub(crate) mod maintain;
pub(crate) mod many;
pub(crate) mod progress;
pub(crate) mod route;
pub(crate) mod serve;
pub(crate) mod stock;
pub(crate) mod store;
pub(crate) mod sweep;
pub(crate) mod tasks;
pub(crate) mod vital;
pub(crate) mod walk;
pub(crate) mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

use crate::config::Config;
use crate::error::Error;
use crate::node::backoff::Backoff;
use crate::node::call::PeerTimes;
use crate::node::dirty::Dirty;
use crate::node::keys::KeyLocks;
use crate::node::leave::LeaveEnd;
use crate::node::progress::Progress;
use crate::node::store::Store;
use crate::node::tasks::Tasks;
use crate::node::window::Window;
use crate::protocol::group::{Groups, TransferId};
use crate::protocol::message::{OperationId, Parameters};
use crate::protocol::peer::{Host, Incarnation, Peer};
use crate::protocol::routing::Routing;
use crate::storage::StorageStats;
use crate::transport::Transport;
use crate::view::Counters;

/// Where a node is in its life.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// It takes its place in the ring.
    Joining,
    /// It serves.
    Ready,
    /// It hands over what it owns.
    Leaving,
    /// It has handed over what it owned, is no member any more, and tells where things are until it ends.
    Parting,
    /// It has ended, and why.
    Closed(Error),
}

impl Phase {
    fn is_joining(&self) -> bool {
        matches!(self, Phase::Joining)
    }

    fn is_ready(&self) -> bool {
        matches!(self, Phase::Ready)
    }

    /// Whether it still hands over.
    fn is_leaving(&self) -> bool {
        matches!(self, Phase::Leaving)
    }

    /// As `status` names it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Phase::Joining => "joining",
            Phase::Ready => "ready",
            Phase::Leaving | Phase::Parting => "leaving",
            Phase::Closed(_) => "left",
        }
    }
}

/// What the node counts; see [`Counters`].
#[derive(Default)]
pub(crate) struct Metrics {
    pub(crate) operations: AtomicU64,
    pub(crate) served: AtomicU64,
    pub(crate) calls: AtomicU64,
    pub(crate) call_failures: AtomicU64,
    pub(crate) redirected: AtomicU64,
    pub(crate) entries_sent: AtomicU64,
    pub(crate) entries_received: AtomicU64,
    pub(crate) malformed: AtomicU64,
}

impl Metrics {
    pub(crate) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            operations: read(&self.operations),
            served: read(&self.served),
            calls: read(&self.calls),
            call_failures: read(&self.call_failures),
            redirected: read(&self.redirected),
            entries_sent: read(&self.entries_sent),
            entries_received: read(&self.entries_received),
            malformed: read(&self.malformed),
        }
    }
}

/// One host of a ring.
///
/// None of the standard locks is ever held across an await. No two of them are held at once, but that `dirty` is taken
/// under `groups` where a hand-off begins, so that no write slips in between.
pub(crate) struct Node<T: Transport> {
    pub(crate) transport: T,
    pub(crate) config: Config,
    pub(crate) parameters: Parameters,
    pub(crate) me: Arc<Host>,
    /// This host's virtual nodes with their labels, whether or not they have joined yet.
    pub(crate) virtual_nodes: Vec<(String, Peer)>,
    pub(crate) storage: Store,
    pub(crate) metrics: Metrics,
    pub(crate) started: Instant,
    pub(crate) phase: watch::Sender<Phase>,
    /// Whether tasks and transport have ended too, or nobody waits for that any more.
    pub(crate) ended: watch::Sender<bool>,
    pub(crate) tasks: Tasks,
    pub(crate) keys: KeyLocks,
    /// Held for as long as an interval is cleared that nobody is served from: for an offer to here, before it is answered,
    /// or after a hand-off from here. No other offer is taken meanwhile, so nothing is learnt that would be cleared. Taken
    /// before `learning`.
    pub(crate) clearing: Arc<tokio::sync::Mutex<()>>,
    /// Chunks are stored, and what is over is collected, under the read half. What begins or ends a learner's copy takes
    /// the write half, so that no late chunk lands in what is served or is cleared; so does who parts from the ring, who
    /// takes no offer. Not held while something is cleared: what is decided does not wait for that.
    pub(crate) learning: Arc<tokio::sync::RwLock<()>>,
    /// Bounds the operations of others that are served at once.
    pub(crate) serving: Arc<Semaphore>,
    /// Bounds their messages together, in KiB.
    pub(crate) serving_kib: Arc<Semaphore>,
    /// Bounds the messages of hand-offs to here that are served at once. Operations that wait for a record, however
    /// many, do not keep out what brings it.
    pub(crate) learning_served: Arc<Semaphore>,
    /// Bounds this handle's operations in flight.
    pub(crate) operations: Semaphore,
    /// Bounds the hand-offs from here that run at once.
    pub(crate) hand_offs: Arc<Semaphore>,
    /// Hand-offs that passes have begun: where the next pass begins.
    pub(crate) hand_off_turn: AtomicUsize,
    /// Whether hand-offs get on.
    pub(crate) progress: Progress,
    /// Woken whenever a group record or a hand-off changes.
    pub(crate) groups_changed: Notify,
    /// Woken when the ring has changed: stabilise soon.
    pub(crate) ring_changed: Notify,
    /// Woken when something may have to be handed over.
    pub(crate) hand_off_due: Notify,
    /// Guards the routing view.
    routing: Mutex<Routing>,
    /// Guards the group records.
    groups: RwLock<Groups>,
    /// Guards what was written during each hand-off from here and is still to be sent.
    dirty: Mutex<BTreeMap<TransferId, Dirty>>,
    /// Guards the hand-offs to here of which a chunk is not stored yet: one of each, though it may be answered before.
    landing: Mutex<BTreeSet<TransferId>>,
    /// Guards round-trip times and missed answers of other hosts.
    times: Mutex<PeerTimes>,
    /// Guards which hosts refused hand-offs of late.
    backoff: Mutex<Backoff>,
    /// Guards the memory of executed updates.
    window: Mutex<Window>,
    /// Guards the random numbers.
    random: Mutex<StdRng>,
    /// Guards the end of the latest leave, for whoever waits for it.
    leave_end: Mutex<Option<LeaveEnd>>,
    /// Guards what the store held when it last told.
    last_stock: Mutex<StorageStats>,
    versions: AtomicU64,
    operation_ids: AtomicU64,
    /// How often the group records may have changed.
    group_changes: AtomicU64,
}

/// Hand-offs from one host that run at once.
const MAX_HAND_OFFS: usize = 8;
/// Messages of hand-offs to one host that it serves at once: those of 128 hosts that send as many as they may.
const MAX_LEARNING_SERVED: usize = 128 * MAX_HAND_OFFS;

impl<T: Transport> Node<T> {
    /// A node that runs nothing yet. `groups` and the rings of `routing` are what it starts from.
    pub(crate) fn new(
        transport: T,
        config: Config,
        parameters: Parameters,
        identity: Identity,
        groups: Groups,
        routing: Routing,
        storage: Store,
    ) -> Node<T> {
        Node {
            virtual_nodes: virtual_nodes(&config, &parameters, &identity.host),
            me: identity.host,
            started: Instant::now(),
            phase: watch::Sender::new(Phase::Joining),
            ended: watch::Sender::new(false),
            metrics: Metrics::default(),
            tasks: Tasks::new(),
            keys: KeyLocks::new(),
            clearing: Arc::default(),
            learning: Arc::default(),
            serving: Arc::new(Semaphore::new(config.max_serving)),
            serving_kib: Arc::new(Semaphore::new(config.max_serving_bytes.div_ceil(1024))),
            learning_served: Arc::new(Semaphore::new(MAX_LEARNING_SERVED)),
            landing: Mutex::default(),
            operations: Semaphore::new(config.max_operations),
            hand_offs: Arc::new(Semaphore::new(MAX_HAND_OFFS)),
            hand_off_turn: AtomicUsize::new(0),
            progress: Progress::new(),
            groups_changed: Notify::new(),
            ring_changed: Notify::new(),
            hand_off_due: Notify::new(),
            routing: Mutex::new(routing),
            groups: RwLock::new(groups),
            dirty: Mutex::new(BTreeMap::new()),
            times: Mutex::new(PeerTimes::default()),
            backoff: Mutex::default(),
            window: Mutex::new(Window::default()),
            random: Mutex::new(identity.random),
            leave_end: Mutex::new(None),
            last_stock: Mutex::default(),
            versions: AtomicU64::new(1),
            operation_ids: AtomicU64::new(1),
            group_changes: AtomicU64::new(0),
            transport,
            config,
            parameters,
            storage,
        }
    }

    pub(crate) fn routing(&self) -> MutexGuard<'_, Routing> {
        self.routing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn groups(&self) -> RwLockReadGuard<'_, Groups> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the group records, then wakes whoever waits for a change.
    pub(crate) fn change_groups<R>(&self, change: impl FnOnce(&mut Groups) -> R) -> R {
        let result = change(&mut self.groups_mut());
        self.tell_group_change();
        result
    }

    /// Changes the group records, if `change` finds something to change; wakes nobody if not, which it says by `None`.
    pub(crate) fn try_change_groups<R>(&self, change: impl FnOnce(&mut Groups) -> Option<R>) -> Option<R> {
        let result = change(&mut self.groups_mut());
        if result.is_some() {
            self.tell_group_change();
        }
        result
    }

    fn tell_group_change(&self) {
        self.group_changes.fetch_add(1, Ordering::Relaxed);
        self.groups_changed.notify_waiters();
    }

    fn groups_mut(&self) -> RwLockWriteGuard<'_, Groups> {
        self.groups.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn dirty(&self) -> MutexGuard<'_, BTreeMap<TransferId, Dirty>> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn landing(&self) -> MutexGuard<'_, BTreeSet<TransferId>> {
        self.landing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn times(&self) -> MutexGuard<'_, PeerTimes> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn backoff(&self) -> MutexGuard<'_, Backoff> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn leave_end(&self) -> MutexGuard<'_, Option<LeaveEnd>> {
        self.leave_end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn last_stock(&self) -> MutexGuard<'_, StorageStats> {
        self.last_stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unix milliseconds by this host's clock.
    pub(crate) fn now(&self) -> u64 {
        (self.config.env.clock)()
    }

    /// The counter of the next version written here.
    pub(crate) fn next_version(&self) -> u64 {
        self.versions.fetch_add(1, Ordering::Relaxed)
    }

    /// The name of the next update asked from here.
    pub(crate) fn next_operation(&self) -> OperationId {
        let counter = self.operation_ids.fetch_add(1, Ordering::Relaxed);
        OperationId { caller: self.me.incarnation, counter }
    }

    /// A duration between half of `about` and one and a half of it.
    pub(crate) fn jittered(&self, about: Duration) -> Duration {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        about.mul_f64(random.random_range(0.5..1.5))
    }

    /// Whether the node has ended, and why.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        match &*self.phase.borrow() {
            Phase::Closed(reason) => Err(reason.clone()),
            _ => Ok(()),
        }
    }

    /// How often the ring's pointers and the group records have changed; `None` once the node has ended.
    pub(crate) fn changes(&self) -> Option<(u64, u64)> {
        self.check_open().ok()?;
        Some((self.routing().changed(), self.group_changes.load(Ordering::Relaxed)))
    }

    /// Goes on to `next` if `from` holds: the node may have been stopped meanwhile. Whether it did.
    fn move_on(&self, from: impl FnOnce(&Phase) -> bool, next: Phase) -> bool {
        self.phase.send_if_modified(|phase| {
            let moves = from(phase);
            if moves {
                *phase = next;
            }
            moves
        })
    }

    /// Takes a host out of the ring's pointers, because it does not answer or was replaced.
    pub(crate) fn host_failed(&self, incarnation: Incarnation) {
        if incarnation == self.me.incarnation {
            return;
        }
        let news = {
            let mut routing = self.routing();
            let (known, before) = (routing.is_lost(incarnation), routing.changed());
            routing.fail(incarnation);
            !known || routing.changed() != before
        };
        self.times().forget(incarnation);
        self.change_groups(|groups| groups.source_failed(incarnation));
        if news {
            self.ring_changed.notify_one();
            self.hand_off_due.notify_one();
        }
    }

    /// Ends the node at once: aborts its tasks and remembers why. The transport goes with the last reference.
    pub(crate) fn abandon(&self, reason: Error) {
        self.close_phase(reason);
        drop(Ending { node: self });
    }

    /// Ends the node and returns when its tasks and its transport have ended.
    pub(crate) async fn shut_down(&self, reason: Error) {
        self.close_phase(reason);
        let _ending = Ending { node: self };
        self.transport.close().await;
        self.tasks.close().await;
    }

    fn close_phase(&self, reason: Error) {
        self.phase.send_if_modified(|phase| {
            let open = !matches!(phase, Phase::Closed(_));
            if open {
                *phase = Phase::Closed(reason);
            }
            open
        });
        self.groups_changed.notify_waiters();
    }
}

/// Ends the node with its last handle, or with the future that was to make the first one. The node's tasks hold the
/// node: without a guard it never goes.
pub(crate) struct Guard<T: Transport> {
    pub(crate) node: Arc<Node<T>>,
}

impl<T: Transport> Drop for Guard<T> {
    fn drop(&mut self) {
        if self.node.check_open().is_ok() {
            tracing::warn!(name = %self.node.me.name, "the last handle was dropped: what this node owned is gone");
            self.node.abandon(Error::Closed("the last handle was dropped".into()));
        }
    }
}

/// The end of a closed node, however it comes: also when [`Node::shut_down`] is dropped, as by a task of the node
/// itself, which ends with the others.
struct Ending<'a, T: Transport> {
    node: &'a Node<T>,
}

impl<T: Transport> Drop for Ending<'_, T> {
    fn drop(&mut self) {
        self.node.tasks.abort();
        self.node.ended.send_replace(true);
    }
}

/// Who a host is in this life, and its random numbers.
pub(crate) struct Identity {
    pub(crate) host: Arc<Host>,
    pub(crate) random: StdRng,
}

impl Identity {
    /// Draws an incarnation for the host that `config` names, reached at `transport`'s endpoint.
    pub(crate) fn new(config: &Config, transport: &impl Transport) -> Result<Identity, Error> {
        let invalid = |error: &dyn std::fmt::Display| Error::Invalid(error.to_string());
        let name = crate::protocol::peer::HostName::new(&config.name).map_err(|error| invalid(&error))?;
        let endpoint = transport.endpoint().with_name(name.as_str()).map_err(|error| invalid(&error))?;
        let mut random = match config.env.seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => StdRng::from_os_rng(),
        };
        // Zero stands for "unknown" in the header.
        let incarnation = Incarnation(random.random_range(1..=u128::MAX));
        Ok(Identity { host: Arc::new(Host { name, endpoint, incarnation }), random })
    }
}

fn virtual_nodes(config: &Config, parameters: &Parameters, me: &Arc<Host>) -> Vec<(String, Peer)> {
    let ids = config.virtual_node_ids(&parameters.space);
    ids.into_iter().enumerate().map(|(index, id)| (label(config, index), Peer::new(id, me.clone()))).collect()
}

fn label(config: &Config, index: usize) -> String {
    match &config.virtual_nodes {
        crate::config::VirtualNodes::Explicit(nodes) => nodes[index].0.clone(),
        crate::config::VirtualNodes::Count(_) if index == 0 => config.name.clone(),
        crate::config::VirtualNodes::Count(_) => format!("{}/{index}", config.name),
    }
}
