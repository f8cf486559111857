//! What this host's store holds, for reports.

use tokio::time::Instant;

use crate::error::Error;
use crate::node::Node;
use crate::node::deadline::by;
use crate::protocol::id::Interval;
use crate::storage::{StorageError, StorageStats};
use crate::transport::Transport;

/// Bytes of a page of copies that are counted.
const PAGE_BYTES: usize = 128 << 10;

impl<T: Transport> Node<T> {
    /// What the store holds; of keys with a value only those that this host answers for. So copies that it learns are
    /// counted once in a ring, where they are served.
    ///
    /// # Errors
    /// [`Error::Timeout`] when the store has not told by `deadline`, [`Error::Storage`] when it failed.
    pub(crate) async fn stock(&self, deadline: Instant) -> Result<StorageStats, Error> {
        let counted = async {
            let unserved = self.groups().unserved();
            let mut stock = self.storage.stats().await;
            for piece in unserved {
                // What has come since the store was asked is not among what it told.
                stock.entries = stock.entries.saturating_sub(self.entries_of(piece).await?);
            }
            Ok(stock)
        };
        let Some(stock) = by(deadline, Box::pin(counted)).await else {
            return Err(Error::Timeout { reason: format!("the store of {} does not answer", self.me.name) });
        };
        let stock = stock.map_err(|error: StorageError| Error::Storage(error.0))?;
        *self.last_stock() = stock;
        Ok(stock)
    }

    /// Keys with a value that are stored in `interval`.
    async fn entries_of(&self, interval: Interval) -> Result<u64, StorageError> {
        let (mut count, mut after) = (0, None);
        loop {
            let page = self.storage.scan(interval, after, PAGE_BYTES).await?;
            count += page.entries.iter().filter(|stored| stored.entry.value.is_some()).count() as u64;
            after = page.next;
            if after.is_none() {
                return Ok(count);
            }
            tokio::task::yield_now().await;
        }
    }
}
