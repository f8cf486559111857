//! Whether hand-offs get on: what a leave waits for.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Hand-offs in a row that may be given up after entries were sent; what later ones send is no progress.
const MAX_VAIN: u32 = 8;

/// How the hand-offs from here and to here get on.
pub(crate) struct Progress {
    /// Never held across an await.
    inner: Mutex<Inner>,
}

struct Inner {
    /// When something last got on.
    last: Instant,
    /// What is under way and has its time.
    awaited: usize,
    /// Hand-offs in a row that were given up after entries had been sent.
    vain: u32,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress { inner: Mutex::new(Inner { last: Instant::now(), awaited: 0, vain: 0 }) }
    }

    /// Entries were stored or dropped.
    pub(crate) fn step(&self) {
        let mut inner = self.lock();
        if inner.vain < MAX_VAIN {
            inner.last = Instant::now();
        }
    }

    /// A hand-off has come to its end; or a leave begins, and nobody has waited so far.
    pub(crate) fn done(&self) {
        let mut inner = self.lock();
        inner.last = Instant::now();
        inner.vain = 0;
    }

    /// A hand-off was given up after entries had been sent: it begins again from nothing. One that fails at the
    /// same place each time would keep a leave waiting for ever.
    pub(crate) fn was_in_vain(&self) {
        let mut inner = self.lock();
        inner.vain = inner.vain.saturating_add(1);
    }

    /// Until the guard is dropped, something is under way that takes its time: there is no standstill.
    pub(crate) fn awaits(&self) -> Awaits<'_> {
        self.lock().awaited += 1;
        Awaits { progress: self }
    }

    /// How long nothing has got on.
    pub(crate) fn standstill(&self) -> Duration {
        let inner = self.lock();
        let patient = inner.awaited > 0 && inner.vain < MAX_VAIN;
        if patient { Duration::ZERO } else { inner.last.elapsed() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Progress::awaits`].
pub(crate) struct Awaits<'a> {
    progress: &'a Progress,
}

impl Drop for Awaits<'_> {
    fn drop(&mut self) {
        self.progress.lock().awaited -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn nothing_stands_still_while_something_takes_its_time() {
        let progress = Progress::new();
        let awaits = progress.awaits();
        tokio::time::advance(SECOND).await;
        assert_eq!(progress.standstill(), Duration::ZERO);
        drop(awaits);
        assert_eq!(progress.standstill(), SECOND);
        progress.step();
        assert_eq!(progress.standstill(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn hand_offs_that_fail_after_the_first_chunks_are_no_progress_for_ever() {
        let progress = Progress::new();
        for _ in 0..MAX_VAIN {
            tokio::time::advance(SECOND).await;
            progress.step();
            assert_eq!(progress.standstill(), Duration::ZERO);
            progress.was_in_vain();
        }
        tokio::time::advance(SECOND).await;
        progress.step();
        let awaits = progress.awaits();
        assert_eq!(progress.standstill(), SECOND);
        drop(awaits);
        progress.done();
        tokio::time::advance(SECOND).await;
        progress.step();
        assert_eq!(progress.standstill(), Duration::ZERO);
    }
}
