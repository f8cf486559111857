//! Which steps the environment may take, what has to be true, and what rounds alone lead to.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use chord::protocol::invariants::{Snapshot, Violation};

use crate::actions::Action;
use crate::model::{Code, MOST, Next, Node, State, World};
use crate::search::{Model, Space};

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
    /// Nodes leave, too.
    pub(crate) leave: bool,
    /// What an end must leave behind.
    pub(crate) granted: Granted,
}

/// What an end must leave behind, besides somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Granted {
    /// Zave's operating assumption, as far as the ring is large enough for it: a live successor in every list, and
    /// more principals than the list is long once there are more nodes than that.
    Assumption,
    /// As above, but the last node may be left with a list of the dead: a ring of two survives, too.
    AndAnyLast,
    /// A live successor in every list, however many principals.
    LiveSuccessors,
}

/// The safety properties by their names.
const SAFETY: [fn(&Snapshot) -> Result<(), Violation>; 7] = [
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
        let world = World::new(rules.places, rules.lives, rules.list, rules.fingers);
        let actions = world.actions();
        RingModel { world, rules, actions, verdicts: RefCell::default() }
    }

    /// The safety properties that are broken somewhere in `space`, with the number of members of a ring in which
    /// they are, and the states in which they are.
    pub(crate) fn broken(&self, space: &Space<State>) -> BTreeMap<(&'static str, usize), Vec<usize>> {
        let mut all: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (at, state) in space.states.iter().enumerate() {
            let verdict = self.verdict(state);
            for violation in &verdict.broken {
                all.entry((violation.property, verdict.members)).or_default().push(at);
            }
        }
        all
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
        verdict.members > 0
            && match self.rules.granted {
                Granted::Assumption => verdict.live && verdict.is_sufficient(self.rules.list),
                Granted::AndAnyLast => {
                    (verdict.live || verdict.members == 1) && verdict.is_sufficient(self.rules.list)
                }
                Granted::LiveSuccessors => verdict.live,
            }
    }

    fn step(&self, state: &State, action: Action) -> Option<State> {
        if matches!(action, Action::Leave(_)) && !self.rules.leave {
            return None;
        }
        let to = self.world.act(state, action)?;
        let is_end = matches!(action, Action::Fail(_) | Action::Leave(_));
        (!is_end || self.grants(&to)).then_some(to)
    }
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
        let strict = self.rules.granted == Granted::Assumption && std::env::var("LOOSE").is_err();
        match broken.first() {
            Some(violation) if strict => Err(violation.to_string()),
            _ => Ok(()),
        }
    }

    /// Only failures cost principals. This is so once nobody is alone any more (a list that was empty skips whom it
    /// did not know when it fills), and as long as no former life is taken for the present one.
    fn check_step(&self, from: &State, action: &Action, to: &State) -> Result<(), String> {
        let is_end = matches!(action, Action::Fail(_) | Action::Leave(_));
        let settled = self.rules.lives == 1 && from.live().all(|code| from.node(code).list[0] != 0);
        if is_end || !settled || self.rules.granted == Granted::LiveSuccessors {
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
) -> u32 {
    let behind = |state: &State| {
        let to = model.world.representative(sweep(&model.world, state, backwards, delivered));
        space.position(&to).unwrap_or_else(|| panic!("a round leads from {state:?} to unknown {to:?}"))
    };
    let behind: Vec<usize> = space.states.iter().map(behind).collect();
    let mut rounds: Vec<Option<u32>> = vec![None; behind.len()];
    for start in 0..behind.len() {
        let mut way = Vec::new();
        let mut at = start;
        while rounds[at].is_none() && behind[at] != at {
            way.push(at);
            at = behind[at];
            assert!(way.len() <= behind.len(), "rounds go in circles: {:#?}", space.way_to(model, at));
        }
        if behind[at] == at && rounds[at].is_none() {
            if let Err(reason) = is_ideal(model, &space.states[at]) {
                panic!("rounds end, but {reason}: {:#?}", space.way_to(model, at));
            }
            rounds[at] = Some(0);
        }
        let mut count = rounds[at].expect("the end of the way, or known before");
        for at in way.into_iter().rev() {
            count += 1;
            rounds[at] = Some(count);
        }
    }
    rounds.into_iter().flatten().max().unwrap_or(0)
}

fn is_ideal(model: &RingModel, state: &State) -> Result<(), String> {
    let snapshot = model.world.snapshot(state);
    let ideal = snapshot.ideal_successors(model.world.limits).and_then(|()| snapshot.ideal_predecessors());
    ideal.map_err(|violation| violation.to_string())?;
    let busy = state.0.iter().any(|node| node.next != Next::Idle || node.doubt != (0, 0));
    if busy { Err("something is under way".into()) } else { Ok(()) }
}
