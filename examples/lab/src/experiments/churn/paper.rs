//! Table III of ToN 2003: nodes join and fail while others look keys up.
//!
//! What the paper leaves open is chosen so that its figures come out: a node fixes a finger at random each time, as in
//! SIGCOMM 2001 (figure 7); a newcomer finds its fingers as it joins; nodes do not hear whom others found dead
//! ([`crate::recursive`]). Fingers fixed in turn are half as stale, and lookups meet a third fewer dead nodes; newcomers
//! without fingers make paths a tenth longer at the highest rate.

use std::collections::BTreeMap;
use std::time::Duration;

use chord::protocol::id::Id;
use chord::protocol::lookup::RoutingMode;
use chord::protocol::peer::Peer;
use chord::protocol::routing::RoutingLimits;
use chord::protocol::routing::rounds::Round;
use chord::protocol::simulate::{Simulation, index_of};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::queue::{Queue, poisson};
use crate::cli::Setting;
use crate::error::Error;
use crate::network::{paper_limits, random_id, random_ids};
use crate::recursive::Passing;

/// Entries of a successor list.
const SUCCESSORS: usize = 20;
/// Between two stabilizations of a node, in seconds.
const STABILIZE: (f64, f64) = (15.0, 45.0);
/// Lookups a second.
const LOOKUPS: f64 = 1.0;

/// What lookups came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row {
    /// Joins a second, and failures.
    pub rate: f64,
    /// Lookups made.
    pub lookups: u64,
    /// Those that ended with the owner.
    pub found: u64,
    /// Their calls that were answered.
    pub path: u64,
    /// Their calls that were not.
    pub timeouts: u64,
}

impl Row {
    /// Several runs at one rate, together.
    pub fn sum(rows: impl IntoIterator<Item = Row>) -> Row {
        rows.into_iter().fold(Row::default(), |sum, row| Row {
            rate: row.rate,
            lookups: sum.lookups + row.lookups,
            found: sum.found + row.found,
            path: sum.path + row.path,
            timeouts: sum.timeouts + row.timeouts,
        })
    }

    /// Nodes that answered, a lookup.
    pub fn mean_path(&self) -> f64 {
        self.path as f64 / self.found as f64
    }

    /// Calls to the dead, a lookup.
    pub fn mean_timeouts(&self) -> f64 {
        self.timeouts as f64 / self.found as f64
    }

    /// Lookups of 10,000 that found nobody, or the wrong one.
    pub fn failed(&self) -> f64 {
        (self.lookups - self.found) as f64 / self.lookups as f64 * 10_000.0
    }
}

enum Event {
    Join,
    Fail,
    Stabilize { host: usize },
    LookUp,
}

/// A ring of `nodes`, ideal at first, for `time`: `rate` joins and as many failures a second.
///
/// # Errors
/// [`Error::Invalid`] for more nodes than the ids have room for.
pub fn table_iii(
    setting: &Setting,
    nodes: usize,
    rate: f64,
    time: Duration,
    seed: u64,
) -> Result<Row, Error> {
    let mut rng = StdRng::seed_from_u64(seed);
    let limits = RoutingLimits { names_whole_list: true, ..paper_limits(SUCCESSORS) };
    let ids = random_ids(setting.space, nodes, &mut rng)?;
    let hosts: Vec<Vec<Id>> = ids.iter().map(|id| vec![*id]).collect();
    let simulation = Simulation::ideal(setting.space, limits, &hosts);
    let mut simulation = simulation.map_err(|violation| Error::Failed(violation.to_string()))?;
    let mut live: Vec<(Id, usize)> = ids.iter().enumerate().map(|(host, id)| (*id, host)).collect();
    let mut owners: BTreeMap<Id, usize> = live.iter().copied().collect();
    let mut row = Row { rate, ..Row::default() };
    let mut queue = Queue::default();
    for host in 0..nodes {
        queue.after(pause(&mut rng), Event::Stabilize { host });
    }
    queue.after(poisson(rate, &mut rng), Event::Join);
    queue.after(poisson(rate, &mut rng), Event::Fail);
    queue.after(poisson(LOOKUPS, &mut rng), Event::LookUp);
    while let Some(event) = queue.next(time) {
        match event {
            Event::Join => {
                queue.after(poisson(rate, &mut rng), Event::Join);
                let (id, known) =
                    (random_id(setting.space, &mut rng), live[rng.random_range(0..live.len())].1);
                // One that finds no place now is another time's joiner.
                if let Ok(host) = simulation.join(&[id], known) {
                    simulation.run_round(host, Round::FixFingers);
                    live.push((id, host));
                    owners.insert(id, host);
                    queue.after(pause(&mut rng), Event::Stabilize { host });
                }
            }
            Event::Fail => {
                queue.after(poisson(rate, &mut rng), Event::Fail);
                if live.len() > SUCCESSORS {
                    let (id, host) = live.swap_remove(rng.random_range(0..live.len()));
                    owners.remove(&id);
                    simulation.fail(host);
                }
            }
            Event::Stabilize { host } => {
                simulation.run_round(host, Round::Stabilize);
                let Some(routing) = simulation.host_mut(host) else { continue };
                let batches = routing.start_fixing_one(rng.random_range(0..usize::MAX));
                simulation.finish_round(host, batches, |_| {});
                queue.after(pause(&mut rng), Event::Stabilize { host });
            }
            Event::LookUp => {
                queue.after(poisson(LOOKUPS, &mut rng), Event::LookUp);
                let (id, from) =
                    (random_id(setting.space, &mut rng), live[rng.random_range(0..live.len())].1);
                let mut passing = Passing::new(&simulation, id, RoutingMode::Fingers);
                let found = passing.from(from);
                let owner = owners.range(id..).next().or_else(|| owners.iter().next()).map(|owner| *owner.0);
                row.lookups += 1;
                let (mut path, mut timeouts) = (passing.path, passing.timeouts);
                let said = found.map(|peer| word_of(&simulation, peer, &id, &mut path, &mut timeouts));
                if said.is_some_and(|peer| Some(peer.id) == owner) {
                    row.found += 1;
                    row.path += path;
                    row.timeouts += timeouts;
                }
            }
        }
    }
    Ok(row)
}

/// Who owns `id` by the word of those concerned: a supposed owner before which another has come, and has notified it,
/// sends the lookup there. (In the engine the group record does.)
fn word_of(simulation: &Simulation, mut owner: Peer, id: &Id, path: &mut u64, timeouts: &mut u64) -> Peer {
    loop {
        let ring = simulation.host(index_of(&owner.host)).and_then(|routing| routing.ring(&owner.id));
        let nearer = ring.filter(|ring| !ring.owns(id)).and_then(|ring| ring.predecessor());
        let Some(nearer) = nearer.filter(|nearer| id.in_half_open(&owner.id, &nearer.id)) else {
            return owner;
        };
        if simulation.host(index_of(&nearer.host)).is_none() {
            *timeouts += 1;
            return owner;
        }
        *path += 1;
        owner = nearer.clone();
    }
}

fn pause(rng: &mut impl Rng) -> Duration {
    Duration::from_secs_f64(rng.random_range(STABILIZE.0..STABILIZE.1))
}
