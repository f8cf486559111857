use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::protocol::id::HashKind;
use crate::protocol::peer::{Host, HostName};

fn peer(id: u128) -> Peer {
    let host = Host {
        name: HostName::new(&format!("host-{id}")).unwrap(),
        endpoint: format!("mem://host-{id}@host-{id}:1").parse().unwrap(),
        incarnation: Incarnation(id + 1_000),
    };
    Peer::new(Id::from_u128(id), Arc::new(host))
}

fn value(peer: &Peer) -> u128 {
    peer.id.to_u128().unwrap()
}

/// The m entries of the paper's table, the owner where no other node follows.
fn entries(table: &FingerTable, owner: u128, bits: u16) -> Vec<u128> {
    (0..bits).map(|power| table.finger(power).map_or(owner, value)).collect()
}

/// The first of `nodes` at or after `id` on a circle of `size`.
fn successor(nodes: &[u128], id: u128, size: u128) -> u128 {
    (0..size).map(|step| (id + step) % size).find(|at| nodes.contains(at)).unwrap()
}

fn filled(space: IdSpace, owner: u128, nodes: &[u128]) -> FingerTable {
    let size = 1 << space.bits();
    let mut table = FingerTable::new(space, Id::from_u128(owner));
    let mut power = 0;
    while power < space.bits() {
        let found = successor(nodes, value(&Peer::new(table.start(power), peer(0).host)), size);
        table.set(power, (found != owner).then(|| peer(found)).as_ref());
        power = table.next_uncovered(power);
    }
    table
}

#[test]
fn node_3_of_the_coursework_has_its_published_fingers() {
    let space = IdSpace::new(8, HashKind::Md5).unwrap();
    let ring = [24, 32, 46, 109, 145, 150, 160, 163, 241, 244];
    let table = filled(space, 24, &ring);
    assert_eq!(entries(&table, 24, 8), [32, 32, 32, 32, 46, 109, 109, 160]);
    let runs: Vec<(u16, u16, u128)> =
        table.runs().iter().map(|run| (run.first, run.last, run.peer.as_ref().map_or(24, value))).collect();
    assert_eq!(runs, [(1, 4, 32), (5, 5, 46), (6, 7, 109), (8, 8, 160)]);
}

/// ToN 2003, table I and figure 4: three bits, nodes 0, 1 and 3.
#[test]
fn the_papers_example_has_its_published_fingers() {
    let space = IdSpace::new(3, HashKind::Sha1).unwrap();
    let nodes = [0, 1, 3];
    assert_eq!(entries(&filled(space, 0, &nodes), 0, 3), [1, 3, 0]);
    assert_eq!(entries(&filled(space, 1, &nodes), 1, 3), [3, 3, 0]);
    assert_eq!(entries(&filled(space, 3, &nodes), 3, 3), [0, 0, 0]);
}

#[test]
fn on_every_ring_of_a_four_bit_circle_the_runs_are_the_whole_table() {
    let space = IdSpace::new(4, HashKind::Sha1).unwrap();
    for members in 1u32..1 << 16 {
        let nodes: Vec<u128> = (0..16).filter(|id| members & (1 << id) != 0).collect();
        let owner = nodes[0];
        let expected: Vec<u128> =
            (0..4).map(|power| successor(&nodes, (owner + (1 << power)) % 16, 16)).collect();
        let table = filled(space, owner, &nodes);
        assert_eq!(entries(&table, owner, 4), expected, "nodes {nodes:?}");
        assert_eq!(table.runs().last().unwrap().last, 4);
    }
}

#[test]
fn a_lost_finger_hands_its_run_to_the_next() {
    let space = IdSpace::new(8, HashKind::Sha1).unwrap();
    let mut table = filled(space, 24, &[24, 32, 46, 109, 160]);
    assert!(table.remove_host(peer(46).host.incarnation));
    assert_eq!(entries(&table, 24, 8), [32, 32, 32, 32, 109, 109, 109, 160]);
    assert!(table.remove(&peer(160)));
    assert!(!table.remove(&peer(160)));
    assert_eq!(entries(&table, 24, 8), [32, 32, 32, 32, 109, 109, 109, 24]);
}

#[test]
fn setting_a_finger_drops_those_it_overtakes_and_says_whether_anything_changed() {
    let space = IdSpace::new(8, HashKind::Sha1).unwrap();
    let mut table = filled(space, 0, &[0, 1, 5, 20, 70, 200]);
    assert!(table.set(2, Some(&peer(70))), "5 and 20 are gone, says somebody");
    assert_eq!(entries(&table, 0, 8), [1, 70, 70, 70, 70, 70, 70, 200]);
    assert!(!table.set(2, Some(&peer(70))));
    assert!(table.set(4, Some(&peer(20))));
    assert_eq!(entries(&table, 0, 8), [1, 20, 20, 20, 20, 70, 70, 200]);
    assert!(table.set(7, None));
    assert!(!table.set(7, Some(&peer(3))), "a peer before the start means the owner itself");
    assert_eq!(entries(&table, 0, 8), [1, 20, 20, 20, 20, 70, 70, 0]);
}

proptest! {
    #[test]
    fn whatever_is_set_the_table_stays_ordered_and_within_one_peer_a_bit(
        origin in 0u128..256,
        settings in proptest::collection::vec((0u16..8, 0u128..256), 0..40),
        id in 0u128..256,
    ) {
        let space = IdSpace::new(8, HashKind::Sha1).unwrap();
        let mut table = FingerTable::new(space, Id::from_u128(origin));
        for (power, found) in settings {
            table.set(power, Some(&peer(found)));
            let distance = space.distance(&table.origin, &Id::from_u128(found));
            if distance >= Id::from_u128(1 << power) {
                prop_assert_eq!(table.finger(power), Some(&peer(found)));
            } else {
                prop_assert_eq!(table.finger(power), None);
            }
        }
        let reaches: Vec<u16> = table.peers().iter().map(|peer| table.reach(peer)).collect();
        prop_assert!(reaches.windows(2).all(|pair| pair[0] < pair[1]) && reaches.len() <= 8);
        let before = |peer: &&Peer| peer.id.in_open(&table.origin, &Id::from_u128(id));
        prop_assert!(table.preceding(&Id::from_u128(id)).iter().eq(table.peers().iter().filter(before)));
    }
}
