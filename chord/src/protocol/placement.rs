//! Where the ring says that group records belong: what a host serves and should hand over, and to whom.

use std::sync::Arc;

use crate::protocol::id::{Id, Interval};
use crate::protocol::peer::{Host, Incarnation, Peer};
use crate::protocol::ring::Ring;
use crate::protocol::routing::Routing;

/// What a host owns no more by the ring's pointers, of what it serves and is not handing over yet
/// ([`Groups::idle`](crate::protocol::group::Groups::idle)).
pub fn foreign_pieces(routing: &Routing, idle: Vec<Interval>) -> Vec<Interval> {
    if routing.rings().any(|ring| ring.is_alone() || ring.interval().is_none()) {
        return Vec::new();
    }
    let mut foreign = idle;
    for (own, _) in routing.owned() {
        foreign = foreign.into_iter().flat_map(|piece| piece.without(&own)).collect();
    }
    foreign
}

/// Whom to ask for the owner of a foreign `piece` when successor lists have not heard of whoever made it foreign: the
/// predecessor of the own virtual node behind it.
pub fn node_before(routing: &Routing, piece: &Interval) -> Option<Peer> {
    let distance = |ring: &&Ring| routing.space().distance(&piece.upto, &ring.me().id);
    routing.rings().min_by_key(distance)?.predecessor().cloned()
}

/// What of a foreign `piece` goes to the owner of its first id.
pub fn part_of(piece: &Interval, owner: &Peer) -> Interval {
    let upto = if piece.contains(&owner.id) { owner.id } else { piece.upto };
    Interval::new(piece.after, upto)
}

/// Whether the ring's pointers name this host the owner of the last id of every piece.
pub fn owns(routing: &Routing, pieces: &[(Interval, u64)]) -> bool {
    let owned = routing.owned();
    let alone = routing.rings().all(|ring| ring.is_alone());
    alone || pieces.iter().all(|(piece, _)| owned.iter().any(|(own, _)| own.contains(&piece.upto)))
}

/// Whether a host takes what `from` offers: what the ring names it the owner of, or anything when `leaving`, that is
/// when `from` is about to leave. While it `is_leaving` itself, only of leavers with a larger incarnation, so that two
/// leavers do not hand each other the same piece for ever.
///
/// # Errors
/// Why it does not.
pub fn may_take(
    routing: &Routing,
    from: &Host,
    pieces: &[(Interval, u64)],
    leaving: bool,
    is_leaving: bool,
) -> Result<(), &'static str> {
    if is_leaving && !(leaving && routing.host().incarnation < from.incarnation) {
        return Err("this host is leaving");
    }
    if !leaving && !owns(routing, pieces) {
        return Err("the ring names another owner here");
    }
    Ok(())
}

/// The other hosts that follow `piece` on the circle, the nearest first: to whom a leaver hands it over.
pub fn heirs(routing: &Routing, piece: &Interval) -> Vec<Arc<Host>> {
    let mut following: Vec<(Id, Arc<Host>)> = routing
        .rings()
        .flat_map(|ring| ring.successors())
        .filter(|peer| peer.host.incarnation != routing.host().incarnation)
        .map(|peer| (routing.space().distance(&piece.upto, &peer.id), peer.host.clone()))
        .collect();
    following.sort_unstable();
    let mut seen: Vec<Incarnation> = Vec::new();
    following.retain(|(_, host)| {
        let new = !seen.contains(&host.incarnation);
        seen.push(host.incarnation);
        new
    });
    following.into_iter().map(|(_, host)| host).collect()
}

/// Whether a host's pointers name no other one.
pub fn is_last_host(routing: &Routing) -> bool {
    routing.rings().all(|ring| {
        let mut known = ring.successors().iter().chain(ring.predecessor());
        known.all(|peer| peer.host.incarnation == routing.host().incarnation)
    })
}
