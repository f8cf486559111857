//! What this host's store holds, for reports.

use tokio::time::Instant;

use crate::error::Error;
use crate::node::Node;
use crate::node::deadline::by;
use crate::storage::StorageStats;
use crate::transport::Transport;

impl<T: Transport> Node<T> {
    /// What the store holds.
    ///
    /// # Errors
    /// [`Error::Timeout`] when the store has not told by `deadline`.
    pub(crate) async fn stock(&self, deadline: Instant) -> Result<StorageStats, Error> {
        let Some(stock) = by(deadline, self.storage.stats()).await else {
            return Err(Error::Timeout { reason: format!("the store of {} does not answer", self.me.name) });
        };
        *self.last_stock() = stock;
        Ok(stock)
    }
}
