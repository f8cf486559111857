//! Which steps the environment may take, what has to be true, and what rounds alone lead to.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use chord::protocol::invariants::{Snapshot, Violation};

use crate::actions::Action;
use crate::model::{Code, Flaw, MOST, Next, Node, State, World};
use crate::search::{Counterexample, Model, Space};

/// A world, and what the environment may do in it. Joins are always free, and so are failures as far as they are
/// granted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Nodes at once, at most.
    pub(crate) places: u8,
    /// 2: a node that ended may come back under its id while others still name its former life.
    pub(crate) lives: u8,
    /// Entries of a successor list.
    pub(crate) list: usize,
    /// Whether fingers beyond the successor are kept.
    pub(crate) fingers: bool,
    /// How nodes leave.
    pub(crate) leave: Leave,
    /// What an end must leave behind.
    pub(crate) granted: Granted,
    /// Safety properties that need not hold.
    pub(crate) excused: &'static [&'static str],
    pub(crate) flaw: Option<Flaw>,
}

/// How nodes leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// They do not: they only fail.
    Never,
    /// Each neighbour hears the goodbye at once or never.
    AtOnce,
    /// Each neighbour hears it at any time or never.
    AnyTime,
}

/// What an end must leave behind, besides somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Granted {
    /// Zave's operating assumption, as far as the ring is large enough for it: a live successor in every list, and
    /// more principals than the list is long once there are more nodes than that.
    Assumption,
    /// As above, but the last node may be left with a list of the dead, so that one of two may end.
    LastMayNotKnow,
    /// A live successor in every list, however many principals.
    LiveSuccessors,
}

type Property = fn(&Snapshot) -> Result<(), Violation>;

/// The safety properties.
const SAFETY: [Property; 7] = [
    Snapshot::ordered_successor_lists,
    Snapshot::no_duplicates,
    Snapshot::live_successors,
    Snapshot::at_least_one_ring,
    Snapshot::at_most_one_ring,
    Snapshot::ordered_ring,
    Snapshot::connected_appendages,
];

/// What the invariants say about one set of pointers; many states share it.
#[derive(Clone)]
struct Verdict {
    members: usize,
    principals: usize,
    live: bool,
    broken: Vec<Violation>,
}

impl Verdict {
    fn is_sufficient(&self, list: usize) -> bool {
        self.members <= list || self.principals > list
    }
}

type Pointers = Vec<(Code, [Code; MOST])>;

/// The ring under [`Rules`].
pub(crate) struct RingModel {
    pub(crate) world: World,
    pub(crate) rules: Rules,
    actions: Vec<Action>,
    verdicts: RefCell<HashMap<Pointers, Verdict>>,
}

impl RingModel {
    pub(crate) fn new(rules: Rules) -> RingModel {
        let world = World::new(rules.places, rules.lives, rules.list, rules.fingers, rules.flaw);
        let actions = world.actions();
        RingModel { world, rules, actions, verdicts: RefCell::default() }
    }

    /// The safety properties that are broken somewhere in `space`, and in how many states.
    pub(crate) fn broken(&self, space: &Space<State>) -> BTreeMap<&'static str, usize> {
        let mut broken = BTreeMap::new();
        for state in &space.states {
            for violation in self.verdict(state).broken {
                *broken.entry(violation.property).or_default() += 1;
            }
        }
        broken
    }

    fn verdict(&self, state: &State) -> Verdict {
        let pointers: Pointers = state.live().map(|code| (code, state.node(code).list)).collect();
        if let Some(verdict) = self.verdicts.borrow().get(&pointers) {
            return verdict.clone();
        }
        let snapshot = self.world.snapshot(state);
        let verdict = Verdict {
            members: snapshot.nodes().len(),
            principals: snapshot.principals(),
            live: snapshot.live_successors().is_ok(),
            broken: SAFETY.iter().filter_map(|property| property(&snapshot).err()).collect(),
        };
        self.verdicts.borrow_mut().insert(pointers, verdict.clone());
        verdict
    }

    fn grants(&self, after: &State) -> bool {
        let verdict = self.verdict(after);
        let sufficient = verdict.is_sufficient(self.rules.list);
        verdict.members > 0
            && match self.rules.granted {
                Granted::Assumption => verdict.live && sufficient,
                Granted::LastMayNotKnow => (verdict.live || verdict.members == 1) && sufficient,
                Granted::LiveSuccessors => verdict.live,
            }
    }

    fn step(&self, state: &State, action: Action) -> Option<State> {
        let explored = match (action, self.rules.leave) {
            (Action::Leave { heard, .. }, Leave::AnyTime) => heard.is_none(),
            (Action::Leave { heard, .. }, Leave::AtOnce) => heard.is_some(),
            (Action::Leave { .. }, Leave::Never) => false,
            _ => true,
        };
        let to = explored.then(|| self.world.act(state, action))??;
        (!is_end(action) || self.grants(&to)).then_some(to)
    }
}

fn is_end(action: Action) -> bool {
    matches!(action, Action::Fail(_) | Action::Leave { .. })
}

impl Model for RingModel {
    type State = State;
    type Action = Action;

    fn initial(&self) -> State {
        let mut state = State(vec![Node::default(); self.world.codes().count()].into());
        state.node_mut(1).live = true;
        self.world.representative(state)
    }

    fn steps(&self, state: &State) -> Vec<(Action, State)> {
        let step = |action| Some((action, self.world.representative(self.step(state, action)?)));
        self.actions.iter().copied().filter_map(step).filter(|(_, to)| to != state).collect()
    }

    fn check(&self, state: &State) -> Result<(), String> {
        let broken = self.verdict(state).broken;
        let violation = broken.iter().find(|violation| !self.rules.excused.contains(&violation.property));
        violation.map_or(Ok(()), |violation| Err(violation.to_string()))
    }

    /// Only failures cost principals. This is so once nobody is alone any more (a list that was empty skips whom it
    /// did not know when it fills), and as long as no former life is taken for the present one.
    fn check_step(&self, from: &State, action: &Action, to: &State) -> Result<(), String> {
        let settled = self.rules.lives == 1 && from.live().all(|code| from.node(code).list[0] != 0);
        if is_end(*action) || !settled || self.rules.granted == Granted::LiveSuccessors {
            return Ok(());
        }
        let (before, after) = (self.verdict(from), self.verdict(to));
        let was_sufficient = before.members > self.rules.list && before.principals > self.rules.list;
        if was_sufficient && !after.is_sufficient(self.rules.list) {
            return Err("sufficient_principals: lost without a failure".into());
        }
        Ok(())
    }
}

/// One round of everybody in turn: what is under way arrives (goodbyes if `delivered`), predecessors are checked,
/// successors are stabilized to the end of the round.
fn sweep(world: &World, state: &State, backwards: bool, delivered: bool) -> State {
    let mut state = state.clone();
    let mut run = |action: &dyn Fn(&State) -> Action| match world.act(&state, action(&state)) {
        Some(to) => {
            state = to;
            true
        }
        None => false,
    };
    let mut order: Vec<Code> = world.codes().collect();
    if backwards {
        order.reverse();
    }
    for &from in &order {
        for which in [0, 1] {
            if delivered {
                run(&|_| Action::HearGoodbye { from, which });
            }
            run(&|_| Action::Lose { from, which });
        }
        run(&|_| Action::Lose { from, which: 2 });
    }
    for &who in &order {
        run(&|state| Action::Detect { who, dead: state.node(who).predecessor });
        run(&|_| Action::Trust(who));
        for _ in 0..2 {
            while run(&|_| Action::AskCandidate(who)) {}
            run(&|_| Action::Notify(who));
            run(&|_| Action::Stabilize(who));
        }
        while run(&|_| Action::AskCandidate(who)) {}
        run(&|_| Action::Notify(who));
    }
    state
}

/// Follows rounds alone from every state to their end, which must be the ideal ring. Returns the most rounds that
/// change anything.
pub(crate) fn rounds_to_ideal(
    model: &RingModel,
    space: &Space<State>,
    backwards: bool,
    delivered: bool,
) -> Result<u32, Box<Counterexample>> {
    let behind = |state: &State| {
        let to = model.world.representative(sweep(&model.world, state, backwards, delivered));
        space.position(&to).unwrap_or_else(|| panic!("a round leads from {state:?} to unknown {to:?}"))
    };
    let behind: Vec<usize> = space.states.iter().map(behind).collect();
    let broken = |at, broken| Box::new(Counterexample { broken, trace: space.way_to(model, at) });
    let mut rounds: Vec<Option<u32>> = vec![None; behind.len()];
    for start in 0..behind.len() {
        let mut way = Vec::new();
        let mut at = start;
        while rounds[at].is_none() && behind[at] != at {
            way.push(at);
            at = behind[at];
            if way.len() > behind.len() {
                return Err(broken(at, "rounds go in circles".into()));
            }
        }
        if rounds[at].is_none() {
            is_ideal(model, &space.states[at]).map_err(|reason| broken(at, reason))?;
            rounds[at] = Some(0);
        }
        let mut count = rounds[at].expect("the end of the way, or known before");
        for at in way.into_iter().rev() {
            count += 1;
            rounds[at] = Some(count);
        }
    }
    Ok(rounds.into_iter().flatten().max().unwrap_or(0))
}

fn is_ideal(model: &RingModel, state: &State) -> Result<(), String> {
    let snapshot = model.world.snapshot(state);
    let ideal = snapshot.ideal_successors(model.world.limits).and_then(|()| snapshot.ideal_predecessors());
    ideal.map_err(|violation| format!("rounds end, but {violation}"))?;
    let busy = state.0.iter().any(|node| node.next != Next::Idle || node.doubt != (0, 0));
    if busy { Err("rounds end, but something is under way".into()) } else { Ok(()) }
}
