use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::protocol::id::Id;
use crate::protocol::peer::{Host, HostName};

fn host(number: u128) -> Arc<Host> {
    Arc::new(Host {
        name: HostName::new(&format!("host-{number}")).unwrap(),
        endpoint: format!("mem://host-{number}@host-{number}:1").parse().unwrap(),
        incarnation: Incarnation(number),
    })
}

/// A node on a host of its own.
fn node(id: u128) -> Peer {
    on(id, id + 1_000)
}

fn on(id: u128, host_number: u128) -> Peer {
    Peer::new(Id::from_u128(id), host(host_number))
}

fn ids(list: &SuccessorList) -> Vec<u128> {
    list.as_slice().iter().map(|peer| peer.id.to_u128().unwrap()).collect()
}

fn limits(hosts: usize, max: usize) -> SuccessorLimits {
    SuccessorLimits { hosts, max }
}

#[test]
fn a_list_ends_where_it_comes_round_to_its_owner() {
    let peers = [node(5), node(9), node(2), node(3), node(5)];
    assert_eq!(ids(&SuccessorList::assemble(&node(3), limits(9, 64), &peers)), [5, 9, 2]);
    assert_eq!(ids(&SuccessorList::assemble(&node(3), limits(9, 64), &[node(3), node(5)])), []);
}

#[test]
fn a_list_ends_at_an_entry_that_goes_back() {
    let peers = [node(5), node(9), node(7), node(12)];
    assert_eq!(ids(&SuccessorList::assemble(&node(3), limits(9, 64), &peers)), [5, 9]);
    let repeated = [node(5), node(5), node(9)];
    assert_eq!(ids(&SuccessorList::assemble(&node(3), limits(9, 64), &repeated)), [5]);
}

#[test]
fn a_list_wraps_at_zero() {
    let peers = [node(250), node(0), node(1), node(240)];
    assert_eq!(ids(&SuccessorList::assemble(&node(245), limits(9, 64), &peers)), [250, 0, 1, 240]);
}

#[test]
fn virtual_nodes_of_a_host_already_counted_and_of_the_owners_host_do_not_count() {
    let peers = [on(2, 1), on(3, 7), on(4, 7), on(5, 1), on(6, 8), on(7, 9)];
    assert_eq!(ids(&SuccessorList::assemble(&on(1, 1), limits(2, 64), &peers)), [2, 3, 4, 5, 6]);
    assert_eq!(ids(&SuccessorList::assemble(&on(1, 1), limits(2, 3), &peers)), [2, 3, 4]);
}

#[test]
fn limits_of_nothing_still_leave_one_successor() {
    let peers = [node(5), node(9)];
    assert_eq!(ids(&SuccessorList::assemble(&node(3), limits(0, 0), &peers)), [5]);
}

proptest! {
    #[test]
    fn whatever_is_offered_the_list_is_ordered_distinct_and_within_its_limits(
        me in 0u128..64,
        offered in proptest::collection::vec((0u128..64, 1u128..6), 0..40),
        hosts in 0usize..6,
        max in 0usize..12,
    ) {
        let me = on(me, 1);
        let peers: Vec<Peer> = offered.iter().map(|(id, host)| on(*id, *host)).collect();
        let list = SuccessorList::assemble(&me, limits(hosts, max), &peers);
        let mut last = me.id;
        for peer in list.as_slice() {
            prop_assert!(peer.id.in_open(&last, &me.id));
            last = peer.id;
        }
        prop_assert!(list.as_slice().len() <= max.max(1));
        let mut others: Vec<Incarnation> = list.as_slice().iter().map(|peer| peer.host.incarnation).collect();
        others.retain(|incarnation| *incarnation != me.host.incarnation);
        others.sort_unstable();
        others.dedup();
        prop_assert!(others.len() <= hosts.max(1));
    }
}
