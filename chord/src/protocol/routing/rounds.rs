//! Rounds of maintenance as a state machine: ask, apply, ask.
//!
//! [`Routing::start_round`] says what to ask of whom; the answers, or their absence, go to [`Routing::apply`],
//! which says what to ask next, until it returns nothing. Batches may be answered in any order, late, or never: a
//! round that is started while one of its kind is under way takes its place.
//!
//! `Stabilize` is `stabilize`, `notify` and `check_predecessor` of all virtual nodes; `FixFingers` verifies every
//! finger, one question for each that is right. Source: ToN 2003, figure 6; Zave's transitions.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::protocol::id::Id;
use crate::protocol::lookup::{Lookup, Next, Route, RoutingMode};
use crate::protocol::peer::{Host, Peer};
use crate::protocol::ring::Step;
use crate::protocol::routing::{Answer, Ask, Routing};

/// What a round of maintenance looks after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Round {
    /// Predecessors and successor lists.
    Stabilize,
    /// Fingers.
    FixFingers,
}

/// A host did not answer, and counts as failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed;

/// Questions to hosts, at most one batch for each.
pub type Batches = Vec<(Arc<Host>, Vec<Ask>)>;

/// A question that was sent, and what its answer is for.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    /// The virtual node that wants to know.
    pub(super) node: Id,
    purpose: Purpose,
    peer: Peer,
    ask: Ask,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Successor,
    Candidate,
    Notify,
    Predecessor,
    Finger { power: u16 },
}

impl Purpose {
    fn round(self) -> Round {
        match self {
            Purpose::Finger { .. } => Round::FixFingers,
            _ => Round::Stabilize,
        }
    }
}

/// How the rounds of one kind go.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoundState {
    running: bool,
    /// The change counter when the round began.
    began_at: u64,
    /// The last round ended without a change ...
    pub(super) quiet: bool,
    /// ... when the change counter stood here.
    pub(super) quiet_at: u64,
}

/// The fingers of one virtual node, as far as this round has verified them.
#[derive(Clone, Debug)]
pub(super) struct Fixing {
    verified: Vec<bool>,
    lookups: Vec<(u16, Lookup)>,
}

impl Routing {
    /// Begins a round.
    pub fn start_round(&mut self, kind: Round) -> Batches {
        self.begin(kind);
        let mut asked = VecDeque::new();
        match kind {
            Round::Stabilize => {
                self.contacts.tick();
                for i in 0..self.nodes.len() {
                    asked.extend(self.check_predecessor(i));
                    self.nodes[i].steps_left = self.limits.successors.max + 8;
                    let step = self.nodes[i].ring.stabilize();
                    asked.extend(self.follow(i, step));
                }
            }
            Round::FixFingers => {
                let bits = usize::from(self.space.bits());
                for i in 0..self.nodes.len() {
                    self.nodes[i].fixing = Some(Fixing { verified: vec![false; bits], lookups: Vec::new() });
                    asked.extend(self.fix_fingers(i));
                }
            }
        }
        self.dispatch(asked)
    }

    /// Begins a round of [`Round::FixFingers`] that verifies one distinct finger of each virtual node, the next one
    /// with each `turn`: the paper's `fix_fingers` takes one at a time. For experiments.
    pub fn start_fixing_one(&mut self, turn: usize) -> Batches {
        self.begin(Round::FixFingers);
        let mut asked = VecDeque::new();
        for i in 0..self.nodes.len() {
            // The first run is the successor, which stabilization keeps.
            let runs = self.nodes[i].ring.fingers().runs();
            let mut verified = vec![true; usize::from(self.space.bits())];
            if let Some(run) = runs.get(1 + turn % (runs.len() - 1).max(1)) {
                verified[usize::from(run.first - 1)] = false;
            }
            self.nodes[i].fixing = Some(Fixing { verified, lookups: Vec::new() });
            asked.extend(self.fix_fingers(i));
        }
        self.dispatch(asked)
    }

    fn begin(&mut self, kind: Round) {
        self.waiting.retain(|waiting| waiting.purpose.round() != kind);
        let round = &mut self.rounds[kind as usize];
        round.running = true;
        round.began_at = self.changed;
    }

    /// Takes the answers to a batch (in the order of its questions), or the host's failure, and says what to ask
    /// next. Answers that nobody waits for, that are missing or that do not fit their question change nothing.
    pub fn apply(&mut self, host: &Arc<Host>, asks: &[Ask], answers: Result<&[Answer], Failed>) -> Batches {
        match answers {
            Ok(_) => self.alive(host),
            Err(Failed) => self.fail(host.incarnation),
        }
        let mut asked = VecDeque::new();
        for (i, ask) in asks.iter().enumerate() {
            let answer = match answers {
                Ok(answers) => match answers.get(i) {
                    Some(answer) => Some(answer),
                    None => break,
                },
                Err(Failed) => None,
            };
            let answered = |waiting: &mut Waiting| {
                waiting.peer.host.incarnation == host.incarnation && waiting.ask == *ask
            };
            let matching: Vec<Waiting> = self.waiting.extract_if(.., answered).collect();
            for waiting in matching {
                asked.extend(self.resolve(&waiting, answer));
            }
        }
        self.dispatch(asked)
    }

    /// Answers questions to this host itself at once, and packs the others into one batch a host.
    fn dispatch(&mut self, mut asked: VecDeque<Waiting>) -> Batches {
        let mut batches: Batches = Vec::new();
        while let Some(waiting) = asked.pop_front() {
            if waiting.peer.host.incarnation == self.host.incarnation {
                let answer = self.answer(&waiting.ask);
                asked.extend(self.resolve(&waiting, Some(&answer)));
                continue;
            }
            let host = &waiting.peer.host;
            match batches.iter_mut().find(|(known, _)| known.incarnation == host.incarnation) {
                Some((_, asks)) if asks.contains(&waiting.ask) => {}
                Some((_, asks)) => asks.push(waiting.ask.clone()),
                None => batches.push((host.clone(), vec![waiting.ask.clone()])),
            }
            self.waiting.push(waiting);
        }
        if self.waiting.is_empty() {
            // A simulation has a million of these.
            self.waiting = Vec::new();
        }
        for kind in [Round::Stabilize, Round::FixFingers] {
            let ended = !self.waiting.iter().any(|waiting| waiting.purpose.round() == kind);
            let round = &mut self.rounds[kind as usize];
            if round.running && ended {
                *round = RoundState {
                    running: false,
                    quiet: round.began_at == self.changed,
                    quiet_at: self.changed,
                    ..*round
                };
            }
        }
        batches
    }

    /// Does what an answer (`None`: the host failed) means to the node that waits for it.
    fn resolve(&mut self, waiting: &Waiting, answer: Option<&Answer>) -> Vec<Waiting> {
        let Ok(i) = self.position(&waiting.node) else { return Vec::new() };
        let peer = &waiting.peer;
        let neighbours = match answer {
            Some(Answer::Neighbours(said)) => {
                self.learn_neighbours(said);
                Some(self.sanitized(said))
            }
            _ => None,
        };
        match (waiting.purpose, answer) {
            (Purpose::Predecessor, Some(Answer::NoSuchNode)) => {
                self.predecessor_is_gone(i, peer);
                Vec::new()
            }
            (Purpose::Predecessor, Some(_)) => {
                self.nodes[i].doubt.take_if(|doubt| doubt.old == *peer);
                Vec::new()
            }
            (Purpose::Predecessor, None) => Vec::new(),
            (Purpose::Finger { power }, answer) => self.finger_answered(i, power, peer, answer),
            (Purpose::Successor, Some(Answer::Neighbours(_))) => {
                let said = neighbours.unwrap_or_default();
                let step = self.change(i, |node| node.ring.stabilize_from_successor(peer, &said));
                self.follow(i, step).into_iter().collect()
            }
            (Purpose::Candidate, _) => {
                if answer == Some(&Answer::NoSuchNode) {
                    self.change(i, |node| node.ring.gone(peer));
                }
                let step =
                    self.change(i, |node| node.ring.stabilize_from_predecessor(peer, neighbours.as_ref()));
                self.follow(i, step).into_iter().collect()
            }
            (Purpose::Notify, Some(Answer::Notified)) => Vec::new(),
            (Purpose::Successor | Purpose::Notify, None | Some(Answer::NoSuchNode)) => {
                self.change(i, |node| node.ring.gone(peer));
                let step = self.nodes[i].ring.stabilize();
                self.follow(i, step).into_iter().collect()
            }
            (Purpose::Successor | Purpose::Notify, Some(_)) => Vec::new(),
        }
    }

    /// Turns a step of the `i`-th node into its question.
    fn follow(&mut self, i: usize, step: Step) -> Option<Waiting> {
        let node = &mut self.nodes[i];
        node.steps_left = node.steps_left.checked_sub(1)?;
        let me = node.ring.me();
        let (purpose, peer, ask) = match step {
            Step::AskSuccessor(peer) => (Purpose::Successor, peer.clone(), Ask::Neighbours { of: peer.id }),
            Step::AskCandidate(peer) => (Purpose::Candidate, peer.clone(), Ask::Neighbours { of: peer.id }),
            Step::Notify(peer) => {
                let ask = Ask::Notify { to: peer.id, from: me.clone() };
                (Purpose::Notify, peer, ask)
            }
            Step::Rest => return None,
        };
        Some(Waiting { node: me.id, purpose, peer, ask })
    }

    /// Asks the predecessor for a sign of life, unless its last notification was one and nobody doubts it.
    fn check_predecessor(&mut self, i: usize) -> Option<Waiting> {
        let node = &mut self.nodes[i];
        let heard = std::mem::take(&mut node.predecessor_heard);
        let predecessor = node.ring.predecessor()?;
        if predecessor.same_host(node.ring.me()) || (heard && node.doubt.is_none()) {
            return None;
        }
        let (node, peer) = (node.ring.me().id, predecessor.clone());
        let ask = Ask::Neighbours { of: peer.id };
        Some(Waiting { node, purpose: Purpose::Predecessor, peer, ask })
    }

    /// The predecessor's host lives and runs it no more: whoever doubted it takes its place.
    fn predecessor_is_gone(&mut self, i: usize, old: &Peer) {
        self.change(i, |node| {
            node.ring.gone(old);
            if let Some(doubt) = node.doubt.take_if(|doubt| doubt.old == *old) {
                let _ = node.ring.rectify_with(&doubt.notifier, old, false);
            }
        });
    }

    /// Goes through the fingers of the `i`-th node and searches every start that is neither verified in this
    /// round nor covered by the finger before. Starts are searched at once on the supposition that the fingers
    /// are right; what turns out to be wrong makes for another pass.
    fn fix_fingers(&mut self, i: usize) -> Vec<Waiting> {
        let mut asked = Vec::new();
        let Some(mut fixing) = self.nodes[i].fixing.take() else { return asked };
        if self.nodes[i].ring.successors().is_empty() {
            return asked;
        }
        let mut power = self.nodes[i].ring.fingers().next_uncovered(0);
        while power < self.space.bits() {
            let under_way = fixing.lookups.iter().any(|(other, _)| *other == power);
            if !fixing.verified[usize::from(power)] && !under_way {
                let lookup = self.finger_lookup(i, power);
                fixing.lookups.push((power, lookup));
                asked.extend(self.drive(i, &mut fixing, power));
            }
            power = self.nodes[i].ring.fingers().next_uncovered(power);
        }
        self.nodes[i].fixing = (!fixing.lookups.is_empty()).then_some(fixing);
        asked
    }

    /// A lookup of `start(power)` that asks the present finger first: if it is right, it says so.
    fn finger_lookup(&self, i: usize, power: u16) -> Lookup {
        let ring = &self.nodes[i].ring;
        let start = ring.fingers().start(power);
        let mut first = self.route(&start, RoutingMode::Fingers);
        if let (Route::Closer(peers), Some(finger)) = (&mut first, ring.fingers().finger(power)) {
            peers.insert(0, finger.clone());
        }
        Lookup::new(start, RoutingMode::Fingers, first, &self.host, self.limits.max_hops)
    }

    fn finger_answered(
        &mut self,
        i: usize,
        power: u16,
        peer: &Peer,
        answer: Option<&Answer>,
    ) -> Vec<Waiting> {
        if let Some(Answer::Route(route)) = answer {
            self.learn(route.peers());
        }
        let Some(mut fixing) = self.nodes[i].fixing.take() else { return Vec::new() };
        if let Some((_, lookup)) = fixing.lookups.iter_mut().find(|(other, _)| *other == power) {
            match answer {
                Some(Answer::Route(route)) => lookup.answered(peer, route),
                Some(Answer::Owns) => {
                    lookup.answered(peer, &Route::Owner { predecessor: None, owners: vec![peer.clone()] });
                }
                _ => lookup.failed(peer),
            }
        }
        let next = self.drive(i, &mut fixing, power);
        self.nodes[i].fixing = Some(fixing);
        match next {
            Some(next) => vec![next],
            None => self.fix_fingers(i),
        }
    }

    /// The next question of the lookup for `power`; `None` once it has ended and the finger is set.
    fn drive(&mut self, i: usize, fixing: &mut Fixing, power: u16) -> Option<Waiting> {
        let at = fixing.lookups.iter().position(|(other, _)| *other == power)?;
        let lookup = &mut fixing.lookups[at].1;
        let id = *lookup.id();
        match lookup.next() {
            Next::Ask(peer) => {
                let ring = &self.nodes[i].ring;
                let is_finger = lookup.path().is_empty() && ring.fingers().finger(power) == Some(&peer);
                let ask = if is_finger {
                    Ask::Owns { node: peer.id, id }
                } else {
                    Ask::FindSuccessor { id, mode: lookup.mode() }
                };
                let node = ring.me().id;
                return Some(Waiting { node, purpose: Purpose::Finger { power }, peer, ask });
            }
            Next::Done { owners, .. } => {
                if let Some(owner) = owners.iter().find(|peer| self.is_plausible(peer)) {
                    self.changed += u64::from(self.nodes[i].ring.set_finger(power, owner));
                }
            }
            Next::Failed(_) => {}
        }
        fixing.lookups.remove(at);
        fixing.verified[usize::from(power)] = true;
        None
    }
}
