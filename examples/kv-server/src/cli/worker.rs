//! What `load` and `verify` have in common: many lines over several connections, with repetition of what did not
//! go through.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::cli::Exit;
use crate::cli::file::Line;
use crate::client::{Client, ClientError, explained, is_retryable};
use crate::resp::Value;

/// Connections to each node: a node takes a second and a half for the keys of a dead host, few at once on each.
const CONNECTIONS: usize = 32;
/// Most commands sent before their replies are read.
const WINDOW_LINES: usize = 128;
/// Most bytes sent before replies are read: what sockets hold, so that neither side waits for the other.
const WINDOW_BYTES: usize = 64 << 10;
/// The first pause before a repetition; doubled up to the longest.
const MIN_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// Pause after a connection was lost or refused.
const LOST_PAUSE: Duration = Duration::from_millis(250);
/// How long a connection goes on without any line going through, or without any reply.
const PATIENCE: Duration = Duration::from_secs(30);
/// Failures that are told one by one.
const TOLD_FAILURES: usize = 5;

/// What to do with each line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Store it.
    Store,
    /// Compare it with what is stored.
    Compare,
}

/// How it went.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Lines that were stored, or found as they are.
    pub(crate) good: u64,
    /// Keys that are not there.
    pub(crate) missing: u64,
    /// Keys with another value.
    pub(crate) different: u64,
    /// Lines without result.
    pub(crate) failed: u64,
    /// Why, for the first of them.
    pub(crate) failures: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.good += other.good;
        self.missing += other.missing;
        self.different += other.different;
        self.failed += other.failed;
        self.failures.extend(other.failures);
        self.failures.truncate(TOLD_FAILURES);
    }

    fn fail(&mut self, line: &Line, reason: &str) {
        self.failed += 1;
        if self.failures.len() < TOLD_FAILURES {
            self.failures.push(format!("line {}: {}", line.number, explained(reason)));
        }
    }
}

/// Does `task` with `lines` over all `addresses` in parallel. Lines of one key stay in order.
///
/// # Errors
/// [`Exit`] when no address lets us in.
pub(crate) async fn run(
    addresses: &[String],
    password: Option<Vec<u8>>,
    lines: Vec<Line>,
    task: Task,
    title: &'static str,
) -> Result<Tally, Exit> {
    let mut refusals = Vec::new();
    let mut open = Vec::new();
    for address in addresses {
        match Client::connect(address, password.as_deref()).await {
            Ok(_) => open.push(address.clone()),
            Err(error) => refusals.push((address, error)),
        }
    }
    if open.is_empty()
        && let Some((_, error)) = refusals.pop()
    {
        return Err(error.into());
    }
    for (address, error) in refusals {
        eprintln!("chord-kv: {address} is left out: {error}");
    }
    let progress = progress_bar(lines.len(), title);
    let shares = share(lines, open.len() * CONNECTIONS);
    let mut workers = JoinSet::new();
    for (i, lines) in shares.into_iter().enumerate() {
        let mut addresses = open.clone();
        addresses.rotate_left(i % open.len());
        workers.spawn(Worker::new(addresses, password.clone(), task, progress.clone()).run(lines));
    }
    let mut sum = Tally::default();
    while let Some(tally) = workers.join_next().await {
        sum.add(tally.map_err(|error| Exit::Failure(error.to_string()))?);
    }
    progress.finish_and_clear();
    Ok(sum)
}

fn progress_bar(len: usize, title: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} [{wide_bar}] {pos}/{len} {per_sec} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(len as u64).with_style(style).with_prefix(title)
}

/// Lines by worker: those of one key go to one worker.
fn share(lines: Vec<Line>, workers: usize) -> Vec<Vec<Line>> {
    let mut shares = vec![Vec::new(); workers];
    for line in lines {
        let mut hasher = DefaultHasher::new();
        line.key.hash(&mut hasher);
        shares[(hasher.finish() % workers as u64) as usize].push(line);
    }
    shares
}

/// One connection, moved to the next address when it is lost.
struct Worker {
    addresses: Vec<String>,
    password: Option<Vec<u8>>,
    task: Task,
    /// How long it goes on without success.
    patience: Duration,
    client: Option<Client>,
    progress: ProgressBar,
    tally: Tally,
    /// When a line went through last.
    last_success: Instant,
    /// What did not go through, and why: of each key the last line. It is sent again when all others were sent.
    failed: HashMap<Bytes, (Line, String)>,
}

impl Worker {
    fn new(addresses: Vec<String>, password: Option<Vec<u8>>, task: Task, progress: ProgressBar) -> Worker {
        Worker {
            addresses,
            password,
            task,
            patience: PATIENCE,
            client: None,
            progress,
            tally: Tally::default(),
            last_success: Instant::now(),
            failed: HashMap::new(),
        }
    }

    async fn run(mut self, lines: Vec<Line>) -> Tally {
        let mut pending = VecDeque::from(lines);
        let (mut again, mut pause) = (false, MIN_PAUSE);
        loop {
            let began = Instant::now();
            if let Err(error) = self.pass(&mut pending, again).await {
                for line in &pending {
                    if !self.has_failed(line) {
                        self.tally.fail(line, &error.to_string());
                    }
                }
                break;
            }
            if self.failed.is_empty() || self.has_no_hope() {
                break;
            }
            if self.last_success > began {
                pause = MIN_PAUSE;
            }
            sleep(pause).await;
            pause = (2 * pause).min(MAX_PAUSE);
            again = true;
            pending.extend(self.failed.values().map(|(line, _)| line.clone()));
            pending.make_contiguous().sort_unstable_by_key(|line| line.number);
        }
        let mut failed: Vec<(Line, String)> = self.failed.into_values().collect();
        failed.sort_unstable_by_key(|(line, _)| line.number);
        failed.iter().for_each(|(line, reason)| self.tally.fail(line, reason));
        self.tally
    }

    /// Whether this very line is to be sent again.
    fn has_failed(&self, line: &Line) -> bool {
        self.failed.get(&line.key).is_some_and(|(failed, _)| failed.number == line.number)
    }

    fn has_no_hope(&self) -> bool {
        self.last_success.elapsed() > self.patience
    }

    /// Sends every line once, lost connections aside; those that are sent `again` only while there is hope.
    ///
    /// # Errors
    /// What keeps every line from being sent; those that were not are left in `pending`.
    async fn pass(&mut self, pending: &mut VecDeque<Line>, again: bool) -> Result<(), ClientError> {
        let mut last_reply = Instant::now();
        while !pending.is_empty() {
            if again && self.has_no_hope() {
                break;
            }
            let window = next_window(pending);
            match self.exchange(&window).await {
                Ok(replies) => {
                    last_reply = Instant::now();
                    if self.settle(window, replies) {
                        self.last_success = Instant::now();
                    } else {
                        sleep(MIN_PAUSE).await;
                    }
                }
                Err(error) => {
                    self.client = None;
                    self.addresses.rotate_left(1);
                    window.into_iter().rev().for_each(|line| pending.push_front(line));
                    if !error.is_retryable() || last_reply.elapsed() > self.patience {
                        return Err(error);
                    }
                    sleep(LOST_PAUSE).await;
                }
            }
        }
        Ok(())
    }

    /// Sends a command for each line and reads the replies.
    async fn exchange(&mut self, window: &[Line]) -> Result<Vec<Value>, ClientError> {
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(Client::connect(&self.addresses[0], self.password.as_deref()).await?),
        };
        for Line { key, value, .. } in window {
            match self.task {
                Task::Store => client.push(&[b"SET", key, value]),
                Task::Compare => client.push(&[b"GET", key]),
            }
        }
        client.flush().await?;
        let mut replies = Vec::with_capacity(window.len());
        for _ in window {
            replies.push(client.receive().await?);
        }
        Ok(replies)
    }

    /// Counts what went through, and keeps what is to be sent again. Whether any went through.
    fn settle(&mut self, window: Vec<Line>, replies: Vec<Value>) -> bool {
        let mut went_through = false;
        for (line, reply) in window.into_iter().zip(replies) {
            match &reply {
                Value::Error(text) if is_retryable(text) => {
                    // An earlier line of the key is out of date.
                    self.failed.insert(line.key.clone(), (line, text.clone()));
                    continue;
                }
                _ if self.has_failed(&line) => drop(self.failed.remove(&line.key)),
                _ => {}
            }
            match (self.task, reply) {
                (_, Value::Error(text)) => self.tally.fail(&line, &text),
                (Task::Store, Value::Simple(_)) => {
                    // What failed before is out of date by now: sent again it would undo this line.
                    self.failed.remove(&line.key);
                    self.tally.good += 1;
                }
                (Task::Compare, Value::Null) => self.tally.missing += 1,
                (Task::Compare, Value::Bulk(value)) if value == line.value => self.tally.good += 1,
                (Task::Compare, Value::Bulk(_)) => self.tally.different += 1,
                (_, other) => self.tally.fail(&line, &format!("unexpected reply {other:?}")),
            }
            went_through = true;
            self.progress.inc(1);
        }
        went_through
    }
}

/// The next lines to be sent together: at least one, no key twice.
fn next_window(pending: &mut VecDeque<Line>) -> Vec<Line> {
    let (mut window, mut bytes, mut keys) = (Vec::new(), 0, HashSet::new());
    while let Some(line) = pending.pop_front() {
        bytes += line.key.len() + line.value.len() + 64;
        let full = window.len() == WINDOW_LINES || bytes > WINDOW_BYTES || !keys.insert(line.key.clone());
        if full && !window.is_empty() {
            pending.push_front(line);
            break;
        }
        window.push(line);
    }
    window
}

#[cfg(test)]
mod tests;
