//! What can happen to a small ring, each step through the engine's own `Ring`.
//!
//! A query and its reply are one step, as in Zave's model; between the steps of one node anything may happen at
//! the others. Where the engine's `Routing` stands between the wire and the `Ring`, its part is repeated here and
//! named.

use chord::protocol::ring::{Rectify, Ring, Step};

use crate::model::{Code, Farewell, Next, Node, State, World};

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// `who` joins between `after` and the head of its list.
    Join { who: Code, after: Code },
    /// Ends without a word.
    Fail(Code),
    /// Takes part no more, and tells its neighbours.
    Leave(Code),
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
        let mut to = state.clone();
        match action {
            Action::Join { who, after } => self.join(&mut to, who, after)?,
            Action::Fail(who) => {
                state.is_live(who).then_some(())?;
                self.end(&mut to, who, Farewell::default());
            }
            Action::Leave(who) => self.leave(&mut to, who)?,
            Action::Stabilize(who) => self.stabilize(&mut to, who)?,
            Action::AskCandidate(who) => self.ask_candidate(&mut to, who)?,
            Action::Notify(who) => self.notify(&mut to, who)?,
            Action::Trust(who) => {
                let node = to.node_mut(who);
                (node.live && node.doubt.0 != 0 && state.is_live(node.doubt.0)).then_some(())?;
                node.doubt = (0, 0);
            }
            Action::Detect { who, dead } => {
                let node = state.node(who);
                let known = dead != 0
                    && (node.predecessor == dead
                        || node.list.contains(&dead)
                        || node.fingers.contains(&dead));
                (node.live && known && !state.is_live(dead)).then_some(())?;
                self.fail(&mut to, who, dead);
            }
            Action::HearGoodbye { from, which } => self.hear_goodbye(&mut to, from, which)?,
            Action::Lose { from, which } => {
                let node = to.node_mut(from);
                (!node.live).then_some(())?;
                match which {
                    2 => (std::mem::take(&mut node.next) != Next::Idle).then_some(())?,
                    _ => std::mem::take(&mut node.farewell.under_way[which]).then_some(())?,
                }
                self.clear_farewell(&mut to, from);
            }
        }
        Some(to)
    }

    /// Every action there is.
    pub(crate) fn actions(&self) -> Vec<Action> {
        let mut all = Vec::new();
        for who in self.codes() {
            all.extend([Action::Stabilize(who), Action::AskCandidate(who), Action::Notify(who)]);
            all.extend([Action::Trust(who), Action::Fail(who), Action::Leave(who)]);
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
        (!taken && fresh && state.is_live(after)).then_some(())?;
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
    fn leave(&self, state: &mut State, who: Code) -> Option<()> {
        let Node { live, predecessor, list, .. } = *state.node(who);
        (live && (predecessor != 0 || list[0] != 0)).then_some(())?;
        let under_way = [predecessor != 0, list[0] != 0 && list[0] != predecessor];
        self.end(state, who, Farewell { predecessor, list, under_way });
        Some(())
    }

    /// `Node::maintain` with `Routing::start_round` and what it makes of the first answer.
    fn stabilize(&self, state: &mut State, who: Code) -> Option<()> {
        (state.is_live(who) && state.node(who).next == Next::Idle).then_some(())?;
        let mut ring = self.ring(state, who);
        match ring.stabilize() {
            Step::AskSuccessor(peer) => {
                let asked = self.number(&peer);
                if !state.is_live(asked) {
                    self.fail(state, who, asked);
                    return Some(());
                }
                let step = ring.stabilize_from_successor(&peer, &self.neighbours(state, asked, who));
                self.put(state, who, &ring);
                self.follow(state, who, step);
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
        state.is_live(who).then_some(())?;
        let alive = state.is_live(candidate);
        if !alive {
            self.fail(state, who, candidate);
        }
        let mut ring = self.ring(state, who);
        let reply = alive.then(|| self.neighbours(state, candidate, who));
        let step = ring.stabilize_from_predecessor(self.peer(candidate), reply.as_ref());
        self.put(state, who, &ring);
        self.follow(state, who, step);
        Some(())
    }

    /// `Routing::follow`.
    fn follow(&self, state: &mut State, who: Code, step: Step) {
        state.node_mut(who).next = match step {
            Step::AskSuccessor(_) => unreachable!("only the first question of a round goes to the successor"),
            Step::AskCandidate(peer) => Next::Ask(self.number(&peer)),
            Step::Notify(peer) => Next::Notify(self.number(&peer)),
            Step::Rest => Next::Idle,
        };
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
        self.put(state, to, &ring);
        Some(())
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
