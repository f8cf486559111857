//! Waiting for a condition on paused time.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often the condition is looked at.
const PAUSE: Duration = Duration::from_millis(5);
/// How long it is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `holds` does.
///
/// # Panics
/// When it does not within a minute.
pub(crate) async fn soon(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}: not within a minute");
        sleep(PAUSE).await;
    }
}
