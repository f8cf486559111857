//! The iterative lookup: the asker drives, sees the path, and routes around dead hops.
//!
//! A [`Lookup`] says whom to ask next and is told what came back; it makes no call itself. It always ends: nobody
//! is asked twice, but who named dead owners once more for its successors, and the number of calls is limited.
//!
//! Source: ToN 2003, figure 5 (`find_successor`), iterative as in section IV-D; alternates as in section IV-E-3.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::protocol::id::Id;
use crate::protocol::peer::{Host, Incarnation, Peer};

/// Entries of a reply that are looked at, whatever a peer sends.
pub const MAX_ROUTE_PEERS: usize = 64;

/// How the next hop is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RoutingMode {
    /// Along successors only: right, and slow (ToN 2003, figure 3). For teaching and comparison.
    Naive,
    /// Along fingers and the successor list: O(log N) hops (ToN 2003, figure 5).
    Fingers,
    /// Along whatever the host knows: fingers, successor lists and its contact table.
    #[default]
    Contacts,
}

/// What a host says to a search for an id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Route {
    /// The owner is known.
    Owner {
        /// The node before the owner, in whose list a joiner with that id would stand first.
        predecessor: Option<Peer>,
        /// The owner, then its known successors, which are the next to ask should it have failed.
        owners: Vec<Peer>,
    },
    /// Whom to ask next: the best first, then alternates on other hosts. Empty when nobody closer is known.
    Closer(Vec<Peer>),
}

impl Route {
    /// Every peer it names.
    pub fn peers(&self) -> impl Iterator<Item = &Peer> {
        let (first, rest) = match self {
            Route::Owner { predecessor, owners } => (predecessor.as_ref(), owners),
            Route::Closer(peers) => (None, peers),
        };
        first.into_iter().chain(rest)
    }
}

/// What a [`Lookup`] wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// Ask this peer for the id, then say [`Lookup::answered`] or [`Lookup::failed`].
    Ask(Peer),
    /// The owner is found. Should it turn out to have failed, say [`Lookup::failed`]; should it deny, say
    /// [`Lookup::answered`]; and go on.
    Done {
        /// The node before it.
        predecessor: Option<Peer>,
        /// The owner, then the next to try. Never empty.
        owners: Vec<Peer>,
    },
    /// It cannot be found.
    Failed(LookupError),
}

/// Why a lookup found no owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// Everyone who was named has been asked or is dead.
    #[error("nobody is left to ask")]
    NoRoute,
    /// The limit of calls was reached.
    #[error("the hop limit was reached")]
    HopLimit,
}

/// One call of a lookup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// Who was asked.
    pub peer: Peer,
    /// What came back.
    pub said: Said,
}

/// What came back from one call of a lookup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// It named the owner.
    Owner(Peer),
    /// It named others to ask; the best of them, if there was one.
    Closer(Option<Peer>),
    /// It did not answer.
    Dead,
}

/// A search for the owner of one id, seen from the asker.
#[derive(Clone, Debug)]
pub struct Lookup {
    id: Id,
    mode: RoutingMode,
    me: Incarnation,
    max_hops: usize,
    /// Whom to ask, the next one last.
    frontier: Vec<Peer>,
    /// The owner as told, while nothing speaks against it.
    found: Option<(Option<Peer>, Vec<Peer>)>,
    dead: Vec<Incarnation>,
    path: Vec<Hop>,
}

impl Lookup {
    /// A search for `id` that starts from `first`, which is what `me` itself, or whoever was asked first, said.
    pub fn new(id: Id, mode: RoutingMode, first: Route, me: &Host, max_hops: usize) -> Lookup {
        let mut lookup = Lookup {
            id,
            mode,
            me: me.incarnation,
            max_hops,
            frontier: Vec::new(),
            found: None,
            dead: Vec::new(),
            path: Vec::new(),
        };
        lookup.take(None, &first);
        lookup
    }

    /// The id that is searched.
    pub fn id(&self) -> &Id {
        &self.id
    }

    /// How hops are chosen; to be sent with the next question. Who is asked once more is asked for its successors:
    /// the owner it named is dead, and so are those it named beside it, but not all between it and the id need be.
    pub fn mode(&self) -> RoutingMode {
        if self.fresh().is_some() { self.mode } else { RoutingMode::Naive }
    }

    /// What to do next. Says the same until it is told something.
    pub fn next(&self) -> Next {
        if let Some((predecessor, owners)) = &self.found {
            return Next::Done { predecessor: predecessor.clone(), owners: owners.clone() };
        }
        match self.fresh().or_else(|| self.once_more()) {
            None => Next::Failed(LookupError::NoRoute),
            Some(_) if self.path.len() >= self.max_hops => Next::Failed(LookupError::HopLimit),
            Some(peer) => Next::Ask(peer.clone()),
        }
    }

    /// `peer` answered `route`: to the question, or to a request as the supposed owner.
    pub fn answered(&mut self, peer: &Peer, route: &Route) {
        let said = match route {
            Route::Owner { owners, .. } => owners.first().cloned().map_or(Said::Closer(None), Said::Owner),
            Route::Closer(peers) => Said::Closer(peers.first().cloned()),
        };
        self.path.push(Hop { peer: peer.clone(), said });
        self.found = None;
        self.take(Some(peer), route);
    }

    /// `peer` did not answer: its host is asked nothing more, and is the owner no more.
    pub fn failed(&mut self, peer: &Peer) {
        self.path.push(Hop { peer: peer.clone(), said: Said::Dead });
        self.dead.push(peer.host.incarnation);
        if let Some((predecessor, owners)) = self.found.take() {
            self.find(predecessor, &owners);
        }
    }

    /// The calls made, in order.
    pub fn path(&self) -> &[Hop] {
        &self.path
    }

    /// How many calls were made, those that failed included.
    pub fn hops(&self) -> usize {
        self.path.len()
    }

    /// The best of those who were named and not asked.
    fn fresh(&self) -> Option<&Peer> {
        let asked = |peer: &Peer| self.path.iter().any(|hop| hop.peer == *peer);
        self.frontier.iter().rev().find(|peer| !self.is_dead(peer) && !asked(peer))
    }

    /// The last who named an owner that is dead, unless it was asked twice.
    fn once_more(&self) -> Option<&Peer> {
        let times = |peer: &Peer| self.path.iter().filter(|hop| hop.peer == *peer).count();
        let misled = |hop: &&Hop| matches!(&hop.said, Said::Owner(owner) if self.is_dead(owner));
        let mut misled = self.path.iter().rev().filter(misled).map(|hop| &hop.peer);
        misled.find(|peer| self.mode != RoutingMode::Naive && !self.is_dead(peer) && times(peer) == 1)
    }

    fn is_dead(&self, peer: &Peer) -> bool {
        self.dead.contains(&peer.host.incarnation)
    }

    /// Peers that are no nearer to the id than whoever named them are not asked: so no circle is walked twice.
    /// The owner's predecessor is, if all the owners named turn out to be dead: its list goes further.
    fn take(&mut self, asked: Option<&Peer>, route: &Route) {
        let nearer = |peer: &&Peer| {
            peer.host.incarnation != self.me && asked.is_none_or(|asked| peer.id.in_open(&asked.id, &self.id))
        };
        match route {
            Route::Owner { predecessor, owners } => {
                self.frontier.extend(predecessor.as_ref().filter(nearer).cloned());
                let owners = &owners[..owners.len().min(MAX_ROUTE_PEERS)];
                self.find(predecessor.clone(), owners);
            }
            Route::Closer(peers) => {
                let peers: Vec<Peer> = peers.iter().take(MAX_ROUTE_PEERS).filter(nearer).cloned().collect();
                self.frontier.extend(peers.into_iter().rev());
            }
        }
    }

    /// Takes the first of `owners` that is not known to be dead for the owner.
    fn find(&mut self, predecessor: Option<Peer>, owners: &[Peer]) {
        let alive = |peer: &Peer| !self.dead.contains(&peer.host.incarnation);
        if let Some(first) = owners.iter().position(alive) {
            self.found =
                Some((predecessor, owners[first..].iter().filter(|peer| alive(peer)).cloned().collect()));
        }
    }
}
