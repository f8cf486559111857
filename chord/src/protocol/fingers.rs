//! The finger table, kept as its distinct fingers.
//!
//! Finger `k` of the paper (k = 1..m) is the first node at or after `start(k)` = n + 2^(k-1). Most of the m entries
//! name the same node, so only the distinct ones are kept, about log2 N of them: finger k is the nearest stored
//! peer whose distance is at least 2^(k-1), and the owner itself where there is none. Each stored peer thus stands
//! for a run of k.
//!
//! Source: ToN 2003, section IV-D, table I and figure 4 (here with `power` = k - 1).

#[cfg(test)]
mod tests;

use crate::protocol::id::{Id, IdSpace};
use crate::protocol::peer::{Incarnation, Peer};

/// The fingers of one virtual node: ordered clockwise from it, never the node itself, each twice as far as half
/// the one before, so at most one for each bit of an id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FingerTable {
    space: IdSpace,
    origin: Id,
    /// Strictly growing in [`FingerTable::reach`].
    peers: Vec<Peer>,
}

/// Fingers `first` to `last` (the paper's k, from 1), all the same node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The lowest k of the run.
    pub first: u16,
    /// The highest k of the run.
    pub last: u16,
    /// The node; `None` is the owner of the table.
    pub peer: Option<Peer>,
}

impl FingerTable {
    /// The table of a node that knows nobody: every finger is the node itself.
    pub fn new(space: IdSpace, origin: Id) -> FingerTable {
        FingerTable { space, origin, peers: Vec::new() }
    }

    /// n + 2^`power`, for `power` below the bits of an id.
    pub fn start(&self, power: u16) -> Id {
        self.space.add_power(&self.origin, power)
    }

    /// The finger that begins at `start(power)`; `None` is the owner of the table.
    pub fn finger(&self, power: u16) -> Option<&Peer> {
        self.peers.get(self.peers.partition_point(|peer| self.reach(peer) <= power))
    }

    /// The lowest power whose start lies beyond `finger(power)`: the next one that may be another node. The number
    /// of bits when there is none, which is so wherever the finger is the owner itself.
    pub fn next_uncovered(&self, power: u16) -> u16 {
        self.finger(power).map_or(self.space.bits(), |finger| self.reach(finger))
    }

    /// Records that `peer` is the first node at or after `start(power)`; `None`, or a peer that does not lie
    /// there, means the owner itself. Whoever was stored in between is dropped. Returns whether anything changed.
    pub fn set(&mut self, power: u16, peer: Option<&Peer>) -> bool {
        let peer = peer.filter(|peer| self.reach(peer) > power);
        let upto = peer.map_or(self.space.bits(), |peer| self.reach(peer));
        let from = self.peers.partition_point(|known| self.reach(known) <= power);
        let behind = self.peers.partition_point(|known| self.reach(known) <= upto);
        if self.peers[from..behind].iter().eq(peer) {
            return false;
        }
        self.peers.splice(from..behind, peer.cloned());
        true
    }

    /// The distinct fingers, clockwise.
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// The table as runs of equal fingers, k ascending: the paper's table, shortened.
    pub fn runs(&self) -> Vec<Run> {
        let mut runs = Vec::new();
        let mut power = 0;
        while power < self.space.bits() {
            let next = self.next_uncovered(power);
            runs.push(Run { first: power + 1, last: next, peer: self.finger(power).cloned() });
            power = next;
        }
        runs
    }

    /// The fingers strictly between the owner and `id`, clockwise, so that the closest to `id` comes last.
    pub fn preceding(&self, id: &Id) -> &[Peer] {
        &self.peers[..self.peers.partition_point(|peer| peer.id.in_open(&self.origin, id))]
    }

    /// Drops every virtual node of the host that lived as `incarnation`; the finger behind takes over its run.
    /// Returns whether there was one.
    pub(crate) fn remove_host(&mut self, incarnation: Incarnation) -> bool {
        let before = self.peers.len();
        self.peers.retain(|peer| peer.host.incarnation != incarnation);
        before != self.peers.len()
    }

    /// Drops one virtual node. Returns whether it was there.
    pub(crate) fn remove(&mut self, gone: &Peer) -> bool {
        let before = self.peers.len();
        self.peers.retain(|peer| peer != gone);
        before != self.peers.len()
    }

    /// The highest k that `peer` can be the finger of: the bits of its distance.
    fn reach(&self, peer: &Peer) -> u16 {
        self.space.distance(&self.origin, &peer.id).bit_length()
    }
}
