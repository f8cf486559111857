//! What this host's store holds: nothing when the node begins, and what reports tell.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Config;
use crate::error::Error;
use crate::node::Node;
use crate::node::deadline::by;
use crate::node::store::Store;
use crate::protocol::id::Interval;
use crate::storage::StorageStats;
use crate::transport::Transport;

/// Before a store that failed is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Makes sure that there is nothing in the store of a node that begins. No earlier life of a host is brought back: versions
/// begin anew, and a store ignores what is older than what it holds, so writes would be acknowledged and not be there.
///
/// A store that fails is asked again until an operation's deadline.
///
/// # Errors
/// [`Error::Invalid`] when there is something, [`Error::Storage`] or [`Error::Timeout`] when the store does not tell.
pub(crate) async fn expect_empty(storage: &Store, config: &Config) -> Result<(), Error> {
    let deadline = Instant::now() + config.operation_deadline;
    loop {
        match by(deadline, storage.scan(Interval::whole(), None, 1)).await {
            Some(Ok(page)) if page.entries.is_empty() => return Ok(()),
            Some(Ok(_)) => {
                return Err(Error::Invalid(
                    "the store is not empty: no earlier life of a node is brought back from it".into(),
                ));
            }
            Some(Err(error)) if Instant::now() + RETRY_PAUSE >= deadline => {
                return Err(Error::Storage(error.0));
            }
            Some(Err(_)) => tokio::time::sleep(RETRY_PAUSE).await,
            None => return Err(Error::Timeout { reason: "the store does not answer".into() }),
        }
    }
}

impl<T: Transport> Node<T> {
    /// What the store holds.
    ///
    /// # Errors
    /// [`Error::Timeout`] when the store has not told by `deadline`.
    pub(crate) async fn stock(&self, deadline: Instant) -> Result<StorageStats, Error> {
        let Some(stock) = by(deadline, self.storage.stats()).await.flatten() else {
            return Err(Error::Timeout { reason: format!("the store of {} does not answer", self.me.name) });
        };
        *self.last_stock() = stock;
        Ok(stock)
    }
}
