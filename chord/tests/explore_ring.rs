//! Every interleaving of join, fail, leave, stabilize and rectify for rings of 1 to 4 nodes, through the engine's
//! own `Ring`: joins and ends without number, in any order. What was found is in docs/protocol.md.

#[path = "explore_ring/actions.rs"]
mod actions;
#[path = "explore_ring/model.rs"]
mod model;
#[path = "explore_ring/rules.rs"]
mod rules;
#[path = "explore/search.rs"]
mod search;

use std::time::Instant;

use crate::model::State;
use crate::rules::{Granted, RingModel, Rules, rounds_to_ideal};
use crate::search::{Counterexample, Space, explore};

/// More states than any of these worlds has.
const MOST_STATES: usize = 8_000_000;

fn everything(rules: Rules) -> Result<(RingModel, Space<State>), Box<Counterexample>> {
    let started = Instant::now();
    let model = RingModel::new(rules);
    let space = explore(&model, MOST_STATES)?;
    let explored = started.elapsed();
    let orders = [(false, true), (true, false)];
    println!("{rules:?}: {} states", space.states.len());
    let rounds = orders.map(|(backwards, delivered)| rounds_to_ideal(&model, &space, backwards, delivered));
    println!(
        "{rules:?}: {} states, {} steps, depth {}, in {explored:.1?}; ideal after at most {} rounds, {:.1?} in all",
        space.states.len(),
        space.transitions,
        space.depth,
        rounds[0].max(rounds[1]),
        started.elapsed()
    );
    Ok((model, space))
}

const BASE: Rules =
    Rules { places: 3, lives: 1, list: 2, fingers: false, leave: false, granted: Granted::Assumption };

#[test]
fn survey() {
    let rules = match std::env::var("WORLD").as_deref() {
        Ok("4leave") => Rules { places: 4, leave: true, ..BASE },
        Ok("4live") => Rules { places: 4, granted: Granted::LiveSuccessors, ..BASE },
        Ok("4list3") => Rules { places: 4, list: 3, ..BASE },
        Ok("4fingers") => Rules { places: 4, fingers: true, ..BASE },
        Ok("4last") => Rules { places: 4, granted: Granted::AndAnyLast, ..BASE },
        Ok("3leavelives") => Rules { lives: 2, leave: true, ..BASE },
        Ok("3live") => Rules { leave: true, granted: Granted::LiveSuccessors, ..BASE },
        Ok("5") => Rules { places: 5, ..BASE },
        _ => BASE,
    };
    match everything(rules) {
        Ok((model, space)) => {
            for (broken, states) in model.broken(&space) {
                println!("   {broken:?}: {} of {} states", states.len(), space.states.len());
            }
        }
        Err(counterexample) => panic!("{counterexample:?}"),
    }
}
