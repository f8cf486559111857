//! What the claims share: entries to store, and operations that are tried again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::TRIES;
use crate::protocol::entry::{Entry, Version};
use crate::protocol::id::{Id, Interval};
use crate::storage::{Batch, Cursor, Page, Storage, StorageError, Stored};

/// The largest id.
pub(super) const LAST: Id = Id::from_bytes([0xff; 20]);

/// The whole circle, cut so that a scan goes from the smallest id to the largest.
pub(super) const EVERYTHING: Interval = Interval::new(LAST, LAST);

/// The id that lies `parts` of 256 around the circle.
pub(super) fn around(parts: u8) -> Id {
    let mut bytes = [0; 20];
    bytes[0] = parts;
    bytes[19] = parts.wrapping_mul(37);
    Id::from_bytes(bytes)
}

pub(super) fn version(counter: u64) -> Version {
    Version { epoch: 1, counter }
}

pub(super) fn value(id: Id, key: impl Into<Bytes>, counter: u64, value: impl Into<Bytes>) -> Stored {
    let entry = Entry { version: version(counter), value: Some(value.into()), expires_at: None };
    Stored { id, key: key.into(), entry }
}

pub(super) fn tombstone(id: Id, key: impl Into<Bytes>, counter: u64) -> Stored {
    Stored { id, key: key.into(), entry: Entry { version: version(counter), value: None, expires_at: None } }
}

pub(super) fn storing(entries: Vec<Stored>) -> Batch {
    Batch { entries, ..Batch::default() }
}

pub(super) fn deleting(deletes: Vec<Stored>) -> Batch {
    Batch { deletes, ..Batch::default() }
}

pub(super) fn clearing(clear: Vec<Interval>) -> Batch {
    Batch { clear, ..Batch::default() }
}

/// Tries until it succeeds. Lets others go first each time, so that the operations of concurrent tasks mix even
/// on a store that never waits.
async fn retried<T, F>(what: &str, mut attempt: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, StorageError>>,
{
    let mut last = None;
    for _ in 0..TRIES {
        tokio::task::yield_now().await;
        match attempt().await {
            Ok(done) => return done,
            Err(error) => last = Some(error),
        }
    }
    panic!("{what} has failed {TRIES} times, with {last:?} at last");
}

pub(super) async fn apply(store: &dyn Storage, batch: Batch) {
    retried("apply", || store.apply(batch.clone())).await;
}

pub(super) async fn get(store: &dyn Storage, id: Id, key: &[u8]) -> Option<Entry> {
    retried("get", || store.get(&id, key)).await
}

pub(super) async fn load(store: &dyn Storage) -> Option<Bytes> {
    retried("load", || store.load()).await
}

pub(super) async fn page(
    store: &dyn Storage,
    interval: Interval,
    after: Option<Cursor>,
    max_bytes: usize,
) -> Page {
    retried("scan", || store.scan(interval, after.clone(), max_bytes)).await
}

/// The pages of `interval`, each checked against the bound.
pub(super) async fn pages(store: &dyn Storage, interval: Interval, max_bytes: usize) -> Vec<Vec<Stored>> {
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let Page { entries, next } = page(store, interval, after, max_bytes).await;
        let bytes: usize = entries.iter().map(Stored::len_bytes).sum();
        assert!(
            bytes <= max_bytes || entries.len() == 1,
            "a page of {} entries and {bytes} bytes, where {max_bytes} were asked for",
            entries.len(),
        );
        if let Some(next) = &next {
            let last = entries.last().unwrap_or_else(|| panic!("an empty page goes on at {next:?}"));
            assert_eq!((&next.id, &next.key), (&last.id, &last.key), "a page goes on after its last entry");
        }
        pages.push(entries);
        after = next;
        if after.is_none() {
            return pages;
        }
    }
}

/// Everything in `interval`, by pages of a few entries.
pub(super) async fn scan(store: &dyn Storage, interval: Interval) -> Vec<Stored> {
    pages(store, interval, 500).await.concat()
}

pub(super) async fn assert_holds(store: &dyn Storage, stored: &Stored) {
    let found = get(store, stored.id, &stored.key).await;
    assert_eq!(found.as_ref(), Some(&stored.entry), "what is stored for {:?} at {}", stored.key, stored.id);
}

/// Compares lists without printing them whole.
pub(super) fn assert_same(found: &[Stored], expected: &[Stored], what: &str) {
    let place =
        |stored: &Stored| format!("{:?} at {}", stored.key.slice(..stored.key.len().min(20)), stored.id);
    for (n, (found, expected)) in found.iter().zip(expected).enumerate() {
        let (at, wanted) = (place(found), place(expected));
        assert!(found == expected, "{what}: entry {n} is {at}, where {wanted} was expected");
    }
    let missing = expected.get(found.len()).map(place);
    assert_eq!(missing, None, "{what}: only {} of {} entries", found.len(), expected.len());
    let surplus = found.get(expected.len()).map(place);
    assert_eq!(surplus, None, "{what}: {} entries, where {} were expected", found.len(), expected.len());
}

/// How many rounds of writing a claim does: some hundreds, fewer on a slow store.
pub(super) struct Rounds {
    started: Instant,
    done: u64,
}

impl Rounds {
    pub(super) fn new() -> Rounds {
        Rounds { started: Instant::now(), done: 0 }
    }
}

impl Iterator for Rounds {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let over = self.done >= 500 || (self.done >= 20 && self.started.elapsed() > Duration::from_secs(1));
        self.done += 1;
        (!over).then_some(self.done)
    }
}

/// Checks again and again, in two tasks, while `write` runs, and once when it has ended.
pub(super) async fn beside<C, F>(write: impl Future<Output = ()> + Send + 'static, check: C)
where
    C: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send,
{
    let writer = tokio::spawn(write);
    let check = Arc::new(check);
    let checkers = [0, 1].map(|_| {
        let (check, writer) = (Arc::clone(&check), writer.abort_handle());
        tokio::spawn(async move {
            while !writer.is_finished() {
                check().await;
            }
            check().await;
        })
    });
    writer.await.expect("the writer ends");
    for checker in checkers {
        checker.await.expect("what the checker saw was right");
    }
}
