//! The receiving side of a hand-off: becomes a learner, stores chunks, installs the decided record.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::timeout_at;

use crate::node::deadline::by;
use crate::node::{Metrics, Node, Phase};
use crate::protocol::entry::Entry;
use crate::protocol::group::{Group, TransferId};
use crate::protocol::id::Interval;
use crate::protocol::message::{EntryHead, Response};
use crate::protocol::peer::Host;
use crate::protocol::placement;
use crate::protocol::wire;
use crate::storage::{Batch, StorageError, Stored};
use crate::transport::Transport;

impl<T: Transport> Node<T> {
    /// Begins to learn what `from` offers, if the ring names this host its owner (or will, once `from` has left), or
    /// it was decided for this host before. `Overloaded` while something is cleared, for this offer or another one.
    pub(crate) async fn take_offer(
        self: &Arc<Self>,
        transfer: TransferId,
        from: &Arc<Host>,
        pieces: &[(Interval, u64)],
        leaving: bool,
    ) -> Response {
        if transfer.source != from.incarnation {
            return Response::Declined("the offer is not its sender's".into());
        }
        let is_leaving = self.is_leaving();
        let may = placement::may_take(&self.routing(), from, pieces, leaving, is_leaving);
        if let Err(reason) = may {
            return Response::Declined(reason.into());
        }
        let patience = self.store_patience();
        let locks = async {
            // Until what is named is cleared, a repetition of the offer is not answered: a chunk would follow.
            let clearing = self.clearing.clone().lock_owned().await;
            (clearing, self.learning.write().await)
        };
        let Ok((clearing, gate)) = timeout_at(patience, locks).await else { return Response::Overloaded };
        if matches!(*self.phase.borrow(), Phase::Parting | Phase::Closed(_)) {
            return Response::Declined("this host has left".into());
        }
        let clear = match self.change_groups(|groups| groups.offer(transfer, from, pieces)) {
            Ok(clear) => clear,
            Err(reason) => return Response::Declined(reason.to_string()),
        };
        drop(gate);
        let node = self.clone();
        let dropping = Box::pin(async move {
            let dropped = node.drop_entries(clear).await;
            if dropped.is_err() {
                node.change_groups(|groups| groups.abort(transfer));
            }
            drop(clearing);
            dropped
        });
        match self.carry_out(dropping, patience).await {
            Some(Ok(())) => Response::Learning,
            Some(Err(error)) => Response::Declined(error.to_string()),
            None => Response::Overloaded,
        }
    }

    /// Drops what is stored in `intervals`, from which nobody is served, piece by piece. The caller holds `clearing`.
    pub(crate) async fn drop_entries(&self, intervals: Vec<Interval>) -> Result<(), StorageError> {
        for interval in intervals {
            let mut rest = Some(interval);
            while let Some(left) = rest {
                rest = self.storage.clear_some(left).await?;
                self.progress.step();
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Stores a chunk, if its hand-off is being learnt at each of its ids; one without entries asks whether it still is.
    /// `Overloaded` when the store takes long: the chunk may land later.
    pub(crate) async fn take_chunk(
        self: &Arc<Self>,
        transfer: TransferId,
        entries: Vec<EntryHead>,
        body: &Bytes,
    ) -> Response {
        let lengths = entries.iter().filter_map(|entry| entry.value_bytes);
        let Ok(values) = wire::split_values(body, lengths) else {
            return Response::Malformed("the values do not fit the body".into());
        };
        if !entries.iter().all(|entry| self.parameters.admits(&entry.id, &entry.key)) {
            return Response::Malformed("a key is too long, or not under its id".into());
        }
        if entries.is_empty() {
            let learns = self.groups().source(transfer).is_some();
            return if learns { Response::Stored } else { Response::NoSuchTransfer };
        }
        let patience = self.store_patience();
        let reading = Box::pin(self.learning.clone().read_owned());
        let Some(gate) = by(patience, reading).await else { return Response::Overloaded };
        let expected = {
            let groups = self.groups();
            entries.iter().all(|entry| groups.is_learning(transfer, &entry.id))
        };
        if !expected {
            return Response::NoSuchTransfer;
        }
        // It is sent again when the answer is late, but lands once.
        let Some(landing) = Landing::of(self, transfer) else { return Response::Overloaded };
        Metrics::add(&self.metrics.entries_received, entries.len() as u64);
        let mut values = values.into_iter();
        let entries = entries
            .into_iter()
            .map(|head| Stored {
                id: head.id,
                key: head.key,
                entry: Entry {
                    version: head.version,
                    value: head.value_bytes.and_then(|_| values.next()),
                    expires_at: head.expires_at,
                },
            })
            .collect();
        let storage = self.storage.clone();
        // Whatever becomes of the hand-off, no other is learnt before this has landed.
        let applying = Box::pin(async move {
            let applied = storage.apply(Batch { entries, ..Batch::default() }).await;
            drop((gate, landing));
            applied
        });
        match self.carry_out(applying, patience).await {
            Some(Ok(())) => {
                self.progress.step();
                Response::Stored
            }
            Some(Err(error)) => Response::Declined(error.to_string()),
            None => Response::Overloaded,
        }
    }

    /// Installs decided records and serves from here on. `Overloaded` while the store takes long with a chunk.
    pub(crate) async fn take_install(&self, transfer: TransferId, groups: &[(Interval, Group)]) -> Response {
        let writing = Box::pin(self.learning.write());
        let Some(_gate) = by(self.store_patience(), writing).await else { return Response::Overloaded };
        let installed = self.change_groups(|known| known.install(transfer, groups));
        if !installed {
            return Response::NoSuchTransfer;
        }
        tracing::debug!(%transfer, pieces = groups.len(), "installed");
        self.progress.done();
        self.hand_off_due.notify_one();
        Response::Installed
    }
}

/// A chunk on its way into the store.
struct Landing<T: Transport> {
    node: Arc<Node<T>>,
    transfer: TransferId,
}

impl<T: Transport> Landing<T> {
    /// `None` while another one of the hand-off is on its way: that one may be the same, sent before.
    fn of(node: &Arc<Node<T>>, transfer: TransferId) -> Option<Landing<T>> {
        node.landing().insert(transfer).then(|| Landing { node: node.clone(), transfer })
    }
}

impl<T: Transport> Drop for Landing<T> {
    fn drop(&mut self) {
        self.node.landing().remove(&self.transfer);
    }
}
