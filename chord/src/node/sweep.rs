//! Collects what is over: tombstones, expired entries, and entries that no record of this host covers.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::node::Node;
use crate::protocol::group::Verdict;
use crate::protocol::id::Interval;
use crate::storage::{Batch, Cursor, Stored};
use crate::transport::Transport;

/// Between pages, while they hold little to collect.
const PAUSE: Duration = Duration::from_millis(200);
/// Bytes of a page.
const PAGE_BYTES: usize = 128 << 10;
/// How long one burial may wait for a hand-off.
const PATIENCE: Duration = Duration::from_secs(1);

impl<T: Transport> Node<T> {
    /// Goes round and round; pages with much to collect follow each other without a pause.
    pub(crate) async fn sweep_loop(self: Arc<Self>) {
        let mut after = None;
        loop {
            let (next, much) = self.sweep_page(after).await;
            after = next;
            if !much {
                tokio::time::sleep(self.jittered(PAUSE)).await;
            } else {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Collects in one page. Returns where to go on, and whether a quarter of it or more was over.
    pub(crate) async fn sweep_page(&self, after: Option<Cursor>) -> (Option<Cursor>, bool) {
        let Ok(page) = self.storage.scan(Interval::whole(), after, PAGE_BYTES).await else {
            return (None, false);
        };
        let (total, mut over) = (page.entries.len(), 0);
        for stored in page.entries {
            let verdict = self.groups().verdict(&stored.id);
            let collected = match verdict {
                Verdict::Serve { copying: None, .. } if stored.entry.value.is_none() => {
                    self.collect(stored).await
                }
                Verdict::Serve { .. } if stored.entry.has_expired(self.now()) => {
                    let deadline = Instant::now() + PATIENCE;
                    self.bury(&stored.id, &stored.key, stored.entry.version, deadline).await.is_ok()
                }
                Verdict::Unknown | Verdict::Moved(_) => self.collect(stored).await,
                _ => false,
            };
            over += usize::from(collected);
        }
        (page.next, over > 0 && 4 * over >= total)
    }

    /// Deletes an entry at this very version, unless a hand-off has begun to copy it. Waits for no write: one that hangs
    /// in the store would make every step of a hand-off wait behind the gate. The next round comes by again.
    async fn collect(&self, stored: Stored) -> bool {
        let _gate = self.learning.read().await;
        let Some(_lock) = self.keys.try_lock(&stored.id) else { return false };
        let over = self.groups().verdict(&stored.id).lets_collect(stored.entry.value.is_none());
        over && self.storage.apply(Batch { deletes: vec![stored], ..Batch::default() }).await.is_ok()
    }
}
