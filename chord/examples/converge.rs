//! A ring forms from hosts that join in random order, until every pointer is ideal. No runtime, no network: the
//! protocol alone, as fast as it goes.
//!
//! `cargo run --release -p chord --example converge -- --nodes 10000 [--seed S] [--virtual-nodes V]`

use std::process::ExitCode;
use std::time::Instant;

use chord::protocol::id::IdSpace;
use chord::protocol::routing::RoutingLimits;
use chord::protocol::routing::rounds::Round;
use chord::protocol::simulate::Simulation;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

struct Options {
    nodes: usize,
    seed: u64,
    virtual_nodes: usize,
}

fn main() -> ExitCode {
    match options() {
        Ok(options) => run(&options),
        Err(usage) => {
            eprintln!("{usage}");
            ExitCode::from(2)
        }
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options { nodes: 10_000, seed: 1, virtual_nodes: 1 };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number: u64 = value.parse().map_err(|_| format!("{value:?} is not a number"))?;
        match name.as_str() {
            "--nodes" => options.nodes = number as usize,
            "--seed" => options.seed = number,
            "--virtual-nodes" => options.virtual_nodes = number as usize,
            _ => return Err(format!("unknown option {name}: expected --nodes, --seed or --virtual-nodes")),
        }
    }
    Ok(options)
}

#[expect(clippy::disallowed_methods, reason = "an example outside the engine measures real time")]
fn run(options: &Options) -> ExitCode {
    let space = IdSpace::default();
    let limits = RoutingLimits { contacts: 0, ..RoutingLimits::default() };
    let mut rng = StdRng::seed_from_u64(options.seed);
    let mut names: Vec<String> = (0..options.nodes.max(1)).map(|i| format!("node_{i}")).collect();
    names.shuffle(&mut rng);
    let ids = |name: &str| {
        (0..options.virtual_nodes.max(1)).map(|i| space.virtual_node_id(name, i)).collect::<Vec<_>>()
    };

    let began = Instant::now();
    let mut simulation = Simulation::new(space, limits);
    let mut members = vec![simulation.create(&ids(&names[0]))];
    let mut rounds = 0;
    while members.len() < names.len() {
        let joining = members.len().div_ceil(2).min(names.len() - members.len());
        for name in &names[members.len()..members.len() + joining] {
            let known = members[rng.random_range(0..members.len())];
            match simulation.join(&ids(name), known) {
                Ok(host) => members.push(host),
                Err(error) => {
                    eprintln!("{name} did not join: {error}");
                    return ExitCode::FAILURE;
                }
            }
        }
        simulation.round(Round::Stabilize, &mut rng);
        simulation.round(Round::FixFingers, &mut rng);
        rounds += 1;
    }
    println!(
        "{} hosts joined in {rounds} rounds, {} messages, {:.1?}",
        members.len(),
        simulation.messages(),
        began.elapsed()
    );
    match simulation.converge(64, &mut rng) {
        Ok(more) => {
            println!(
                "ideal after {more} more rounds: {} messages in all, {:.1?}, {} MiB resident",
                simulation.messages(),
                began.elapsed(),
                resident_mebibytes()
            );
            ExitCode::SUCCESS
        }
        Err(violation) => {
            println!("not ideal after 64 more rounds: {violation}");
            ExitCode::FAILURE
        }
    }
}

/// The largest resident set of this process so far; 0 where the system does not say.
fn resident_mebibytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib / 1024)
}
