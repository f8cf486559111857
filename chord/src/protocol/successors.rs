//! The successor list: the next virtual nodes clockwise, enough of them to survive failures.
//!
//! Source: ToN 2003, section IV-E-3 (successor lists); Zave, TSE 2017. It differs from both in one way:
//! its length is not counted in nodes but in distinct hosts, because virtual nodes of one host fail together.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::protocol::peer::{Incarnation, Peer};

/// How long a successor list is: up to the entry that completes `hosts` distinct hosts, and never beyond `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SuccessorLimits {
    /// Distinct hosts wanted, the list's own host not counted (its other virtual nodes are in the list all the
    /// same). At least 1 is used. The ring survives `hosts` - 1 simultaneous failures of neighbouring hosts.
    pub hosts: usize,
    /// Entries at most, whoever runs them. At least 1 is used.
    pub max: usize,
}

impl Default for SuccessorLimits {
    fn default() -> Self {
        SuccessorLimits { hosts: 4, max: 64 }
    }
}

/// The successors of one virtual node, nearest first.
///
/// Always true of it: ids grow clockwise from the owner without passing it, so neither the owner's id nor any id
/// twice is in it; it ends where its [`SuccessorLimits`] are reached. It may name failed nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SuccessorList(Vec<Peer>);

impl SuccessorList {
    /// The list of `me` made of `peers`, nearest first: a successor followed by that successor's own list.
    ///
    /// Stops at the first peer that does not lie clockwise between its forerunner and `me`: there the other list
    /// has come round to `me`, as it does in a ring shorter than the list (or the sender lied).
    pub fn assemble<'a>(
        me: &Peer,
        limits: SuccessorLimits,
        peers: impl IntoIterator<Item = &'a Peer>,
    ) -> SuccessorList {
        let mut list: Vec<Peer> = Vec::new();
        let mut hosts = 0;
        for peer in peers {
            let after = list.last().map_or(&me.id, |last| &last.id);
            if !peer.id.in_open(after, &me.id) {
                break;
            }
            if !peer.same_host(me) && !list.iter().any(|known| known.same_host(peer)) {
                hosts += 1;
            }
            list.push(peer.clone());
            if hosts >= limits.hosts.max(1) || list.len() >= limits.max.max(1) {
                break;
            }
        }
        SuccessorList(list)
    }

    /// The nearest successor; `None` in the list of a lone node.
    pub fn first(&self) -> Option<&Peer> {
        self.0.first()
    }

    /// The entries, nearest first.
    pub fn as_slice(&self) -> &[Peer] {
        &self.0
    }

    /// Drops every virtual node of the host that lived as `incarnation`.
    pub(crate) fn remove_host(&mut self, incarnation: Incarnation) {
        self.0.retain(|peer| peer.host.incarnation != incarnation);
    }

    /// Drops one virtual node.
    pub(crate) fn remove(&mut self, gone: &Peer) {
        self.0.retain(|peer| peer != gone);
    }
}
