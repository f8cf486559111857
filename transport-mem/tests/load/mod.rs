//! Reads and writes that never pause, each timed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chord::Error;
use chord_transport_mem::testkit::Client;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, interval};

/// What one operation came to.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) result: Result<usize, Error>,
}

/// Operations on one key through one node, from [`Load::start`] on.
pub(crate) struct Load {
    what: String,
    kind: Kind,
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<Sample>>,
}

/// Whether a load reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Reads,
    Writes,
}

impl Load {
    /// Begins an operation every `pace`, whether or not the earlier ones have ended.
    pub(crate) fn start(client: Client, key: &str, kind: Kind, pace: Duration) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let source = client.node().config().name.clone();
        let what = format!("{kind:?} of {key} through {source}");
        let (key, stopped) = (key.to_owned(), stop.clone());
        let task = tokio::spawn(async move {
            let mut ticks = interval(pace);
            let mut operations = JoinSet::new();
            let mut count = 0;
            while !stopped.load(Ordering::Relaxed) {
                ticks.tick().await;
                count += 1;
                let (client, key, value) = (client.clone(), key.clone(), format!("{source}.{count}"));
                operations.spawn(async move {
                    let began = Instant::now();
                    let result = match kind {
                        Kind::Reads => client.get_record(&key).await.map(|found| found.map_or(0, |r| r.hops)),
                        Kind::Writes => client.put(&key, value).await.map(|receipt| receipt.hops),
                    };
                    Sample { began, ended: Instant::now(), result }
                });
            }
            operations.join_all().await
        });
        Load { what, kind, stop, task }
    }

    /// Waits for what is under way. The samples in the order of their ends.
    pub(crate) async fn stop(self) -> (Kind, Samples) {
        self.stop.store(true, Ordering::Relaxed);
        let mut samples = self.task.await.expect("the load never panics");
        samples.sort_by_key(|sample| sample.ended);
        (self.kind, Samples { what: self.what, samples })
    }
}

/// What a load came to.
pub(crate) struct Samples {
    pub(crate) what: String,
    pub(crate) samples: Vec<Sample>,
}

impl Samples {
    /// Panics unless every operation ended well.
    pub(crate) fn assert_all_done(&self) {
        for sample in &self.samples {
            assert!(sample.result.is_ok(), "{}: {sample:?}", self.what);
        }
    }

    /// The longest time without the end of an operation, though one was always under way.
    pub(crate) fn longest_gap(&self) -> Duration {
        let pairs = self.samples.windows(2);
        pairs.map(|pair| pair[1].ended - pair[0].ended).max().unwrap_or_default()
    }

    /// The longest an operation took.
    pub(crate) fn longest_wait(&self) -> Duration {
        self.samples.iter().map(|sample| sample.ended - sample.began).max().unwrap_or_default()
    }

    /// The most calls that an operation needed.
    pub(crate) fn most_hops(&self) -> usize {
        self.samples
            .iter()
            .filter_map(|sample| sample.result.as_ref().ok())
            .copied()
            .max()
            .unwrap_or_default()
    }
}
