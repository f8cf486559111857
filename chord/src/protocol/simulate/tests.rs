use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;
use crate::protocol::id::HashKind;

fn limits(contacts: usize) -> RoutingLimits {
    RoutingLimits { contacts, ..RoutingLimits::default() }
}

fn ids_of(space: IdSpace, name: &str, virtual_nodes: usize) -> Vec<Id> {
    (0..virtual_nodes).map(|i| space.virtual_node_id(name, i)).collect()
}

/// A ring that grew host by host, a round of stabilization after each.
fn grown(hosts: usize, virtual_nodes: usize, contacts: usize, rng: &mut StdRng) -> Simulation {
    let space = IdSpace::default();
    let mut simulation = Simulation::new(space, limits(contacts));
    simulation.create(&ids_of(space, "host-0", virtual_nodes));
    for i in 1..hosts {
        let known = *simulation.live().choose(rng).unwrap();
        simulation.join(&ids_of(space, &format!("host-{i}"), virtual_nodes), known).unwrap();
        simulation.round(Round::Stabilize, rng);
    }
    simulation
}

#[test]
fn a_thousand_hosts_converge_from_a_random_join_order() {
    let mut rng = StdRng::seed_from_u64(7);
    let space = IdSpace::default();
    let mut simulation = Simulation::new(space, limits(0));
    let mut members = vec![simulation.create(&ids_of(space, "host-0", 1))];
    while members.len() < 1_000 {
        for _ in 0..members.len().div_ceil(2).min(1_000 - members.len()) {
            let known = *members.choose(&mut rng).unwrap();
            let name = format!("host-{}", members.len());
            members.push(simulation.join(&ids_of(space, &name, 1), known).unwrap());
        }
        simulation.round(Round::Stabilize, &mut rng);
        simulation.round(Round::FixFingers, &mut rng);
        simulation.snapshot().unwrap().safety().unwrap();
    }
    let rounds = simulation.converge(20, &mut rng).unwrap();
    assert!(rounds <= 10, "{rounds} rounds");
}

#[test]
fn rings_of_one_to_nine_hosts_become_ideal_with_one_and_with_several_virtual_nodes() {
    for hosts in 1..=9 {
        for virtual_nodes in [1, 2, 5] {
            let mut rng = StdRng::seed_from_u64(hosts as u64);
            let mut simulation = grown(hosts, virtual_nodes, 100, &mut rng);
            // A list is as long as the whole ring here, and its end moves back one node a round.
            simulation.converge(hosts * virtual_nodes + 2, &mut rng).unwrap_or_else(|violation| {
                panic!("{hosts} hosts with {virtual_nodes} virtual nodes: {violation}")
            });
            assert_eq!(simulation.snapshot().unwrap().nodes().len(), hosts * virtual_nodes);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut simulation = grown(30, 2, 50, &mut rng);
        simulation.fail(3);
        simulation.round(Round::Stabilize, &mut rng);
        (simulation.messages(), simulation.snapshot().unwrap())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}

#[test]
fn a_settled_ring_says_so_and_an_event_unsettles_it() {
    let mut rng = StdRng::seed_from_u64(3);
    let mut simulation = grown(8, 3, 100, &mut rng);
    simulation.converge(20, &mut rng).unwrap();
    for _ in 0..2 {
        simulation.round(Round::Stabilize, &mut rng);
        simulation.round(Round::FixFingers, &mut rng);
    }
    let settled = |simulation: &Simulation, host: usize| simulation.host(host).unwrap().is_settled();
    assert!((0..8).all(|host| settled(&simulation, host)));

    simulation.fail(5);
    simulation.round(Round::Stabilize, &mut rng);
    assert!(simulation.live().iter().any(|host| !settled(&simulation, *host)));
    simulation.converge(20, &mut rng).unwrap();
}

#[test]
fn a_settled_host_sends_each_neighbour_two_calls_a_round_and_none_for_its_own_virtual_nodes() {
    let mut rng = StdRng::seed_from_u64(4);
    let mut one = grown(1, 8, 0, &mut rng);
    one.round(Round::Stabilize, &mut rng);
    one.round(Round::FixFingers, &mut rng);
    assert_eq!(one.messages(), 0, "a lone host has nobody to talk to");

    let mut two = grown(2, 8, 0, &mut rng);
    two.converge(20, &mut rng).unwrap();
    two.round(Round::Stabilize, &mut rng);
    let before = two.messages();
    two.round(Round::Stabilize, &mut rng);
    assert_eq!(two.messages() - before, 4, "each asks once and notifies once, for all its virtual nodes");
    let before = two.messages();
    two.round(Round::FixFingers, &mut rng);
    assert!(two.messages() - before <= 4, "fingers of all virtual nodes are verified in one batch a host");
}

#[test]
fn a_taken_id_is_refused_by_the_name_of_its_holder() {
    let space = IdSpace::new(8, HashKind::Md5).unwrap();
    let mut simulation = Simulation::new(space, limits(10));
    let ids = |values: &[u128]| values.iter().map(|value| Id::from_u128(*value)).collect::<Vec<_>>();
    simulation.create(&ids(&[5, 80]));
    simulation.join(&ids(&[100]), 0).unwrap();
    let Err(JoinError::Taken(holder)) = simulation.join(&ids(&[100]), 0) else { panic!("let in") };
    assert_eq!(holder.host.name.as_str(), "host-1");
    assert!(matches!(simulation.join(&ids(&[80]), 1), Err(JoinError::Taken(_))));
}

#[test]
fn two_that_join_with_one_id_at_the_same_moment_meet_as_rivals() {
    let space = IdSpace::new(8, HashKind::Md5).unwrap();
    let mut rng = StdRng::seed_from_u64(2);
    let mut simulation = Simulation::new(space, limits(10));
    simulation.create(&[Id::from_u128(10), Id::from_u128(200)]);
    for number in 1..=2 {
        let host = simulation.new_host();
        simulation.hosts.push(Some(Routing::new(space, host, limits(10))));
        simulation.join_node(number, Id::from_u128(100), 0).unwrap();
    }
    for _ in 0..3 {
        simulation.round(Round::Stabilize, &mut rng);
    }
    let rivals = |host: usize| simulation.host(host).unwrap().rivals().count();
    assert!(rivals(1) + rivals(2) > 0, "neither has heard of the other");
    assert_eq!(rivals(0), 0);
    let followed = simulation.host(0).unwrap().ring(&Id::from_u128(10)).unwrap().successor().clone();
    assert_eq!(
        followed.id,
        Id::from_u128(100),
        "one of them is in the ring, the other is nobody's successor"
    );
}

#[test]
fn a_leave_closes_the_gap_without_any_round() {
    let mut rng = StdRng::seed_from_u64(11);
    for virtual_nodes in [1, 4] {
        let mut simulation = grown(12, virtual_nodes, 100, &mut rng);
        simulation.converge(20, &mut rng).unwrap();
        simulation.leave(4);
        let snapshot = simulation.snapshot().unwrap();
        snapshot.ideal_predecessors().unwrap();
        for (index, node) in snapshot.nodes().iter().enumerate() {
            let ideal = snapshot.ideal_node(index, limits(0).successors);
            assert_eq!(node.successors.first(), ideal.successors.first(), "of {}", node.me);
        }
        simulation.converge(20, &mut rng).unwrap();
    }
    let mut simulation = grown(2, 3, 100, &mut rng);
    simulation.converge(20, &mut rng).unwrap();
    simulation.leave(0);
    simulation.converge(2, &mut rng).unwrap();
    assert!(simulation.host(1).unwrap().owned().len() == 3);
}

#[test]
fn once_warm_the_contact_table_names_the_owner_of_any_key() {
    let mut rng = StdRng::seed_from_u64(21);
    let mut simulation = grown(100, 1, 1_000, &mut rng);
    simulation.converge(30, &mut rng).unwrap();
    let space = IdSpace::default();
    for i in 0..2_000 {
        let id = space.id_of(format!("warm-{i}").as_bytes());
        let found = simulation.lookup(0, &id, RoutingMode::Contacts, 64);
        let owner = found.owner.unwrap();
        let peers: Vec<Peer> = found.path.iter().map(|hop| hop.peer.clone()).chain([owner]).collect();
        simulation.host_mut(0).unwrap().learn(&peers);
    }
    let snapshot = simulation.snapshot().unwrap();
    let asker = simulation.host(0).unwrap();
    let right = (0..1_000)
        .map(|i| space.id_of(format!("key-{i}").as_bytes()))
        .filter(|id| asker.believed_owner(id).as_ref() == snapshot.ideal_owner(id))
        .count();
    assert!(right >= 990, "{right} of 1000 right");
}

/// Joins, leaves and crashes in random order between random rounds, within Zave's assumption, and the safety
/// properties after each of them; then quiet, and the ideal ring.
#[test]
fn safety_holds_after_every_step_and_the_ideal_ring_follows_when_events_stop() {
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        let bits = *[6, 8, 160].choose(&mut rng).unwrap();
        let space = IdSpace::new(bits, HashKind::Sha1).unwrap();
        let successors =
            crate::protocol::successors::SuccessorLimits { hosts: rng.random_range(2..=4), max: 64 };
        let limits = RoutingLimits { successors, contacts: 32, ..RoutingLimits::default() };
        let virtual_nodes = rng.random_range(1..=3);
        let mut simulation = Simulation::new(space, limits);
        simulation.create(&ids_of(space, "host-0", virtual_nodes));
        let check = |simulation: &Simulation, step: &str| {
            let safe = simulation.snapshot().and_then(|snapshot| snapshot.safety());
            safe.unwrap_or_else(|violation| panic!("seed {seed}, {step}: {violation}"));
        };
        for step in 0..60 {
            let live = simulation.live();
            let host = *live.choose(&mut rng).unwrap();
            let event = rng.random_range(0..10);
            let ids = ids_of(space, &format!("host-{seed}-{step}"), virtual_nodes);
            let snapshot = simulation.snapshot().unwrap();
            let free = ids.iter().all(|id| snapshot.nodes().iter().all(|node| node.me.id != *id));
            let name = match event {
                0..=2 if live.len() < 12 && free => {
                    let joined = simulation.join(&ids, host);
                    format!("step {step}: join through {host}: {joined:?}")
                }
                3 | 4 if live.len() > 4 => {
                    let mut without = simulation.clone();
                    if event == 3 {
                        without.fail(host)
                    } else {
                        without.leave(host)
                    }
                    if without.snapshot().unwrap().operating_assumption(successors.hosts).is_ok() {
                        simulation = without;
                    }
                    format!("step {step}: end of {host} (3 fails, 4 leaves: {event})")
                }
                5 => {
                    simulation.run_round(host, Round::FixFingers);
                    format!("step {step}: fix fingers of {host}")
                }
                _ => {
                    simulation.run_round(host, Round::Stabilize);
                    format!("step {step}: stabilize of {host}")
                }
            };
            check(&simulation, &name);
        }
        simulation
            .converge(60, &mut rng)
            .unwrap_or_else(|violation| panic!("seed {seed} does not become ideal: {violation}"));
    }
}

/// A batch on its way to its host, and then its answers on their way back.
struct Flight {
    from: usize,
    to: Arc<Host>,
    asks: Vec<Ask>,
    answers: Option<Result<Vec<Answer>, Failed>>,
}

impl Flight {
    /// Whether a list made of these answers would name a live node, wherever they name one at all.
    fn outlives(&self, simulation: &Simulation) -> bool {
        let alive = |peer: &Peer| simulation.host(index_of(&peer.host)).is_some();
        let Some(Ok(answers)) = &self.answers else { return true };
        simulation.host(index_of(&self.to)).is_some()
            || answers.iter().all(|answer| match answer {
                Answer::Neighbours(its) => its.successors.iter().any(alive),
                _ => true,
            })
    }
}

fn fly(flights: &mut Vec<Flight>, from: usize, batches: Batches) {
    flights.extend(batches.into_iter().map(|(to, asks)| Flight { from, to, asks, answers: None }));
}

/// As above, but now every question and every answer is a message of its own that may be overtaken by anything:
/// rounds of many hosts overlap, and replies come long after what they tell has changed.
#[test]
fn safety_holds_while_messages_overtake_each_other() {
    let space = IdSpace::new(160, HashKind::Sha1).unwrap();
    let hosts = 4;
    let limits = RoutingLimits { contacts: 16, ..RoutingLimits::default() };
    let mut ended = [0; 2];
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut simulation = Simulation::new(space, limits);
        simulation.create(&ids_of(space, &format!("host-{seed}"), 1));
        let mut flights = Vec::new();
        for step in 0..400 {
            let live = simulation.live();
            let host = *live.choose(&mut rng).unwrap();
            match rng.random_range(0..40) {
                0..=2 if live.len() < 14 => {
                    let _ = simulation.join(&ids_of(space, &format!("host-{seed}-{step}"), 1), host);
                }
                event @ 3..=4 if live.len() > 5 => {
                    let mut without = simulation.clone();
                    if event == 3 {
                        without.fail(host)
                    } else {
                        without.leave(host)
                    }
                    let granted = without.snapshot().unwrap().operating_assumption(hosts);
                    if granted.is_ok() && flights.iter().all(|flight: &Flight| flight.outlives(&without)) {
                        simulation = without;
                        ended[event - 3] += 1;
                    }
                }
                5..=12 => {
                    let kind = if rng.random_bool(0.8) { Round::Stabilize } else { Round::FixFingers };
                    let batches = simulation.host_mut(host).unwrap().start_round(kind);
                    fly(&mut flights, host, batches);
                }
                _ if !flights.is_empty() => {
                    let mut flight = flights.swap_remove(rng.random_range(0..flights.len()));
                    match flight.answers.take() {
                        None => {
                            flight.answers = Some(simulation.call(&flight.to, &flight.asks));
                            flights.push(flight);
                        }
                        Some(answers) => {
                            if let Some(asker) = simulation.host_mut(flight.from) {
                                let answers = answers.as_deref().map_err(|failed| *failed);
                                let more = asker.apply(&flight.to, &flight.asks, answers);
                                fly(&mut flights, flight.from, more);
                            }
                        }
                    }
                }
                _ => {}
            }
            let safe = simulation.snapshot().and_then(|snapshot| snapshot.safety());
            safe.unwrap_or_else(|violation| panic!("seed {seed}, step {step}: {violation}"));
        }
        simulation
            .converge(40, &mut rng)
            .unwrap_or_else(|violation| panic!("seed {seed} does not become ideal: {violation}"));
    }
    assert!(ended.iter().all(|count| *count > 50), "too few ends to mean anything: {ended:?}");
}

#[test]
fn fingers_fixed_one_at_a_time_become_ideal_within_a_few_turns_around() {
    let mut rng = StdRng::seed_from_u64(6);
    let mut simulation = grown(64, 1, 0, &mut rng);
    for _ in 0..8 {
        simulation.round(Round::Stabilize, &mut rng);
    }
    assert!(simulation.snapshot().unwrap().ideal_fingers().is_err(), "nothing to fix");
    let mut asked = 0;
    for turn in 0..40 {
        for host in simulation.live() {
            let batches = simulation.host_mut(host).unwrap().start_fixing_one(turn);
            assert!(
                batches.iter().map(|(_, asks)| asks.len()).sum::<usize>() <= 1,
                "one finger, one question"
            );
            simulation.finish_round(host, batches, |_| asked += 1);
        }
    }
    simulation.snapshot().unwrap().ideal_fingers().unwrap();
    assert!(asked > 0);
}
