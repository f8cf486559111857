//! The receiving side of a hand-off: becomes a learner, stores chunks, installs the decided record.

use std::sync::Arc;

use bytes::Bytes;

use crate::node::{Metrics, Node, Phase};
use crate::protocol::entry::Entry;
use crate::protocol::group::{Group, TransferId};
use crate::protocol::id::Interval;
use crate::protocol::message::{EntryHead, Response};
use crate::protocol::peer::Host;
use crate::protocol::placement;
use crate::protocol::wire;
use crate::storage::{Batch, StorageError, Stored, clear_some};
use crate::transport::Transport;

impl<T: Transport> Node<T> {
    /// Begins to learn what `from` offers, if the ring names this host its owner (or will, once `from` has left), or
    /// it was decided for this host before.
    pub(crate) async fn take_offer(
        &self,
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
        // Until what is named is cleared, a repetition of the offer is not answered: a chunk would follow.
        let _clearing = self.clearing.lock().await;
        let offered = {
            let _gate = self.learning.write().await;
            if matches!(*self.phase.borrow(), Phase::Parting | Phase::Closed(_)) {
                return Response::Declined("this host has left".into());
            }
            self.change_groups(|groups| groups.offer(transfer, from, pieces))
        };
        match offered {
            Err(reason) => Response::Declined(reason.to_string()),
            Ok(clear) if clear.is_empty() => Response::Learning,
            Ok(clear) => match self.drop_entries(clear).await {
                Ok(()) => Response::Learning,
                Err(error) => {
                    self.change_groups(|groups| groups.abort(transfer));
                    Response::Declined(error.to_string())
                }
            },
        }
    }

    /// Drops what is stored in `intervals`, from which nobody is served, piece by piece. The caller holds `clearing`.
    pub(crate) async fn drop_entries(&self, intervals: Vec<Interval>) -> Result<(), StorageError> {
        for interval in intervals {
            let mut rest = Some(interval);
            while let Some(left) = rest {
                rest = clear_some(&*self.storage, left).await?;
                self.progress.step();
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Stores a chunk, if its hand-off is being learnt at each of its ids.
    pub(crate) async fn take_chunk(
        &self,
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
        let _gate = self.learning.read().await;
        let expected = {
            let groups = self.groups();
            entries.iter().all(|entry| groups.is_learning(transfer, &entry.id))
        };
        if !expected {
            return Response::NoSuchTransfer;
        }
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
        match self.storage.apply(Batch { entries, ..Batch::default() }).await {
            Ok(()) => {
                self.progress.step();
                Response::Stored
            }
            Err(error) => Response::Malformed(format!("storage: {error}")),
        }
    }

    /// Installs decided records and serves from here on.
    pub(crate) async fn take_install(&self, transfer: TransferId, groups: &[(Interval, Group)]) -> Response {
        let _gate = self.learning.write().await;
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
