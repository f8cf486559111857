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

use crate::model::Flaw;
use crate::rules::{Granted, Leave, RingModel, Rules, rounds_to_ideal};
use crate::search::{Counterexample, explore};

/// More states than any of these worlds has.
const MOST_STATES: usize = 12_000_000;

/// Three nodes with lists of two, fingers beyond the successor forgotten, nobody leaves.
const BASE: Rules = Rules {
    places: 3,
    lives: 1,
    list: 2,
    fingers: false,
    leave: Leave::Never,
    granted: Granted::Assumption,
    excused: &[],
    flaw: None,
};

/// Visits every state; all but the excused properties must hold in each, and rounds alone must lead from each to
/// the ideal ring. Returns the properties that are broken somewhere.
#[allow(clippy::disallowed_methods, reason = "it tells how long it takes")]
fn broken_in(rules: Rules) -> Result<Vec<&'static str>, Box<Counterexample>> {
    let started = Instant::now();
    let model = RingModel::new(rules);
    let space = explore(&model, MOST_STATES)?;
    let explored = started.elapsed();
    let forwards = rounds_to_ideal(&model, &space, false, true)?;
    // Another fair order, where it does not take long.
    let backwards =
        if space.states.len() < 200_000 { rounds_to_ideal(&model, &space, true, false)? } else { 0 };
    let broken = model.broken(&space);
    println!(
        "{rules:?}: {} states, {} steps, at most {} from the start, in {explored:.1?}; ideal after at most {} \
         rounds, checked in {:.1?}; broken: {broken:?}",
        space.states.len(),
        space.transitions,
        space.depth,
        forwards.max(backwards),
        started.elapsed(),
    );
    Ok(broken.into_keys().collect())
}

/// As [`broken_in`]: exactly the excused properties must be broken somewhere.
fn explore_all(rules: Rules) {
    match broken_in(rules) {
        Ok(broken) => assert_eq!(broken, rules.excused, "{rules:?}"),
        Err(counterexample) => panic!("{rules:?}: {counterexample:?}"),
    }
}

#[test]
fn rings_of_up_to_three_nodes_are_always_safe_and_become_ideal() {
    for places in 1..=3 {
        for list in [2, 3] {
            explore_all(Rules { places, list, fingers: true, ..BASE });
            explore_all(Rules { places, list, leave: Leave::AnyTime, ..BASE });
        }
    }
    explore_all(Rules { fingers: true, leave: Leave::AnyTime, ..BASE });
}

#[test]
fn rings_of_up_to_three_nodes_stay_safe_when_nodes_come_back_under_their_ids() {
    explore_all(Rules { places: 2, lives: 2, fingers: true, leave: Leave::AnyTime, ..BASE });
    explore_all(Rules { lives: 2, ..BASE });
}

#[test]
fn rings_of_four_nodes_are_always_safe_and_become_ideal() {
    explore_all(Rules { places: 4, ..BASE });
}

/// One of two nodes ends, and the other does not know yet when others join through it.
#[test]
fn the_last_node_that_does_not_know_is_the_only_weak_spot_and_heals() {
    const EXCUSED: &[&str] = &["at_least_one_ring", "connected_appendages", "live_successors"];
    let granted = Granted::LastMayNotKnow;
    explore_all(Rules { places: 2, leave: Leave::AnyTime, granted, excused: EXCUSED, ..BASE });
    const WITH_THREE: &[&str] =
        &["at_least_one_ring", "at_most_one_ring", "connected_appendages", "live_successors", "ordered_ring"];
    explore_all(Rules { fingers: true, granted, excused: WITH_THREE, ..BASE });
}

/// A ring that has just grown to four and loses one before all know each other may close after two turns.
#[test]
fn without_enough_principals_only_the_order_of_the_ring_is_lost_and_comes_back() {
    let granted = Granted::LiveSuccessors;
    explore_all(Rules { places: 4, granted, excused: &["ordered_ring"], ..BASE });
}

#[test]
#[ignore = "minutes: run with --ignored --nocapture; the figures are in docs/protocol.md"]
fn longer_lists_and_leavers_among_four_nodes() {
    explore_all(Rules { places: 4, list: 3, excused: &["ordered_ring"], ..BASE });
    explore_all(Rules { places: 4, leave: Leave::AtOnce, ..BASE });
    explore_all(Rules { places: 4, fingers: true, ..BASE });
}

#[test]
#[ignore = "long, and not seen to end: run with --ignored --nocapture"]
fn rings_of_five_nodes_are_always_safe_and_become_ideal() {
    explore_all(Rules { places: 5, ..BASE });
}

#[test]
fn the_exploration_finds_what_is_wrong_with_lesser_protocols() {
    let single = Rules { list: 1, ..BASE };
    explore_all(single);
    let unasked =
        broken_in(Rules { flaw: Some(Flaw::AdoptUnasked), ..single }).expect_err("a dead successor");
    println!("{unasked:?}");
    let followed =
        broken_in(Rules { flaw: Some(Flaw::FollowNotifier), ..BASE }).expect_err("a dead successor");
    println!("{followed:?}");
    let young = Rules {
        places: 4,
        granted: Granted::LiveSuccessors,
        excused: &["ordered_ring"],
        flaw: Some(Flaw::AskPredecessorOnly),
        ..BASE
    };
    let twice_round = broken_in(young).expect_err("a ring of two turns stays");
    println!("{twice_round:?}");
    assert!(unasked.broken.starts_with("live_successors"), "{unasked:?}");
    assert!(followed.broken.starts_with("live_successors"), "{followed:?}");
    assert!(twice_round.broken.starts_with("rounds end, but ideal_successors"), "{twice_round:?}");
}
