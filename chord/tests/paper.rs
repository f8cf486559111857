//! One test for each claim of the papers that the protocol core covers.
//!
//! SIGCOMM/ToN: Stoica, Morris, Liben-Nowell, Karger, Kaashoek, Dabek, Balakrishnan, "Chord: a scalable peer-to-peer
//! lookup protocol for internet applications", IEEE/ACM Transactions on Networking 11(1), 2003; sections, figures and
//! tables are its own. Zave: "Reasoning about identifier spaces: how to make Chord correct", TSE 2017.
//!
//! Path lengths are the paper's: nodes on the way to the owner, the owner left out in figure 10 and included in
//! table II, as `docs/protocol.md` says.

use chord::protocol::id::{HashKind, Id, IdSpace};
use chord::protocol::lookup::{RoutingMode, Said};
use chord::protocol::peer::Peer;
use chord::protocol::ring::{Neighbours, Rectify, Ring, Step};
use chord::protocol::routing::RoutingLimits;
use chord::protocol::routing::rounds::Round;
use chord::protocol::simulate::Simulation;
use chord::protocol::successors::SuccessorLimits;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

/// Lists that span `hosts` other hosts, and no contact table: the papers have none.
fn limits(hosts: usize) -> RoutingLimits {
    RoutingLimits {
        successors: SuccessorLimits { hosts, max: 64 },
        contacts: 0,
        max_hops: 256,
        names_whole_list: false,
    }
}

fn random_id(rng: &mut StdRng) -> Id {
    Id::from_bytes(rng.random())
}

/// An ideal ring of `nodes` hosts with one virtual node each.
fn ideal(nodes: usize, limits: RoutingLimits, rng: &mut StdRng) -> Simulation {
    let hosts: Vec<Vec<Id>> = (0..nodes).map(|_| vec![random_id(rng)]).collect();
    Simulation::ideal(IdSpace::default(), limits, &hosts).expect("random ids are distinct")
}

fn mean(values: &[usize]) -> f64 {
    values.iter().sum::<usize>() as f64 / values.len() as f64
}

/// How many of `keys` each of `hosts` with `virtual_nodes` each owns, ascending.
fn loads(hosts: usize, virtual_nodes: usize, keys: usize) -> Vec<usize> {
    let space = IdSpace::default();
    let ids =
        |host| (0..virtual_nodes).map(move |i| (space.virtual_node_id(&format!("node_{host}"), i), host));
    let mut nodes: Vec<(Id, usize)> = (0..hosts).flat_map(ids).collect();
    nodes.sort_unstable();
    let mut loads = vec![0; hosts];
    for key in 0..keys {
        let id = space.id_of(format!("key-{key}").as_bytes());
        let at = nodes.partition_point(|(node, _)| *node < id) % nodes.len();
        loads[nodes[at].1] += 1;
    }
    loads.sort_unstable();
    loads
}

/// ToN section VI-B, figures 8 and 9: with one virtual node a host the 99th percentile of the load is 4.8 times the
/// mean, with 20 it is 1.6 times, because virtual nodes even the arcs out.
#[test]
fn virtual_nodes_even_out_the_load() {
    let percentile_99 = |virtual_nodes| {
        let loads = loads(2_000, virtual_nodes, 200_000);
        loads[loads.len() * 99 / 100] as f64 / mean(&loads)
    };
    let (one, twenty) = (percentile_99(1), percentile_99(20));
    println!("99th percentile of the load: {one:.2} x the mean, with 20 virtual nodes {twenty:.2} x");
    assert!((4.2..5.4).contains(&one), "{one} with one virtual node");
    assert!((1.5..1.75).contains(&twenty), "{twenty} with twenty");
}

/// ToN section IV-B, theorem 1: when a node joins a ring of N, only keys that it now owns move, about 1/N of them. A
/// table addressed modulo N moves nearly all. (The figures of the coursework: 9 of 10 and 1 of 10.)
#[test]
fn a_join_moves_the_keys_of_one_arc_and_modulo_moves_nearly_all() {
    let space = IdSpace::new(8, HashKind::Md5).expect("8 bits of MD5");
    let mut servers: Vec<Id> = Vec::new();
    let mut names = 0..;
    while servers.len() < 51 {
        let id = space.id_of(format!("server_{}", names.next().expect("endless")).as_bytes());
        if !servers.contains(&id) {
            servers.push(id);
        }
    }
    let owner = |servers: &[Id], id: &Id| {
        let mut sorted = servers.to_vec();
        sorted.sort_unstable();
        sorted[sorted.partition_point(|server| server < id) % sorted.len()]
    };
    let keys: Vec<String> = (0..10).map(|i| format!("cached_data_{i}")).collect();
    let moved = |key: &&String| {
        let id = space.id_of(key.as_bytes());
        owner(&servers[..50], &id) != owner(&servers, &id)
    };
    assert_eq!(keys.iter().filter(moved).collect::<Vec<_>>(), ["cached_data_3"]);
    let modulo = |key: &&String| {
        space.id_of(key.as_bytes()).low_u64() % 50 != space.id_of(key.as_bytes()).low_u64() % 51
    };
    assert_eq!(keys.iter().filter(modulo).count(), 9);
}

/// ToN section IV-C, figure 3: along successors alone a lookup is right and takes O(N) hops: N/2 on average.
#[test]
fn naive_lookups_walk_half_the_ring() {
    let mut rng = StdRng::seed_from_u64(31);
    let ring = ideal(128, limits(1), &mut rng);
    let snapshot = ring.snapshot().expect("distinct ids");
    let hops: Vec<usize> = (0..500)
        .map(|_| {
            let (from, id) = (rng.random_range(0..128), random_id(&mut rng));
            let found = ring.lookup(from, &id, RoutingMode::Naive, 256);
            assert_eq!(found.owner.as_ref().ok(), snapshot.ideal_owner(&id));
            found.path.len()
        })
        .collect();
    assert!((56.0..72.0).contains(&mean(&hops)), "{}", mean(&hops));
}

/// ToN section VI-C, figure 10: the mean path length along fingers is about 1/2 log2 N, for N = 2^7 .. 2^12; with
/// the successor list on top (here of four hosts) it is shorter.
#[test]
fn the_mean_path_is_half_the_logarithm_of_the_number_of_nodes() {
    for power in 7..=12 {
        let mut rng = StdRng::seed_from_u64(power);
        let nodes = 1 << power;
        let mut path = |hosts| {
            let ring = ideal(nodes, limits(hosts), &mut rng);
            let snapshot = ring.snapshot().expect("distinct ids");
            let lengths: Vec<usize> = (0..2_000)
                .map(|_| {
                    let (from, id) = (rng.random_range(0..nodes), random_id(&mut rng));
                    let found = ring.lookup(from, &id, RoutingMode::Fingers, 256);
                    assert_eq!(found.owner.as_ref().ok(), snapshot.ideal_owner(&id));
                    found.path.len().saturating_sub(1)
                })
                .collect();
            mean(&lengths)
        };
        let (fingers, with_list) = (path(1), path(4));
        let expected = power as f64 / 2.0;
        println!(
            "2^{power} nodes: path {fingers:.2}, {with_list:.2} with lists of four; half the logarithm is {expected}"
        );
        assert!((fingers - expected).abs() < 0.35, "2^{power} nodes: {fingers}, expected {expected}");
        assert!(
            with_list < fingers,
            "2^{power} nodes: {with_list} with the successor list, {fingers} without"
        );
    }
}

/// ToN section IV-D: of the m fingers only O(log N) are distinct, and that many are stored.
#[test]
fn a_finger_table_has_about_log2_n_distinct_fingers() {
    for power in [6u32, 8, 10, 12] {
        let mut rng = StdRng::seed_from_u64(power.into());
        let ring = ideal(1 << power, limits(1), &mut rng);
        let snapshot = ring.snapshot().expect("distinct ids");
        let counts: Vec<usize> =
            snapshot.nodes().iter().map(|node| node.fingers.as_ref().map_or(0, Vec::len)).collect();
        let count = mean(&counts);
        println!("2^{power} nodes: {count:.2} distinct fingers");
        assert!((count - f64::from(power)).abs() < 1.0, "2^{power} nodes: {count} distinct fingers");
        assert!(counts.iter().all(|count| *count <= 3 * power as usize));
    }
}

/// ToN section IV-E, theorem on joins: whatever joins are interleaved with stabilization, some time after the last
/// of them the successor pointers form one cycle of all nodes. Here every pointer becomes ideal.
#[test]
fn stabilization_makes_one_ring_of_any_sequence_of_joins() {
    for seed in 0..20 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut ring = Simulation::new(IdSpace::default(), limits(4));
        ring.create(&[random_id(&mut rng)]);
        while ring.live().len() < 60 {
            let known = *ring.live().choose(&mut rng).expect("the creator is there");
            if rng.random_bool(0.8) {
                ring.join(&[random_id(&mut rng)], known).expect("a place for a random id");
            } else {
                ring.run_round(known, Round::Stabilize);
            }
        }
        ring.converge(30, &mut rng).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
    }
}

/// ToN section IV-E, theorem on lookups after joins: when N nodes join a stable ring of N and the successors are
/// right but no finger has been fixed yet, lookups still take O(log N) hops.
#[test]
fn lookups_stay_short_while_the_fingers_are_of_a_ring_half_the_size() {
    let mut rng = StdRng::seed_from_u64(5);
    let mut ring = ideal(512, limits(1), &mut rng);
    for _ in 0..512 {
        let known = rng.random_range(0..512);
        ring.join(&[random_id(&mut rng)], known).expect("a place for a random id");
    }
    for _ in 0..8 {
        ring.round(Round::Stabilize, &mut rng);
    }
    let snapshot = ring.snapshot().expect("distinct ids");
    snapshot.ideal_successors(limits(1).successors).expect("successors are right");
    assert!(snapshot.ideal_fingers().is_err(), "fingers are not");
    let hops: Vec<usize> = (0..2_000)
        .map(|_| {
            let (from, id) = (rng.random_range(0..512), random_id(&mut rng));
            let found = ring.lookup(from, &id, RoutingMode::Fingers, 256);
            assert_eq!(found.owner.as_ref().ok(), snapshot.ideal_owner(&id));
            found.path.len()
        })
        .collect();
    assert!(mean(&hops) < 10.0 && hops.iter().all(|hops| *hops <= 30), "{}", mean(&hops));
}

/// ToN section VI-D, table II: 1000 nodes with successor lists of r = 20, of which a fraction fails at once; before
/// any stabilization, no lookup fails, and paths and timeouts stay near the published means.
#[test]
fn no_lookup_fails_after_half_of_the_nodes_have_failed_at_once() {
    // Fraction failed, mean path length and mean timeouts as published.
    let table = [
        (0.0, 3.84, 0.0),
        (0.1, 4.03, 0.6),
        (0.2, 4.22, 1.17),
        (0.3, 4.44, 2.02),
        (0.4, 4.69, 3.23),
        (0.5, 5.09, 5.10),
    ];
    for (fraction, published_path, published_timeouts) in table {
        let mut rng = StdRng::seed_from_u64(20);
        let mut ring = ideal(1_000, limits(20), &mut rng);
        let mut order: Vec<usize> = (0..1_000).collect();
        order.shuffle(&mut rng);
        let (failed, live) = order.split_at((fraction * 1_000.0) as usize);
        failed.iter().for_each(|host| ring.fail(*host));
        let snapshot = ring.snapshot().expect("distinct ids");
        let (mut path, mut timeouts) = (Vec::new(), Vec::new());
        for _ in 0..5_000 {
            let (from, id) = (*live.choose(&mut rng).expect("some live"), random_id(&mut rng));
            let found = ring.lookup(from, &id, RoutingMode::Fingers, 256);
            let calls = found.path.len();
            assert_eq!(
                found.owner.as_ref().ok(),
                snapshot.ideal_owner(&id),
                "{fraction} failed, {calls} calls"
            );
            let dead = found.path.iter().filter(|hop| hop.said == Said::Dead).count();
            timeouts.push(dead);
            path.push(found.path.len() - dead);
        }
        let (path, timeouts) = (mean(&path), mean(&timeouts));
        println!(
            "{fraction}: path {path:.2} (published {published_path}), timeouts {timeouts:.2} ({published_timeouts})"
        );
        assert!(
            (path - published_path).abs() < 0.5,
            "{fraction} failed: path {path}, published {published_path}"
        );
        assert!(
            timeouts <= published_timeouts + 0.5,
            "{fraction} failed: {timeouts}, published {published_timeouts}"
        );
    }
}

/// ToN section IV-E-3: with successor lists of O(log N) the ring heals after every node failed with probability 1/2.
#[test]
fn the_ring_heals_after_half_of_the_nodes_have_failed_at_once() {
    let mut rng = StdRng::seed_from_u64(9);
    let mut ring = ideal(500, limits(20), &mut rng);
    let mut order: Vec<usize> = (0..500).collect();
    order.shuffle(&mut rng);
    order[..250].iter().for_each(|host| ring.fail(*host));
    let rounds = ring.converge(30, &mut rng).expect("an ideal ring");
    assert!(rounds <= 25, "{rounds} rounds");
}

/// The ring of the coursework (10 nodes, 8 bits of MD5), node by node: its links, the finger table of node_3, and
/// the links after `node_added_0` joined.
#[test]
fn the_coursework_ring_forms_with_its_published_links() {
    let mut rng = StdRng::seed_from_u64(3);
    let space = IdSpace::new(8, HashKind::Md5).expect("8 bits of MD5");
    let mut ring = Simulation::new(space, limits(4));
    ring.create(&[space.virtual_node_id("node_0", 0)]);
    for i in 1..10 {
        ring.join(&[space.virtual_node_id(&format!("node_{i}"), 0)], rng.random_range(0..i))
            .expect("distinct ids");
    }
    ring.converge(12, &mut rng).expect("an ideal ring");
    let ids = |peers: &[Peer]| peers.iter().map(|peer| peer.id.low_u64()).collect::<Vec<_>>();
    let members = |ring: &Simulation| {
        let snapshot = ring.snapshot().expect("distinct ids");
        snapshot.nodes().iter().map(|node| node.me.id.low_u64()).collect::<Vec<_>>()
    };
    assert_eq!(members(&ring), [24, 32, 46, 109, 145, 150, 160, 163, 241, 244]);
    let node_3 = ring.host(3).and_then(|host| host.rings().next()).expect("node_3 is alive");
    let fingers: Vec<u64> =
        (0..8).map(|power| node_3.fingers().finger(power).expect("others follow").id.low_u64()).collect();
    assert_eq!(fingers, [32, 32, 32, 32, 46, 109, 109, 160]);

    let added = ring.join(&[space.virtual_node_id("node_added_0", 0)], 5).expect("a free id");
    ring.converge(12, &mut rng).expect("an ideal ring");
    let links = |host: usize| {
        let node = ring.host(host).and_then(|host| host.rings().next()).expect("alive");
        (node.predecessor().expect("not alone").id.low_u64(), ids(node.successors())[0])
    };
    assert_eq!(links(added), (163, 241));
    assert_eq!(links(1).1, 218, "node_1 is 163");
    assert_eq!(links(9).0, 218, "node_9 is 241");
}

/// Three neighbours and one that comes in between, taken from a simulated ring of four.
fn four_peers() -> Vec<Peer> {
    let space = IdSpace::new(8, HashKind::Md5).expect("8 bits of MD5");
    let hosts: Vec<Vec<Id>> = [10, 20, 30, 40].map(|id| vec![Id::from_u128(id)]).into();
    let ring = Simulation::ideal(space, limits(2), &hosts).expect("distinct ids");
    ring.snapshot().expect("distinct ids").nodes().iter().map(|node| node.me.clone()).collect()
}

/// Zave: the published `stabilize` makes its successor's predecessor the successor without asking whether it is
/// alive, and takes nothing from it: a node that joined, notified and failed at once cuts its neighbour off. Here
/// only a candidate that answers is adopted.
#[test]
fn a_dead_candidate_does_not_cut_its_neighbour_off() {
    let space = IdSpace::new(8, HashKind::Md5).expect("8 bits of MD5");
    let [me, newcomer, successor, third] = four_peers().try_into().expect("four");
    let list = [successor.clone(), third.clone()];
    let mut ring = Ring::with_pointers(space, me, limits(2).successors, Some(third.clone()), &list, &[]);
    let its = Neighbours { predecessor: Some(newcomer.clone()), successors: vec![third] };
    let published = match &its.predecessor {
        Some(candidate) if candidate.id.in_open(&ring.me().id, &successor.id) => candidate,
        _ => &successor,
    };
    assert_eq!(published, &newcomer, "what the published pseudocode would point to");

    assert_eq!(ring.stabilize_from_successor(&successor, &its), Step::AskCandidate(newcomer.clone()));
    assert_eq!(ring.stabilize_from_predecessor(&newcomer, None), Step::Notify(successor));
    assert_eq!(ring.successors(), list);
}

/// Zave: the published `join` leaves the newcomer with one successor and no list until it stabilizes, so that the
/// failure of that one successor cuts it off. Here Join takes the predecessor's whole list.
#[test]
fn a_newcomer_survives_the_failure_of_its_successor_before_it_ever_stabilized() {
    let space = IdSpace::new(8, HashKind::Md5).expect("8 bits of MD5");
    let [predecessor, me, successor, third] = four_peers().try_into().expect("four");
    let list = [successor.clone(), third.clone()];
    let mut ring = Ring::joined(space, me, limits(2).successors, predecessor, &list).expect("its place");
    ring.fail(successor.host.incarnation);
    assert_eq!(ring.stabilize(), Step::AskSuccessor(third));
}

/// Zave: the published `notify` keeps a dead predecessor for ever unless somebody closer comes. Rectify asks it.
#[test]
fn a_dead_predecessor_gives_way_to_a_live_one_that_is_farther() {
    let space = IdSpace::new(8, HashKind::Md5).expect("8 bits of MD5");
    let [farther, dead, me, successor] = four_peers().try_into().expect("four");
    let mut ring =
        Ring::with_pointers(space, me, limits(2).successors, Some(dead.clone()), &[successor], &[]);
    assert_eq!(ring.rectify(&farther), Rectify::AskOld(dead.clone()));
    assert_eq!(ring.rectify_with(&farther, &dead, false), Rectify::Adopted);
    assert_eq!(ring.predecessor(), Some(&farther));
}
