use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::protocol::peer::{Host, HostName};

fn on(id: u128, incarnation: u128) -> Peer {
    let host = Host {
        name: HostName::new(&format!("host-{incarnation}")).unwrap(),
        endpoint: format!("mem://host-{incarnation}@host-{incarnation}:1").parse().unwrap(),
        incarnation: Incarnation(incarnation),
    };
    Peer::new(Id::from_u128(id), Arc::new(host))
}

fn table(capacity: usize, ids: impl IntoIterator<Item = u128>) -> Contacts {
    let mut contacts = Contacts::new(capacity);
    ids.into_iter().for_each(|id| contacts.learn(&on(id, id + 1_000), |_| false));
    contacts
}

fn ids(contacts: &Contacts) -> Vec<u128> {
    contacts.by_id.keys().map(|id| id.to_u128().unwrap()).collect()
}

fn successor(contacts: &Contacts, id: u128) -> Option<u128> {
    contacts.successor(&Id::from_u128(id)).and_then(|peer| peer.id.to_u128())
}

fn preceding(contacts: &Contacts, after: u128, id: u128) -> Vec<u128> {
    let (after, id) = (Id::from_u128(after), Id::from_u128(id));
    contacts.preceding(&after, &id).map(|peer| peer.id.to_u128().unwrap()).collect()
}

#[test]
fn the_guess_is_the_first_at_or_after_and_wraps_at_zero() {
    let contacts = table(10, [10, 20, 30]);
    let guesses = [0, 10, 11, 30, 31].map(|id| successor(&contacts, id).unwrap());
    assert_eq!(guesses, [10, 10, 20, 30, 10]);
    assert_eq!(successor(&table(10, []), 5), None);
}

#[test]
fn nodes_before_an_id_come_closest_first_and_wrap_at_zero() {
    let contacts = table(10, [10, 20, 30, 40]);
    assert_eq!(preceding(&contacts, 10, 40), [30, 20]);
    assert_eq!(preceding(&contacts, 20, 15), [10, 40, 30]);
    assert_eq!(preceding(&contacts, 30, 30), [20, 10, 40]);
    assert!(preceding(&contacts, 10, 15).is_empty());
}

#[test]
fn a_full_table_evicts_what_was_not_used_and_keeps_what_must_be_kept() {
    let mut contacts = table(4, [10, 20, 30, 40]);
    contacts.learn(&on(10, 1_010), |_| false);
    contacts.learn(&on(30, 1_030), |_| false);
    contacts.learn(&on(50, 1_050), |peer| peer.id == Id::from_u128(20));
    assert_eq!(ids(&contacts), [10, 20, 30, 50], "10 and 30 were used, 20 is kept");
}

#[test]
fn kept_entries_may_exceed_the_capacity_and_others_may_not() {
    let mut contacts = Contacts::new(2);
    for id in [10, 20, 30] {
        contacts.learn(&on(id, id + 1_000), |_| true);
    }
    assert_eq!(contacts.len(), 3);
    contacts.learn(&on(40, 1_040), |peer| peer.id < Id::from_u128(40));
    assert_eq!(ids(&contacts), [10, 20, 30]);
}

#[test]
fn a_table_of_nothing_stays_empty() {
    assert!(table(0, [1, 2, 3]).is_empty());
}

#[test]
fn hearsay_replaces_no_incarnation_and_revives_no_failed_host() {
    let mut contacts = table(10, []);
    contacts.learn(&on(10, 1), |_| false);
    contacts.learn(&on(20, 1), |_| false);
    contacts.learn(&on(10, 2), |_| false);
    assert_eq!(contacts.successor(&Id::from_u128(10)), Some(&on(10, 1)));
    contacts.lose(Incarnation(1));
    assert!(contacts.is_empty() && contacts.is_lost(Incarnation(1)));
    contacts.learn(&on(10, 1), |_| false);
    contacts.learn(&on(10, 2), |_| false);
    assert_eq!(contacts.successor(&Id::from_u128(10)), Some(&on(10, 2)));
    contacts.alive(Incarnation(1));
    contacts.learn(&on(20, 1), |_| false);
    assert_eq!(contacts.len(), 2);
}

#[test]
fn losses_are_forgotten_with_time_and_bounded_in_number() {
    let mut contacts = table(10, []);
    contacts.lose(Incarnation(1));
    (0..LOST_ROUNDS - 1).for_each(|_| contacts.tick());
    assert!(contacts.is_lost(Incarnation(1)));
    contacts.tick();
    assert!(!contacts.is_lost(Incarnation(1)));

    contacts.lose(Incarnation(1));
    contacts.tick();
    (0..MAX_LOST as u128).for_each(|host| contacts.lose(Incarnation(10 + host)));
    assert_eq!(contacts.lost.len(), MAX_LOST);
    assert!(!contacts.is_lost(Incarnation(1)), "the oldest gave way");
}

#[test]
fn forgetting_a_node_leaves_the_others_of_its_host() {
    let mut contacts = table(10, []);
    contacts.learn(&on(10, 1), |_| false);
    contacts.learn(&on(20, 1), |_| false);
    contacts.forget(&on(10, 2));
    contacts.forget(&on(20, 1));
    assert_eq!(ids(&contacts), [10]);
    contacts.lose(Incarnation(1));
    assert!(contacts.is_empty() && contacts.by_host.is_empty());
}

proptest! {
    #[test]
    fn the_table_agrees_with_a_scan_and_stays_within_its_capacity(
        capacity in 1usize..12,
        learnt in proptest::collection::vec(0u128..64, 0..60),
        after in 0u128..64,
        id in 0u128..64,
    ) {
        let contacts = table(capacity, learnt);
        prop_assert!(contacts.len() <= capacity);
        prop_assert_eq!(contacts.len(), contacts.by_host.len());
        let known = ids(&contacts);
        let scan = (0..64).map(|step| (id + step) % 64).find(|at| known.contains(at));
        prop_assert_eq!(successor(&contacts, id), scan);
        let back = (1..64u128).map(|step| (id + 64 - step) % 64);
        let expected: Vec<u128> =
            back.take_while(|at| *at != after || after == id).filter(|at| known.contains(at)).collect();
        prop_assert_eq!(preceding(&contacts, after, id), expected);
    }
}
