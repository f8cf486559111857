//! Every interleaving of hand-offs of group records among three hosts, through the engine's own `Groups`: messages
//! lost, late, repeated and in any order, while keys are written, read, removed and collected, hosts suspect each
//! other, and hand-offs are given up and begun anew. What was found is in docs/protocol.md.

#[path = "explore_groups/actions.rs"]
mod actions;
#[path = "explore_groups/end.rs"]
mod end;
#[path = "explore_groups/model.rs"]
mod model;
#[path = "explore_groups/rules.rs"]
mod rules;
#[path = "explore/search.rs"]
mod search;
#[path = "explore_groups/source.rs"]
mod source;
#[path = "explore_groups/world.rs"]
mod world;

use std::time::Instant;

use crate::end::ends_well;
use crate::rules::{Flaw, Rules, Transfers};
use crate::search::{Counterexample, explore};

/// More states than any of these worlds has.
const MOST_STATES: usize = 16_000_000;

/// One id, two names for hand-offs, one write, no reads.
const BASE: Rules = Rules { ids: 1, names: 2, writes: 1, reads: false, flaw: None };

/// Visits every state, and lets each go on to its end.
#[allow(clippy::disallowed_methods, reason = "it tells how long it takes")]
fn explored(rules: Rules) -> Result<(), Box<Counterexample>> {
    let started = Instant::now();
    let model = Transfers::new(rules);
    let space = explore(&model, MOST_STATES)?;
    let explored = started.elapsed();
    let (ends, waiting) = ends_well(&model, &space)?;
    println!(
        "{rules:?}: {} states, {} steps, at most {} from the start, in {explored:.1?}; from {ends} to the end, \
         {waiting} with a learner left over, checked in {:.1?}",
        space.states.len(),
        space.transitions,
        space.depth,
        started.elapsed(),
    );
    Ok(())
}

fn explore_all(rules: Rules) {
    if let Err(counterexample) = explored(rules) {
        panic!("{rules:?}: {counterexample:?}");
    }
}

#[test]
fn reads_find_what_was_acknowledged_wherever_it_goes() {
    explore_all(Rules { reads: true, ..BASE });
}

#[test]
fn writes_and_removals_survive_two_hand_offs() {
    explore_all(Rules { writes: 2, ..BASE });
}

#[test]
fn three_hand_offs_go_round_and_back() {
    explore_all(Rules { names: 3, writes: 0, ..BASE });
}

#[test]
fn neighbouring_ids_go_together_or_apart() {
    explore_all(Rules { ids: 2, names: 1, ..BASE });
    explore_all(Rules { ids: 2, names: 1, writes: 2, ..BASE });
    explore_all(Rules { ids: 2, writes: 0, ..BASE });
}

#[test]
#[ignore = "1.5 minutes, 520 MB: run with --ignored --nocapture; the figures are in docs/protocol.md"]
fn neighbouring_ids_go_together_or_apart_while_one_is_written() {
    explore_all(Rules { ids: 2, ..BASE });
}

#[test]
fn the_exploration_finds_what_each_rule_is_for() {
    let flaws = [
        (Flaw::RepeatedOfferClears, "Some(1.1) was confirmed, None is there"),
        (Flaw::ChunkAfterInstall, "Some(2.1x) was acknowledged, Some(1.1) is served"),
        (Flaw::InstallUnconfirmed, "Some(1.1) was acknowledged, None is served"),
        (Flaw::ReleaseAfterInstall, "two hosts serve 0"),
        (Flaw::WriteNotNoted, "Some(1.2) was acknowledged, Some(1.1) is served"),
        (Flaw::CollectWhileCopying, "Some(1.2x) was acknowledged, Some(1.1) is served"),
        (Flaw::OfferWhileDropping, "Some(1.1) was confirmed, None is there"),
        (Flaw::AnswerWhileClearing, "Some(1.1) was confirmed, None is there"),
        (Flaw::InstallDeclined, "Some(1.1) was acknowledged, None is served"),
        (Flaw::DecidedIsDeclined, "handing over to A does not end"),
    ];
    for (flaw, expected) in flaws {
        let found = explored(Rules { flaw: Some(flaw), ..BASE }).expect_err("something is broken");
        println!("{flaw:?}: {found:?}");
        assert!(found.broken.starts_with(expected), "{flaw:?}: {found:?}");
    }
}
