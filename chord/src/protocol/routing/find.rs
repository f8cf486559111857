//! Who owns an id: what this host's pointers and contacts say.

use super::{Routing, RoutingMode};
use crate::protocol::id::{Id, Interval};
use crate::protocol::lookup::Route;
use crate::protocol::peer::Peer;
use crate::protocol::ring::Ring;

impl Routing {
    /// Who owns `id` as far as this host knows, or whom to ask: all its virtual nodes are looked at as one.
    ///
    /// In order: an own virtual node that owns it; the successor list of the own virtual node before it; the
    /// closest preceding nodes of all fingers, lists and (by `mode`) contacts, on distinct hosts.
    pub fn route(&self, id: &Id, mode: RoutingMode) -> Route {
        let Some((before, after)) = self.around(id) else { return Route::Closer(Vec::new()) };
        if after.owns(id) {
            return after.route_to_self();
        }
        if let Some(route) = before.route_from_list(id, mode, self.limits.names_whole_list) {
            return route;
        }
        if mode == RoutingMode::Naive {
            let successors = before.known_successors();
            return Route::Closer(successors[..successors.len().min(self.limits.successors.hosts)].to_vec());
        }
        Route::Closer(self.closest_preceding_nodes(before, id, mode))
    }

    /// The contact table's guess at the owner of `id`, own virtual nodes included; the ring's own word where
    /// this host owns it.
    pub fn believed_owner(&self, id: &Id) -> Option<Peer> {
        match self.around(id) {
            Some((_, after)) if after.owns(id) => Some(after.me().clone()),
            _ => self.contacts.successor(id).cloned(),
        }
    }

    /// What each own virtual node owns by its pointers. A node that knows no predecessor is left out.
    pub fn owned(&self) -> Vec<(Interval, Id)> {
        self.rings().filter_map(|ring| Some((ring.interval()?, ring.me().id))).collect()
    }

    /// The own virtual nodes around `id`: the last before it and the first at or after it.
    fn around(&self, id: &Id) -> Option<(&Ring, &Ring)> {
        let after = self.nodes.partition_point(|node| node.ring.me().id < *id);
        let before = self.nodes[..after].last().or(self.nodes.last())?;
        let after = self.nodes.get(after).or(self.nodes.first())?;
        Some((&before.ring, &after.ring))
    }

    fn closest_preceding_nodes(&self, before: &Ring, id: &Id, mode: RoutingMode) -> Vec<Peer> {
        let wanted = self.limits.successors.hosts.max(1);
        let mut known: Vec<&Peer> = Vec::with_capacity(2 * wanted * self.nodes.len() + wanted);
        for ring in self.rings() {
            known.extend(ring.fingers().preceding(id).iter().rev().take(wanted));
            known.extend(ring.successors_preceding(id).iter().rev().take(wanted));
        }
        if mode == RoutingMode::Contacts {
            known.extend(self.contacts.preceding(&before.me().id, id).take(wanted));
        }
        known.retain(|peer| peer.id.in_open(&before.me().id, id));
        known.sort_by_cached_key(|peer| self.space.distance(&peer.id, id));
        let mut closest: Vec<Peer> = Vec::with_capacity(wanted);
        for peer in known {
            if closest.len() < wanted && !closest.iter().any(|chosen| chosen.same_host(peer)) {
                closest.push(peer.clone());
            }
        }
        closest
    }
}
