//! What must come of every state once nothing is lost any more and the ring names one owner.

use std::collections::HashSet;

use crate::actions::Action;
use crate::model::{Code, Content, Reply, State, name};
use crate::rules::{Flaw, Transfers};
use crate::search::{Counterexample, Model, Space};
use crate::source::awaited;
use crate::world::View;

/// Rounds of everybody in turn after which a hand-off is stuck.
const MOST_ROUNDS: usize = 60;

/// Lets every state go on to its end, for each owner that the ring may name; what was under way is lost, or comes
/// late. Returns how many different beginnings that were, and how many ends leave somebody as a learner of what will
/// not come, because the message that it was given up was lost.
pub(crate) fn ends_well(
    model: &Transfers,
    space: &Space<State>,
) -> Result<(usize, usize), Box<Counterexample>> {
    let mut known = HashSet::new();
    let mut waiting = 0;
    for (at, state) in space.states.iter().enumerate() {
        for late in [false, true] {
            let state = quiet(model, state, late);
            if !known.insert(state.clone()) {
                continue;
            }
            for owner in model.world.codes() {
                match end(model, state.clone(), owner) {
                    Ok(learners) => waiting += usize::from(learners),
                    Err(broken) => {
                        let trace = space.way_to(model, at);
                        return Err(Box::new(Counterexample { broken, trace }));
                    }
                }
            }
        }
    }
    Ok((known.len(), waiting))
}

/// The state in which everything that was sent has come or been lost, and no operation is under way.
fn quiet(model: &Transfers, state: &State, late: bool) -> State {
    let source = model.source();
    let mut state = state.clone();
    let apply = |state: &mut State, action| {
        if let Some(to) = source.act(state, action) {
            *state = to;
        }
    };
    for host in model.world.codes() {
        apply(&mut state, Action::Finish { host });
        apply(&mut state, Action::Clear { host });
    }
    let sent = std::mem::take(&mut state.sent);
    if late {
        for message in sent {
            apply(&mut state, Action::Deliver { message, answered: false });
        }
    }
    State { read: None, served: Default::default(), names: u8::MAX, writes: 0, ..state }
}

/// Hands everything to `owner`. Whether somebody is still a learner then.
fn end(model: &Transfers, mut state: State, owner: Code) -> Result<bool, String> {
    for _ in 0..MOST_ROUNDS {
        let before = state.clone();
        for host in model.world.codes() {
            for at in (0..state.node(host).jobs.len()).rev() {
                answer(model, &mut state, host, at, owner);
                if let Some(to) = model.source().act(&state, Action::Go { host, at }) {
                    state = to;
                }
            }
            begin(model, &mut state, host, owner);
            if let Some(to) = model.source().act(&state, Action::Clear { host }) {
                state = to;
            }
        }
        model.check(&state)?;
        state.sent.clear();
        if state == before {
            is_settled(model, &state, owner)?;
            return Ok(model
                .world
                .codes()
                .any(|host| model.world.known(&state, host).groups.transfers() > 0));
        }
    }
    Err(format!("handing over to {} does not end: {state:?}", name(owner)))
}

/// What the hand-off waits for arrives and is answered. An offer is declined by whom the ring does not name, unless
/// the hand-off is decided (`Node::take_offer`).
fn answer(model: &Transfers, state: &mut State, host: Code, at: usize, owner: Code) {
    let job = &mut state.node_mut(host).jobs[at];
    let Some(message) = awaited(host, job).filter(|_| job.reply.is_none()) else { return };
    let is_offer = matches!(message.what, Content::Offer(_));
    let insists = job.decided && model.rules.flaw != Some(Flaw::DecidedIsDeclined);
    if is_offer && job.to != owner && !insists {
        job.reply = Some(Reply::Declined);
    } else if let Some(to) = model.source().act(state, Action::Deliver { message, answered: true }) {
        *state = to;
    }
}

/// `Node::hand_off_pass`.
fn begin(model: &Transfers, state: &mut State, host: Code, owner: Code) {
    let idle = |id: &u8| matches!(model.world.view(state, host, *id), View::Serve { copying: None, .. });
    let ids: Vec<u8> = (0..model.world.ids).filter(idle).collect();
    for id in ids.into_iter().filter(|_| host != owner) {
        let action = Action::Begin { host, ids: 1 << id, to: owner };
        *state = model.source().act(state, action).expect("an idle piece can be handed over");
    }
}

/// `owner` serves everything, and nobody is fenced or hands anything over.
fn is_settled(model: &Transfers, state: &State, owner: Code) -> Result<(), String> {
    for id in 0..model.world.ids {
        let serving = model.serving(state, id);
        if serving.iter().map(|(_, host)| *host).ne([owner]) {
            return Err(format!("{serving:?} serve {id} at the end: {state:?}"));
        }
    }
    for host in model.world.codes() {
        let known = model.world.known(state, host);
        if !state.node(host).jobs.is_empty() || known.groups.held() != known.groups.served() {
            return Err(format!("{} still hands over at the end: {state:?}", name(host)));
        }
    }
    Ok(())
}
