//! The contact table: every virtual node a host has heard of, within a bound. It makes the usual request one hop.
//!
//! The table only guesses. A wrong guess costs a hop and is then corrected; nothing is decided by it.
//!
//! Source: one-hop routing in the manner of Gupta, Liskov, Rodrigues (NSDI 2004) and EpiChord, learnt from replies.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use crate::protocol::id::Id;
use crate::protocol::peer::{Incarnation, Peer};

/// Entries looked at to find one to evict.
const EVICTION_SWEEP: usize = 16;

/// Failed hosts remembered at most, and for how many rounds of stabilization.
const MAX_LOST: usize = 1_024;
const LOST_ROUNDS: u64 = 32;

/// Known virtual nodes by id.
///
/// **When full**, a clock hand evicts: it goes round the table, spares once each entry that was used since it last
/// came by (an approximation of least recently used), and always spares those the caller keeps (ring neighbours),
/// which may therefore exceed the capacity.
///
/// **A failed host** is purged, and what others still say about it is disbelieved for some rounds, so that hearsay
/// does not bring it back; a word from the host itself does.
#[derive(Clone, Debug)]
pub struct Contacts {
    capacity: usize,
    by_id: BTreeMap<Id, Contact>,
    by_host: BTreeSet<(Incarnation, Id)>,
    hand: Id,
    lost: BTreeMap<Incarnation, u64>,
    round: u64,
}

#[derive(Clone, Debug)]
struct Contact {
    peer: Peer,
    used: bool,
}

impl Contacts {
    /// An empty table of `capacity` entries; with 0 it stays empty.
    pub fn new(capacity: usize) -> Contacts {
        Contacts {
            capacity,
            by_id: BTreeMap::new(),
            by_host: BTreeSet::new(),
            hand: Id::ZERO,
            lost: BTreeMap::new(),
            round: 0,
        }
    }

    /// How many virtual nodes are known.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The first known node at or after `id`: the believed owner.
    pub fn successor(&self, id: &Id) -> Option<&Peer> {
        let contact = self.by_id.range(id..).next().or_else(|| self.by_id.iter().next());
        contact.map(|(_, contact)| &contact.peer)
    }

    /// Known nodes strictly between `after` and `id`, the closest to `id` first.
    pub fn preceding<'a>(&'a self, after: &'a Id, id: &'a Id) -> impl Iterator<Item = &'a Peer> {
        let below = self.by_id.range(..id).rev();
        let above = self.by_id.range((Excluded(id), Unbounded)).rev();
        below.chain(above).map(|(_, contact)| &contact.peer).take_while(|peer| peer.id.in_open(after, id))
    }

    /// Takes up hearsay: `peer` exists, somebody says. An entry with its id and another incarnation stays; so does
    /// the table when it is full and everything in it is kept. `kept` says who must not be evicted.
    pub fn learn(&mut self, peer: &Peer, kept: impl Fn(&Peer) -> bool) {
        if self.capacity == 0 || self.lost.contains_key(&peer.host.incarnation) {
            return;
        }
        if let Some(known) = self.by_id.get_mut(&peer.id) {
            known.used |= known.peer.host.incarnation == peer.host.incarnation;
            return;
        }
        if self.by_id.len() >= self.capacity && !self.evict(&kept) && !kept(peer) {
            return;
        }
        self.by_host.insert((peer.host.incarnation, peer.id));
        self.by_id.insert(peer.id, Contact { peer: peer.clone(), used: false });
    }

    /// The host itself gave a sign of life: what is said about it is believed again.
    pub fn alive(&mut self, incarnation: Incarnation) {
        self.lost.remove(&incarnation);
    }

    /// A host failed: all of it is forgotten, and hearsay about it disbelieved for a while.
    pub fn lose(&mut self, incarnation: Incarnation) {
        let first = (incarnation, Id::ZERO);
        while let Some((host, id)) = self.by_host.range(first..).next().copied() {
            if host != incarnation {
                break;
            }
            self.by_host.remove(&(host, id));
            self.by_id.remove(&id);
        }
        if self.lost.len() >= MAX_LOST {
            let oldest = self.lost.iter().min_by_key(|(_, round)| **round).map(|(host, _)| *host);
            oldest.map(|host| self.lost.remove(&host));
        }
        self.lost.insert(incarnation, self.round);
    }

    /// Whether this host failed lately and has given no sign of life since.
    pub fn is_lost(&self, incarnation: Incarnation) -> bool {
        self.lost.contains_key(&incarnation)
    }

    /// One virtual node is gone.
    pub fn forget(&mut self, peer: &Peer) {
        if self.by_host.remove(&(peer.host.incarnation, peer.id)) {
            self.by_id.remove(&peer.id);
        }
    }

    /// A round of stabilization begins: the time by which losses are forgotten.
    pub fn tick(&mut self) {
        self.round += 1;
        let round = self.round;
        self.lost.retain(|_, lost| *lost + LOST_ROUNDS > round);
    }

    /// Evicts one entry; `false` when every one looked at must be kept.
    fn evict(&mut self, kept: &impl Fn(&Peer) -> bool) -> bool {
        let mut victim = None;
        for _ in 0..EVICTION_SWEEP.min(self.by_id.len()) {
            let next = self.by_id.range((Excluded(self.hand), Unbounded)).next().map(|(id, _)| *id);
            let Some(id) = next.or_else(|| self.by_id.keys().next().copied()) else { break };
            self.hand = id;
            let contact = self.by_id.get_mut(&id).expect("the id was just read from the table");
            if kept(&contact.peer) {
                continue;
            }
            victim = Some(contact.peer.clone());
            if !std::mem::take(&mut contact.used) {
                break;
            }
        }
        victim.inspect(|peer| self.forget(peer)).is_some()
    }
}
