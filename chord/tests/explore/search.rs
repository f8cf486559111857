//! Breadth-first search of everything a model can do, with the shortest way to the first thing it must not do.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::fmt::{self, Debug};
use std::hash::{Hash, Hasher};

/// Something with states and steps between them.
pub(crate) trait Model {
    /// One state, of everything at once.
    type State: Clone + Eq + Hash + Debug;
    /// One step.
    type Action: Debug;

    /// Where it begins.
    fn initial(&self) -> Self::State;

    /// Every step from `state`, with the state behind it.
    fn steps(&self, state: &Self::State) -> Vec<(Self::Action, Self::State)>;

    /// What must be true of a state.
    fn check(&self, state: &Self::State) -> Result<(), String>;

    /// What must be true of a step.
    fn check_step(&self, _: &Self::State, _: &Self::Action, _: &Self::State) -> Result<(), String> {
        Ok(())
    }
}

/// Every state that can be reached, in the order in which it was found.
pub(crate) struct Space<S> {
    /// The states; the first is where it begins.
    pub(crate) states: Vec<S>,
    /// Steps taken, those to known states included.
    pub(crate) transitions: u64,
    /// Steps on the longest of the shortest ways.
    pub(crate) depth: u32,
    index: HashMap<u64, u32>,
    parents: Vec<(u32, u32)>,
}

/// A way to what must not be.
pub(crate) struct Counterexample {
    /// What is broken at its end.
    pub(crate) broken: String,
    /// Each step with the state it leads to.
    pub(crate) trace: Vec<String>,
}

impl Debug for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} after {} steps:", self.broken, self.trace.len())?;
        self.trace.iter().try_for_each(|step| writeln!(f, "  {step}"))
    }
}

impl<S: Clone + Eq + Hash + Debug> Space<S> {
    /// Where a state stands in [`Space::states`].
    #[allow(dead_code, reason = "not every exploration asks")]
    pub(crate) fn position(&self, state: &S) -> Option<usize> {
        let at = *self.index.get(&fingerprint(state))? as usize;
        (self.states[at] == *state).then_some(at)
    }

    /// The shortest way to the state at `at`.
    pub(crate) fn way_to<M: Model<State = S>>(&self, model: &M, at: usize) -> Vec<String> {
        let mut way = Vec::new();
        let mut at = at;
        while at != 0 {
            let parent = self.parents[at].0 as usize;
            let step = model.steps(&self.states[parent]).into_iter().find(|(_, to)| *to == self.states[at]);
            let (action, to) = step.expect("the step that found the state");
            way.push(format!("{action:?} -> {to:?}"));
            at = parent;
        }
        way.push(format!("{:?}", self.states[0]));
        way.reverse();
        way
    }
}

/// Visits every state that can be reached and checks each, and each step.
///
/// # Panics
/// When there are more than `most` states, or two of them with one fingerprint: then nothing would be proved.
pub(crate) fn explore<M: Model>(model: &M, most: usize) -> Result<Space<M::State>, Box<Counterexample>> {
    let initial = model.initial();
    let mut space = Space {
        index: HashMap::from([(fingerprint(&initial), 0)]),
        states: vec![initial],
        transitions: 0,
        depth: 0,
        parents: vec![(0, 0)],
    };
    let mut next = 0;
    while next < space.states.len() {
        let state = space.states[next].clone();
        let depth = space.parents[next].1;
        space.depth = depth;
        if let Err(broken) = model.check(&state) {
            let trace = space.way_to(model, next);
            return Err(Box::new(Counterexample { broken, trace }));
        }
        for (action, to) in model.steps(&state) {
            space.transitions += 1;
            if let Err(broken) = model.check_step(&state, &action, &to) {
                let mut trace = space.way_to(model, next);
                trace.push(format!("{action:?} -> {to:?}"));
                return Err(Box::new(Counterexample { broken, trace }));
            }
            match space.index.entry(fingerprint(&to)) {
                Entry::Occupied(known) => {
                    assert!(space.states[*known.get() as usize] == to, "two states with one fingerprint");
                }
                Entry::Vacant(place) => {
                    place.insert(space.states.len() as u32);
                    space.states.push(to);
                    space.parents.push((next as u32, depth + 1));
                    assert!(space.states.len() <= most, "more than {most} states");
                }
            }
        }
        next += 1;
    }
    Ok(space)
}

fn fingerprint(state: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}
