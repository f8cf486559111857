//! Recorded writes and reads that go on while something happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chord::Error;
use chord_transport_mem::testkit::Client;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// A client that writes and reads keys in turn until it is stopped.
pub(crate) struct Audit {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<Error>>,
}

impl Audit {
    /// Goes through `keys` over and over, one operation at a time, `pause` between two keys.
    pub(crate) fn start(client: Client, keys: Vec<String>, pause: Duration) -> Audit {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut errors = Vec::new();
            for (i, key) in keys.iter().cycle().enumerate() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let value = format!("{}.{i}", client.node().config().name);
                errors.extend(client.put(key, value).await.err());
                errors.extend(client.get(key).await.err());
                sleep(pause).await;
            }
            errors
        });
        Audit { stop, task }
    }

    /// Waits for the operation under way. What went wrong, in order.
    pub(crate) async fn stop(self) -> Vec<Error> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("an audit never panics")
    }
}
