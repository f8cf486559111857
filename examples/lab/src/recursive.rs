//! Lookups that every node passes on by what it knows itself, as the papers' figures are counted.
//!
//! The engine's lookups are iterative: the asker hears of every call and calls nobody twice. Here whoever is asked goes on by
//! itself, with the engine's own [`Lookup`] over its own view, and is not told whom others found dead; so one dead
//! node can cost a lookup several calls. (SIGCOMM 2001, section 6.1, has both styles. What is counted is the same in an
//! iterative lookup whose hops each name the best next node of theirs and hear of the dead among their own only.)

use chord::protocol::id::Id;
use chord::protocol::lookup::{Lookup, Next, RoutingMode};
use chord::protocol::peer::Peer;
use chord::protocol::simulate::{Simulation, index_of};

/// A lookup on its way.
#[derive(Debug)]
pub struct Passing<'a> {
    simulation: &'a Simulation,
    id: Id,
    mode: RoutingMode,
    /// The numbers of the hosts it has come to: it is passed to none of them again.
    passed: Vec<usize>,
    /// Calls that were answered, the owner's included.
    pub path: u64,
    /// Calls that were not.
    pub timeouts: u64,
}

impl<'a> Passing<'a> {
    /// A lookup of `id`.
    pub fn new(simulation: &'a Simulation, id: Id, mode: RoutingMode) -> Passing<'a> {
        Passing { simulation, id, mode, passed: Vec::new(), path: 0, timeouts: 0 }
    }

    /// From the host `at` on: the live node that is taken for the owner. `None` when nobody is found this way.
    pub fn from(&mut self, at: usize) -> Option<Peer> {
        self.passed.push(at);
        let simulation = self.simulation;
        let routing = simulation.host(at)?;
        let (me, max_hops) = (routing.host(), routing.limits().max_hops);
        let mut lookup = Lookup::new(self.id, self.mode, routing.route(&self.id, self.mode), me, max_hops);
        loop {
            let (peer, is_owner) = match lookup.next() {
                Next::Failed(_) => return None,
                Next::Ask(peer) => (peer, false),
                Next::Done { mut owners, .. } => (owners.swap_remove(0), true),
            };
            let number = index_of(&peer.host);
            if is_owner && number == at {
                return Some(peer);
            }
            if simulation.host(number).is_none() {
                self.timeouts += 1;
            } else if is_owner {
                self.path += 1;
                return Some(peer);
            } else if !self.passed.contains(&number) {
                self.path += 1;
                if let Some(owner) = self.from(number) {
                    return Some(owner);
                }
            }
            lookup.failed(&peer);
        }
    }
}
