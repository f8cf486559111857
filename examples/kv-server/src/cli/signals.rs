//! SIGTERM and SIGINT: [`Signals`].

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::cli::Exit;

/// Signals so close together are one wish: a terminal and a supervisor may both pass on one Ctrl-C.
const ONE_WISH: Duration = Duration::from_millis(100);

/// SIGTERM and SIGINT.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    latest: Option<Instant>,
}

impl Signals {
    /// From here on they no longer end the process.
    pub(super) fn new() -> Result<Signals, Exit> {
        let listen = |kind| signal(kind).map_err(|error| Exit::Failure(format!("signals: {error}")));
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            latest: None,
        })
    }

    /// The next of either, those aside that repeat the one before.
    pub(super) async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            if self.latest.is_none_or(|latest| latest.elapsed() >= ONE_WISH) {
                self.latest = Some(Instant::now());
                return;
            }
        }
    }
}
