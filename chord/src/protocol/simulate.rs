//! A synchronous driver: many hosts, no runtime, no network, no clock.
//!
//! It runs the very [`Routing`] code of the engine: a call is a function call, a failed host is one that does not
//! answer, time is a count of rounds, and whatever is random comes from the generator that is handed in. One seed
//! gives one run. Ten thousand hosts are no trouble; tests, `examples/converge.rs` and experiments use it.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use rand::Rng;
use rand::seq::SliceRandom;

use crate::protocol::id::{Id, IdSpace};
use crate::protocol::invariants::{NodeSnapshot, Snapshot, Violation};
use crate::protocol::lookup::{Hop, Lookup, LookupError, Next, Route, RoutingMode};
use crate::protocol::peer::{Host, HostName, Incarnation, Peer};
use crate::protocol::ring::Ring;
use crate::protocol::routing::rounds::{Batches, Failed, Round};
use crate::protocol::routing::{Answer, Ask, Routing, RoutingLimits};

/// Attempts of one virtual node to join before [`Simulation::join`] gives up.
const JOIN_ATTEMPTS: usize = 8;

/// Hosts and the pointers of their virtual nodes. Hosts are numbered from 0 in order of creation; a number is
/// never used again.
#[derive(Clone, Debug)]
pub struct Simulation {
    space: IdSpace,
    limits: RoutingLimits,
    /// By number; `None` once it failed or left.
    hosts: Vec<Option<Routing>>,
    messages: u64,
}

/// Why a simulated host did not join.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// A virtual node of the same id is there.
    #[error("the id is taken by {0}")]
    Taken(Peer),
    /// No attempt found a place where the ring stood still.
    #[error("the ring changed under every attempt")]
    Unsettled,
}

/// How a simulated lookup went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The live owner, or why none was found.
    pub owner: Result<Peer, LookupError>,
    /// The calls, the one to the owner included: its length is what hops are in this project.
    pub path: Vec<Hop>,
}

/// One call of a round of maintenance.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The number of the host that is called.
    pub to: usize,
    /// That host.
    pub host: &'a Arc<Host>,
    /// What it is asked.
    pub asks: &'a [Ask],
    /// What it answers.
    pub answers: Result<&'a [Answer], Failed>,
    /// Whether its own pointers changed by it, or it has a doubt to settle: the engine then stabilizes at once.
    pub news: bool,
}

impl Simulation {
    /// No hosts yet.
    pub fn new(space: IdSpace, limits: RoutingLimits) -> Simulation {
        Simulation { space, limits, hosts: Vec::new(), messages: 0 }
    }

    /// A ring whose pointers are ideal from the start: a host for each list of virtual node ids.
    ///
    /// # Errors
    /// `distinct_members` when an id is given twice.
    pub fn ideal(space: IdSpace, limits: RoutingLimits, hosts: &[Vec<Id>]) -> Result<Simulation, Violation> {
        let mut simulation = Simulation::new(space, limits);
        let mut nodes = Vec::new();
        for ids in hosts {
            let host = simulation.new_host();
            let bare = |id: &Id| NodeSnapshot {
                me: Peer::new(*id, host.clone()),
                predecessor: None,
                successors: Vec::new(),
                fingers: None,
            };
            nodes.extend(ids.iter().map(bare));
            simulation.hosts.push(Some(Routing::new(space, host, limits)));
        }
        let snapshot = Snapshot::new(space, nodes)?;
        for index in 0..snapshot.nodes().len() {
            let ideal = snapshot.ideal_node(index, limits.successors);
            let fingers = ideal.fingers.unwrap_or_default();
            let number = index_of(&ideal.me.host);
            let ring = Ring::with_pointers(
                space,
                ideal.me,
                limits.successors,
                ideal.predecessor,
                &ideal.successors,
                &fingers,
            );
            simulation.host_mut(number).expect("created above").add(ring);
        }
        Ok(simulation)
    }

    /// The only host of a new ring.
    pub fn create(&mut self, ids: &[Id]) -> usize {
        let host = self.new_host();
        self.hosts.push(Some(Routing::create(self.space, host, self.limits, ids)));
        self.hosts.len() - 1
    }

    /// A host joins through the host `known`: each virtual node looks its id up, takes the place found, and the
    /// host stabilizes once.
    ///
    /// # Errors
    /// [`JoinError`]; the host then takes no part.
    pub fn join(&mut self, ids: &[Id], known: usize) -> Result<usize, JoinError> {
        let host = self.new_host();
        let number = self.hosts.len();
        self.hosts.push(Some(Routing::new(self.space, host, self.limits)));
        for id in ids {
            if let Err(error) = self.join_node(number, *id, known) {
                self.hosts[number] = None;
                return Err(error);
            }
        }
        self.run_round(number, Round::Stabilize);
        let rival = self.host(number).and_then(|routing| routing.rivals().next().cloned());
        match rival.filter(|rival| self.host(index_of(&rival.host)).is_some()) {
            Some(rival) => {
                self.leave(number);
                Err(JoinError::Taken(rival))
            }
            None => Ok(number),
        }
    }

    /// A host fails: from here on it does not answer, and nobody is told.
    pub fn fail(&mut self, number: usize) {
        self.hosts[number] = None;
    }

    /// A host leaves, and tells its neighbours.
    pub fn leave(&mut self, number: usize) {
        let Some(routing) = self.hosts[number].take() else { return };
        for (host, leavers) in routing.farewell() {
            self.messages += 1;
            if let Some(told) = self.host_mut(index_of(&host)) {
                leavers.iter().for_each(|(leaver, its)| told.left(leaver, its));
            }
        }
    }

    /// Every live host, in random order, runs one round.
    pub fn round(&mut self, kind: Round, rng: &mut impl Rng) {
        let mut order = self.live();
        order.shuffle(rng);
        for number in order {
            self.run_round(number, kind);
        }
    }

    /// One host runs one round to its end.
    pub fn run_round(&mut self, number: usize, kind: Round) {
        let Some(routing) = self.host_mut(number) else { return };
        let batches = routing.start_round(kind);
        self.finish_round(number, batches, |_| {});
    }

    /// Runs a round of the host `number` to its end, which began with `batches`. `watch` is shown every call.
    pub fn finish_round(&mut self, number: usize, mut batches: Batches, mut watch: impl FnMut(&Call<'_>)) {
        while !batches.is_empty() {
            let mut next: Batches = Vec::new();
            for (to, asks) in batches {
                let changes = |routing: &Routing| (routing.changed(), routing.has_doubt());
                let before = self.host(index_of(&to)).map(changes);
                let answers = self.call(&to, &asks);
                let news = match (before, self.host(index_of(&to)).map(changes)) {
                    (Some((before, _)), Some((after, doubt))) => before != after || doubt,
                    _ => false,
                };
                let answers = answers.as_deref().map_err(|failed| *failed);
                watch(&Call { to: index_of(&to), host: &to, asks: &asks, answers, news });
                let Some(routing) = self.host_mut(number) else { return };
                next.extend(routing.apply(&to, &asks, answers));
            }
            batches = next;
        }
    }

    /// Rounds of both kinds until the ring is ideal. The number of rounds, or, after `max` of them, what is wrong
    /// still.
    ///
    /// # Errors
    /// The first property of the ideal ring that does not hold.
    pub fn converge(&mut self, max: usize, rng: &mut impl Rng) -> Result<usize, Violation> {
        for rounds in 0.. {
            match self.snapshot().and_then(|snapshot| snapshot.ideal(self.limits.successors)) {
                Ok(()) => return Ok(rounds),
                Err(violation) if rounds >= max => return Err(violation),
                Err(_) => {}
            }
            self.round(Round::Stabilize, rng);
            self.round(Round::FixFingers, rng);
        }
        unreachable!("the loop only returns")
    }

    /// The host `from` searches the live owner of `id`: from its own view, over the hops that are named, to the
    /// owner itself, which is called too. Whoever lookups name and answers is the owner here; whether it would serve
    /// a key is not the ring's business.
    pub fn lookup(&self, from: usize, id: &Id, mode: RoutingMode, max_hops: usize) -> Found {
        let first = self.host(from).map_or(Route::Closer(Vec::new()), |routing| routing.route(id, mode));
        self.lookup_from(from, first, id, mode, max_hops)
    }

    /// [`Simulation::lookup`], beginning with `first` instead of what `from` itself knows.
    pub fn lookup_from(
        &self,
        from: usize,
        first: Route,
        id: &Id,
        mode: RoutingMode,
        max_hops: usize,
    ) -> Found {
        let Some(routing) = self.host(from) else {
            return Found { owner: Err(LookupError::NoRoute), path: Vec::new() };
        };
        let me = routing.host();
        let mut lookup = Lookup::new(*id, mode, first, me, max_hops);
        loop {
            match lookup.next() {
                Next::Ask(peer) => self.ask_hop(&mut lookup, &peer),
                Next::Failed(error) => return Found { owner: Err(error), path: lookup.path().to_vec() },
                Next::Done { owners, .. } => {
                    let owner = owners[0].clone();
                    let known = owner.host.incarnation == me.incarnation
                        || lookup.path().last().is_some_and(|hop| hop.peer == owner);
                    if !known {
                        if self.host(index_of(&owner.host)).is_none() {
                            lookup.failed(&owner);
                            continue;
                        }
                        lookup.answered(&owner, &Route::Owner { predecessor: None, owners });
                    }
                    return Found { owner: Ok(owner), path: lookup.path().to_vec() };
                }
            }
        }
    }

    /// The pointers of all live virtual nodes.
    ///
    /// # Errors
    /// `distinct_members` when two of them have one id.
    pub fn snapshot(&self) -> Result<Snapshot, Violation> {
        let rings = self.hosts.iter().flatten().flat_map(Routing::rings);
        Snapshot::new(self.space, rings.map(NodeSnapshot::from).collect())
    }

    /// The numbers of the live hosts.
    pub fn live(&self) -> Vec<usize> {
        (0..self.hosts.len()).filter(|&number| self.hosts[number].is_some()).collect()
    }

    /// A live host.
    pub fn host(&self, number: usize) -> Option<&Routing> {
        self.hosts.get(number)?.as_ref()
    }

    /// A live host, to be changed.
    pub fn host_mut(&mut self, number: usize) -> Option<&mut Routing> {
        self.hosts.get_mut(number)?.as_mut()
    }

    /// Calls made between hosts so far to join, leave and maintain the ring, unanswered ones included. What
    /// lookups cost, their paths tell.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    fn new_host(&self) -> Arc<Host> {
        let number = self.hosts.len();
        let name = format!("host-{number}");
        Arc::new(Host {
            endpoint: format!("mem://{name}@{name}:1").parse().expect("a well-formed endpoint"),
            name: HostName::new(&name).expect("a well-formed name"),
            incarnation: Incarnation(number as u128 + 1),
        })
    }

    fn call(&mut self, to: &Host, asks: &[Ask]) -> Result<Vec<Answer>, Failed> {
        self.messages += 1;
        let routing = self.host_mut(index_of(to)).ok_or(Failed)?;
        Ok(asks.iter().map(|ask| routing.answer(ask)).collect())
    }

    fn ask_hop(&self, lookup: &mut Lookup, peer: &Peer) {
        match self.host(index_of(&peer.host)) {
            Some(routing) => lookup.answered(peer, &routing.route(lookup.id(), lookup.mode())),
            None => lookup.failed(peer),
        }
    }

    /// The host `number` learns whom the host of `peer` named in its answer to a search for `id`.
    fn learn_from(&mut self, number: usize, peer: &Peer, id: &Id) {
        if self.limits.contacts == 0 {
            return;
        }
        let route = self.host(index_of(&peer.host)).map(|routing| routing.route(id, RoutingMode::Fingers));
        if let (Some(route), Some(joiner)) = (route, self.host_mut(number)) {
            joiner.learn(route.peers());
        }
    }

    fn join_node(&mut self, number: usize, id: Id, known: usize) -> Result<(), JoinError> {
        for _ in 0..JOIN_ATTEMPTS {
            let Some(joiner) = self.host(number) else { break };
            let me = Peer::new(id, joiner.host().clone());
            let view = if joiner.rings().len() == 0 { self.host(known) } else { self.host(number) };
            let Some(view) = view else { break };
            let mut lookup =
                Lookup::new(id, RoutingMode::Fingers, view.route(&id, RoutingMode::Fingers), &me.host, 256);
            while let Next::Ask(peer) = lookup.next() {
                self.ask_hop(&mut lookup, &peer);
                self.learn_from(number, &peer, &id);
            }
            self.messages += lookup.hops() as u64;
            let Next::Done { predecessor, owners } = lookup.next() else { continue };
            if owners[0].id == id {
                return Err(JoinError::Taken(owners[0].clone()));
            }
            let mut before = predecessor;
            while let Some(predecessor) = before {
                let ask = Ask::Neighbours { of: predecessor.id };
                let Ok(answers) = self.call(&predecessor.host, &[ask]) else { break };
                let [Answer::Neighbours(its)] = answers.as_slice() else { break };
                let list = its.successors.as_slice();
                before = Ring::nearer_predecessor(&id, &predecessor, list);
                let limits = self.limits.successors;
                let ring = Ring::joined(self.space, me.clone(), limits, predecessor, list);
                if let (Some(ring), Some(joiner)) = (ring, self.host_mut(number)) {
                    joiner.add(ring);
                    return Ok(());
                }
            }
        }
        Err(JoinError::Unsettled)
    }
}

/// The number of a simulated host; one of another world has none that is in use.
pub fn index_of(host: &Host) -> usize {
    usize::try_from(host.incarnation.0).map_or(usize::MAX, |incarnation| incarnation.wrapping_sub(1))
}
