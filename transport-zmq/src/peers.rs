//! The table of peers, and the bound on what is in flight to each.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use chord::transport::{Endpoint, Lane};

use crate::frame::lane_index;
use crate::link::Link;

pub(crate) struct Peers {
    /// Guards the table. Never held across an await.
    table: Mutex<HashMap<Endpoint, Arc<Peer>>>,
    max_peers: usize,
    max_in_flight: usize,
    next_ticket: AtomicU64,
}

struct Peer {
    /// By lane.
    in_flight: [AtomicUsize; 3],
    /// The ticket of the latest call.
    last_used: AtomicU64,
    /// A connection for each lane, so that a large frame delays nothing but its like.
    links: [Arc<Link>; 3],
}

/// One call's place among those in flight to a peer on its lane; free again when dropped.
pub(crate) struct Slot {
    peer: Arc<Peer>,
    lane: Lane,
    /// Unique within the transport; the call's correlation id.
    pub(crate) ticket: u64,
}

impl Peers {
    pub(crate) fn new(max_peers: usize, max_in_flight: usize) -> Peers {
        Peers { table: Mutex::default(), max_peers, max_in_flight, next_ticket: AtomicU64::new(0) }
    }

    /// A slot for one call to `endpoint` on `lane`; `None` when a bound is reached.
    pub(crate) fn slot(&self, endpoint: &Endpoint, lane: Lane) -> Option<Slot> {
        let ticket = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        let mut table = self.table.lock().expect("no holder panics");
        let peer = match table.get(endpoint) {
            Some(peer) => peer.clone(),
            None => {
                if table.len() >= self.max_peers {
                    forget_idlest(&mut table)?;
                }
                let peer = Arc::new(Peer {
                    in_flight: Default::default(),
                    last_used: AtomicU64::new(ticket),
                    links: std::array::from_fn(|_| Link::new(endpoint.clone())),
                });
                table.insert(endpoint.clone(), peer.clone());
                peer
            }
        };
        // Slots are taken under the table's lock only, so the check and the increment are one step.
        let in_flight = &peer.in_flight[lane_index(lane)];
        if in_flight.load(Ordering::Relaxed) >= self.max_in_flight {
            return None;
        }
        in_flight.fetch_add(1, Ordering::Relaxed);
        peer.last_used.store(ticket, Ordering::Relaxed);
        Some(Slot { peer, lane, ticket })
    }
}

/// Makes room by dropping the peer that was used least recently, of those with nothing under way.
fn forget_idlest(table: &mut HashMap<Endpoint, Arc<Peer>>) -> Option<()> {
    let idle = |peer: &Peer| {
        peer.in_flight.iter().all(|calls| calls.load(Ordering::Relaxed) == 0)
            && !peer.links.iter().any(|link| link.is_dialling())
    };
    let (endpoint, _) = table
        .iter()
        .filter(|(_, peer)| idle(peer))
        .min_by_key(|(_, peer)| peer.last_used.load(Ordering::Relaxed))?;
    let endpoint = endpoint.clone();
    let peer = table.remove(&endpoint)?;
    peer.links.iter().for_each(|link| link.retire());
    Some(())
}

impl Slot {
    /// The way for the call.
    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.peer.links[lane_index(self.lane)]
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.peer.in_flight[lane_index(self.lane)].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(port: u16) -> Endpoint {
        format!("zmq://n{port}@127.0.0.1:{port}").parse().unwrap()
    }

    #[test]
    fn a_slot_beyond_the_bound_is_refused_until_one_is_free() {
        let peers = Peers::new(8, 2);
        let (first, _second) = (
            peers.slot(&endpoint(1), Lane::Request).unwrap(),
            peers.slot(&endpoint(1), Lane::Request).unwrap(),
        );
        assert!(peers.slot(&endpoint(1), Lane::Request).is_none());
        assert!(peers.slot(&endpoint(2), Lane::Request).is_some(), "another peer has its own bound");
        drop(first);
        assert!(peers.slot(&endpoint(1), Lane::Request).is_some());
    }

    #[test]
    fn a_full_table_forgets_the_peer_that_was_idle_for_longest() {
        let peers = Peers::new(2, 8);
        drop(peers.slot(&endpoint(1), Lane::Request));
        drop(peers.slot(&endpoint(2), Lane::Request));
        drop(peers.slot(&endpoint(1), Lane::Request));
        assert!(peers.slot(&endpoint(3), Lane::Request).is_some());
        let table = peers.table.lock().unwrap();
        assert!(table.contains_key(&endpoint(1)) && table.contains_key(&endpoint(3)));
    }

    #[test]
    fn a_full_table_of_busy_peers_refuses_another() {
        let peers = Peers::new(1, 8);
        let _busy = peers.slot(&endpoint(1), Lane::Request).unwrap();
        assert!(peers.slot(&endpoint(2), Lane::Request).is_none());
        assert!(peers.slot(&endpoint(1), Lane::Request).is_some());
    }

    #[test]
    fn each_lane_has_a_link_of_its_own() {
        let peers = Peers::new(1, 1);
        let slot = |lane| peers.slot(&endpoint(1), lane).unwrap();
        let (control, request, bulk) = (slot(Lane::Control), slot(Lane::Request), slot(Lane::Bulk));
        assert!(!Arc::ptr_eq(control.link(), request.link()));
        assert!(!Arc::ptr_eq(request.link(), bulk.link()));
        assert!(!Arc::ptr_eq(bulk.link(), control.link()));
    }
}
