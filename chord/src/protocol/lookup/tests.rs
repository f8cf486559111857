use std::sync::Arc;

use super::*;
use crate::protocol::peer::HostName;

fn host(number: u128) -> Arc<Host> {
    Arc::new(Host {
        name: HostName::new(&format!("host-{number}")).unwrap(),
        endpoint: format!("mem://host-{number}@host-{number}:1").parse().unwrap(),
        incarnation: Incarnation(number),
    })
}

/// A node on a host of its own.
fn node(id: u128) -> Peer {
    Peer::new(Id::from_u128(id), host(id))
}

fn closer(ids: &[u128]) -> Route {
    Route::Closer(ids.iter().map(|id| node(*id)).collect())
}

fn owners(predecessor: u128, ids: &[u128]) -> Route {
    Route::Owner { predecessor: Some(node(predecessor)), owners: ids.iter().map(|id| node(*id)).collect() }
}

/// A search for 100 by host 0.
fn lookup(first: Route) -> Lookup {
    Lookup::new(Id::from_u128(100), RoutingMode::Fingers, first, &host(0), 8)
}

fn done(predecessor: u128, ids: &[u128]) -> Next {
    let Route::Owner { predecessor, owners } = owners(predecessor, ids) else { unreachable!() };
    Next::Done { predecessor, owners }
}

#[test]
fn what_the_asker_knows_itself_needs_no_call() {
    let lookup = lookup(owners(90, &[110, 120]));
    assert_eq!(lookup.next(), done(90, &[110, 120]));
    assert_eq!(lookup.hops(), 0);
}

#[test]
fn hops_go_from_the_best_to_the_owner_and_are_recorded() {
    let mut lookup = lookup(closer(&[50, 40]));
    assert_eq!(lookup.next(), Next::Ask(node(50)));
    lookup.answered(&node(50), &closer(&[80, 70]));
    assert_eq!(lookup.next(), Next::Ask(node(80)));
    lookup.answered(&node(80), &owners(90, &[110]));
    assert_eq!(lookup.next(), done(90, &[110]));
    let said: Vec<&Said> = lookup.path().iter().map(|hop| &hop.said).collect();
    assert_eq!(said, [&Said::Closer(Some(node(80))), &Said::Owner(node(110))]);
}

#[test]
fn dead_hops_are_routed_around_with_the_latest_alternates_first() {
    let mut lookup = lookup(closer(&[50, 40]));
    lookup.answered(&node(50), &closer(&[80, 70]));
    lookup.failed(&node(80));
    assert_eq!(lookup.next(), Next::Ask(node(70)));
    lookup.failed(&node(70));
    assert_eq!(lookup.next(), Next::Ask(node(40)));
    lookup.answered(&node(40), &closer(&[80, 60]));
    assert_eq!(lookup.next(), Next::Ask(node(60)), "the dead are not asked again");
    lookup.failed(&node(60));
    assert_eq!(lookup.next(), Next::Failed(LookupError::NoRoute));
    assert_eq!(lookup.hops(), 5);
}

#[test]
fn nobody_is_asked_twice_and_only_those_nearer_than_the_speaker_count() {
    let mut lookup = lookup(closer(&[50]));
    lookup.answered(&node(50), &closer(&[50, 40, 100, 120]));
    assert_eq!(lookup.next(), Next::Failed(LookupError::NoRoute));
}

#[test]
fn the_asker_is_never_told_to_ask_itself() {
    let mut lookup = lookup(closer(&[50]));
    let own = Peer::new(Id::from_u128(60), host(0));
    lookup.answered(&node(50), &Route::Closer(vec![own, node(55)]));
    assert_eq!(lookup.next(), Next::Ask(node(55)));
}

#[test]
fn an_owner_that_fails_makes_room_for_the_next_and_then_for_further_search() {
    let mut lookup = lookup(closer(&[50, 40]));
    lookup.answered(&node(50), &owners(90, &[110, 120]));
    lookup.failed(&node(110));
    assert_eq!(lookup.next(), done(90, &[120]));
    lookup.failed(&node(120));
    assert_eq!(lookup.next(), Next::Ask(node(90)), "the predecessor's list goes further");
    lookup.failed(&node(90));
    assert_eq!(lookup.next(), Next::Ask(node(40)));
    lookup.answered(&node(40), &owners(90, &[110, 120, 130]));
    assert_eq!(lookup.next(), done(90, &[130]));
}

#[test]
fn an_owner_that_denies_sends_the_search_on() {
    let mut lookup = lookup(owners(90, &[110]));
    lookup.answered(&node(110), &owners(95, &[105]));
    assert_eq!(lookup.next(), done(95, &[105]));
    lookup.answered(&node(105), &closer(&[]));
    assert_eq!(lookup.next(), Next::Ask(node(95)));
    lookup.answered(&node(95), &closer(&[]));
    assert_eq!(lookup.next(), Next::Ask(node(90)));
    lookup.failed(&node(90));
    assert_eq!(lookup.next(), Next::Failed(LookupError::NoRoute));
}

#[test]
fn an_owner_named_by_nobody_is_no_owner() {
    let mut lookup = lookup(closer(&[50]));
    lookup.answered(&node(50), &Route::Owner { predecessor: None, owners: Vec::new() });
    assert_eq!(lookup.next(), Next::Failed(LookupError::NoRoute));
}

#[test]
fn a_peer_that_leads_on_for_ever_is_stopped_by_the_hop_limit() {
    let mut lookup = lookup(closer(&[1]));
    let mut asked = 0;
    while let Next::Ask(peer) = lookup.next() {
        asked += 1;
        let next = peer.id.to_u128().unwrap() + 1;
        lookup.answered(&peer, &closer(&[next]));
    }
    assert_eq!((asked, lookup.next()), (8, Next::Failed(LookupError::HopLimit)));
}

#[test]
fn a_flood_of_alternates_is_cut() {
    let mut lookup = lookup(closer(&[1]));
    let flood: Vec<u128> = (2..99).cycle().take(100_000).collect();
    lookup.answered(&node(1), &closer(&flood));
    assert!(lookup.frontier.len() <= 1 + MAX_ROUTE_PEERS);
}

/// After half of 1000 nodes had failed one lookup in some thousands ended here: those named as owners were dead, and
/// so was the one node before them that was named, but not everybody before that one.
#[test]
fn who_named_dead_owners_only_is_asked_for_its_successors() {
    let mut lookup = lookup(closer(&[50]));
    lookup.answered(&node(50), &owners(90, &[110]));
    assert_eq!(lookup.mode(), RoutingMode::Fingers);
    lookup.failed(&node(110));
    lookup.failed(&node(90));
    assert_eq!((lookup.next(), lookup.mode()), (Next::Ask(node(50)), RoutingMode::Naive));
    lookup.answered(&node(50), &closer(&[90, 70]));
    assert_eq!((lookup.next(), lookup.mode()), (Next::Ask(node(70)), RoutingMode::Fingers));
    lookup.answered(&node(70), &owners(90, &[110]));
    assert_eq!((lookup.next(), lookup.mode()), (Next::Ask(node(70)), RoutingMode::Naive));
    lookup.answered(&node(70), &closer(&[]));
    assert_eq!(lookup.next(), Next::Failed(LookupError::NoRoute), "nobody is asked three times");
}
