//! What others tell: who is there, who failed, who leaves, and what this host tells in turn when it does.

use std::sync::Arc;

use super::{Farewells, Node, Routing};
use crate::protocol::peer::{Host, HostName, Incarnation, Peer};
use crate::protocol::ring::{Neighbours, Ring};

impl Routing {
    /// Takes up hearsay: these virtual nodes exist, somebody says. Those that cannot be are ignored, except that
    /// one with the id of an own virtual node becomes its [rival](Routing::rivals).
    pub fn learn<'a>(&mut self, peers: impl IntoIterator<Item = &'a Peer>) {
        for peer in peers {
            if self.is_plausible(peer) {
                self.contacts.learn(peer, |peer| is_neighbour(&self.nodes, peer));
            } else if let Ok(i) = self.position(&peer.id)
                && peer.host.incarnation != self.host.incarnation
                && !self.is_lost(peer.host.incarnation)
            {
                self.nodes[i].rival = Some(peer.clone());
            }
        }
    }

    /// Virtual nodes of other hosts that are said to have the id of one of this host's, the last heard of for
    /// each. One that is alive has joined at the same moment, and one of the two must step down; one that is not
    /// is to be reported with [`Routing::fail`].
    pub fn rivals(&self) -> impl Iterator<Item = &Peer> {
        self.nodes.iter().filter_map(|node| node.rival.as_ref())
    }

    /// The host of a rival is there, but runs no such virtual node.
    pub fn forget_rival(&mut self, rival: &Peer) {
        for node in &mut self.nodes {
            node.rival.take_if(|known| known == rival);
        }
    }

    /// A host gave a sign of life: what others say about it is believed again.
    pub fn alive(&mut self, host: &Host) {
        self.contacts.alive(host.incarnation);
    }

    /// Whether a host failed lately and has given no sign of life since.
    pub fn is_lost(&self, incarnation: Incarnation) -> bool {
        self.contacts.is_lost(incarnation)
    }

    /// A host failed: none of its virtual nodes is pointed to any more.
    pub fn fail(&mut self, incarnation: Incarnation) {
        if incarnation == self.host.incarnation {
            return;
        }
        self.contacts.lose(incarnation);
        for node in &mut self.nodes {
            node.rival.take_if(|rival| rival.host.incarnation == incarnation);
        }
        for i in 0..self.nodes.len() {
            self.change(i, |node| {
                node.ring.fail(incarnation);
                if let Some(doubt) = node.doubt.take_if(|doubt| doubt.old.host.incarnation == incarnation)
                    && doubt.notifier.host.incarnation != incarnation
                {
                    let _ = node.ring.rectify_with(&doubt.notifier, &doubt.old, false);
                }
            });
        }
    }

    /// A host that answers is no member of the ring any more, or knows nobody in it: it is no contact. Pointers to
    /// it stay until its farewell, or the next round, corrects them.
    pub fn departed(&mut self, incarnation: Incarnation) {
        if incarnation != self.host.incarnation {
            self.contacts.lose(incarnation);
        }
    }

    /// A virtual node of another host leaves and tells `its` pointers.
    pub fn left(&mut self, leaver: &Peer, its: &Neighbours) {
        if leaver.host.incarnation == self.host.incarnation {
            return;
        }
        let its = self.sanitized(its);
        for i in 0..self.nodes.len() {
            self.change(i, |node| node.ring.left(leaver, &its));
        }
        self.contacts.forget(leaver);
        self.learn_neighbours(&its);
    }

    /// Whom to tell what when this host leaves: for each neighbouring host, the own virtual nodes it points to
    /// with their pointers, from which this host's own virtual nodes are left out.
    pub fn farewell(&self) -> Farewells {
        let mut told: Farewells = Vec::new();
        for ring in self.rings() {
            let remote = |peer: &&Peer| !peer.same_host(ring.me());
            let its = Neighbours {
                predecessor: self.remote_predecessor(ring).cloned(),
                successors: ring.successors().iter().filter(remote).cloned().collect(),
            };
            let ends = [its.predecessor.as_ref(), its.successors.first()];
            for peer in ends.into_iter().flatten() {
                let message = (ring.me().clone(), its.clone());
                match told.iter_mut().find(|(host, _)| host.incarnation == peer.host.incarnation) {
                    Some((_, messages)) if messages.contains(&message) => {}
                    Some((_, messages)) => messages.push(message),
                    None => told.push((peer.host.clone(), vec![message])),
                }
            }
        }
        told
    }

    /// Other lives of the host `name` than `incarnation` that own virtual nodes point to.
    pub fn namesakes(&self, name: &HostName, incarnation: Incarnation) -> Vec<Arc<Host>> {
        let mut found: Vec<Arc<Host>> = self
            .rings()
            .flat_map(|ring| {
                let fingers = ring.fingers().peers();
                ring.predecessor().into_iter().chain(ring.successors()).chain(fingers)
            })
            .map(|peer| peer.host.clone())
            .filter(|host| host.name == *name && host.incarnation != incarnation)
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The nearest predecessor on another host, along own virtual nodes.
    fn remote_predecessor<'a>(&'a self, ring: &'a Ring) -> Option<&'a Peer> {
        let mut predecessor = ring.predecessor()?;
        for _ in 0..self.nodes.len() {
            if !predecessor.same_host(ring.me()) {
                return Some(predecessor);
            }
            predecessor = self.ring(&predecessor.id)?.predecessor()?;
        }
        None
    }

    pub(super) fn learn_neighbours(&mut self, neighbours: &Neighbours) {
        self.learn(neighbours.predecessor.iter().chain(&neighbours.successors));
    }

    /// What a peer said, without the peers that cannot be and beyond no list's bound.
    pub(super) fn sanitized(&self, said: &Neighbours) -> Neighbours {
        let plausible = |peer: &&Peer| self.is_plausible(peer);
        Neighbours {
            predecessor: said.predecessor.as_ref().filter(plausible).cloned(),
            successors: said
                .successors
                .iter()
                .take(self.limits.successors.max)
                .filter(plausible)
                .cloned()
                .collect(),
        }
    }

    /// Whether a peer named by others can be: its id is on the circle, and it is an own virtual node if and only
    /// if it says so.
    pub(super) fn is_plausible(&self, peer: &Peer) -> bool {
        let own = self.position(&peer.id).is_ok();
        self.space.contains(&peer.id) && own == (peer.host.incarnation == self.host.incarnation)
    }
}

/// Whether a pointer of the ring (a predecessor or a successor) names `peer`, or it is an own virtual node.
fn is_neighbour(nodes: &[Node], peer: &Peer) -> bool {
    nodes.iter().any(|node| {
        let ring = &node.ring;
        ring.me() == peer || ring.predecessor() == Some(peer) || ring.successors().contains(peer)
    })
}
