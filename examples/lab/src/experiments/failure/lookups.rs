//! Lookups after hosts have failed at once: who has failed, who owns what, how a lookup goes.

use chord::protocol::group::Verdict;
use chord::protocol::id::Id;
use chord::protocol::lookup::RoutingMode;
use chord::protocol::peer::Incarnation;
use chord::protocol::routing::Routing;
use chord::protocol::search::{Search, SearchRound, not_mine};
use chord::protocol::simulate::{Simulation, index_of};
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};

use crate::cli::Setting;
use crate::network::random_id;
use crate::recursive::Passing;

/// Rounds of a lookup with what the ones before taught: beyond, it has failed.
const MAX_ROUNDS: usize = 16;

/// What lookups came to at one share of failed hosts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Those that found the owner.
    pub lookups: u64,
    /// Their calls that were answered.
    pub path: u64,
    /// Their calls that were not.
    pub timeouts: u64,
    /// Lookups that needed another round.
    pub again: u64,
    /// Lookups that found nobody, or the wrong one.
    pub failed: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Tally) {
        self.lookups += other.lookups;
        self.path += other.path;
        self.timeouts += other.timeouts;
        self.again += other.again;
        self.failed += other.failed;
    }

    /// Nodes that answered, a lookup.
    pub fn mean_path(&self) -> f64 {
        self.path as f64 / self.lookups as f64
    }

    /// Calls to the dead, a lookup.
    pub fn mean_timeouts(&self) -> f64 {
        self.timeouts as f64 / self.lookups as f64
    }
}

/// How lookups are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As the engine does: the asker calls no dead host twice.
    Iterative,
    /// As the paper counts: every node passes the lookup on, and hears nothing of whom others found dead.
    Recursive,
}

impl Style {
    /// One lookup along fingers, from the host `from` for `id`, which the live node `owner` owns.
    pub(super) fn look_up(self, simulation: &Simulation, from: usize, id: &Id, owner: &Id) -> Tally {
        match self {
            Style::Iterative => in_rounds(simulation, from, id, owner, RoutingMode::Fingers),
            Style::Recursive => passed_on(simulation, from, id, owner),
        }
    }
}

fn passed_on(simulation: &Simulation, from: usize, id: &Id, owner: &Id) -> Tally {
    let mut passing = Passing::new(simulation, *id, RoutingMode::Fingers);
    let found = passing.from(from).is_some_and(|peer| peer.id == *owner);
    if !found {
        return Tally { failed: 1, ..Tally::default() };
    }
    Tally { lookups: 1, path: passing.path, timeouts: passing.timeouts, ..Tally::default() }
}

/// One lookup as the engine makes it ([`SearchRound`]): rounds, each with what the ones before taught about the dead.
/// No record is asked for: the live node at or after the id is the owner, and knows it.
pub(super) fn in_rounds(
    simulation: &Simulation,
    from: usize,
    id: &Id,
    owner: &Id,
    mode: RoutingMode,
) -> Tally {
    let mut tally = Tally::default();
    let owns = |routing: &Routing| routing.ring(owner).is_some();
    let Some(asker) = simulation.host(from) else { return tally };
    let (me, max_hops) = (asker.host(), asker.limits().max_hops);
    let found = |tally| Tally { lookups: 1, ..tally };
    if owns(asker) {
        return found(tally);
    }
    let mut search = Search::default();
    let mut dead: Vec<Incarnation> = Vec::new();
    let mut taught = None;
    for round in 0..MAX_ROUNDS {
        let known = taught.as_ref().unwrap_or(asker);
        let mut asking = SearchRound::begin(&search, known, id, mode, None, max_hops);
        while let Some((peer, host)) = asking.next(&mut search, |host| dead.contains(&host)) {
            let Some(asked) = simulation.host(index_of(&host)) else {
                tally.timeouts += 1;
                if !dead.contains(&host.incarnation) {
                    dead.push(host.incarnation);
                }
                asking.unanswered(peer.as_ref(), true);
                continue;
            };
            tally.path += 1;
            if owns(asked) {
                return found(tally);
            }
            let said = not_mine(Verdict::Unknown, asked, id, mode);
            asking.not_mine(&mut search, peer.as_ref(), said, me);
        }
        asking.end(&mut search, me);
        tally.again += u64::from(round == 0);
        let learnt = taught.get_or_insert_with(|| asker.clone());
        dead.iter().for_each(|host| learnt.fail(*host));
    }
    // Its calls are left out of the means.
    Tally { again: tally.again, failed: 1, ..Tally::default() }
}

/// Who has failed, and who owns what among the others.
pub(super) struct Failures {
    hosts: Vec<Vec<Id>>,
    /// In the order in which they fail.
    order: Vec<usize>,
    failed: usize,
    /// The ids of live virtual nodes, ascending.
    owners: Vec<Id>,
}

impl Failures {
    pub(super) fn new(hosts: &[Vec<Id>], rng: &mut impl Rng) -> Failures {
        let mut order: Vec<usize> = (0..hosts.len()).collect();
        order.shuffle(rng);
        let mut failures = Failures { hosts: hosts.to_vec(), order, failed: 0, owners: Vec::new() };
        failures.count();
        failures
    }

    /// Lets hosts fail until `share` of them has.
    pub(super) fn fail(&mut self, simulation: &mut Simulation, share: f64) {
        let upto = (share * self.order.len() as f64).round() as usize;
        self.order[self.failed..upto].iter().for_each(|host| simulation.fail(*host));
        self.failed = upto;
        self.count();
    }

    fn count(&mut self) {
        let live = self.order[self.failed..].iter();
        self.owners = live.flat_map(|host| self.hosts[*host].iter().copied()).collect();
        self.owners.sort_unstable();
    }

    /// A live asker and an id.
    pub(super) fn lookup(&self, setting: &Setting, rng: &mut impl Rng) -> (usize, Id) {
        let from = *self.order[self.failed..].choose(rng).expect("at most half of the hosts fail");
        (from, random_id(setting.space, rng))
    }

    /// The live node at or after `id`.
    pub(super) fn owner(&self, id: &Id) -> Id {
        self.owners[self.owners.partition_point(|owner| owner < id) % self.owners.len()]
    }
}
