//! The node a service stands on, and the wall clock it tells the time by.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chord::Chord;
use chord::transport::Transport;

/// A node whose transport is chosen when the program starts.
pub type Node = Chord<Arc<dyn Transport>>;

/// Unix time in milliseconds, by this host's clock.
pub fn now_millis() -> u64 {
    u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX)
}

/// Unix time in microseconds, by this host's clock.
pub fn now_micros() -> u64 {
    u64::try_from(since_epoch().as_micros()).unwrap_or(u64::MAX)
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
