//! The properties of a ring, one named function each, over a [`Snapshot`] of all live members.
//!
//! **Safety**, after every step within the [operating assumption](Snapshot::operating_assumption):
//! [`ordered_successor_lists`](Snapshot::ordered_successor_lists), [`no_duplicates`](Snapshot::no_duplicates),
//! [`at_least_one_ring`](Snapshot::at_least_one_ring), [`at_most_one_ring`](Snapshot::at_most_one_ring),
//! [`ordered_ring`](Snapshot::ordered_ring), [`connected_appendages`](Snapshot::connected_appendages),
//! [`live_successors`](Snapshot::live_successors), [`sufficient_principals`](Snapshot::sufficient_principals).
//! **Ideal**, once nothing changes any more: [`ideal_successors`](Snapshot::ideal_successors),
//! [`ideal_predecessors`](Snapshot::ideal_predecessors), [`ideal_fingers`](Snapshot::ideal_fingers).
//!
//! Words: the *extended successor list* of a node is the node followed by its list. Its *best successor* is the
//! first live entry of its list; a node with an empty list is its own. A *ring member* reaches itself along best
//! successors; the others are *appendages*. A *principal* is a member that no extended successor list skips.
//!
//! Source: Zave, "Reasoning about identifier spaces: how to make Chord correct", TSE 2017 (arXiv 1610.01140).

#[cfg(test)]
mod tests;

use std::fmt;

use crate::protocol::fingers::FingerTable;
use crate::protocol::id::{Id, IdSpace};
use crate::protocol::peer::Peer;
use crate::protocol::ring::Ring;
use crate::protocol::successors::{SuccessorLimits, SuccessorList};

/// One live member's pointers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeSnapshot {
    /// The member.
    pub me: Peer,
    /// Its predecessor, when it knows one.
    pub predecessor: Option<Peer>,
    /// Its successor list.
    pub successors: Vec<Peer>,
    /// Its distinct fingers, clockwise, when they were asked for.
    pub fingers: Option<Vec<Peer>>,
}

impl From<&Ring> for NodeSnapshot {
    fn from(ring: &Ring) -> Self {
        NodeSnapshot {
            me: ring.me().clone(),
            predecessor: ring.predecessor().cloned(),
            successors: ring.successors().to_vec(),
            fingers: Some(ring.fingers().peers().to_vec()),
        }
    }
}

/// The live members of a ring at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    space: IdSpace,
    /// In id order, no id twice.
    nodes: Vec<NodeSnapshot>,
}

/// A property that does not hold, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{property}: {detail}")]
pub struct Violation {
    /// The property's name, which is its function's.
    pub property: &'static str,
    /// The nodes and values that break it.
    pub detail: String,
}

impl Violation {
    fn new(property: &'static str, detail: impl fmt::Display) -> Violation {
        Violation { property, detail: detail.to_string() }
    }
}

impl Snapshot {
    /// The members of one ring, in any order.
    ///
    /// # Errors
    /// `distinct_members` when two members have one id.
    pub fn new(space: IdSpace, mut nodes: Vec<NodeSnapshot>) -> Result<Snapshot, Violation> {
        nodes.sort_by_key(|node| node.me.id);
        if let Some(pair) = nodes.windows(2).find(|pair| pair[0].me.id == pair[1].me.id) {
            let detail = format_args!("{} and {} have one id", pair[0].me, pair[1].me).to_string();
            return Err(Violation::new("distinct_members", detail));
        }
        Ok(Snapshot { space, nodes })
    }

    /// The members in id order.
    pub fn nodes(&self) -> &[NodeSnapshot] {
        &self.nodes
    }

    /// Every safety property in turn. [`sufficient_principals`](Snapshot::sufficient_principals) is not among them:
    /// a ring that grows from one node does not have it from the start, so it is part of the assumption.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn safety(&self) -> Result<(), Violation> {
        self.ordered_successor_lists()?;
        self.no_duplicates()?;
        self.live_successors()?;
        self.at_least_one_ring()?;
        self.at_most_one_ring()?;
        self.ordered_ring()?;
        self.connected_appendages()
    }

    /// Every property of the ideal ring in turn.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn ideal(&self, limits: SuccessorLimits) -> Result<(), Violation> {
        self.ideal_successors(limits)?;
        self.ideal_predecessors()?;
        self.ideal_fingers()
    }

    /// Any three consecutive entries of an extended successor list lie in that order on the circle.
    ///
    /// # Errors
    /// Names the list.
    pub fn ordered_successor_lists(&self) -> Result<(), Violation> {
        for node in &self.nodes {
            let list: Vec<&Peer> = std::iter::once(&node.me).chain(&node.successors).collect();
            for three in list.windows(3) {
                if !three[1].id.in_open(&three[0].id, &three[2].id) {
                    return Err(Violation::new("ordered_successor_lists", self.describe(node)));
                }
            }
        }
        Ok(())
    }

    /// No id stands twice in an extended successor list.
    ///
    /// # Errors
    /// Names the list.
    pub fn no_duplicates(&self) -> Result<(), Violation> {
        for node in &self.nodes {
            let mut ids: Vec<&Id> =
                std::iter::once(&node.me).chain(&node.successors).map(|p| &p.id).collect();
            ids.sort_unstable();
            if ids.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err(Violation::new("no_duplicates", self.describe(node)));
            }
        }
        Ok(())
    }

    /// Every list names a live member. An empty list means the node itself, which lives; that it should not be
    /// alone is for [`Snapshot::at_most_one_ring`] to find.
    ///
    /// # Errors
    /// Names the member.
    pub fn live_successors(&self) -> Result<(), Violation> {
        for node in &self.nodes {
            let alive = |peer| self.index(peer).is_some();
            if !node.successors.is_empty() && !node.successors.iter().any(alive) {
                return Err(Violation::new("live_successors", self.describe(node)));
            }
        }
        Ok(())
    }

    /// Somebody reaches itself along best successors.
    ///
    /// # Errors
    /// When nobody does.
    pub fn at_least_one_ring(&self) -> Result<(), Violation> {
        if self.nodes.is_empty() || self.ring_members().contains(&true) {
            return Ok(());
        }
        Err(Violation::new("at_least_one_ring", "no member reaches itself along best successors"))
    }

    /// All ring members are on one ring.
    ///
    /// # Errors
    /// Names a member of each of two rings.
    pub fn at_most_one_ring(&self) -> Result<(), Violation> {
        let members = self.ring_members();
        let Some(first) = members.iter().position(|member| *member) else { return Ok(()) };
        let mut seen = vec![false; self.nodes.len()];
        let mut at = first;
        while !std::mem::replace(&mut seen[at], true) {
            at = self.best_successor(at).expect("a ring member has a best successor");
        }
        match (0..self.nodes.len()).find(|&i| members[i] && !seen[i]) {
            Some(other) => Err(Violation::new(
                "at_most_one_ring",
                format_args!("{} and {} are on different rings", self.nodes[first].me, self.nodes[other].me),
            )),
            None => Ok(()),
        }
    }

    /// Between a ring member and its best successor there is no other ring member.
    ///
    /// # Errors
    /// Names the member, its best successor and who is skipped.
    pub fn ordered_ring(&self) -> Result<(), Violation> {
        let members: Vec<usize> =
            self.ring_members().iter().enumerate().filter(|(_, member)| **member).map(|(i, _)| i).collect();
        for (position, &i) in members.iter().enumerate() {
            let next = members[(position + 1) % members.len()];
            let best = self.best_successor(i).expect("a ring member has a best successor");
            if best != next {
                let (me, best, skipped) = (&self.nodes[i].me, &self.nodes[best].me, &self.nodes[next].me);
                let detail =
                    format_args!("{me} has best successor {best}, which skips {skipped}").to_string();
                return Err(Violation::new("ordered_ring", detail));
            }
        }
        Ok(())
    }

    /// Every appendage reaches a ring member along best successors.
    ///
    /// # Errors
    /// Names the appendage.
    pub fn connected_appendages(&self) -> Result<(), Violation> {
        let members = self.ring_members();
        for (start, node) in self.nodes.iter().enumerate() {
            let mut at = Some(start);
            let mut steps = 0;
            while let Some(i) = at.filter(|&i| !members[i] && steps <= self.nodes.len()) {
                at = self.best_successor(i);
                steps += 1;
            }
            if !at.is_some_and(|i| members[i]) {
                return Err(Violation::new("connected_appendages", self.describe(node)));
            }
        }
        Ok(())
    }

    /// More members than `list_length` are skipped by no extended successor list. A ring of no more members than
    /// that cannot have it, and passes.
    ///
    /// # Errors
    /// Says how many there are.
    pub fn sufficient_principals(&self, list_length: usize) -> Result<(), Violation> {
        let principals = self.principals();
        if self.nodes.len() <= list_length || principals > list_length {
            return Ok(());
        }
        let detail = format_args!("{principals} of {} members, needed {}", self.nodes.len(), list_length + 1)
            .to_string();
        Err(Violation::new("sufficient_principals", detail))
    }

    /// How many members no extended successor list skips.
    pub fn principals(&self) -> usize {
        let mut skipped = vec![false; self.nodes.len()];
        for node in &self.nodes {
            let list: Vec<&Peer> = std::iter::once(&node.me).chain(&node.successors).collect();
            for pair in list.windows(2) {
                self.between(&pair[0].id, &pair[1].id).for_each(|i| skipped[i] = true);
            }
        }
        skipped.iter().filter(|skipped| !**skipped).count()
    }

    /// What the environment must grant for the safety properties to hold after its last event: it left every
    /// member a live successor and, in a ring larger than `list_length`, more principals than that.
    ///
    /// # Errors
    /// What it did not grant. The ring may then be broken, without a fault of the protocol.
    pub fn operating_assumption(&self, list_length: usize) -> Result<(), Violation> {
        self.live_successors()?;
        self.sufficient_principals(list_length)
    }

    /// Every list names exactly the next members, as many as `limits` ask for.
    ///
    /// # Errors
    /// Names a node with its list, and the list it should have.
    pub fn ideal_successors(&self, limits: SuccessorLimits) -> Result<(), Violation> {
        for (i, node) in self.nodes.iter().enumerate() {
            let ideal = self.ideal_list(i, limits);
            if node.successors != ideal.as_slice() {
                let detail = format_args!("{}, not {:?}", self.describe(node), ideal.as_slice()).to_string();
                return Err(Violation::new("ideal_successors", detail));
            }
        }
        Ok(())
    }

    /// Every predecessor is the member before; a lone member has none.
    ///
    /// # Errors
    /// Names a node with its predecessor, and the right one.
    pub fn ideal_predecessors(&self) -> Result<(), Violation> {
        for (i, node) in self.nodes.iter().enumerate() {
            let ideal = self.ideal_predecessor(i);
            if node.predecessor.as_ref() != ideal {
                let detail = format!("{} has {:?}, not {ideal:?}", node.me, node.predecessor);
                return Err(Violation::new("ideal_predecessors", detail));
            }
        }
        Ok(())
    }

    /// Every finger is the first member at or after its start. Nodes whose fingers were not asked for pass.
    ///
    /// # Errors
    /// Names a node with its distinct fingers, and the right ones.
    pub fn ideal_fingers(&self) -> Result<(), Violation> {
        for node in &self.nodes {
            let Some(fingers) = &node.fingers else { continue };
            let ideal = self.ideal_table(&node.me.id);
            if fingers != ideal.peers() {
                let detail = format!("{} has {fingers:?}, not {:?}", node.me, ideal.peers());
                return Err(Violation::new("ideal_fingers", detail));
            }
        }
        Ok(())
    }

    /// The member that owns `id` in the ideal ring: the first at or after it.
    pub fn ideal_owner(&self, id: &Id) -> Option<&Peer> {
        self.nodes.get(self.first_at_or_after(id)).map(|node| &node.me)
    }

    /// The pointers that the `index`-th member has in the ideal ring.
    pub fn ideal_node(&self, index: usize, limits: SuccessorLimits) -> NodeSnapshot {
        let me = &self.nodes[index].me;
        NodeSnapshot {
            me: me.clone(),
            predecessor: self.ideal_predecessor(index).cloned(),
            successors: self.ideal_list(index, limits).as_slice().to_vec(),
            fingers: Some(self.ideal_table(&me.id).peers().to_vec()),
        }
    }

    fn ideal_list(&self, index: usize, limits: SuccessorLimits) -> SuccessorList {
        let (before, after) = self.nodes.split_at(index);
        let clockwise = after.iter().chain(before).skip(1).map(|node| &node.me);
        SuccessorList::assemble(&self.nodes[index].me, limits, clockwise)
    }

    fn ideal_predecessor(&self, index: usize) -> Option<&Peer> {
        let before = (index + self.nodes.len() - 1) % self.nodes.len();
        (before != index).then(|| &self.nodes[before].me)
    }

    fn ideal_table(&self, origin: &Id) -> FingerTable {
        let mut table = FingerTable::new(self.space, *origin);
        let mut power = 0;
        while power < self.space.bits() {
            table.set(power, self.ideal_owner(&table.start(power)));
            power = table.next_uncovered(power);
        }
        table
    }

    /// The first live entry of the list; the node itself when its list is empty.
    fn best_successor(&self, index: usize) -> Option<usize> {
        let node = &self.nodes[index];
        if node.successors.is_empty() {
            return Some(index);
        }
        node.successors.iter().find_map(|peer| self.index(peer))
    }

    /// For each member, whether it reaches itself along best successors.
    fn ring_members(&self) -> Vec<bool> {
        let mut members = vec![false; self.nodes.len()];
        let mut visited_from = vec![usize::MAX; self.nodes.len()];
        for start in 0..self.nodes.len() {
            let mut at = Some(start);
            while let Some(i) = at.filter(|&i| visited_from[i] == usize::MAX) {
                visited_from[i] = start;
                at = self.best_successor(i);
            }
            while let Some(i) = at.filter(|&i| visited_from[i] == start && !members[i]) {
                members[i] = true;
                at = self.best_successor(i);
            }
        }
        members
    }

    /// The members strictly between two ids.
    fn between(&self, after: &Id, before: &Id) -> impl Iterator<Item = usize> {
        let first = self.nodes.partition_point(|node| node.me.id <= *after);
        let (after, before, count) = (*after, *before, self.nodes.len());
        (0..count)
            .map(move |offset| (first + offset) % count)
            .take_while(move |&i| self.nodes[i].me.id.in_open(&after, &before))
    }

    fn index(&self, peer: &Peer) -> Option<usize> {
        let i = self.nodes.binary_search_by_key(&peer.id, |node| node.me.id).ok()?;
        (self.nodes[i].me.host.incarnation == peer.host.incarnation).then_some(i)
    }

    fn first_at_or_after(&self, id: &Id) -> usize {
        let at = self.nodes.partition_point(|node| node.me.id < *id);
        if at == self.nodes.len() { 0 } else { at }
    }

    fn describe(&self, node: &NodeSnapshot) -> String {
        let list: Vec<String> = node
            .successors
            .iter()
            .map(|peer| format!("{peer}{}", if self.index(peer).is_some() { "" } else { " (dead)" }))
            .collect();
        format!("{} has the list [{}]", node.me, list.join(", "))
    }
}
