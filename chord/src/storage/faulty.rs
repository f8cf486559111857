//! A store made slow and unreliable on purpose, for tests of what uses stores.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::watch;

use super::{Batch, Cursor, Page, Storage, StorageError, StorageStats};
use crate::protocol::entry::Entry;
use crate::protocol::id::{Id, Interval};

/// What goes wrong and how often. Shares are from 0 (never) to 1 (always); the default is that nothing does.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Decides everything below: the same calls in the same order meet the same faults.
    pub seed: u64,
    /// Each call takes up to this long, evenly spread, before it does its work; `apply` as long again after it.
    pub max_delay: Duration,
    /// Share of batches that fail with nothing of them in force.
    pub fail_before: f64,
    /// Share of the other batches that are in force and all the same reported as failed.
    pub fail_after: f64,
    /// Share of `get`, `scan` and `load` that fail.
    pub fail_reads: f64,
}

/// Which calls of a store hang; see [`DelayingFailing::hang`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hang {
    /// None.
    #[default]
    Nothing,
    /// Those of `apply` with an entry of this key.
    WritesOf(Bytes),
    /// Those of `apply`.
    Writes,
    /// All of them.
    Everything,
}

/// A store that delays, fails and hangs as it is told, and otherwise does what the store within does.
///
/// Delays are taken on tokio's clock, so they cost nothing on paused time.
pub struct DelayingFailing<S: ?Sized> {
    store: Arc<S>,
    faults: Faults,
    /// Never held across an `.await`.
    rng: Mutex<StdRng>,
    hang: watch::Sender<Hang>,
}

impl<S: Storage + ?Sized> DelayingFailing<S> {
    /// `store` with `faults`.
    ///
    /// # Panics
    /// When a share is not from 0 to 1.
    pub fn new(store: Arc<S>, faults: Faults) -> DelayingFailing<S> {
        for share in [faults.fail_before, faults.fail_after, faults.fail_reads] {
            assert!((0.0..=1.0).contains(&share), "a share is from 0 to 1, not {share}");
        }
        let rng = Mutex::new(StdRng::seed_from_u64(faults.seed));
        DelayingFailing { store, faults, rng, hang: watch::Sender::default() }
    }

    /// From here on calls hang as `hang` says, before or after they did their work, until it says otherwise. Nothing
    /// does at first.
    pub fn hang(&self, hang: Hang) {
        self.hang.send_replace(hang);
    }

    /// Delays a call: an `apply` of entries of these keys, or one that reads.
    async fn delay(&self, written: Option<&[Bytes]>) {
        let goes_on = |hang: &Hang| match hang {
            Hang::Nothing => true,
            Hang::WritesOf(key) => written.is_none_or(|keys| !keys.contains(key)),
            Hang::Writes => written.is_none(),
            Hang::Everything => false,
        };
        // The sender lives as long as this store.
        let _ = self.hang.subscribe().wait_for(goes_on).await;
        let delay = self.draw(|rng| self.faults.max_delay.mul_f64(rng.random()));
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }

    fn maybe_fail(&self, share: f64, what: &str) -> Result<(), StorageError> {
        match self.draw(|rng| rng.random_bool(share)) {
            true => Err(StorageError(format!("injected: {what}"))),
            false => Ok(()),
        }
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl<S: Storage + ?Sized> Storage for DelayingFailing<S> {
    async fn apply(&self, batch: Batch) -> Result<(), StorageError> {
        let keys: Vec<Bytes> = batch.entries.iter().map(|stored| stored.key.clone()).collect();
        self.delay(Some(&keys)).await;
        self.maybe_fail(self.faults.fail_before, "nothing of the batch is in force")?;
        self.store.apply(batch).await?;
        self.delay(Some(&keys)).await;
        self.maybe_fail(self.faults.fail_after, "the batch is in force all the same")
    }

    async fn get(&self, id: &Id, key: &[u8]) -> Result<Option<Entry>, StorageError> {
        self.delay(None).await;
        self.maybe_fail(self.faults.fail_reads, "get")?;
        self.store.get(id, key).await
    }

    async fn scan(
        &self,
        interval: Interval,
        after: Option<Cursor>,
        max_bytes: usize,
    ) -> Result<Page, StorageError> {
        self.delay(None).await;
        self.maybe_fail(self.faults.fail_reads, "scan")?;
        self.store.scan(interval, after, max_bytes).await
    }

    async fn load(&self) -> Result<Option<Bytes>, StorageError> {
        self.delay(None).await;
        self.maybe_fail(self.faults.fail_reads, "load")?;
        self.store.load().await
    }

    async fn stats(&self) -> StorageStats {
        self.delay(None).await;
        self.store.stats().await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::protocol::entry::Version;
    use crate::storage::{MemoryStorage, Stored};

    fn faulty(faults: Faults) -> DelayingFailing<MemoryStorage> {
        DelayingFailing::new(Arc::new(MemoryStorage::new()), faults)
    }

    fn some_batch() -> Batch {
        let entry = Entry { version: Version { epoch: 1, counter: 1 }, value: None, expires_at: None };
        Batch::one(Stored { id: Id::ZERO, key: Bytes::from_static(b"k"), entry })
    }

    #[tokio::test]
    async fn a_batch_that_fails_before_leaves_nothing_and_one_that_fails_after_leaves_all() {
        for (fail_before, fail_after, in_force) in [(1.0, 0.0, false), (0.0, 1.0, true)] {
            let store = faulty(Faults { fail_before, fail_after, ..Faults::default() });
            store.apply(some_batch()).await.unwrap_err();
            assert_eq!(store.get(&Id::ZERO, b"k").await.unwrap().is_some(), in_force);
        }
    }

    #[tokio::test]
    async fn without_faults_nothing_goes_wrong_and_with_failing_reads_every_read_does() {
        let store = faulty(Faults::default());
        store.apply(some_batch()).await.unwrap();
        assert!(store.get(&Id::ZERO, b"k").await.unwrap().is_some());
        let store = faulty(Faults { fail_reads: 1.0, ..Faults::default() });
        store.apply(some_batch()).await.unwrap();
        store.get(&Id::ZERO, b"k").await.unwrap_err();
        store.scan(Interval::whole(), None, 100).await.unwrap_err();
        store.load().await.unwrap_err();
        assert_eq!(store.stats().await.tombstones, 1);
    }

    /// What a hundred batches met: whether each failed, and when it had ended.
    async fn trace(seed: u64) -> Vec<(bool, Duration)> {
        let max_delay = Duration::from_secs(60);
        let store =
            faulty(Faults { seed, max_delay, fail_before: 0.3, fail_after: 0.3, ..Faults::default() });
        let started = Instant::now();
        let mut trace = Vec::new();
        for _ in 0..100 {
            let failed = store.apply(some_batch()).await.is_err();
            trace.push((failed, started.elapsed()));
        }
        trace
    }

    #[tokio::test(start_paused = true)]
    async fn the_seed_decides_every_delay_and_failure() {
        let first = trace(1).await;
        assert_eq!(first, trace(1).await);
        assert_ne!(first, trace(2).await);
        assert!((30..70).contains(&first.iter().filter(|(failed, _)| *failed).count()));
        assert!(first.last().unwrap().1 > Duration::from_secs(60), "delays take time on the paused clock");
    }
}
