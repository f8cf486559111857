//! What was dropped, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// A snapshot of what a transport has dropped since its start; for metrics and for tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ZmqStats {
    /// Messages that are not in our framing, or of a kind that does not belong there.
    pub malformed: u64,
    /// Requests beyond the frame limit. They were answered with a refusal and not executed.
    pub oversized: u64,
    /// Requests past the bound on unanswered ones. They were answered with a refusal and not executed.
    pub overloaded: u64,
    /// Replies that came when nobody waited for them any more.
    pub late_replies: u64,
    /// Replies that could not be sent because the caller's connection was gone.
    pub undeliverable_replies: u64,
    /// Sockets the library did not let go of in time (the crate docs say when that happens).
    pub stuck_sockets: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    malformed: AtomicU64,
    oversized: AtomicU64,
    overloaded: AtomicU64,
    late_replies: AtomicU64,
    undeliverable_replies: AtomicU64,
    stuck_sockets: AtomicU64,
}

impl Counters {
    pub(crate) fn malformed(&self, reason: &'static str) {
        tracing::debug!(reason, "dropped a malformed message");
        self.malformed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn oversized(&self) {
        self.oversized.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn overloaded(&self) {
        self.overloaded.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn late_reply(&self) {
        self.late_replies.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn undeliverable_reply(&self) {
        self.undeliverable_replies.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stuck_socket(&self) {
        self.stuck_sockets.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> ZmqStats {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ZmqStats {
            malformed: value(&self.malformed),
            oversized: value(&self.oversized),
            overloaded: value(&self.overloaded),
            late_replies: value(&self.late_replies),
            undeliverable_replies: value(&self.undeliverable_replies),
            stuck_sockets: value(&self.stuck_sockets),
        }
    }
}
