use std::sync::Arc;

use super::*;
use crate::protocol::id::HashKind;
use crate::protocol::peer::{Host, HostName};

const LIMITS: SuccessorLimits = SuccessorLimits { hosts: 3, max: 8 };

fn space() -> IdSpace {
    IdSpace::new(8, HashKind::Md5).unwrap()
}

fn id(value: u128) -> Id {
    Id::from_u128(value)
}

/// A node on a host of its own.
fn node(value: u128) -> Peer {
    on(value, value + 1_000)
}

fn on(value: u128, incarnation: u128) -> Peer {
    let host = Host {
        name: HostName::new(&format!("host-{incarnation}")).unwrap(),
        endpoint: format!("mem://host-{incarnation}@host-{incarnation}:1").parse().unwrap(),
        incarnation: Incarnation(incarnation),
    };
    Peer::new(id(value), Arc::new(host))
}

fn nodes(values: &[u128]) -> Vec<Peer> {
    values.iter().map(|value| node(*value)).collect()
}

fn says(predecessor: Option<u128>, successors: &[u128]) -> Neighbours {
    Neighbours { predecessor: predecessor.map(node), successors: nodes(successors) }
}

fn ring(me: u128, predecessor: Option<u128>, successors: &[u128]) -> Ring {
    Ring::with_pointers(space(), node(me), LIMITS, predecessor.map(node), &nodes(successors), &[])
}

fn list(ring: &Ring) -> Vec<u128> {
    ring.successors().iter().map(|peer| peer.id.to_u128().unwrap()).collect()
}

#[test]
fn a_lone_node_is_its_own_successor_and_owns_everything() {
    let lone = Ring::alone(space(), node(7), LIMITS);
    assert!(lone.is_alone() && lone.successor() == &node(7) && lone.predecessor().is_none());
    assert!((0..256).all(|value| lone.owns(&id(value))));
    assert!(lone.interval().unwrap().is_whole());
    assert_eq!(lone.stabilize(), Step::Rest);
    let Route::Owner { predecessor, owners } = lone.find_successor(&id(3), RoutingMode::Fingers) else {
        panic!("a lone node knows the owner")
    };
    assert_eq!((predecessor, owners), (Some(node(7)), vec![node(7)]));
}

#[test]
fn ownership_on_every_pair_of_a_four_bit_circle_is_what_walking_it_gives() {
    let space = IdSpace::new(4, HashKind::Md5).unwrap();
    for me in 0..16u128 {
        for predecessor in (0..16).filter(|predecessor| *predecessor != me) {
            let peers = [node(predecessor)];
            let ring = Ring::with_pointers(space, node(me), LIMITS, Some(node(predecessor)), &peers, &[]);
            for key in 0..16u128 {
                let owned = (key + 15 - predecessor) % 16 < (me + 16 - predecessor) % 16;
                assert_eq!(ring.owns(&id(key)), owned, "{key} in ({predecessor}, {me}]");
            }
        }
    }
}

#[test]
fn a_node_without_predecessor_owns_its_own_id_only() {
    let ring = ring(10, None, &[20]);
    assert!(ring.owns(&id(10)) && !ring.owns(&id(9)) && ring.interval().is_none());
}

#[test]
fn join_takes_the_place_between_the_predecessor_and_the_head_of_its_list() {
    let joined = Ring::joined(space(), node(15), LIMITS, node(10), &nodes(&[20, 30, 40])).unwrap();
    assert_eq!(list(&joined), [20, 30, 40]);
    assert_eq!(joined.predecessor(), Some(&node(10)));
    assert_eq!(joined.fingers().peers(), nodes(&[20]));

    let at_zero = Ring::joined(space(), node(2), LIMITS, node(250), &nodes(&[5, 250])).unwrap();
    assert_eq!(list(&at_zero), [5, 250]);
    let with_lone = Ring::joined(space(), node(2), LIMITS, node(250), &[]).unwrap();
    assert_eq!(list(&with_lone), [250]);
}

#[test]
fn join_is_refused_outside_that_place_and_a_nearer_predecessor_is_named() {
    let moved_on = nodes(&[12, 14, 20]);
    assert!(Ring::joined(space(), node(15), LIMITS, node(10), &moved_on).is_none());
    assert_eq!(Ring::nearer_predecessor(&id(15), &node(10), &moved_on), Some(node(14)));
    assert_eq!(Ring::nearer_predecessor(&id(11), &node(10), &moved_on), None);
    for taken in [10, 20] {
        assert!(Ring::joined(space(), node(taken), LIMITS, node(10), &nodes(&[20])).is_none(), "{taken}");
    }
    assert!(Ring::joined(space(), node(10), LIMITS, node(10), &[]).is_none());
}

#[test]
fn two_lone_steps_make_a_ring_of_two() {
    let mut first = Ring::alone(space(), node(10), LIMITS);
    let mut second = Ring::joined(space(), node(200), LIMITS, node(10), first.successors()).unwrap();
    assert_eq!(second.stabilize(), Step::AskSuccessor(node(10)));
    assert_eq!(second.stabilize_from_successor(&node(10), &first.neighbours()), Step::Notify(node(10)));
    assert_eq!(first.rectify(&node(200)), Rectify::Adopted);
    assert!(first.owns(&id(5)) && !first.owns(&id(100)));
    assert!(matches!(
        first.find_successor(&id(100), RoutingMode::Fingers),
        Route::Owner { owners, .. } if owners == [node(200)]
    ));

    assert_eq!(first.stabilize(), Step::AskCandidate(node(200)));
    let step = first.stabilize_from_predecessor(&node(200), Some(&second.neighbours()));
    assert_eq!(step, Step::Notify(node(200)));
    assert_eq!(second.rectify(&node(10)), Rectify::Kept);
    assert_eq!((list(&first), list(&second)), (vec![200], vec![10]));
}

/// Otherwise its list would name only the dead, a joiner would take that list over, and both would end alone: two
/// rings, found by the exploration of three nodes.
#[test]
fn a_lone_node_does_not_follow_a_notifier_that_died_meanwhile() {
    let mut lone = Ring::alone(space(), node(10), LIMITS);
    assert_eq!(lone.rectify(&node(200)), Rectify::Adopted);
    assert!(lone.successors().is_empty());
    let joiner = Ring::joined(space(), node(100), LIMITS, node(10), lone.successors()).unwrap();
    assert_eq!(list(&joiner), [10]);

    assert_eq!(lone.stabilize(), Step::AskCandidate(node(200)));
    lone.fail(node(200).host.incarnation);
    assert_eq!(lone.stabilize_from_predecessor(&node(200), None), Step::Rest);
    assert!(lone.is_alone());
}

#[test]
fn stabilize_takes_over_the_successors_list_and_looks_at_its_predecessor() {
    let mut me = ring(10, Some(5), &[20, 30, 40]);
    let step = me.stabilize_from_successor(&node(20), &says(Some(15), &[25, 30, 40, 50]));
    assert_eq!(step, Step::AskCandidate(node(15)));
    assert_eq!(list(&me), [20, 25, 30]);
    let step = me.stabilize_from_predecessor(&node(15), Some(&says(Some(10), &[20, 25, 30])));
    assert_eq!(step, Step::Notify(node(15)));
    assert_eq!(list(&me), [15, 20, 25]);
    assert_eq!(me.fingers().finger(0), Some(&node(15)), "the first finger is the successor");
}

/// Three nodes, each with the one before it for its successor: what is left when a ring that has just grown to four
/// loses the right one. Their predecessors agree with it, so asking only those would leave it so.
#[test]
fn a_ring_that_closed_after_two_turns_is_put_in_order() {
    let mut nodes = [ring(10, Some(20), &[30]), ring(20, Some(30), &[10]), ring(30, Some(10), &[20])];
    assert_eq!(
        nodes[0].clone().stabilize_from_successor(&node(30), &nodes[2].neighbours()),
        Step::AskCandidate(node(20)),
        "30's list has come round past 10"
    );
    for _ in 0..3 {
        for i in 0..nodes.len() {
            let mut step = nodes[i].stabilize();
            loop {
                let of = |peer: &Peer| nodes.iter().position(|ring| ring.me() == peer).unwrap();
                let notified = match &step {
                    Step::AskSuccessor(peer) => {
                        let reply = nodes[of(peer)].neighbours();
                        step = nodes[i].stabilize_from_successor(peer, &reply);
                        continue;
                    }
                    Step::AskCandidate(peer) => {
                        let reply = nodes[of(peer)].neighbours();
                        step = nodes[i].stabilize_from_predecessor(peer, Some(&reply));
                        continue;
                    }
                    Step::Notify(peer) => of(peer),
                    Step::Rest => panic!("nobody is alone"),
                };
                let from = nodes[i].me().clone();
                let _ = nodes[notified].rectify(&from);
                break;
            }
        }
    }
    assert_eq!(nodes.each_ref().map(list), [vec![20, 30], vec![30, 10], vec![10, 20]]);
    assert_eq!(nodes.each_ref().map(|ring| ring.predecessor().cloned().unwrap()), [30, 10, 20].map(node));
}

#[test]
fn a_candidate_that_is_dead_changes_nothing() {
    let mut me = ring(10, Some(5), &[20, 30]);
    let before = me.clone();
    assert_eq!(me.stabilize_from_predecessor(&node(15), None), Step::Notify(node(20)));
    assert_eq!(me, before);
}

#[test]
fn predecessors_are_followed_back_until_one_is_not_in_between() {
    let mut me = ring(10, Some(5), &[40]);
    assert_eq!(me.stabilize_from_successor(&node(40), &says(Some(30), &[50])), Step::AskCandidate(node(30)));
    let step = me.stabilize_from_predecessor(&node(30), Some(&says(Some(20), &[40])));
    assert_eq!(step, Step::AskCandidate(node(20)));
    let step = me.stabilize_from_predecessor(&node(20), Some(&says(Some(10), &[40])));
    assert_eq!((step, list(&me)), (Step::Notify(node(20)), vec![20, 40]));
}

#[test]
fn a_late_reply_changes_nothing() {
    let mut me = ring(10, Some(5), &[20, 30]);
    let before = me.clone();
    assert_eq!(me.stabilize_from_successor(&node(30), &says(Some(25), &[40])), Step::Rest);
    let step = me.stabilize_from_predecessor(&node(25), Some(&says(None, &[30])));
    assert_eq!((me, step), (before, Step::Notify(node(20))));
}

#[test]
fn rectify_adopts_whoever_is_closer_and_asks_about_the_old_one_otherwise() {
    let mut me = ring(10, None, &[20]);
    assert_eq!(me.rectify(&node(250)), Rectify::Adopted);
    assert_eq!(me.rectify(&node(250)), Rectify::Kept);
    assert_eq!(me.rectify(&node(3)), Rectify::Adopted);
    assert_eq!(me.rectify(&node(240)), Rectify::AskOld(node(3)));
    assert_eq!(me.rectify_with(&node(240), &node(3), true), Rectify::Kept);
    assert_eq!(me.predecessor(), Some(&node(3)));
    assert_eq!(me.rectify_with(&node(240), &node(3), false), Rectify::Adopted);
    assert_eq!(me.predecessor(), Some(&node(240)));
    assert_eq!(me.rectify(&on(10, 77)), Rectify::Kept, "nobody precedes itself");
}

#[test]
fn rectify_that_ends_late_does_not_displace_a_closer_predecessor() {
    let mut me = ring(10, Some(3), &[20]);
    assert_eq!(me.rectify(&node(240)), Rectify::AskOld(node(3)));
    assert_eq!(me.rectify(&node(7)), Rectify::Adopted);
    assert_eq!(me.rectify_with(&node(240), &node(3), false), Rectify::Kept);
    assert_eq!(me.predecessor(), Some(&node(7)));
}

#[test]
fn a_restarted_predecessor_takes_over_once_its_former_life_is_known_to_be_over() {
    let mut me = Ring::with_pointers(space(), node(10), LIMITS, Some(on(3, 1)), &nodes(&[20]), &[]);
    assert_eq!(me.rectify(&on(3, 2)), Rectify::AskOld(on(3, 1)));
    assert_eq!(me.rectify_with(&on(3, 2), &on(3, 1), false), Rectify::Adopted);
    assert_eq!(me.predecessor(), Some(&on(3, 2)));
}

#[test]
fn a_failed_host_disappears_with_all_its_virtual_nodes() {
    let peers = [on(20, 1), on(30, 2), on(40, 1), on(50, 3)];
    let mut me = Ring::with_pointers(space(), on(10, 9), LIMITS, Some(on(5, 1)), &peers, &peers);
    me.fail(Incarnation(1));
    assert_eq!(me.successors(), [on(30, 2), on(50, 3)]);
    assert_eq!(me.predecessor(), None);
    assert_eq!(me.fingers().finger(0), Some(&on(30, 2)));
    assert!(me.fingers().peers().iter().all(|peer| peer.host.incarnation != Incarnation(1)));
    assert_eq!(me.stabilize(), Step::AskSuccessor(on(30, 2)));
}

#[test]
fn one_virtual_node_can_go_while_its_host_lives() {
    let peers = [on(20, 1), on(30, 1)];
    let mut me = Ring::with_pointers(space(), on(10, 9), LIMITS, Some(on(20, 1)), &peers, &[]);
    me.gone(&on(20, 1));
    assert_eq!((me.successors(), me.predecessor()), (&peers[1..], None));
}

#[test]
fn leavers_are_spliced_out_at_once() {
    let mut before = ring(10, Some(5), &[20, 30, 40]);
    before.left(&node(20), &says(Some(10), &[30, 40, 50]));
    assert_eq!(list(&before), [30, 40, 50]);

    let mut after = ring(30, Some(20), &[40, 50]);
    after.left(&node(20), &says(Some(10), &[30, 40, 50]));
    assert_eq!(after.predecessor(), Some(&node(10)));

    let mut farther = ring(5, Some(1), &[10, 20, 30]);
    farther.left(&node(20), &says(Some(10), &[30, 40, 50]));
    assert_eq!(list(&farther), [10, 30]);
}

#[test]
fn the_last_but_one_to_leave_leaves_a_lone_node() {
    let mut last = ring(10, Some(200), &[200]);
    last.left(&node(200), &says(Some(10), &[10]));
    assert!(last.is_alone());
}

#[test]
fn a_leaver_that_lies_about_its_neighbours_cannot_bend_the_order() {
    let mut me = ring(30, Some(20), &[40, 50]);
    me.left(&node(20), &says(Some(25), &[]));
    assert_eq!(me.predecessor(), None, "25 is not before 20");
    me.left(&node(40), &says(None, &[30, 45]));
    assert_eq!(list(&me), [50], "a list that begins with me is none");
}

#[test]
fn a_node_that_lost_every_successor_starts_again_from_a_finger() {
    let mut me = Ring::with_pointers(space(), node(10), LIMITS, None, &nodes(&[20]), &nodes(&[20, 100]));
    me.fail(node(20).host.incarnation);
    assert!(!me.is_alone());
    assert_eq!(me.stabilize(), Step::AskCandidate(node(100)));
    let step = me.stabilize_from_predecessor(&node(100), Some(&says(Some(60), &[200])));
    assert_eq!((step, list(&me)), (Step::AskCandidate(node(60)), vec![100, 200]));
}

#[test]
fn find_successor_looks_at_itself_then_its_list_then_its_fingers() {
    let fingers = nodes(&[20, 40, 80, 150]);
    let me = Ring::with_pointers(space(), node(10), LIMITS, Some(node(5)), &nodes(&[20, 30, 40]), &fingers);
    let owner = |key: u128, mode| match me.find_successor(&id(key), mode) {
        Route::Owner { predecessor, owners } => (predecessor.unwrap(), owners[0].clone()),
        Route::Closer(peers) => panic!("{key}: {peers:?}"),
    };
    assert_eq!(owner(8, RoutingMode::Fingers), (node(5), node(10)));
    assert_eq!(owner(10, RoutingMode::Naive), (node(5), node(10)));
    assert_eq!(owner(11, RoutingMode::Fingers), (node(10), node(20)));
    assert_eq!(owner(20, RoutingMode::Naive), (node(10), node(20)));
    assert_eq!(owner(31, RoutingMode::Fingers), (node(30), node(40)));
    let closer = |key: u128, mode| me.find_successor(&id(key), mode);
    assert_eq!(closer(21, RoutingMode::Naive), Route::Closer(vec![node(20)]));
    assert_eq!(closer(41, RoutingMode::Fingers), Route::Closer(vec![node(40)]));
    assert_eq!(closer(150, RoutingMode::Fingers), Route::Closer(vec![node(80)]));
    assert_eq!(closer(3, RoutingMode::Fingers), Route::Closer(vec![node(150)]));
}

#[test]
fn an_owner_that_few_alternates_follow_is_left_to_its_predecessor() {
    let limits = SuccessorLimits { hosts: 8, max: 8 };
    let peers = nodes(&[20, 30, 40, 50]);
    let me = Ring::with_pointers(space(), node(10), limits, Some(node(5)), &peers, &[]);
    let Route::Owner { owners, .. } = me.find_successor(&id(31), RoutingMode::Fingers) else { panic!("40") };
    assert_eq!(owners, nodes(&[40, 50]));
    assert_eq!(me.find_successor(&id(41), RoutingMode::Fingers), Route::Closer(vec![node(40)]));
}

#[test]
fn the_closest_preceding_node_is_the_closest_of_list_and_fingers_for_every_id() {
    for me in [0u128, 10, 128, 255] {
        let shifted = |values: &[u128]| nodes(&values.iter().map(|v| (v + me) % 256).collect::<Vec<_>>());
        let successors = shifted(&[3, 9, 12]);
        let fingers = shifted(&[3, 9, 70, 140]);
        let ring = Ring::with_pointers(space(), node(me), LIMITS, None, &successors, &fingers);
        let known: Vec<Peer> = successors.iter().chain(ring.fingers().peers()).cloned().collect();
        for key in 0..256 {
            let expected = known
                .iter()
                .filter(|peer| peer.id.in_open(&id(me), &id(key)))
                .min_by_key(|peer| space().distance(&peer.id, &id(key)));
            assert_eq!(ring.closest_preceding_node(&id(key)), expected, "{key} from {me}");
        }
    }
}

#[test]
fn pointers_that_cannot_be_are_cut_away() {
    let ring = Ring::with_pointers(
        space(),
        node(10),
        LIMITS,
        Some(node(5)),
        &nodes(&[20, 15, 30]),
        &nodes(&[20, 20, 10, 90]),
    );
    assert_eq!(list(&ring), [20]);
    assert_eq!(ring.fingers().peers(), nodes(&[20, 90]));
    assert_eq!(ring.neighbours(), says(Some(5), &[20]));
}
