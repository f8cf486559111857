//! A host's routing view: the pointers of all its virtual nodes, one contact table, one schedule.
//!
//! What the virtual nodes of a host ask of the same peer host in one step of a round travels in one message; what
//! they ask of each other is answered here, without any. The serving side is [`Routing::answer`] and
//! [`Routing::route`]; the asking side, a round of maintenance, is in [`rounds`].

mod ask;
pub mod rounds;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::protocol::contacts::Contacts;
use crate::protocol::id::{Id, IdSpace, Interval};
pub use crate::protocol::lookup::{Route, RoutingMode};
use crate::protocol::peer::{Host, HostName, Incarnation, Peer};
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
}

impl Default for RoutingLimits {
    fn default() -> Self {
        RoutingLimits { successors: SuccessorLimits::default(), contacts: 65_536, max_hops: 64 }
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
            Err(i) => self.nodes.insert(i, node),
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
        }
    }

    /// Who owns `id` as far as this host knows, or whom to ask: all its virtual nodes are looked at as one.
    ///
    /// In order: an own virtual node that owns it; the successor list of the own virtual node before it; the
    /// closest preceding nodes of all fingers, lists and (by `mode`) contacts, on distinct hosts.
    pub fn route(&self, id: &Id, mode: RoutingMode) -> Route {
        let Some((before, after)) = self.around(id) else { return Route::Closer(Vec::new()) };
        if after.owns(id) {
            return after.route_to_self();
        }
        if let Some(route) = before.route_from_list(id, mode) {
            return route;
        }
        if mode == RoutingMode::Naive {
            let successors = before.known_successors();
            return Route::Closer(successors[..successors.len().min(self.limits.successors.hosts)].to_vec());
        }
        Route::Closer(self.closest_preceding_nodes(before, id, mode))
    }

    /// The contact table's guess at the owner of `id`, own virtual nodes included; the ring's own word where
    /// this host owns it.
    pub fn believed_owner(&self, id: &Id) -> Option<Peer> {
        match self.around(id) {
            Some((_, after)) if after.owns(id) => Some(after.me().clone()),
            _ => self.contacts.successor(id).cloned(),
        }
    }

    /// Who owns `id` by predecessor and successor pointers, contacts and fingers aside: an own virtual node, or
    /// the successor of one right before it. `None` where this host's pointers do not tell.
    pub fn owner_in_ring_view(&self, id: &Id) -> Option<Peer> {
        let (before, after) = self.around(id)?;
        if after.owns(id) {
            return Some(after.me().clone());
        }
        let successor = before.successors().first()?;
        id.in_half_open(&before.me().id, &successor.id).then(|| successor.clone())
    }

    /// What each own virtual node owns by its pointers. A node that knows no predecessor is left out.
    pub fn owned(&self) -> Vec<(Interval, Id)> {
        self.rings().filter_map(|ring| Some((ring.interval()?, ring.me().id))).collect()
    }

    /// Takes up hearsay: these virtual nodes exist, somebody says. Those that cannot be are ignored, except that
    /// one with the id of an own virtual node becomes its [rival](Routing::rivals).
    pub fn learn<'a>(&mut self, peers: impl IntoIterator<Item = &'a Peer>) {
        for peer in peers {
            if self.is_plausible(peer) {
                self.contacts.learn(peer, |peer| is_neighbour(&self.nodes, peer));
            } else if let Ok(i) = self.position(&peer.id)
                && peer.host.incarnation != self.host.incarnation
                && !self.is_lost(peer.host.incarnation)
            {
                self.nodes[i].rival = Some(peer.clone());
            }
        }
    }

    /// Virtual nodes of other hosts that are said to have the id of one of this host's, the last heard of for
    /// each. One that is alive has joined at the same moment, and one of the two must step down; one that is not
    /// is to be reported with [`Routing::fail`].
    pub fn rivals(&self) -> impl Iterator<Item = &Peer> {
        self.nodes.iter().filter_map(|node| node.rival.as_ref())
    }

    /// The host of a rival is there, but runs no such virtual node.
    pub fn forget_rival(&mut self, rival: &Peer) {
        for node in &mut self.nodes {
            node.rival.take_if(|known| known == rival);
        }
    }

    /// A host gave a sign of life: what others say about it is believed again.
    pub fn alive(&mut self, host: &Host) {
        self.contacts.alive(host.incarnation);
    }

    /// Whether a host failed lately and has given no sign of life since.
    pub fn is_lost(&self, incarnation: Incarnation) -> bool {
        self.contacts.is_lost(incarnation)
    }

    /// A host failed: none of its virtual nodes is pointed to any more.
    pub fn fail(&mut self, incarnation: Incarnation) {
        if incarnation == self.host.incarnation {
            return;
        }
        self.contacts.lose(incarnation);
        for node in &mut self.nodes {
            node.rival.take_if(|rival| rival.host.incarnation == incarnation);
        }
        for i in 0..self.nodes.len() {
            self.change(i, |node| {
                node.ring.fail(incarnation);
                if let Some(doubt) = node.doubt.take_if(|doubt| doubt.old.host.incarnation == incarnation)
                    && doubt.notifier.host.incarnation != incarnation
                {
                    let _ = node.ring.rectify_with(&doubt.notifier, &doubt.old, false);
                }
            });
        }
    }

    /// A host that answers is no member of the ring any more, or knows nobody in it: it is no contact. Pointers to
    /// it stay until its farewell, or the next round, corrects them.
    pub fn departed(&mut self, incarnation: Incarnation) {
        if incarnation != self.host.incarnation {
            self.contacts.lose(incarnation);
        }
    }

    /// Where `old` lived lives `new`: the old one has failed. Its virtual nodes join anew, by themselves.
    pub fn replaced(&mut self, old: Incarnation, new: &Host) {
        if old != new.incarnation {
            self.fail(old);
        }
        self.alive(new);
    }

    /// A virtual node of another host leaves and tells `its` pointers.
    pub fn left(&mut self, leaver: &Peer, its: &Neighbours) {
        if leaver.host.incarnation == self.host.incarnation {
            return;
        }
        let its = self.sanitized(its);
        for i in 0..self.nodes.len() {
            self.change(i, |node| node.ring.left(leaver, &its));
        }
        self.contacts.forget(leaver);
        self.learn_neighbours(&its);
    }

    /// Whom to tell what when this host leaves: for each neighbouring host, the own virtual nodes it points to
    /// with their pointers, from which this host's own virtual nodes are left out.
    pub fn farewell(&self) -> Farewells {
        let mut told: Farewells = Vec::new();
        for ring in self.rings() {
            let remote = |peer: &&Peer| !peer.same_host(ring.me());
            let its = Neighbours {
                predecessor: self.remote_predecessor(ring).cloned(),
                successors: ring.successors().iter().filter(remote).cloned().collect(),
            };
            let ends = [its.predecessor.as_ref(), its.successors.first()];
            for peer in ends.into_iter().flatten() {
                let message = (ring.me().clone(), its.clone());
                match told.iter_mut().find(|(host, _)| host.incarnation == peer.host.incarnation) {
                    Some((_, messages)) if messages.contains(&message) => {}
                    Some((_, messages)) => messages.push(message),
                    None => told.push((peer.host.clone(), vec![message])),
                }
            }
        }
        told
    }

    /// Grows whenever a predecessor, a successor list or a finger of this host changed.
    pub fn changed(&self) -> u64 {
        self.changed
    }

    /// Whether the next round has a notification's doubt to settle.
    pub fn has_doubt(&self) -> bool {
        self.nodes.iter().any(|node| node.doubt.is_some())
    }

    /// Other lives of the host `name` than `incarnation` that own virtual nodes point to.
    pub fn namesakes(&self, name: &HostName, incarnation: Incarnation) -> Vec<Arc<Host>> {
        let mut found: Vec<Arc<Host>> = self
            .rings()
            .flat_map(|ring| {
                let fingers = ring.fingers().peers();
                ring.predecessor().into_iter().chain(ring.successors()).chain(fingers)
            })
            .map(|peer| peer.host.clone())
            .filter(|host| host.name == *name && host.incarnation != incarnation)
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whether the last round of either kind ended and found nothing new.
    pub fn is_settled(&self) -> bool {
        self.rounds.iter().all(|round| round.quiet && round.quiet_at == self.changed)
            && self.nodes.iter().all(|node| node.doubt.is_none())
    }

    /// The own virtual nodes around `id`: the last before it and the first at or after it.
    fn around(&self, id: &Id) -> Option<(&Ring, &Ring)> {
        let after = self.nodes.partition_point(|node| node.ring.me().id < *id);
        let before = self.nodes[..after].last().or(self.nodes.last())?;
        let after = self.nodes.get(after).or(self.nodes.first())?;
        Some((&before.ring, &after.ring))
    }

    fn closest_preceding_nodes(&self, before: &Ring, id: &Id, mode: RoutingMode) -> Vec<Peer> {
        let wanted = self.limits.successors.hosts.max(1);
        let mut known: Vec<&Peer> = Vec::with_capacity(2 * wanted * self.nodes.len() + wanted);
        for ring in self.rings() {
            known.extend(ring.fingers().preceding(id).iter().rev().take(wanted));
            known.extend(ring.successors_preceding(id).iter().rev().take(wanted));
        }
        if mode == RoutingMode::Contacts {
            known.extend(self.contacts.preceding(&before.me().id, id).take(wanted));
        }
        known.retain(|peer| peer.id.in_open(&before.me().id, id));
        known.sort_by_cached_key(|peer| self.space.distance(&peer.id, id));
        let mut closest: Vec<Peer> = Vec::with_capacity(wanted);
        for peer in known {
            if closest.len() < wanted && !closest.iter().any(|chosen| chosen.same_host(peer)) {
                closest.push(peer.clone());
            }
        }
        closest
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

    /// The nearest predecessor on another host, along own virtual nodes.
    fn remote_predecessor<'a>(&'a self, ring: &'a Ring) -> Option<&'a Peer> {
        let mut predecessor = ring.predecessor()?;
        for _ in 0..self.nodes.len() {
            if !predecessor.same_host(ring.me()) {
                return Some(predecessor);
            }
            predecessor = self.ring(&predecessor.id)?.predecessor()?;
        }
        None
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

    fn learn_neighbours(&mut self, neighbours: &Neighbours) {
        self.learn(neighbours.predecessor.iter().chain(&neighbours.successors));
    }

    /// What a peer said, without the peers that cannot be and beyond no list's bound.
    fn sanitized(&self, said: &Neighbours) -> Neighbours {
        let plausible = |peer: &&Peer| self.is_plausible(peer);
        Neighbours {
            predecessor: said.predecessor.as_ref().filter(plausible).cloned(),
            successors: said
                .successors
                .iter()
                .take(self.limits.successors.max)
                .filter(plausible)
                .cloned()
                .collect(),
        }
    }

    /// Whether a peer named by others can be: its id is on the circle, and it is an own virtual node if and only
    /// if it says so.
    fn is_plausible(&self, peer: &Peer) -> bool {
        let own = self.position(&peer.id).is_ok();
        self.space.contains(&peer.id) && own == (peer.host.incarnation == self.host.incarnation)
    }

    fn position(&self, id: &Id) -> Result<usize, usize> {
        self.nodes.binary_search_by_key(id, |node| node.ring.me().id)
    }
}

/// Whether a pointer of the ring (a predecessor or a successor) names `peer`, or it is an own virtual node.
fn is_neighbour(nodes: &[Node], peer: &Peer) -> bool {
    nodes.iter().any(|node| {
        let ring = &node.ring;
        ring.me() == peer || ring.predecessor() == Some(peer) || ring.successors().contains(peer)
    })
}
