//! What can happen to a small ring, each step through the engine's own `Ring`.
//!
//! A query and its reply are one step, as in Zave's model; between the steps of one node anything may happen at
//! the others. Where the engine's `Routing` stands between the wire and the `Ring`, its part is repeated here and
//! named.

use chord::protocol::peer::Peer;
use chord::protocol::ring::{Neighbours, Rectify, Ring, Step};

use crate::model::{Code, Farewell, Flaw, Next, Node, State, World};

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// `who` joins between `after` and the head of its list.
    Join { who: Code, after: Code },
    /// Ends without a word.
    Fail(Code),
    /// Takes part no more, and tells its neighbours: the predecessor and the successor hear it at once or never
    /// (`true` or `false`), or whenever the message arrives.
    Leave { who: Code, heard: Option<[bool; 2]> },
    /// Begins a round: asks the successor, or the candidate when there is none.
    Stabilize(Code),
    /// Asks the candidate.
    AskCandidate(Code),
    /// The notification of this node reaches its successor, or finds it dead.
    Notify(Code),
    /// The doubted predecessor of this node gives a sign of life.
    Trust(Code),
    /// Finds out that another is dead.
    Detect { who: Code, dead: Code },
    /// The goodbye of a leaver reaches its predecessor (0) or successor (1).
    HearGoodbye { from: Code, which: usize },
    /// A message whose sender is dead never arrives: goodbye to the predecessor (0) or successor (1), or a
    /// notification (2).
    Lose { from: Code, which: usize },
}

impl World {
    /// The state behind `action`; `None` when it cannot happen in `state` (what the environment has to grant aside).
    pub(crate) fn act(&self, state: &State, action: Action) -> Option<State> {
        let mut to = self.may(state, action).then(|| state.clone())?;
        match action {
            Action::Join { who, after } => self.join(&mut to, who, after)?,
            Action::Fail(who) => {
                self.end(&mut to, who, Farewell::default());
            }
            Action::Leave { who, heard } => self.leave(&mut to, who, heard)?,
            Action::Stabilize(who) => self.stabilize(&mut to, who)?,
            Action::AskCandidate(who) => self.ask_candidate(&mut to, who)?,
            Action::Notify(who) => self.notify(&mut to, who)?,
            Action::Trust(who) => to.node_mut(who).doubt = (0, 0),
            Action::Detect { who, dead } => {
                let node = state.node(who);
                let lists = [node.list, node.fingers];
                (node.predecessor == dead || lists.as_flattened().contains(&dead)).then_some(())?;
                self.fail(&mut to, who, dead);
            }
            Action::HearGoodbye { from, which } => self.hear_goodbye(&mut to, from, which)?,
            Action::Lose { from, which } => {
                let node = to.node_mut(from);
                match which {
                    2 => (std::mem::take(&mut node.next) != Next::Idle).then_some(())?,
                    _ => std::mem::take(&mut node.farewell.under_way[which]).then_some(())?,
                }
                self.clear_farewell(&mut to, from);
            }
        }
        Some(to)
    }

    /// Rules out most of what cannot happen, for less than trying costs.
    fn may(&self, state: &State, action: Action) -> bool {
        match action {
            Action::Join { who, after } => !state.is_live(who) && state.is_live(after),
            Action::Fail(who) | Action::Leave { who, .. } => state.is_live(who),
            Action::Stabilize(who) => state.is_live(who) && state.node(who).next == Next::Idle,
            Action::AskCandidate(who) => state.is_live(who) && matches!(state.node(who).next, Next::Ask(_)),
            Action::Notify(from) => matches!(state.node(from).next, Next::Notify(_)),
            Action::Trust(who) => state.is_live(who) && state.is_live(state.node(who).doubt.0),
            Action::Detect { who, dead } => dead != 0 && state.is_live(who) && !state.is_live(dead),
            Action::HearGoodbye { from, .. } => state.node(from).farewell != Farewell::default(),
            Action::Lose { from, .. } => !state.is_live(from) && *state.node(from) != Node::default(),
        }
    }

    /// Every action there is.
    pub(crate) fn actions(&self) -> Vec<Action> {
        let mut all = Vec::new();
        for who in self.codes() {
            all.extend([Action::Stabilize(who), Action::AskCandidate(who), Action::Notify(who)]);
            all.extend([Action::Trust(who), Action::Fail(who), Action::Leave { who, heard: None }]);
            let heard = [[false, false], [true, false], [false, true], [true, true]];
            all.extend(heard.map(|heard| Action::Leave { who, heard: Some(heard) }));
            all.extend([0, 1].map(|which| Action::HearGoodbye { from: who, which }));
            all.extend([0, 1, 2].map(|which| Action::Lose { from: who, which }));
            for other in self.codes().filter(|other| *other != who) {
                all.extend([Action::Join { who, after: other }, Action::Detect { who, dead: other }]);
            }
        }
        all
    }

    /// `Node::take_place`: the lookup may have found any `after`; the engine refuses a place whose earlier life is
    /// still in `after`'s list.
    fn join(&self, state: &mut State, who: Code, after: Code) -> Option<()> {
        let taken = (0..self.lives).any(|life| state.is_live(self.code(self.place(who), life)));
        let fresh = *state.node(who) == Node::default() && !state.is_named(who);
        (!taken && fresh).then_some(())?;
        let list = self.neighbours(state, after, after).successors;
        let me = self.peer(who).clone();
        if list.iter().any(|peer| peer.id == me.id) {
            return None;
        }
        let ring = Ring::joined(self.space, me, self.limits, self.peer(after).clone(), &list)?;
        state.node_mut(who).live = true;
        self.put(state, who, &ring);
        Some(())
    }

    /// What is under way stays under way.
    fn end(&self, state: &mut State, who: Code, farewell: Farewell) {
        let node = state.node_mut(who);
        let next = if matches!(node.next, Next::Notify(_)) { node.next } else { Next::Idle };
        *node = Node { next, farewell, ..Node::default() };
    }

    /// `Node::part`, `Routing::farewell`.
    fn leave(&self, state: &mut State, who: Code, heard: Option<[bool; 2]>) -> Option<()> {
        let Node { predecessor, list, .. } = *state.node(who);
        (predecessor != 0 || list[0] != 0).then_some(())?;
        let under_way = [predecessor != 0, list[0] != 0 && list[0] != predecessor];
        let is_heard = [0, 1].map(|which| heard.is_none_or(|heard| heard[which]) && under_way[which]);
        self.end(state, who, Farewell { predecessor, list, under_way: is_heard });
        self.clear_farewell(state, who);
        if heard.is_some() {
            for which in [0, 1].into_iter().filter(|which| is_heard[*which]) {
                self.hear_goodbye(state, who, which)?;
            }
        }
        Some(())
    }

    /// `Node::maintain` with `Routing::start_round` and what it makes of the first answer.
    fn stabilize(&self, state: &mut State, who: Code) -> Option<()> {
        let mut ring = self.ring(state, who);
        match ring.stabilize() {
            Step::AskSuccessor(peer) => {
                let asked = self.number(&peer);
                if !state.is_live(asked) {
                    self.fail(state, who, asked);
                    return Some(());
                }
                let reply = self.neighbours(state, asked, who);
                let step = ring.stabilize_from_successor(&peer, &reply);
                self.put(state, who, &ring);
                self.follow(state, who, self.flawed_step(step, &peer, &reply));
            }
            Step::AskCandidate(peer) => {
                state.node_mut(who).next = Next::Ask(self.number(&peer));
                self.ask_candidate(state, who)?;
            }
            Step::Notify(_) => unreachable!("no round begins with a notification"),
            Step::Rest => return None,
        }
        Some(())
    }

    fn ask_candidate(&self, state: &mut State, who: Code) -> Option<()> {
        let Next::Ask(candidate) = state.node(who).next else { return None };
        let alive = state.is_live(candidate);
        if !alive {
            self.fail(state, who, candidate);
        }
        let mut ring = self.ring(state, who);
        let reply = alive.then(|| self.neighbours(state, candidate, who));
        let step = ring.stabilize_from_predecessor(self.peer(candidate), reply.as_ref());
        self.put(state, who, &ring);
        let step = match &reply {
            Some(reply) => self.flawed_step(step, self.peer(candidate), reply),
            None => step,
        };
        self.follow(state, who, step);
        Some(())
    }

    /// `Routing::follow`.
    fn follow(&self, state: &mut State, who: Code, step: Step) {
        let next = match step {
            Step::AskSuccessor(_) => unreachable!("only the first question of a round goes to the successor"),
            Step::AskCandidate(peer) if self.flaw == Some(Flaw::AdoptUnasked) => {
                let old = self.ring(state, who);
                let list = [std::slice::from_ref(&peer), old.successors()].concat();
                self.put(state, who, &self.with_list(&old, &list));
                Next::Notify(self.number(&peer))
            }
            Step::AskCandidate(peer) => Next::Ask(self.number(&peer)),
            Step::Notify(peer) => Next::Notify(self.number(&peer)),
            Step::Rest => Next::Idle,
        };
        state.node_mut(who).next = next;
    }

    /// `Routing::notified`.
    fn notify(&self, state: &mut State, from: Code) -> Option<()> {
        let Next::Notify(to) = state.node(from).next else { return None };
        state.node_mut(from).next = Next::Idle;
        if !state.is_live(to) {
            if state.is_live(from) {
                self.fail(state, from, to);
            }
            return Some(());
        }
        if self.place(from) == self.place(to) {
            return Some(());
        }
        let mut ring = self.ring(state, to);
        if let Rectify::AskOld(old) = ring.rectify(self.peer(from)) {
            let node = state.node_mut(to);
            let known = node.doubt.0 != 0;
            let between = || self.peer(from).id.in_open(&self.peer(node.doubt.1).id, &ring.me().id);
            if !known || between() {
                node.doubt = (self.number(&old), from);
            }
        }
        if self.flaw == Some(Flaw::FollowNotifier) && ring.successors().is_empty() {
            ring = self.with_list(&ring, std::slice::from_ref(self.peer(from)));
        }
        self.put(state, to, &ring);
        Some(())
    }

    /// The step of a protocol with the flaw that only the predecessor of `asked` is looked at.
    fn flawed_step(&self, step: Step, asked: &Peer, reply: &Neighbours) -> Step {
        match &step {
            Step::AskCandidate(peer)
                if self.flaw == Some(Flaw::AskPredecessorOnly)
                    && reply.predecessor.as_ref() != Some(peer) =>
            {
                Step::Notify(asked.clone())
            }
            _ => step,
        }
    }

    fn with_list(&self, ring: &Ring, list: &[Peer]) -> Ring {
        Ring::with_pointers(
            self.space,
            ring.me().clone(),
            self.limits,
            ring.predecessor().cloned(),
            list,
            ring.fingers().peers(),
        )
    }

    /// `Routing::fail`.
    fn fail(&self, state: &mut State, who: Code, dead: Code) {
        let doubt = state.node(who).doubt;
        let mut ring = self.ring(state, who);
        ring.fail(self.peer(dead).host.incarnation);
        if doubt.0 == dead && doubt.1 != dead {
            let _ = ring.rectify_with(self.peer(doubt.1), self.peer(dead), false);
        }
        self.put(state, who, &ring);
    }

    /// `Routing::left`.
    fn hear_goodbye(&self, state: &mut State, from: Code, which: usize) -> Option<()> {
        let farewell = state.node(from).farewell;
        farewell.under_way[which].then_some(())?;
        state.node_mut(from).farewell.under_way[which] = false;
        let to = farewell.addressee(which);
        if state.is_live(to) {
            let mut ring = self.ring(state, to);
            ring.left(self.peer(from), &self.said(farewell.predecessor, &farewell.list, to));
            self.put(state, to, &ring);
        }
        self.clear_farewell(state, from);
        Some(())
    }

    /// Nothing is left of a goodbye that everybody has heard or will not hear.
    fn clear_farewell(&self, state: &mut State, from: Code) {
        let farewell = &mut state.node_mut(from).farewell;
        if farewell.under_way == [false; 2] {
            *farewell = Farewell::default();
        }
    }
}
