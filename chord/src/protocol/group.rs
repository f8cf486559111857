//! Who may answer for an id: group records, and how they change hands.
//!
//! These are the rules of docs/protocol.md, "Groups", for groups of one host. The names and steps are those of the
//! protocol for groups of several; what a majority of one makes trivial is not here: prepared ballots (the owner's ballot 0
//! always suffices), `synced` (an opened record is synced), confirm rounds, and floors.
//!
//! A hand-off of {s} to {n}, with the method that makes each step:
//!
//! | step | at s | at n |
//! |---|---|---|
//! | n becomes a learner; s goes on serving | [`Groups::begin`] | [`Groups::offer`] |
//! | entries are copied; writes go to both | | |
//! | s holds writes back until n confirmed that it holds everything | [`Groups::hold`] | |
//! | s accepts the next record: decided, and s is fenced for ever | [`Groups::accept`] | |
//! | n installs, opens and serves | | [`Groups::install`] |
//! | s knows the record is in force, drops its entries and has left | [`Groups::in_force`] | |
//!
//! Until `accept` the hand-off can be given up ([`Groups::release`]); after it there is only forward.
//!
//! Source: single-decree Paxos for each epoch's successor record (Lamport; "Vertical Paxos", 2009; Etna, 2005).

mod verdict;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::protocol::id::{Id, Interval};
use crate::protocol::interval_map::IntervalMap;
use crate::protocol::peer::{Host, Incarnation};

pub use self::verdict::Verdict;

/// Pieces of one hand-off, when it begins; what is more is handed over by another one after it. Far fewer than one
/// message may name ([`MAX_PIECES`](crate::protocol::message::MAX_PIECES)): what is learnt back of a hand-off that is
/// decided cuts its pieces up.
pub const MAX_BEGUN: usize = 256;

/// A group record: who may answer for an id, under an epoch that only grows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Group {
    /// The epoch. Genesis is 1.
    pub epoch: u64,
    /// The members, the owner first. One, in this version.
    pub members: Vec<Arc<Host>>,
}

impl Group {
    /// The group of `owner` alone.
    pub fn of_one(epoch: u64, owner: Arc<Host>) -> Group {
        Group { epoch, members: vec![owner] }
    }

    /// The owner; `None` for a malformed record without members.
    pub fn owner(&self) -> Option<&Arc<Host>> {
        self.members.first()
    }
}

/// A proposer's attempt number: the round, then who proposes. Round 0 belongs to the epoch's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ballot {
    /// The round.
    pub round: u64,
    /// The proposer.
    pub proposer: Incarnation,
}

/// Names one hand-off: the host that hands over, and its how-manieth that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TransferId {
    /// The host that hands over.
    pub source: Incarnation,
    /// Its counter.
    pub number: u64,
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}", self.source, self.number)
    }
}

/// What a host knows about one id. Neighbouring ids share a piece of the map only while all of it is equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    /// The newest record installed here; it never goes back.
    record: Option<Arc<Group>>,
    /// The entries were dropped because the next record is in force without this host.
    left: bool,
    /// Accepted as successor of `record`: this host is fenced for it. Emptied only by a newer installation.
    accepted: Option<(Ballot, Arc<Group>)>,
    /// The hand-off under way from here.
    outgoing: Option<Outgoing>,
    /// The hand-off under way to here.
    learning: Option<Learning>,
    /// The last hand-off to here that was forgotten. What was confirmed of it means nothing any more, but its source
    /// may not know that yet: a repeated offer of it is not taken again.
    forgotten: Option<Learning>,
}

impl State {
    fn forget(&mut self) {
        self.forgotten = self.learning.take();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Outgoing {
    transfer: TransferId,
    /// Writes are held back.
    held: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Learning {
    transfer: TransferId,
    /// The epoch in force at the source when it offered.
    epoch: u64,
    source: Arc<Host>,
}

impl Learning {
    /// Whether an offer replaces this one: it is this one, a later one of the same host, or one under a newer epoch
    /// (whose host could only have it after this one's source had handed over).
    fn yields_to(&self, transfer: TransferId, epoch: u64) -> bool {
        if self.transfer.source == transfer.source {
            transfer.number >= self.transfer.number
        } else {
            epoch > self.epoch
        }
    }

    /// Whether an offer is newer than this one, which was forgotten.
    fn precedes(&self, transfer: TransferId, epoch: u64) -> bool {
        self.transfer != transfer && self.yields_to(transfer, epoch)
    }
}

/// Why an offer was declined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Declined {
    /// A record at least as new is installed here for a part of it.
    #[error("a record at least as new is installed here")]
    NotNewer,
    /// A newer offer is known for a part of it, from the same host or under a newer epoch; or this one was forgotten.
    #[error("a newer offer is known for a part of it, or this one was forgotten")]
    Stale,
    /// The offer names nothing.
    #[error("nothing is offered")]
    Nothing,
}

/// A host's group records: the map from ids to what it knows about them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Groups {
    me: Arc<Host>,
    map: IntervalMap<State>,
    transfers: u64,
}

impl Groups {
    /// The first host of a new ring: the whole circle, epoch 1.
    pub fn genesis(me: Arc<Host>) -> Groups {
        let record = Arc::new(Group::of_one(1, me.clone()));
        let state = State { record: Some(record), ..State::default() };
        Groups { me, map: IntervalMap::uniform(state), transfers: 0 }
    }

    /// A host that holds nothing.
    pub fn empty(me: Arc<Host>) -> Groups {
        Groups { me, map: IntervalMap::uniform(State::default()), transfers: 0 }
    }

    /// Whether this host answers for `id`.
    pub fn verdict(&self, id: &Id) -> Verdict {
        let state = self.map.at(id);
        if let Some(learning) = &state.learning {
            return Verdict::Learning(learning.source.clone());
        }
        match (&state.record, &state.accepted) {
            (None, _) => Verdict::Unknown,
            (Some(_), Some((_, next))) if state.left => Verdict::Moved(next.clone()),
            (Some(_), Some((_, next))) => Verdict::Fenced(next.clone()),
            (Some(record), None) => Verdict::Serve {
                epoch: record.epoch,
                copying: state.outgoing.map(|outgoing| outgoing.transfer),
                held: state.outgoing.is_some_and(|outgoing| outgoing.held),
            },
        }
    }

    /// Whether this host answers for `id` under `epoch`, or has answered and still has what it then had.
    pub fn still_holds(&self, id: &Id, epoch: u64) -> bool {
        let state = self.map.at(id);
        !state.left && state.record.as_ref().is_some_and(|record| record.epoch == epoch)
    }

    /// The pieces this host answers for, with their records.
    pub fn served(&self) -> Vec<(Interval, Arc<Group>)> {
        self.pieces(|state| state.accepted.is_none() && !state.left)
    }

    /// Whether this host answers for the whole circle.
    pub fn serves_all(&self) -> bool {
        let serves = |state: &State| state.record.is_some() && state.accepted.is_none() && !state.left;
        self.map.pieces().all(|(_, state)| serves(state) && state.learning.is_none())
    }

    /// The pieces this host answers for and does not hand over.
    pub fn idle(&self) -> Vec<Interval> {
        let idle = self.pieces(|state| state.accepted.is_none() && !state.left && state.outgoing.is_none());
        idle.into_iter().map(|(interval, _)| interval).collect()
    }

    /// The pieces this host has entries of as a member: what it serves, and what it is fenced for but not rid of.
    pub fn held(&self) -> Vec<(Interval, Arc<Group>)> {
        self.pieces(|state| !state.left)
    }

    /// The pieces on which what this host knows of ids is the same: those it answers for, and those it has answered for
    /// or learns.
    pub fn records(&self) -> usize {
        self.map.pieces().count()
    }

    /// Hand-offs under way in either direction, each counted once.
    pub fn transfers(&self) -> usize {
        let mut all: Vec<TransferId> = self
            .map
            .pieces()
            .flat_map(|(_, state)| {
                let outgoing = state.outgoing.map(|outgoing| outgoing.transfer);
                [outgoing, state.learning.as_ref().map(|learning| learning.transfer)]
            })
            .flatten()
            .collect();
        all.sort_unstable();
        all.dedup();
        all.len()
    }

    /// Whether a hand-off to this host is under way.
    pub fn learns(&self) -> bool {
        self.map.pieces().any(|(_, state)| state.learning.is_some())
    }

    /// Begins to hand over what this host serves of `interval` and does not hand over already, [`MAX_BEGUN`] pieces of it
    /// at most. `None` when that is nothing.
    pub fn begin(&mut self, interval: Interval) -> Option<(TransferId, Vec<(Interval, u64)>)> {
        self.begin_pieces(interval, MAX_BEGUN)
    }

    /// Begins a hand-off to nobody of everything that [`Groups::begin`] could begin with, in however many pieces.
    pub fn begin_all(&mut self) -> Option<TransferId> {
        self.begin_pieces(Interval::whole(), usize::MAX).map(|(transfer, _)| transfer)
    }

    fn begin_pieces(
        &mut self,
        interval: Interval,
        most: usize,
    ) -> Option<(TransferId, Vec<(Interval, u64)>)> {
        let free = |state: &State| state.accepted.is_none() && state.outgoing.is_none() && !state.left;
        let pieces: Vec<(Interval, u64)> = self
            .map
            .within(interval)
            .into_iter()
            .filter(|(_, state)| free(state) && state.learning.is_none())
            .filter_map(|(piece, state)| state.record.map(|record| (piece, record.epoch)))
            .take(most)
            .collect();
        if pieces.is_empty() {
            return None;
        }
        self.transfers += 1;
        let transfer = TransferId { source: self.me.incarnation, number: self.transfers };
        for (piece, _) in &pieces {
            self.map.update(*piece, |_, state| state.outgoing = Some(Outgoing { transfer, held: false }));
        }
        Some((transfer, pieces))
    }

    /// Gives the hand-off `transfer` a new name, under which the learner begins anew, and lets writes go on until
    /// [`Groups::hold`]. `None` when there is no such hand-off any more.
    pub fn renew(&mut self, transfer: TransferId) -> Option<(TransferId, Vec<(Interval, u64)>)> {
        let renewed = TransferId { source: self.me.incarnation, number: self.transfers + 1 };
        let mut pieces = Vec::new();
        self.map.update_all(|interval, state| {
            if let (Some(outgoing), Some(record)) = (&mut state.outgoing, &state.record)
                && outgoing.transfer == transfer
            {
                *outgoing = Outgoing { transfer: renewed, held: false };
                pieces.push((interval, record.epoch));
            }
        });
        if pieces.is_empty() {
            return None;
        }
        self.transfers += 1;
        Some((renewed, pieces))
    }

    /// Holds writes back in what `transfer` hands over.
    pub fn hold(&mut self, transfer: TransferId) {
        self.map.update_all(|_, state| {
            if let Some(outgoing) = state.outgoing.as_mut().filter(|outgoing| outgoing.transfer == transfer) {
                outgoing.held = true;
            }
        });
    }

    /// Gives `transfer` up, unless it was accepted: this host serves on.
    pub fn release(&mut self, transfer: TransferId) {
        self.map.update_all(|_, state| {
            if state.accepted.is_none() && state.outgoing.is_some_and(|o| o.transfer == transfer) {
                state.outgoing = None;
            }
        });
    }

    /// Accepts, with the owner's own ballot, the next record: `to` alone. In a group of one this decides it; from
    /// here on this host is fenced. The learner must have confirmed that it holds everything. Repeating it gives
    /// the same records.
    pub fn accept(&mut self, transfer: TransferId, to: &Arc<Host>) -> Vec<(Interval, Group)> {
        let ballot = Ballot { round: 0, proposer: self.me.incarnation };
        let mut decided = Vec::new();
        self.map.update_all(|interval, state| {
            if state.outgoing.is_none_or(|outgoing| outgoing.transfer != transfer) {
                return;
            }
            let Some(record) = &state.record else { return };
            let next = match &state.accepted {
                Some((_, next)) => next.clone(),
                None => Arc::new(Group::of_one(record.epoch + 1, to.clone())),
            };
            decided.push((interval, (*next).clone()));
            state.accepted = Some((ballot, next));
        });
        decided
    }

    /// The records that `transfer` decided are in force: this host has left. Returns whose entries to drop.
    pub fn in_force(&mut self, transfer: TransferId) -> Vec<Interval> {
        let mut dropped = Vec::new();
        self.map.update_all(|interval, state| {
            if state.accepted.is_some() && state.outgoing.is_some_and(|o| o.transfer == transfer) {
                state.outgoing = None;
                state.left = true;
                dropped.push(interval);
            }
        });
        dropped
    }

    /// Becomes a learner of `pieces` (with the epochs in force at `from`). Returns what must be cleared before a
    /// chunk is taken: everything, or nothing when the same offer was taken before (a repetition must not undo the
    /// chunks that were confirmed since). One that was forgotten is not taken again for the same reason: its source
    /// may still count on what was confirmed, and must be told so by its next message.
    ///
    /// # Errors
    /// [`Declined`]; nothing changed.
    pub fn offer(
        &mut self,
        transfer: TransferId,
        from: &Arc<Host>,
        pieces: &[(Interval, u64)],
    ) -> Result<Vec<Interval>, Declined> {
        if pieces.is_empty() {
            return Err(Declined::Nothing);
        }
        let mut repeated = true;
        for (piece, epoch) in pieces {
            for (_, state) in self.map.within(*piece) {
                let gone = state.left || state.accepted.is_some();
                if state.record.as_ref().is_some_and(|record| record.epoch >= *epoch || !gone) {
                    return Err(Declined::NotNewer);
                }
                let known = state.learning.as_ref();
                if known.is_some_and(|known| !known.yields_to(transfer, *epoch))
                    || state.forgotten.as_ref().is_some_and(|known| !known.precedes(transfer, *epoch))
                {
                    return Err(Declined::Stale);
                }
                repeated &= state.learning.is_some_and(|known| known.transfer == transfer);
            }
        }
        if repeated {
            return Ok(Vec::new());
        }
        for (piece, epoch) in pieces {
            self.map.update(*piece, |_, state| {
                // An offer under a newer epoch proves that what this host accepted is in force.
                state.left = state.record.is_some();
                state.outgoing = None;
                state.learning = Some(Learning { transfer, epoch: *epoch, source: from.clone() });
                state.forgotten = None;
            });
        }
        Ok(pieces.iter().map(|(piece, _)| *piece).collect())
    }

    /// Whether `transfer` is being learnt at `id`.
    pub fn is_learning(&self, transfer: TransferId, id: &Id) -> bool {
        self.map.at(id).learning.as_ref().is_some_and(|learning| learning.transfer == transfer)
    }

    /// Who offered what is being learnt by `transfer`, if anything is.
    pub fn source(&self, transfer: TransferId) -> Option<&Arc<Host>> {
        let learning = self.map.pieces().filter_map(|(_, state)| state.learning.as_ref());
        learning.filter(|learning| learning.transfer == transfer).map(|learning| &learning.source).next()
    }

    /// Whether what is being learnt at `id` is to be installed under `epoch`, or a newer one. Not so when `epoch` was
    /// promised here in an earlier hand-off, which is over.
    pub fn is_learning_for(&self, epoch: u64, id: &Id) -> bool {
        self.map.at(id).learning.as_ref().is_some_and(|learning| epoch > learning.epoch)
    }

    /// Whether the record of `epoch` for `id`, which an asker was told is this host's, may be on its way here.
    pub fn awaits(&self, epoch: u64, id: &Id) -> bool {
        match self.verdict(id) {
            Verdict::Learning(_) => self.is_learning_for(epoch, id),
            Verdict::Unknown => epoch > 0,
            _ => false,
        }
    }

    /// Installs, opens and serves decided records, whose entries this learner holds. `false`, and no change, when
    /// a part of them is neither being learnt by `transfer` nor installed already, it or a newer one.
    pub fn install(&mut self, transfer: TransferId, groups: &[(Interval, Group)]) -> bool {
        // What was installed once stays so, though this host may have handed it on, and learn it anew by now.
        let installed = |state: &State, group: &Group| {
            state.record.as_ref().is_some_and(|record| record.epoch >= group.epoch)
        };
        let learning =
            |state: &State| state.learning.as_ref().is_some_and(|learning| learning.transfer == transfer);
        let ready = groups.iter().all(|(interval, group)| {
            group.owner().is_some_and(|owner| owner.incarnation == self.me.incarnation)
                && self
                    .map
                    .within(*interval)
                    .iter()
                    .all(|(_, state)| installed(state, group) || learning(state))
        });
        if !ready || groups.is_empty() {
            return false;
        }
        for (interval, group) in groups {
            let record = Arc::new(group.clone());
            self.map.update(*interval, |_, state| {
                if learning(state) {
                    *state = State { record: Some(record.clone()), ..State::default() };
                }
            });
        }
        true
    }

    /// Forgets the hand-off `transfer` to here, unless it was installed. Its entries mean nothing then.
    pub fn abort(&mut self, transfer: TransferId) {
        self.map.update_all(|_, state| {
            if state.learning.as_ref().is_some_and(|learning| learning.transfer == transfer) {
                state.forget();
            }
        });
    }

    /// Forgets every hand-off from a host that failed.
    pub fn source_failed(&mut self, source: Incarnation) {
        self.map.update_all(|_, state| {
            if state.learning.as_ref().is_some_and(|learning| learning.transfer.source == source) {
                state.forget();
            }
        });
    }

    fn pieces(&self, wanted: impl Fn(&State) -> bool) -> Vec<(Interval, Arc<Group>)> {
        self.map
            .pieces()
            .filter(|(_, state)| wanted(state))
            .filter_map(|(interval, state)| state.record.clone().map(|record| (interval, record)))
            .collect()
    }
}

#[cfg(test)]
mod tests;
