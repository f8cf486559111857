//! Hosts that know each other: rings with warm contact tables.

use std::time::Duration;

use chord::Config;
use chord::protocol::id::{Id, IdSpace};
use chord::protocol::peer::Peer;
use chord::protocol::routing::{Routing, RoutingLimits};
use chord::protocol::simulate::Simulation;
use chord::protocol::successors::SuccessorLimits;

use crate::error::Error;
use crate::progress::Progress;

/// The engine's bounds by default.
pub fn default_limits() -> RoutingLimits {
    let config = Config::default();
    RoutingLimits {
        successors: SuccessorLimits { hosts: config.successor_hosts, max: config.max_successors },
        contacts: config.contacts,
        max_hops: config.max_hops,
        ..RoutingLimits::default()
    }
}

/// Virtual nodes of a host by default.
pub fn default_virtual_nodes() -> usize {
    match Config::default().virtual_nodes {
        chord::VirtualNodes::Count(count) => count,
        chord::VirtualNodes::Explicit(nodes) => nodes.len(),
    }
}

/// How long an operation is tried by default.
pub fn default_deadline() -> Duration {
    Config::default().operation_deadline
}

/// The ids of `hosts` hosts with `virtual_nodes` each, named by `name`.
pub fn host_ids(space: IdSpace, name: &str, virtual_nodes: usize) -> Vec<Id> {
    (0..virtual_nodes).map(|i| space.virtual_node_id(name, i)).collect()
}

/// An ideal ring of the hosts with these ids, in which every host has heard of every virtual node.
///
/// # Errors
/// [`Error::Invalid`] when two virtual nodes have one id.
pub fn warm(space: IdSpace, limits: RoutingLimits, hosts: &[Vec<Id>]) -> Result<Simulation, Error> {
    let mut simulation = Simulation::ideal(space, limits, hosts)
        .map_err(|violation| Error::invalid(format!("{violation}: choose more bits")))?;
    let mut all: Vec<Peer> = Vec::new();
    for number in 0..hosts.len() {
        let rings = simulation.host(number).into_iter().flat_map(Routing::rings);
        all.extend(rings.map(|ring| ring.me().clone()));
    }
    let mut progress = Progress::new("hosts hear of each other", hosts.len());
    for number in 0..hosts.len() {
        if let Some(routing) = simulation.host_mut(number) {
            routing.learn(&all);
        }
        progress.step();
    }
    Ok(simulation)
}
