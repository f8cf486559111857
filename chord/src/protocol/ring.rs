//! One virtual node's pointers, and the transitions that keep them right.
//!
//! The transitions are Zave's, not the published pseudocode, which is not correct. Each takes one reply, changes
//! this node once and says what comes next; nothing here waits, so an explorer can interleave them at will.
//!
//! Source: Zave, "Reasoning about identifier spaces: how to make Chord correct" (TSE 2017, arXiv 1610.01140);
//! Stoica et al., ToN 2003, figures 5 and 6, for `find_successor`, `closest_preceding_node` and the fingers.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::protocol::fingers::FingerTable;
use crate::protocol::id::{Id, IdSpace, Interval};
use crate::protocol::lookup::{Route, RoutingMode};
use crate::protocol::peer::{Incarnation, Peer};
use crate::protocol::successors::{SuccessorLimits, SuccessorList};

/// What a virtual node tells about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Neighbours {
    /// Its predecessor, when it knows one.
    pub predecessor: Option<Peer>,
    /// Its successor list, nearest first; empty for a lone node.
    pub successors: Vec<Peer>,
}

/// What a node does next to stabilize.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Step {
    /// Ask this successor for its [`Neighbours`], then [`Ring::stabilize_from_successor`].
    AskSuccessor(Peer),
    /// Ask this candidate, which may lie between this node and its successor, for its [`Neighbours`], then
    /// [`Ring::stabilize_from_predecessor`].
    AskCandidate(Peer),
    /// Notify this successor, which then does [`Ring::rectify`]. That ends the round.
    Notify(Peer),
    /// Nothing: the node is alone, or the reply came too late to mean anything.
    Rest,
}

/// What a notification changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Rectify {
    /// The notifier is the predecessor now.
    Adopted,
    /// Nothing changed.
    Kept,
    /// The notifier is not closer than this predecessor: find out whether that one lives, then
    /// [`Ring::rectify_with`].
    AskOld(Peer),
}

/// One virtual node: its predecessor, successor list and fingers.
///
/// Only [`Ring::fail`], [`Ring::gone`] and [`Ring::left`] take peers out, whether they failed or left: detecting
/// that is the caller's business.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ring {
    space: IdSpace,
    me: Peer,
    limits: SuccessorLimits,
    predecessor: Option<Peer>,
    successors: SuccessorList,
    fingers: FingerTable,
}

impl Ring {
    /// A ring of one: no predecessor, no successor but itself.
    pub fn alone(space: IdSpace, me: Peer, limits: SuccessorLimits) -> Ring {
        let fingers = FingerTable::new(space, me.id);
        Ring { space, me, limits, predecessor: None, successors: SuccessorList::default(), fingers }
    }

    /// Join: `me` between `predecessor`, found by a lookup of its own id, and the head of `list`, which is the
    /// successor list that `predecessor` answered (empty when it is alone).
    ///
    /// `None` when `me` does not lie there: the ring has changed since the lookup. Then
    /// [`Ring::nearer_predecessor`] may know whom to ask instead; if not, the lookup must be repeated.
    /// Source: Zave's Join.
    pub fn joined(
        space: IdSpace,
        me: Peer,
        limits: SuccessorLimits,
        predecessor: Peer,
        list: &[Peer],
    ) -> Option<Ring> {
        let head = list.first().unwrap_or(&predecessor);
        if me.id == predecessor.id || !me.id.in_open(&predecessor.id, &head.id) {
            return None;
        }
        let mut ring = Ring::alone(space, me, limits);
        ring.adopt(head, list.get(1..).unwrap_or_default());
        ring.predecessor = Some(predecessor);
        Some(ring)
    }

    /// Whom a joiner at `id` asks instead, when `list`, which `predecessor` answered, shows that others have come
    /// between them: the last of the list before `id`.
    pub fn nearer_predecessor(id: &Id, predecessor: &Peer, list: &[Peer]) -> Option<Peer> {
        list.iter().take_while(|peer| peer.id.in_open(&predecessor.id, id)).last().cloned()
    }

    /// A node in a given state, for tests, simulations and explorers. Successors and fingers are cut to what the
    /// list and the table may hold; the fingers are the distinct ones, clockwise.
    pub fn with_pointers(
        space: IdSpace,
        me: Peer,
        limits: SuccessorLimits,
        predecessor: Option<Peer>,
        successors: &[Peer],
        fingers: &[Peer],
    ) -> Ring {
        let mut ring = Ring::alone(space, me, limits);
        ring.successors = SuccessorList::assemble(&ring.me, limits, successors);
        ring.predecessor = predecessor;
        for finger in fingers {
            let beyond = ring
                .fingers
                .peers()
                .last()
                .map_or(0, |last| ring.space.distance(&ring.me.id, &last.id).bit_length());
            if beyond < space.bits() {
                ring.fingers.set(beyond, Some(finger));
            }
        }
        ring.point_first_finger();
        ring
    }

    /// This virtual node.
    pub fn me(&self) -> &Peer {
        &self.me
    }

    /// The circle.
    pub fn space(&self) -> IdSpace {
        self.space
    }

    /// The predecessor, when one is known.
    pub fn predecessor(&self) -> Option<&Peer> {
        self.predecessor.as_ref()
    }

    /// The successor: this node itself when it knows no other.
    pub fn successor(&self) -> &Peer {
        self.successors.first().unwrap_or(&self.me)
    }

    /// The successor list, nearest first; empty when this node knows no other.
    pub fn successors(&self) -> &[Peer] {
        self.successors.as_slice()
    }

    /// The finger table.
    pub fn fingers(&self) -> &FingerTable {
        &self.fingers
    }

    /// What this node tells others about itself.
    pub fn neighbours(&self) -> Neighbours {
        Neighbours { predecessor: self.predecessor.clone(), successors: self.successors().to_vec() }
    }

    /// Whether this node knows nobody else, so that the whole circle is its own.
    pub fn is_alone(&self) -> bool {
        self.predecessor.is_none() && self.successors().is_empty() && self.fingers.peers().is_empty()
    }

    /// What this node owns by its pointers: (predecessor, me]; the whole circle when it is alone; `None` while it
    /// knows no predecessor.
    pub fn interval(&self) -> Option<Interval> {
        match &self.predecessor {
            Some(predecessor) => Some(Interval::new(predecessor.id, self.me.id)),
            None if self.is_alone() => Some(Interval::new(self.me.id, self.me.id)),
            None => None,
        }
    }

    /// Whether `id` is this node's own by its pointers. While no predecessor is known, only its very id is.
    pub fn owns(&self, id: &Id) -> bool {
        *id == self.me.id || self.interval().is_some_and(|interval| interval.contains(id))
    }

    /// How a round of stabilization begins.
    ///
    /// A node without a successor asks the predecessor that notified it (the second node of a ring becomes the
    /// first one's successor that way), and failing that its nearest finger.
    pub fn stabilize(&self) -> Step {
        match (self.successors.first(), &self.predecessor, self.fingers.peers().first()) {
            (Some(successor), _, _) => Step::AskSuccessor(successor.clone()),
            (None, Some(predecessor), _) => Step::AskCandidate(predecessor.clone()),
            (None, None, Some(finger)) => Step::AskCandidate(finger.clone()),
            (None, None, None) => Step::Rest,
        }
    }

    /// The live successor `asked` answered `reply`: take its list over, and look at its predecessor.
    ///
    /// A dead successor is reported with [`Ring::fail`] instead, and [`Ring::stabilize`] names the next.
    /// Source: Zave's StabilizeFromSuccessor.
    pub fn stabilize_from_successor(&mut self, asked: &Peer, reply: &Neighbours) -> Step {
        if self.successors.first() != Some(asked) {
            return Step::Rest;
        }
        self.adopt(asked, &reply.successors);
        self.look_closer(asked, reply)
    }

    /// The candidate answered `reply`, or nothing because it is dead: only a live one becomes the successor. Then
    /// its predecessor may be the next candidate.
    ///
    /// Source: Zave's StabilizeFromPredecessor. (The published protocol adopts the candidate unasked.)
    pub fn stabilize_from_predecessor(&mut self, candidate: &Peer, reply: Option<&Neighbours>) -> Step {
        match reply {
            Some(reply) if candidate.id.in_open(&self.me.id, &self.successor().id) => {
                self.adopt(candidate, &reply.successors);
                self.look_closer(candidate, reply)
            }
            _ => self.successors.first().cloned().map_or(Step::Rest, Step::Notify),
        }
    }

    /// `notifier` believes to be the predecessor. It never becomes the successor here: the notification may be
    /// older than its sender's end, and a joiner would be sent to the dead.
    ///
    /// Source: Zave's Rectify.
    pub fn rectify(&mut self, notifier: &Peer) -> Rectify {
        if notifier.id == self.me.id {
            return Rectify::Kept;
        }
        match &self.predecessor {
            Some(old) if old == notifier => Rectify::Kept,
            Some(old) if !notifier.id.in_open(&old.id, &self.me.id) => Rectify::AskOld(old.clone()),
            _ => {
                self.predecessor = Some(notifier.clone());
                Rectify::Adopted
            }
        }
    }

    /// Rectify, ended: the predecessor `old` was asked because of `notifier`, and is alive or not.
    pub fn rectify_with(&mut self, notifier: &Peer, old: &Peer, alive: bool) -> Rectify {
        if !alive && self.predecessor.as_ref() == Some(old) {
            self.predecessor = None;
        }
        match self.rectify(notifier) {
            Rectify::AskOld(_) => Rectify::Kept,
            done => done,
        }
    }

    /// A host failed: its virtual nodes are dropped from the successor list, the fingers and the predecessor.
    ///
    /// Source: Zave's Fail, seen by a survivor; `check_predecessor` of ToN 2003, figure 6.
    pub fn fail(&mut self, incarnation: Incarnation) {
        self.successors.remove_host(incarnation);
        self.fingers.remove_host(incarnation);
        if self.predecessor.as_ref().is_some_and(|old| old.host.incarnation == incarnation) {
            self.predecessor = None;
        }
        self.point_first_finger();
    }

    /// One virtual node is gone from a host that lives.
    pub fn gone(&mut self, peer: &Peer) {
        self.successors.remove(peer);
        self.fingers.remove(peer);
        if self.predecessor.as_ref() == Some(peer) {
            self.predecessor = None;
        }
        self.point_first_finger();
    }

    /// A neighbour leaves and tells `its` pointers: they close the gap at once, without a failure being detected.
    pub fn left(&mut self, leaver: &Peer, its: &Neighbours) {
        let was_successor = self.successors.first() == Some(leaver);
        let was_predecessor = self.predecessor.as_ref() == Some(leaver);
        self.gone(leaver);
        if was_successor {
            let list = SuccessorList::assemble(&self.me, self.limits, &its.successors);
            if list.first().is_some_and(|head| head != leaver) {
                self.successors = list;
                self.point_first_finger();
            }
        }
        if was_predecessor {
            let before = its.predecessor.as_ref();
            self.predecessor = before.filter(|peer| peer.id.in_open(&self.me.id, &leaver.id)).cloned();
        }
    }

    /// `fix_fingers`, ended for one finger: a lookup of `start(power)` found `owner`. Returns whether the table
    /// changed. Source: ToN 2003, figure 6.
    pub fn set_finger(&mut self, power: u16, owner: &Peer) -> bool {
        self.fingers.set(power, Some(owner))
    }

    /// The known node that most closely precedes `id`, from fingers and successor list; `None` when none does.
    ///
    /// Source: ToN 2003, figure 5, with the successor list as section IV-E-3 asks.
    pub fn closest_preceding_node(&self, id: &Id) -> Option<&Peer> {
        let finger = self.fingers.preceding(id).last();
        let successor = self.successors_preceding(id).last();
        match (finger, successor) {
            (Some(finger), Some(successor)) if finger.id.in_open(&self.me.id, &successor.id) => {
                Some(successor)
            }
            (finger, successor) => finger.or(successor),
        }
    }

    /// What this node alone says to a search for `id`: its owner, or whom to ask next. [`RoutingMode::Contacts`]
    /// is for a whole host's view; here it is the same as [`RoutingMode::Fingers`].
    pub fn find_successor(&self, id: &Id, mode: RoutingMode) -> Route {
        if self.owns(id) { self.route_to_self() } else { self.find_successor_beyond(id, mode) }
    }

    /// [`Ring::find_successor`] of a node that does not look whether `id` is its own, as the first published
    /// implementations did not: a search for it then goes once round the circle. For experiments.
    pub fn find_successor_beyond(&self, id: &Id, mode: RoutingMode) -> Route {
        if let Some(route) = self.route_from_list(id, mode, false) {
            return route;
        }
        let next = match mode {
            RoutingMode::Naive => self.known_successors().first(),
            RoutingMode::Fingers | RoutingMode::Contacts => self.closest_preceding_node(id),
        };
        Route::Closer(next.cloned().into_iter().collect())
    }

    /// The route to an id that this node owns.
    pub(crate) fn route_to_self(&self) -> Route {
        let mut owners = vec![self.me.clone()];
        owners.extend_from_slice(self.successors());
        let predecessor = self.predecessor.clone().or_else(|| self.is_alone().then(|| self.me.clone()));
        Route::Owner { predecessor, owners }
    }

    /// The owner of `id` where the successor list tells it: the whole list is looked at, except in
    /// [`RoutingMode::Naive`], which knows only the successor. Unless `whole`, an owner in the last quarter of the
    /// list is not named: too few alternates follow, should it be dead, and whoever comes before it knows more.
    pub(crate) fn route_from_list(&self, id: &Id, mode: RoutingMode, whole: bool) -> Option<Route> {
        let known = self.known_successors();
        let named = match mode {
            RoutingMode::Naive => known.len().min(1),
            _ if whole => known.len(),
            _ => known.len() - known.len() / 4,
        };
        let at = known.partition_point(|peer| peer.id.in_open(&self.me.id, id));
        let owner = known[..named].get(at)?;
        let predecessor = if at == 0 { &self.me } else { &known[at - 1] };
        debug_assert!(id.in_half_open(&predecessor.id, &owner.id));
        Some(Route::Owner { predecessor: Some(predecessor.clone()), owners: known[at..].to_vec() })
    }

    /// The successors strictly between this node and `id`, the closest to `id` last.
    pub(crate) fn successors_preceding(&self, id: &Id) -> &[Peer] {
        let known = self.known_successors();
        &known[..known.partition_point(|peer| peer.id.in_open(&self.me.id, id))]
    }

    /// The successor list; until the first stabilization of a lone node, the predecessor that notified it.
    pub(crate) fn known_successors(&self) -> &[Peer] {
        match (self.successors(), &self.predecessor) {
            ([], predecessor) => predecessor.as_slice(),
            (list, _) => list,
        }
    }

    /// Whoever lies before the successor is a candidate: its predecessor, or one of its list, once that has come
    /// round past this node. If there is none, the successor is notified.
    ///
    /// Zave asks the predecessor only, which suffices in a ring with more principals than lists are long. A younger
    /// one can close after two turns, each node's predecessor being right by its own word, and would stay so.
    fn look_closer(&self, successor: &Peer, its: &Neighbours) -> Step {
        let between = |peer: &&Peer| peer.id.in_open(&self.me.id, &successor.id);
        match its.predecessor.iter().chain(&its.successors).find(between) {
            Some(candidate) => Step::AskCandidate(candidate.clone()),
            None => Step::Notify(successor.clone()),
        }
    }

    fn adopt(&mut self, head: &Peer, rest: &[Peer]) {
        let list = std::iter::once(head).chain(rest);
        self.successors = SuccessorList::assemble(&self.me, self.limits, list);
        self.point_first_finger();
    }

    /// The first finger is the successor, always.
    fn point_first_finger(&mut self) {
        if let Some(successor) = self.successors.first() {
            self.fingers.set(0, Some(successor));
        }
    }
}
