//! What a service has counted since it started: [`Counters`].

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters; they only grow.
#[derive(Debug, Default)]
pub struct Counters {
    accepted: AtomicU64,
    rejected: AtomicU64,
    commands: AtomicU64,
    errors: AtomicU64,
}

impl Counters {
    /// Connections accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections refused because there were too many.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Commands run.
    pub fn commands(&self) -> u64 {
        self.commands.load(Ordering::Relaxed)
    }

    /// Commands answered by an error.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// A connection was accepted.
    pub fn accept(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection was refused.
    pub fn reject(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    /// `commands` ran, `errors` of them answered by an error.
    pub fn ran(&self, commands: usize, errors: usize) {
        self.commands.fetch_add(commands as u64, Ordering::Relaxed);
        if errors > 0 {
            self.errors.fetch_add(errors as u64, Ordering::Relaxed);
        }
    }
}
