//! What a ring costs while nothing happens: the messages of maintenance, encoded by the engine.

use chord::Config;
use chord::protocol::routing::RoutingLimits;
use chord::protocol::routing::rounds::Round;
use chord::protocol::simulate::Simulation;
use rand::Rng;
use rand::seq::index;

use crate::traffic::Traffic;
use crate::warm::default_limits;

/// What one host sends for the ring's sake, and is answered, while nothing changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Upkeep {
    /// Calls a second.
    pub calls: f64,
    /// Bytes a second of its requests and of their responses. A host sends as many in all: what it asks others and
    /// what it answers them.
    pub bytes: f64,
}

/// The mean upkeep of up to `sample` random hosts of a settled ring, with the engine's rounds at the longest pauses of
/// `config`, which is where they are while nothing changes.
pub fn upkeep(simulation: &mut Simulation, config: &Config, sample: usize, rng: &mut impl Rng) -> Upkeep {
    let live = simulation.live();
    // Whoever was notified in a round need not ask after its predecessor in the next.
    live.iter().for_each(|number| simulation.run_round(*number, Round::Stabilize));
    let chosen = index::sample(rng, live.len(), sample.min(live.len()));
    let mut upkeep = Upkeep { calls: 0.0, bytes: 0.0 };
    let pauses =
        [(Round::Stabilize, config.stabilize.ceiling), (Round::FixFingers, config.fix_fingers.ceiling)];
    for (kind, pause) in pauses {
        let mut traffic = Traffic::default();
        for at in chosen.iter() {
            traffic.add(round(simulation, live[at], kind));
        }
        let seconds = pause.as_secs_f64() * chosen.len().max(1) as f64;
        upkeep.calls += traffic.calls as f64 / seconds;
        upkeep.bytes += traffic.bytes as f64 / seconds;
    }
    upkeep
}

/// The engine's bounds by default, without a contact table: maintenance asks nobody for its sake.
pub fn bare_limits() -> RoutingLimits {
    RoutingLimits { contacts: 0, ..default_limits() }
}

/// Runs one round of the host `number` to its end.
fn round(simulation: &mut Simulation, number: usize, kind: Round) -> Traffic {
    let mut traffic = Traffic::default();
    let Some(routing) = simulation.host_mut(number) else { return traffic };
    let me = routing.host().clone();
    let batches = routing.start_round(kind);
    simulation.finish_round(number, batches, |call| traffic.round(&me, call));
    traffic
}

#[cfg(test)]
mod tests {
    use super::*;
    use chord::protocol::id::{HashKind, Id, IdSpace};
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn a_settled_host_with_more_virtual_nodes_sends_more() {
        let space = IdSpace::new(32, HashKind::Sha1).unwrap();
        let with = |nodes: usize| {
            let hosts: Vec<Vec<Id>> = (0..50)
                .map(|host| (0..nodes).map(|i| space.virtual_node_id(&format!("h{host}"), i)).collect())
                .collect();
            let mut simulation = Simulation::ideal(space, bare_limits(), &hosts).unwrap();
            let changed = |simulation: &Simulation| -> u64 {
                (0..50).map(|host| simulation.host(host).unwrap().changed()).sum()
            };
            let before = changed(&simulation);
            let upkeep = upkeep(&mut simulation, &Config::default(), 50, &mut StdRng::seed_from_u64(1));
            assert_eq!(changed(&simulation), before, "the ring was settled");
            upkeep
        };
        let (one, four) = (with(1), with(4));
        // A question after the successor, a notification, and one for each of about six fingers.
        assert!((0.4 + 0.4..0.4 + 1.0).contains(&one.calls), "{one:?}");
        assert!(four.bytes > 2.0 * one.bytes && four.bytes < 6.0 * one.bytes, "{one:?} {four:?}");
    }
}
