use proptest::prelude::*;

use super::*;
use crate::protocol::id::HashKind;
use crate::protocol::peer::{HostName, Incarnation};
use crate::protocol::routing::rounds::{Batches, Failed, Round};

const LIMITS: RoutingLimits = RoutingLimits {
    successors: SuccessorLimits { hosts: 3, max: 16 },
    contacts: 64,
    max_hops: 16,
    names_whole_list: false,
};

fn space() -> IdSpace {
    IdSpace::new(8, HashKind::Md5).unwrap()
}

fn id(value: u128) -> Id {
    Id::from_u128(value)
}

fn host(number: u128) -> Arc<Host> {
    Arc::new(Host {
        name: HostName::new(&format!("host-{number}")).unwrap(),
        endpoint: format!("mem://host-{number}@host-{number}:1").parse().unwrap(),
        incarnation: Incarnation(number),
    })
}

fn on(value: u128, number: u128) -> Peer {
    Peer::new(id(value), host(number))
}

/// Host 1 with these virtual nodes, each with its predecessor and successors.
fn routing(nodes: &[(u128, Option<Peer>, &[Peer])]) -> Routing {
    let mut routing = Routing::new(space(), host(1), LIMITS);
    for (me, predecessor, successors) in nodes {
        let me = on(*me, 1);
        let predecessor = predecessor.clone();
        routing.add(Ring::with_pointers(space(), me, LIMITS.successors, predecessor, successors, &[]));
    }
    routing
}

/// Virtual nodes 10 and 100 of host 1, between 250@2, 50@2 and 150@3.
fn two_nodes() -> Routing {
    let (a, b) = ([on(50, 2), on(100, 1), on(150, 3)], [on(150, 3), on(250, 2), on(10, 1)]);
    routing(&[(10, Some(on(250, 2)), &a), (100, Some(on(50, 2)), &b)])
}

fn asked(batches: &Batches) -> Vec<(u128, Vec<Ask>)> {
    batches.iter().map(|(host, asks)| (host.incarnation.0, asks.clone())).collect()
}

fn neighbours(predecessor: Option<Peer>, successors: &[Peer]) -> Answer {
    Answer::Neighbours(Neighbours { predecessor, successors: successors.to_vec() })
}

#[test]
fn a_new_ring_of_one_host_links_its_virtual_nodes_ideally() {
    let ids = [id(200), id(10), id(100), id(10)];
    let mut routing = Routing::create(space(), host(1), LIMITS, &ids);
    let owned: Vec<(u128, u128)> = routing
        .owned()
        .iter()
        .map(|(interval, _)| (interval.after.to_u128().unwrap(), interval.upto.to_u128().unwrap()))
        .collect();
    assert_eq!(owned, [(200, 10), (10, 100), (100, 200)]);
    assert!(routing.start_round(Round::Stabilize).is_empty());
    assert!(routing.start_round(Round::FixFingers).is_empty());
    assert!(routing.is_settled());
    assert_eq!(routing.believed_owner(&id(150)), Some(on(200, 1)));

    let alone = Routing::create(space(), host(1), LIMITS, &[id(7)]);
    assert!(alone.owned()[0].0.is_whole());
    assert!(Routing::create(space(), host(1), LIMITS, &[]).rings().len() == 0);
}

#[test]
fn the_virtual_nodes_of_a_host_answer_as_one() {
    let routing = two_nodes();
    let owner = |key| match routing.route(&id(key), RoutingMode::Fingers) {
        Route::Owner { predecessor, owners } => (predecessor.unwrap(), owners[0].clone()),
        Route::Closer(peers) => panic!("{key}: {peers:?}"),
    };
    assert_eq!(owner(5), (on(250, 2), on(10, 1)));
    assert_eq!(owner(40), (on(10, 1), on(50, 2)));
    assert_eq!(owner(51), (on(50, 2), on(100, 1)));
    assert_eq!(owner(120), (on(100, 1), on(150, 3)));
    assert_eq!(owner(151), (on(150, 3), on(250, 2)));
    assert_eq!(
        routing.believed_owner(&id(200)),
        Some(on(250, 2)),
        "beyond the successor the contact table has a guess"
    );
}

#[test]
fn next_hops_are_the_closest_on_distinct_hosts() {
    let successors = [on(20, 2), on(30, 3), on(40, 2)];
    let mut routing = routing(&[(10, Some(on(5, 9)), &successors)]);
    let route = routing.route(&id(90), RoutingMode::Fingers);
    assert_eq!(route, Route::Closer(vec![on(40, 2), on(30, 3)]));
    assert_eq!(routing.route(&id(90), RoutingMode::Naive), Route::Closer(successors.to_vec()));
    routing.learn(&[on(80, 7), on(85, 7), on(95, 8)]);
    let route = routing.route(&id(90), RoutingMode::Contacts);
    assert_eq!(route, Route::Closer(vec![on(85, 7), on(40, 2), on(30, 3)]));
}

#[test]
fn a_host_without_virtual_nodes_knows_nothing_and_says_so() {
    let mut routing = Routing::new(space(), host(1), LIMITS);
    assert_eq!(routing.route(&id(1), RoutingMode::Contacts), Route::Closer(Vec::new()));
    assert_eq!(routing.answer(&Ask::Neighbours { of: id(1) }), Answer::NoSuchNode);
    assert_eq!(routing.answer(&Ask::Notify { to: id(1), from: on(2, 2) }), Answer::NoSuchNode);
    assert_eq!(routing.answer(&Ask::Ping), Answer::Pong);
    assert!(routing.start_round(Round::Stabilize).is_empty() && routing.owned().is_empty());
}

#[test]
fn a_round_is_one_message_a_host_and_step() {
    let mut routing = two_nodes();
    let first = routing.start_round(Round::Stabilize);
    let (to_50, to_150) = (Ask::Neighbours { of: id(50) }, Ask::Neighbours { of: id(150) });
    let to_250 = Ask::Neighbours { of: id(250) };
    let one_batch = vec![to_250.clone(), to_50.clone()];
    assert_eq!(asked(&first), [(2, one_batch.clone()), (3, vec![to_150.clone()])]);

    let answers = [neighbours(None, &[]), neighbours(Some(on(10, 1)), &[on(100, 1), on(150, 3), on(250, 2)])];
    let second = routing.apply(&host(2), &one_batch, Ok(&answers));
    assert_eq!(asked(&second), [(2, vec![Ask::Notify { to: id(50), from: on(10, 1) }])]);
    let closer = neighbours(Some(on(120, 4)), &[on(250, 2), on(10, 1)]);
    let third = routing.apply(&host(3), &[to_150], Ok(&[closer]));
    assert_eq!(asked(&third), [(4, vec![Ask::Neighbours { of: id(120) }])]);
    let candidate = neighbours(Some(on(100, 1)), &[on(150, 3), on(250, 2)]);
    let before = routing.changed();
    let fourth = routing.apply(&host(4), &[Ask::Neighbours { of: id(120) }], Ok(&[candidate]));
    assert_eq!(asked(&fourth), [(4, vec![Ask::Notify { to: id(120), from: on(100, 1) }])]);
    assert_eq!(routing.ring(&id(100)).unwrap().successor(), &on(120, 4));
    assert!(routing.changed() > before);
}

#[test]
fn a_failed_host_is_dropped_everywhere_and_the_next_is_asked_at_once() {
    let mut routing = two_nodes();
    let batches = routing.start_round(Round::Stabilize);
    let (to, asks) = &batches[0];
    let next = routing.apply(to, asks, Err(Failed));
    assert_eq!(asked(&next), [], "10's next successor, 100, is of the same host: asked and notified at once");
    assert_eq!(routing.ring(&id(10)).unwrap().successor(), &on(100, 1));
    assert_eq!(routing.ring(&id(100)).unwrap().predecessor(), Some(&on(10, 1)));
    assert!(routing.rings().all(|ring| ring.successors().iter().all(|peer| *peer.host != *host(2))));
    assert_eq!(routing.ring(&id(10)).unwrap().predecessor(), None);
    assert!(routing.is_lost(Incarnation(2)));
    assert_ne!(routing.believed_owner(&id(250)), Some(on(250, 2)));
    routing.learn(&[on(250, 2)]);
    assert_ne!(routing.believed_owner(&id(250)), Some(on(250, 2)), "hearsay does not bring it back");
    routing.alive(&host(2));
    routing.learn(&[on(250, 2)]);
    assert_eq!(routing.believed_owner(&id(250)), Some(on(250, 2)));
}

#[test]
fn a_farther_notifier_waits_for_the_old_predecessor_to_be_asked() {
    let mut routing = two_nodes();
    let notify = Ask::Notify { to: id(10), from: on(240, 5) };
    assert_eq!(routing.answer(&notify), Answer::Notified);
    assert_eq!(routing.ring(&id(10)).unwrap().predecessor(), Some(&on(250, 2)));
    assert!(!routing.is_settled());

    let batches = routing.start_round(Round::Stabilize);
    let (to, asks) =
        batches.iter().find(|(_, asks)| asks.contains(&Ask::Neighbours { of: id(250) })).unwrap();
    let _ = routing.apply(to, asks, Err(Failed));
    assert_eq!(routing.ring(&id(10)).unwrap().predecessor(), Some(&on(240, 5)), "the old one is dead");
}

#[test]
fn a_live_old_predecessor_stays() {
    let mut routing = two_nodes();
    routing.answer(&Ask::Notify { to: id(10), from: on(250, 2) });
    routing.answer(&Ask::Notify { to: id(10), from: on(240, 5) });
    let batches = routing.start_round(Round::Stabilize);
    let ask = Ask::Neighbours { of: id(250) };
    assert!(batches.iter().any(|(_, asks)| asks.contains(&ask)), "a doubt is looked into");
    let _ = routing.apply(&host(2), &[ask], Ok(&[neighbours(None, &[])]));
    let _ = routing.apply(&host(2), &[], Err(Failed));
    assert_eq!(routing.ring(&id(10)).unwrap().predecessor(), None, "the doubt is over: 240 was told nothing");
}

#[test]
fn a_predecessor_that_notifies_is_not_asked() {
    let mut routing = two_nodes();
    routing.answer(&Ask::Notify { to: id(10), from: on(250, 2) });
    routing.answer(&Ask::Notify { to: id(100), from: on(50, 2) });
    let asked_250 =
        |batches: Batches| batches.iter().any(|(_, asks)| asks.contains(&Ask::Neighbours { of: id(250) }));
    assert!(!asked_250(routing.start_round(Round::Stabilize)));
    assert!(asked_250(routing.start_round(Round::Stabilize)), "silence makes for a question");
}

#[test]
fn peers_that_cannot_be_are_ignored() {
    let mut routing = two_nodes();
    let before: Vec<Ring> = routing.rings().cloned().collect();
    for from in [on(300, 5), on(100, 5), on(60, 1), on(10, 1)] {
        assert_eq!(routing.answer(&Ask::Notify { to: id(10), from }), Answer::Notified);
    }
    let said = Neighbours { predecessor: Some(on(400, 7)), successors: vec![on(30, 1), on(999, 3)] };
    routing.left(&on(60, 1), &said);
    assert!(routing.rings().eq(&before));
    assert_eq!(routing.rivals().collect::<Vec<_>>(), [&on(100, 5)], "but a rival for an own id is noted");
    routing.fail(Incarnation(5));
    assert_eq!(routing.rivals().count(), 0);
    routing.fail(Incarnation(1));
    assert!(routing.rings().eq(&before), "no host takes itself for dead");
}

#[test]
fn missing_and_unfitting_answers_change_nothing() {
    let mut routing = two_nodes();
    let batches = routing.start_round(Round::Stabilize);
    let before: Vec<Ring> = routing.rings().cloned().collect();
    let unfitting = [Answer::Notified, Answer::Pong, Answer::Pong];
    for (to, asks) in &batches {
        assert!(routing.apply(to, asks, Ok(&[])).is_empty());
        assert!(routing.apply(to, asks, Ok(&unfitting)).is_empty());
    }
    assert!(routing.apply(&host(9), &[Ask::Ping], Ok(&[Answer::Pong])).is_empty());
    assert!(routing.rings().eq(&before));
}

#[test]
fn a_node_that_its_host_denies_is_dropped_by_its_successor_too() {
    let mut routing = two_nodes();
    let deny = |routing: &mut Routing, batches: Batches| {
        let mut batches = batches;
        while let Some((to, asks)) = batches.pop() {
            let denied = [Answer::NoSuchNode, Answer::NoSuchNode, Answer::NoSuchNode];
            batches.extend(if *to == *host(2) { routing.apply(&to, &asks, Ok(&denied)) } else { Vec::new() });
        }
    };
    for _ in 0..2 {
        let batches = routing.start_round(Round::Stabilize);
        deny(&mut routing, batches);
    }
    assert_eq!(routing.ring(&id(10)).unwrap().successor(), &on(100, 1));
    assert_eq!(routing.ring(&id(100)).unwrap().predecessor(), Some(&on(10, 1)));
    assert!(!routing.is_lost(Incarnation(2)));
}

#[test]
fn a_right_finger_is_verified_with_one_question() {
    let successors = [on(20, 2), on(30, 3), on(40, 4)];
    let mut routing = Routing::new(space(), host(1), LIMITS);
    let fingers = [on(20, 2), on(80, 5), on(150, 6)];
    let ring =
        Ring::with_pointers(space(), on(10, 1), LIMITS.successors, Some(on(5, 9)), &successors, &fingers);
    routing.add(ring);
    let batches = routing.start_round(Round::FixFingers);
    let (ask_42, ask_138) =
        (Ask::Owns { node: id(80), id: id(42) }, Ask::Owns { node: id(150), id: id(138) });
    assert_eq!(asked(&batches), [(5, vec![ask_42.clone()]), (6, vec![ask_138.clone()])]);
    let own =
        |predecessor, me| Answer::Route(Route::Owner { predecessor: Some(predecessor), owners: vec![me] });
    assert!(routing.apply(&host(5), &[ask_42], Ok(&[Answer::Owns])).is_empty());
    let corrected = own(on(100, 8), on(140, 8));
    assert!(routing.apply(&host(6), &[ask_138], Ok(&[corrected])).is_empty());
    let powers: Vec<&Peer> = routing.ring(&id(10)).unwrap().fingers().peers().iter().collect();
    assert_eq!(powers, [&on(20, 2), &on(30, 3), &on(80, 5), &on(140, 8)]);
}

#[test]
fn a_host_says_in_a_word_that_it_owns_an_id_and_otherwise_who_may() {
    let mut routing = two_nodes();
    let asks = |node, of| Ask::Owns { node: id(node), id: id(of) };
    assert_eq!(routing.answer(&asks(10, 5)), Answer::Owns);
    let route = |of| Answer::Route(routing.route(&id(of), RoutingMode::Fingers));
    let (beyond, of_the_other) = (route(20), route(5));
    assert_eq!(routing.answer(&asks(10, 20)), beyond);
    assert_eq!(routing.answer(&asks(100, 5)), of_the_other, "of another virtual node");
    assert_eq!(routing.answer(&asks(7, 5)), of_the_other, "of none that is here");
}

#[test]
fn a_leaver_tells_its_remote_neighbours_without_its_own_virtual_nodes() {
    let farewell = two_nodes().farewell();
    let told: Vec<(u128, usize)> =
        farewell.iter().map(|(host, nodes)| (host.incarnation.0, nodes.len())).collect();
    assert_eq!(told, [(2, 2), (3, 1)]);
    let (leaver, its) = &farewell[0].1[0];
    assert_eq!((leaver, &its.predecessor), (&on(10, 1), &Some(on(250, 2))));
    assert_eq!(its.successors, [on(50, 2), on(150, 3)]);
    let lone = Routing::create(space(), host(1), LIMITS, &[id(1), id(2)]);
    assert!(lone.farewell().is_empty());
}

#[test]
fn a_virtual_node_that_is_removed_is_spliced_out_by_its_siblings() {
    let mut routing = Routing::create(space(), host(1), LIMITS, &[id(10), id(100), id(200)]);
    assert_eq!(routing.remove(&id(100)).unwrap().me(), &on(100, 1));
    assert!(routing.remove(&id(100)).is_none());
    let node = |id: u128| routing.ring(&Id::from_u128(id)).unwrap();
    assert_eq!((node(10).successor(), node(200).predecessor()), (&on(200, 1), Some(&on(10, 1))));
    assert_eq!(routing.believed_owner(&id(60)), Some(on(200, 1)));
    routing.remove(&id(10));
    assert!(routing.ring(&id(200)).unwrap().is_alone());
}

#[test]
fn a_host_found_restarted_is_forgotten_in_its_former_life() {
    let mut routing = two_nodes();
    routing.fail(Incarnation(3));
    routing.alive(&host(33));
    assert!(routing.is_lost(Incarnation(3)) && !routing.is_lost(Incarnation(33)));
    assert!(routing.rings().all(|ring| ring.successors().iter().all(|peer| *peer.host != *host(3))));
}

fn any_peer() -> impl Strategy<Value = Peer> {
    (0u128..300, 1u128..6).prop_map(|(value, number)| on(value, number))
}

fn any_mode() -> impl Strategy<Value = RoutingMode> {
    prop_oneof![Just(RoutingMode::Naive), Just(RoutingMode::Fingers), Just(RoutingMode::Contacts)]
}

fn any_ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        (0u128..300).prop_map(|of| Ask::Neighbours { of: id(of) }),
        (0u128..300, any_peer()).prop_map(|(to, from)| Ask::Notify { to: id(to), from }),
        (0u128..300, any_mode()).prop_map(|(of, mode)| Ask::FindSuccessor { id: id(of), mode }),
        Just(Ask::Ping),
        (0u128..300, 0u128..300).prop_map(|(node, of)| Ask::Owns { node: id(node), id: id(of) }),
    ]
}

fn any_answer() -> impl Strategy<Value = Answer> {
    let peers = || proptest::collection::vec(any_peer(), 0..8);
    prop_oneof![
        (proptest::option::of(any_peer()), peers())
            .prop_map(|(predecessor, successors)| neighbours(predecessor, &successors)),
        Just(Answer::NoSuchNode),
        Just(Answer::Notified),
        (proptest::option::of(any_peer()), peers())
            .prop_map(|(predecessor, owners)| Answer::Route(Route::Owner { predecessor, owners })),
        peers().prop_map(|peers| Answer::Route(Route::Closer(peers))),
        Just(Answer::Pong),
        Just(Answer::Owns),
    ]
}

proptest! {
    /// Whatever peers ask and answer, in whatever order: no panic, every round ends, and the pointers keep their
    /// order and bounds.
    #[test]
    fn lies_do_no_more_than_mislead(
        asks in proptest::collection::vec(any_ask(), 0..20),
        answers in proptest::collection::vec(any_answer(), 1..40),
        fingers in any::<bool>(),
    ) {
        let mut routing = two_nodes();
        let mut lies = answers.iter().cycle().cloned();
        for ask in &asks {
            routing.answer(ask);
            let kind = if fingers { Round::FixFingers } else { Round::Stabilize };
            let mut batches = routing.start_round(kind);
            let mut exchanges = 0;
            while let Some((to, asks)) = batches.pop() {
                exchanges += 1;
                prop_assert!(exchanges < 2_000, "a round that does not end");
                let said: Vec<Answer> = asks.iter().filter_map(|_| lies.next()).collect();
                let answers = if exchanges % 7 == 6 { Err(Failed) } else { Ok(said.as_slice()) };
                let more = routing.apply(&to, &asks, answers);
                for (i, (host, _)) in more.iter().enumerate() {
                    prop_assert!(more[..i].iter().all(|(other, _)| other.incarnation != host.incarnation));
                    prop_assert!(host.incarnation != Incarnation(1), "no message to itself");
                }
                batches.extend(more);
            }
            for ring in routing.rings() {
                let mut last = ring.me().id;
                for peer in ring.successors() {
                    prop_assert!(peer.id.in_open(&last, &ring.me().id) && space().contains(&peer.id));
                    last = peer.id;
                }
                prop_assert!(ring.successors().len() <= LIMITS.successors.max);
                prop_assert!(ring.predecessor() != Some(ring.me()));
            }
        }
    }
}
