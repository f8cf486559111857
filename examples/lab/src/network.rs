//! Named nodes and the ring they form.

use std::collections::{BTreeMap, BTreeSet};

use chord::protocol::id::{Id, IdSpace};
use chord::protocol::routing::RoutingLimits;
use chord::protocol::simulate::Simulation;
use chord::protocol::successors::SuccessorLimits;
use rand::Rng;

use crate::error::Error;
use crate::progress::Progress;

/// Rings of more nodes are linked ideally instead of being formed join by join.
pub const MAX_FORMED: usize = 500;
/// Nodes of a ring, at most: what fits 16 GiB with room.
pub const MAX_NODES: usize = 1 << 21;
/// Rounds within which a ring must have settled.
const MAX_ROUNDS: usize = 256;

/// A node's name and its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What people call it; its id is the hash of it.
    pub name: String,
    /// Its place on the circle.
    pub id: Id,
}

/// Nodes with distinct ids, in order of creation. Node i is host i of every simulation made of them.
#[derive(Clone, Debug)]
pub struct Network {
    space: IdSpace,
    nodes: Vec<Node>,
}

impl Network {
    /// `count` nodes `prefix0`, `prefix1`, ...: a name whose id is taken is passed over, as in the coursework.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no nodes, too many, or more than there are ids.
    pub fn named(space: IdSpace, prefix: &str, count: usize) -> Result<Network, Error> {
        let mut network = Network { space, nodes: Vec::new() };
        if count == 0 {
            return Err(Error::invalid("expected at least one node"));
        }
        network.extend(prefix, count)?;
        Ok(network)
    }

    /// These nodes.
    ///
    /// # Errors
    /// [`Error::Invalid`] for none, or two at one place.
    pub fn of(space: IdSpace, nodes: Vec<Node>) -> Result<Network, Error> {
        if nodes.is_empty() {
            return Err(Error::invalid("expected at least one node"));
        }
        let mut seen = BTreeMap::new();
        for node in &nodes {
            if let Some(twin) = seen.insert(node.id, &node.name) {
                return Err(Error::invalid(format!("{twin} and {} have one id: use more bits", node.name)));
            }
        }
        Ok(Network { space, nodes })
    }

    /// Adds `count` nodes `prefix0`, `prefix1`, ..., passing over names whose ids are taken.
    ///
    /// # Errors
    /// [`Error::Invalid`] when that makes too many nodes, or more than there are ids.
    pub fn extend(&mut self, prefix: &str, count: usize) -> Result<(), Error> {
        let total = self.nodes.len().saturating_add(count);
        let bits = self.space.bits();
        if bits < 64 && total as u64 > 1 << bits {
            return Err(Error::invalid(format!(
                "{total} nodes are more than the {} ids of {bits} bits",
                1u64 << bits
            )));
        }
        if total > MAX_NODES {
            return Err(Error::invalid(format!("{total} nodes are too many: at most {MAX_NODES}")));
        }
        let mut taken: BTreeSet<Id> = self.nodes.iter().map(|node| node.id).collect();
        for i in 0u64.. {
            if self.nodes.len() == total {
                break;
            }
            let name = format!("{prefix}{i}");
            let id = self.space.id_of(name.as_bytes());
            if taken.insert(id) {
                self.nodes.push(Node { name, id });
            }
        }
        Ok(())
    }

    /// The circle.
    pub fn space(&self) -> IdSpace {
        self.space
    }

    /// The nodes in order of creation.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The numbers of the nodes in ring order, the smallest id first.
    pub fn ring_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_unstable_by_key(|number| self.nodes[*number].id);
        order
    }

    /// The number of the node called `name`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is none.
    pub fn number(&self, name: &str) -> Result<usize, Error> {
        self.nodes.iter().position(|node| node.name == name).ok_or_else(|| {
            let first = &self.nodes[0].name;
            Error::invalid(format!(
                "there is no node {name:?} among the {} from {first} on",
                self.nodes.len()
            ))
        })
    }

    /// The name of the node with `id`, or the id itself.
    pub fn name_of(&self, id: &Id) -> String {
        let found = self.nodes.iter().find(|node| node.id == *id);
        found.map_or_else(|| self.space.show(id), |node| node.name.clone())
    }

    /// The ring with every pointer ideal from the start.
    pub fn ideal(&self, limits: RoutingLimits) -> Simulation {
        let hosts: Vec<Vec<Id>> = self.nodes.iter().map(|node| vec![node.id]).collect();
        Simulation::ideal(self.space, limits, &hosts).expect("the ids are distinct")
    }

    /// The ring as the protocol forms it: the first node creates it, the others join one by one through random
    /// members, and all stabilize and fix fingers until every pointer is ideal. Returns the rounds that took. Beyond
    /// [`MAX_FORMED`] nodes the ring is [`Network::ideal`] in 0 rounds.
    ///
    /// # Errors
    /// [`Error::Failed`] if it does not settle.
    pub fn formed(&self, limits: RoutingLimits, rng: &mut impl Rng) -> Result<(Simulation, usize), Error> {
        if self.nodes.len() > MAX_FORMED {
            return Ok((self.ideal(limits), 0));
        }
        let mut simulation = Simulation::new(self.space, limits);
        simulation.create(&[self.nodes[0].id]);
        let mut progress = Progress::new("joins", self.nodes.len());
        for (number, node) in self.nodes.iter().enumerate().skip(1) {
            let known = rng.random_range(0..number);
            simulation
                .join(&[node.id], known)
                .map_err(|error| Error::Failed(format!("{} did not join: {error}", node.name)))?;
            progress.step();
        }
        let rounds = settle(&mut simulation, rng)?;
        Ok((simulation, rounds))
    }
}

/// Rounds of maintenance until every pointer of the ring is ideal; returns how many.
///
/// # Errors
/// [`Error::Failed`] if it does not settle.
pub fn settle(simulation: &mut Simulation, rng: &mut impl Rng) -> Result<usize, Error> {
    simulation
        .converge(MAX_ROUNDS, rng)
        .map_err(|violation| Error::Failed(format!("the ring did not settle: {violation}")))
}

/// `count` distinct random ids, in random order.
///
/// # Errors
/// [`Error::Invalid`] for none, too many, or more than half of the ids there are.
pub fn random_ids(space: IdSpace, count: usize, rng: &mut impl Rng) -> Result<Vec<Id>, Error> {
    let bits = space.bits();
    if count == 0 {
        return Err(Error::invalid("expected at least one node"));
    }
    if count > MAX_NODES {
        return Err(Error::invalid(format!("{count} nodes are too many: at most {MAX_NODES}")));
    }
    if bits < 64 && count as u64 > 1 << (bits - 1) {
        return Err(Error::invalid(format!("{count} nodes at random places want more than {bits} bits")));
    }
    let mut taken: BTreeSet<Id> = BTreeSet::new();
    let mut ids = Vec::with_capacity(count);
    while ids.len() < count {
        let id = random_id(space, rng);
        if taken.insert(id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// A random id.
pub fn random_id(space: IdSpace, rng: &mut impl Rng) -> Id {
    space.id_of(&rng.random::<[u8; 16]>())
}

/// No contact table, and successor lists that span `hosts` other hosts: what the papers have.
pub fn paper_limits(hosts: usize) -> RoutingLimits {
    let successors = SuccessorLimits { hosts, max: hosts.max(64) };
    RoutingLimits { successors, contacts: 0, max_hops: 1 << 22, names_whole_list: false }
}

/// The part of the circle in (after, upto].
pub fn share(space: &IdSpace, after: &Id, upto: &Id) -> f64 {
    if after == upto {
        return 1.0;
    }
    fraction(space, &space.distance(after, upto))
}

/// Where `id` lies: the part of the circle before it.
pub fn fraction(space: &IdSpace, id: &Id) -> f64 {
    let number = id.as_bytes().iter().fold(0.0, |number, byte| number * 256.0 + f64::from(*byte));
    number / f64::from(space.bits()).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chord::protocol::id::HashKind;

    #[test]
    fn names_whose_ids_are_taken_are_passed_over() {
        let space = IdSpace::new(8, HashKind::Md5).unwrap();
        let network = Network::named(space, "node_", 256).unwrap();
        let ids: BTreeSet<Id> = network.nodes().iter().map(|node| node.id).collect();
        assert_eq!(ids.len(), 256);
        assert_ne!(network.nodes()[255].name, "node_255");
        assert!(Network::named(space, "node_", 257).is_err());
        assert!(Network::named(space, "node_", 0).is_err());
    }
}
