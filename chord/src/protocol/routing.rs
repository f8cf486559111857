//! A host's routing view: the pointers of all its virtual nodes, one contact table, one schedule.
//!
//! What the virtual nodes of a host ask of the same peer host in one step of a round travels in one message; what
//! they ask of each other is answered here, without any. The serving side is [`Routing::answer`] and, in `find.rs`,
//! [`Routing::route`]; the asking side, a round of maintenance, is in [`rounds`]; what others tell unasked is in
//! `hearsay.rs`.

mod ask;
mod find;
mod hearsay;
pub mod rounds;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::protocol::contacts::Contacts;
use crate::protocol::id::{Id, IdSpace};
pub use crate::protocol::lookup::{Route, RoutingMode};
use crate::protocol::peer::{Host, Peer};
use crate::protocol::ring::{Neighbours, Rectify, Ring};
pub use crate::protocol::routing::ask::{Answer, Ask};
use crate::protocol::routing::rounds::{Fixing, RoundState, Waiting};
use crate::protocol::successors::SuccessorLimits;

/// For each host to tell: the virtual nodes that leave, each with its pointers.
pub type Farewells = Vec<(Arc<Host>, Vec<(Peer, Neighbours)>)>;

/// The bounds of a [`Routing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutingLimits {
    /// How long successor lists are. Also how many hosts a [`Route::Closer`] names, at most.
    pub successors: SuccessorLimits,
    /// Entries of the contact table; 0 switches it off.
    pub contacts: usize,
    /// Calls that one lookup of `fix_fingers` may make.
    pub max_hops: usize,
    /// Whether an owner in the last quarter of a successor list is named too, as the papers do. Off by default: if
    /// it is dead, too few alternates follow. For experiments.
    pub names_whole_list: bool,
}

impl Default for RoutingLimits {
    fn default() -> Self {
        RoutingLimits {
            successors: SuccessorLimits::default(),
            contacts: 65_536,
            max_hops: 64,
            names_whole_list: false,
        }
    }
}

/// The virtual nodes of one host and what they know together.
#[derive(Clone, Debug)]
pub struct Routing {
    space: IdSpace,
    host: Arc<Host>,
    limits: RoutingLimits,
    /// In id order.
    nodes: Vec<Node>,
    contacts: Contacts,
    /// Questions sent and not answered.
    waiting: Vec<Waiting>,
    rounds: [RoundState; 2],
    changed: u64,
}

/// One virtual node with what belongs to its maintenance.
#[derive(Clone, Debug)]
struct Node {
    ring: Ring,
    /// The predecessor gave a sign of life since the last round.
    predecessor_heard: bool,
    doubt: Option<Doubt>,
    fixing: Option<Fixing>,
    rival: Option<Peer>,
    /// Transitions left in this round: a bound on what lying peers can make of it.
    steps_left: usize,
}

/// `notifier` wants to be the predecessor though `old` is closer: is `old` dead? The next round finds out.
#[derive(Clone, Debug)]
struct Doubt {
    old: Peer,
    notifier: Peer,
}

impl Routing {
    /// The view of a host without virtual nodes; [`Routing::add`] adds them as they join.
    pub fn new(space: IdSpace, host: Arc<Host>, limits: RoutingLimits) -> Routing {
        Routing {
            space,
            host,
            limits,
            nodes: Vec::new(),
            contacts: Contacts::new(limits.contacts),
            waiting: Vec::new(),
            rounds: [RoundState::default(); 2],
            changed: 0,
        }
    }

    /// The view of the only host of a new ring: its virtual nodes `ids`, ideally linked. Ids given twice or
    /// outside the circle are left out.
    pub fn create(space: IdSpace, host: Arc<Host>, limits: RoutingLimits, ids: &[Id]) -> Routing {
        let mut routing = Routing::new(space, host.clone(), limits);
        let mut peers: Vec<Peer> =
            ids.iter().filter(|id| space.contains(id)).map(|id| Peer::new(*id, host.clone())).collect();
        peers.sort_unstable();
        peers.dedup();
        for i in 0..peers.len() {
            let mut others = peers.clone();
            others.rotate_left(i + 1);
            let me = others.pop().expect("peers is not empty");
            let mut ring =
                Ring::with_pointers(space, me, limits.successors, others.last().cloned(), &others, &[]);
            let mut power = 0;
            while power < space.bits() {
                let start = ring.fingers().start(power);
                let owner = others.iter().find(|peer| start.in_half_open(&ring.me().id, &peer.id));
                if let Some(owner) = owner {
                    ring.set_finger(power, owner);
                }
                power = ring.fingers().next_uncovered(power);
            }
            routing.add(ring);
        }
        routing
    }

    /// The circle.
    pub fn space(&self) -> IdSpace {
        self.space
    }

    /// This host.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The bounds.
    pub fn limits(&self) -> RoutingLimits {
        self.limits
    }

    /// The virtual nodes, in id order.
    pub fn rings(&self) -> impl ExactSizeIterator<Item = &Ring> {
        self.nodes.iter().map(|node| &node.ring)
    }

    /// The virtual node `id` of this host.
    pub fn ring(&self, id: &Id) -> Option<&Ring> {
        self.position(id).ok().map(|i| &self.nodes[i].ring)
    }

    /// The contact table.
    pub fn contacts(&self) -> &Contacts {
        &self.contacts
    }

    /// A virtual node takes part from here on. Replaces one of the same id.
    pub fn add(&mut self, ring: Ring) {
        let neighbours = ring.neighbours();
        let me = ring.me().clone();
        let steps_left = self.limits.successors.max;
        let node =
            Node { ring, predecessor_heard: false, doubt: None, fixing: None, rival: None, steps_left };
        match self.position(&me.id) {
            Ok(i) => self.nodes[i] = node,
            Err(i) => {
                self.nodes.reserve_exact(1);
                self.nodes.insert(i, node);
            }
        }
        self.changed += 1;
        self.learn(&[me]);
        self.learn_neighbours(&neighbours);
    }

    /// A virtual node takes part no more; this host's others splice it out. Telling its other neighbours is the
    /// caller's business: see [`Routing::farewell`].
    pub fn remove(&mut self, id: &Id) -> Option<Ring> {
        let i = self.position(id).ok()?;
        let ring = self.nodes.remove(i).ring;
        let its = ring.neighbours();
        for i in 0..self.nodes.len() {
            self.change(i, |node| node.ring.left(ring.me(), &its));
        }
        self.contacts.forget(ring.me());
        self.waiting.retain(|waiting| waiting.node != *id);
        self.changed += 1;
        Some(ring)
    }

    /// Serves a question. Whatever the question, it neither fails nor panics.
    pub fn answer(&mut self, ask: &Ask) -> Answer {
        match ask {
            Ask::Neighbours { of } => {
                self.ring(of).map_or(Answer::NoSuchNode, |ring| Answer::Neighbours(ring.neighbours()))
            }
            Ask::Notify { to, from } => match self.position(to) {
                Ok(i) => {
                    self.notified(i, from);
                    Answer::Notified
                }
                Err(_) => Answer::NoSuchNode,
            },
            Ask::FindSuccessor { id, mode } => Answer::Route(self.route(id, *mode)),
            Ask::Ping => Answer::Pong,
            Ask::Owns { node, id } => match self.ring(node) {
                Some(ring) if ring.owns(id) => Answer::Owns,
                _ => Answer::Route(self.route(id, RoutingMode::Fingers)),
            },
        }
    }

    /// Grows whenever a predecessor, a successor list or a finger of this host changed.
    pub fn changed(&self) -> u64 {
        self.changed
    }

    /// Whether the next round has a notification's doubt to settle.
    pub fn has_doubt(&self) -> bool {
        self.nodes.iter().any(|node| node.doubt.is_some())
    }

    /// Whether the last round of either kind ended and found nothing new.
    pub fn is_settled(&self) -> bool {
        self.rounds.iter().all(|round| round.quiet && round.quiet_at == self.changed)
            && self.nodes.iter().all(|node| node.doubt.is_none())
    }

    fn notified(&mut self, i: usize, from: &Peer) {
        self.alive(&from.host);
        self.learn([from]);
        if !self.is_plausible(from) {
            return;
        }
        let outcome = self.change(i, |node| node.ring.rectify(from));
        match outcome {
            Rectify::AskOld(old) if old.same_host(self.nodes[i].ring.me()) => {
                let alive = self.ring(&old.id).is_some();
                let _ = self.change(i, |node| node.ring.rectify_with(from, &old, alive));
            }
            Rectify::AskOld(old) => {
                let node = &mut self.nodes[i];
                let known = node.doubt.as_ref().filter(|doubt| doubt.old == old);
                if known.is_none_or(|doubt| from.id.in_open(&doubt.notifier.id, &node.ring.me().id)) {
                    node.doubt = Some(Doubt { old, notifier: from.clone() });
                }
            }
            Rectify::Adopted | Rectify::Kept => {
                let node = &mut self.nodes[i];
                node.predecessor_heard |= node.ring.predecessor() == Some(from);
            }
        }
    }

    /// Runs a transition of the `i`-th node and counts it if it changed a pointer.
    fn change<R>(&mut self, i: usize, transition: impl FnOnce(&mut Node) -> R) -> R {
        let node = &mut self.nodes[i];
        let before = node.ring.clone();
        let result = transition(node);
        if before != node.ring {
            if before.predecessor() != node.ring.predecessor() {
                node.predecessor_heard = false;
                node.doubt = None;
            }
            self.changed += 1;
        }
        result
    }

    fn position(&self, id: &Id) -> Result<usize, usize> {
        self.nodes.binary_search_by_key(id, |node| node.ring.me().id)
    }
}
