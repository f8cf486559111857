use std::sync::Arc;

use super::*;
use crate::protocol::id::HashKind;
use crate::protocol::peer::{Host, HostName, Incarnation};

const LIMITS: SuccessorLimits = SuccessorLimits { hosts: 2, max: 8 };

fn space() -> IdSpace {
    IdSpace::new(8, HashKind::Md5).unwrap()
}

fn peer(id: u128) -> Peer {
    let host = Host {
        name: HostName::new(&format!("host-{id}")).unwrap(),
        endpoint: format!("mem://host-{id}@host-{id}:1").parse().unwrap(),
        incarnation: Incarnation(id + 1_000),
    };
    Peer::new(Id::from_u128(id), Arc::new(host))
}

fn node(me: u128, predecessor: Option<u128>, successors: &[u128]) -> NodeSnapshot {
    NodeSnapshot {
        me: peer(me),
        predecessor: predecessor.map(peer),
        successors: successors.iter().map(|id| peer(*id)).collect(),
        fingers: None,
    }
}

fn snapshot(nodes: &[(u128, &[u128])]) -> Snapshot {
    let nodes = nodes.iter().map(|(me, list)| node(*me, None, list)).collect();
    Snapshot::new(space(), nodes).unwrap()
}

/// The ideal ring of these members.
fn ideal(members: &[u128]) -> Snapshot {
    let bare = members.iter().map(|me| node(*me, None, &[])).collect();
    let bare = Snapshot::new(space(), bare).unwrap();
    let nodes = (0..members.len()).map(|index| bare.ideal_node(index, LIMITS)).collect();
    Snapshot::new(space(), nodes).unwrap()
}

fn broken(result: Result<(), Violation>) -> (&'static str, String) {
    let violation = result.expect_err("it should be broken");
    (violation.property, violation.detail)
}

#[test]
fn the_ideal_ring_has_every_property_at_every_size() {
    for size in 0..20u128 {
        let members: Vec<u128> = (0..size).map(|i| i * 251 % 256).collect();
        let ring = ideal(&members);
        ring.safety().unwrap();
        ring.operating_assumption(LIMITS.hosts).unwrap();
        ring.ideal(LIMITS).unwrap();
    }
}

#[test]
fn two_members_of_one_id_are_no_ring() {
    let nodes = vec![node(10, None, &[]), node(10, None, &[])];
    assert_eq!(broken(Snapshot::new(space(), nodes).map(|_| ())).0, "distinct_members");
}

#[test]
fn a_list_out_of_order_is_found_and_named() {
    let ring = snapshot(&[(10, &[30, 20]), (20, &[30]), (30, &[10])]);
    let (property, detail) = broken(ring.ordered_successor_lists());
    assert_eq!(property, "ordered_successor_lists");
    assert_eq!(detail, "0xa@host-10 has the list [0x1e@host-30, 0x14@host-20]");
    assert_eq!(broken(ring.safety()).0, "ordered_successor_lists");
}

#[test]
fn an_entry_that_comes_twice_and_the_owner_itself_are_duplicates() {
    for list in [[20, 20], [20, 10]] {
        let ring = snapshot(&[(10, &list), (20, &[10])]);
        assert_eq!(broken(ring.no_duplicates()).0, "no_duplicates", "{list:?}");
    }
}

#[test]
fn a_member_whose_successors_are_all_dead_is_found() {
    let ring = snapshot(&[(10, &[40, 50]), (20, &[10])]);
    let (property, detail) = broken(ring.live_successors());
    assert_eq!(property, "live_successors");
    assert!(detail.contains("0x28@host-40 (dead)"), "{detail}");
    assert!(ring.operating_assumption(2).is_err());
    snapshot(&[(10, &[]), (20, &[10])]).safety().expect("a lone node before its first notification");
    let lost = snapshot(&[(10, &[]), (20, &[30]), (30, &[20])]);
    assert_eq!(broken(lost.safety()).0, "at_most_one_ring", "a node that lost every successor");
}

#[test]
fn a_dead_namesake_of_a_member_is_not_the_member() {
    let mut former = node(10, None, &[20]);
    let mut host = (*former.successors[0].host).clone();
    host.incarnation = Incarnation(9);
    former.successors[0].host = Arc::new(host);
    let ring = Snapshot::new(space(), vec![former, node(20, None, &[10])]).unwrap();
    assert!(ring.live_successors().is_err());
}

#[test]
fn members_that_lead_nowhere_make_no_ring() {
    let ring = snapshot(&[(10, &[40]), (20, &[10])]);
    assert_eq!(broken(ring.at_least_one_ring()).0, "at_least_one_ring");
}

#[test]
fn two_rings_are_told_from_one() {
    let ring = snapshot(&[(10, &[30]), (20, &[40]), (30, &[10]), (40, &[20])]);
    let (property, detail) = broken(ring.at_most_one_ring());
    assert_eq!(
        (property, detail.as_str()),
        ("at_most_one_ring", "0xa@host-10 and 0x14@host-20 are on different rings")
    );
    ring.at_least_one_ring().unwrap();
}

#[test]
fn a_ring_that_goes_round_twice_is_not_ordered() {
    let ring = snapshot(&[(10, &[30]), (20, &[40]), (30, &[20]), (40, &[10])]);
    ring.at_most_one_ring().unwrap();
    let (property, detail) = broken(ring.ordered_ring());
    assert_eq!(property, "ordered_ring");
    assert_eq!(detail, "0xa@host-10 has best successor 0x1e@host-30, which skips 0x14@host-20");
}

#[test]
fn appendages_are_no_harm_unless_they_are_cut_off() {
    let joined = snapshot(&[(10, &[30]), (20, &[30]), (30, &[10])]);
    joined.safety().unwrap();
    let cut_off = snapshot(&[(10, &[30]), (20, &[25]), (25, &[99]), (30, &[10])]);
    assert_eq!(broken(cut_off.connected_appendages()).0, "connected_appendages");
}

#[test]
fn skipped_members_are_no_principals() {
    let ring = snapshot(&[(10, &[20, 40]), (20, &[30, 40]), (30, &[40, 10]), (40, &[10, 20])]);
    assert_eq!(ring.principals(), 3, "10's list skips 30");
    ring.sufficient_principals(2).unwrap();
    assert_eq!(broken(ring.sufficient_principals(3)).0, "sufficient_principals");
    ring.sufficient_principals(4).unwrap();
    assert!(ring.operating_assumption(3).is_err());
}

#[test]
fn what_is_not_ideal_is_named_with_what_it_should_be() {
    let members = [10, 20, 30, 200];
    let with = |change: fn(&mut NodeSnapshot)| {
        let mut nodes = ideal(&members).nodes().to_vec();
        change(&mut nodes[0]);
        Snapshot::new(space(), nodes).unwrap()
    };
    let (property, detail) = broken(with(|node| node.successors.truncate(1)).ideal(LIMITS));
    assert_eq!(property, "ideal_successors");
    assert!(detail.ends_with("not [0x14@host-20, 0x1e@host-30]"), "{detail}");
    let (property, detail) = broken(with(|node| node.predecessor = None).ideal(LIMITS));
    assert_eq!(
        (property, detail.as_str()),
        ("ideal_predecessors", "0xa@host-10 has None, not Some(0xc8@host-200)")
    );
    let (property, detail) = broken(with(|node| node.fingers = Some(Vec::new())).ideal(LIMITS));
    assert_eq!(property, "ideal_fingers");
    assert!(detail.ends_with("not [0x14@host-20, 0x1e@host-30, 0xc8@host-200]"), "{detail}");
    with(|node| node.fingers = None).ideal(LIMITS).unwrap();
}

#[test]
fn the_ideal_owner_is_the_first_at_or_after_and_wraps_at_zero() {
    let ring = ideal(&[10, 20, 200]);
    let owner = |id| ring.ideal_owner(&Id::from_u128(id)).unwrap().id.to_u128().unwrap();
    assert_eq!([0, 10, 11, 200, 201, 255].map(owner), [10, 10, 20, 200, 10, 10]);
    assert!(ideal(&[]).ideal_owner(&Id::ZERO).is_none());
}
