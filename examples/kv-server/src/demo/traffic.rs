//! The load that runs while nodes come and go, and what it saw.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chord::{Action, Condition, Error, Update};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cli::Exit;
use crate::cli::file::Line;
use crate::node::Node;

/// Clients on each node.
const CLIENTS: usize = 2;
/// Counters that they count on.
const COUNTERS: u32 = 32;

/// Clients under way: each reads random keys and counts on random counters, through the first, third, fifth ...
/// node; none of them leaves.
pub(super) struct Traffic {
    clients: JoinSet<Seen>,
}

/// What clients saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) operations: u64,
    /// Operations that ended with an error.
    pub(super) failed: u64,
    first_failure: Option<Error>,
    /// Reads that answered something else than was stored, and counters with less than was counted.
    pub(super) wrong: u64,
    pub(super) longest: Duration,
    /// Acknowledged increments by counter.
    counted: BTreeMap<u32, i64>,
    /// Increments that may have been executed.
    unknown: i64,
}

impl Traffic {
    pub(super) fn start(nodes: &[Node], lines: &[Line], stop_rx: watch::Receiver<bool>) -> Traffic {
        let mut clients = JoinSet::new();
        for (i, node) in nodes.iter().step_by(2).enumerate() {
            for client in 0..CLIENTS {
                let rng = SmallRng::seed_from_u64((i * CLIENTS + client) as u64);
                clients.spawn(client_of(node.clone(), lines.to_vec(), rng, stop_rx.clone()));
            }
        }
        Traffic { clients }
    }

    /// Waits for the clients, then compares the counters with what was acknowledged.
    pub(super) async fn finish(mut self, node: &Node) -> Result<Seen, Exit> {
        let mut sum = Seen::default();
        while let Some(seen) = self.clients.join_next().await {
            sum.add(seen.map_err(|error| Exit::Failure(error.to_string()))?);
        }
        for (counter, counted) in &sum.counted {
            let value = node.get(name(*counter)).await?;
            let value = value.and_then(|value| std::str::from_utf8(&value).ok()?.parse().ok()).unwrap_or(0);
            if !(*counted..=counted + sum.unknown).contains(&value) {
                sum.wrong += 1;
            }
        }
        Ok(sum)
    }
}

impl Seen {
    fn add(&mut self, other: Seen) {
        self.operations += other.operations;
        self.failed += other.failed;
        self.first_failure = self.first_failure.take().or(other.first_failure);
        self.wrong += other.wrong;
        self.longest = self.longest.max(other.longest);
        self.unknown += other.unknown;
        for (counter, counted) in other.counted {
            *self.counted.entry(counter).or_default() += counted;
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = self.longest.as_secs_f64() * 1e3;
        write!(
            f,
            "{} operations meanwhile, the longest {longest:.1} ms: {} wrong, ",
            self.operations, self.wrong
        )?;
        match &self.first_failure {
            None => f.write_str("none failed"),
            Some(error) => write!(f, "{} failed and said so ({error})", self.failed),
        }
    }
}

fn name(counter: u32) -> String {
    format!("counter:{counter}")
}

async fn client_of(node: Node, lines: Vec<Line>, mut rng: SmallRng, stop_rx: watch::Receiver<bool>) -> Seen {
    let mut seen = Seen::default();
    while !*stop_rx.borrow() {
        let start = Instant::now();
        let failure = if rng.random_bool(0.5) {
            let line = &lines[rng.random_range(0..lines.len())];
            read(&node, line, &mut seen).await
        } else {
            count(&node, rng.random_range(0..COUNTERS), &mut seen).await
        };
        seen.operations += 1;
        if let Err(error) = failure {
            seen.failed += 1;
            seen.first_failure.get_or_insert(error);
        }
        seen.longest = seen.longest.max(start.elapsed());
    }
    seen
}

async fn read(node: &Node, line: &Line, seen: &mut Seen) -> Result<(), Error> {
    let value: Option<Bytes> = node.get(&line.key).await?;
    seen.wrong += u64::from(value.as_ref() != Some(&line.value));
    Ok(())
}

async fn count(node: &Node, counter: u32, seen: &mut Seen) -> Result<(), Error> {
    let update = Update { action: Action::Add(1), condition: Condition::Always, return_previous: false };
    match node.update(name(counter), update).await {
        Ok(_) => {
            *seen.counted.entry(counter).or_default() += 1;
            Ok(())
        }
        Err(error) => {
            seen.unknown += i64::from(matches!(error, Error::Indeterminate { .. }));
            Err(error)
        }
    }
}
