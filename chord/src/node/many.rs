//! Operations on many keys: those of one believed owner travel together, what that misses goes one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use tokio::time::Instant;

use crate::error::Error;
use crate::node::Node;
use crate::node::call::CallError;
use crate::node::route::{Done, Operation, found, update_item};
use crate::protocol::entry::{Entry, Update};
use crate::protocol::id::Id;
use crate::protocol::message::{GetItem, ItemReply, OperationId, Request, Response, Trail, Updated};
use crate::protocol::peer::{Host, Incarnation};
use crate::protocol::wire;
use crate::transport::{Lane, Transport};

/// Keys of one message.
const MAX_ITEMS: usize = 512;
/// Bytes of keys and values of one message; larger values travel alone.
const MAX_BYTES: usize = 1 << 20;
/// Operations of one call that are under way at once.
const CONCURRENT: usize = 64;

/// What one update of many came to.
pub(crate) type UpdateResult = Result<(Updated, Option<Bytes>, usize), Error>;

/// One update of many.
pub(crate) struct ManyUpdate {
    pub(crate) key: Bytes,
    pub(crate) update: Update,
}

impl<T: Transport> Node<T> {
    /// Reads keys; one result each, in order.
    pub(crate) async fn read_many(&self, keys: &[Bytes]) -> Vec<Result<Option<Entry>, Error>> {
        let ids: Vec<Id> = keys.iter().map(|key| self.parameters.space.id_of(key)).collect();
        let sizes: Vec<usize> = keys.iter().map(Bytes::len).collect();
        let mut results: Vec<Option<Result<Option<Entry>, Error>>> = vec![None; keys.len()];
        let batches = self.batches(&ids, &sizes);
        let answers = stream::iter(batches)
            .map(|(host, positions)| {
                let ids = &ids;
                async move {
                    let replies = self.read_batch(&host, &positions, ids, keys).await;
                    (positions, replies)
                }
            })
            .buffer_unordered(CONCURRENT)
            .collect::<Vec<_>>()
            .await;
        for (positions, replies) in answers {
            for (position, reply) in positions.into_iter().zip(replies) {
                results[position] = Some(Ok(reply));
            }
        }
        let missing: Vec<usize> = (0..keys.len()).filter(|i| results[*i].is_none()).collect();
        let rest = stream::iter(missing)
            .map(|i| {
                let (id, key) = (ids[i], keys[i].clone());
                async move { (i, self.run(&id, Operation::Get { key }).await) }
            })
            .buffer_unordered(CONCURRENT)
            .collect::<Vec<_>>()
            .await;
        for (i, result) in rest {
            results[i] = Some(result.map(|(done, _)| match done {
                Done::Read(entry) => entry,
                _ => None,
            }));
        }
        results.into_iter().map(|result| result.unwrap_or(Ok(None))).collect()
    }

    /// Updates keys, each on its own; one result each, in order. Updates of one key take effect in order.
    pub(crate) async fn update_many(&self, updates: Vec<ManyUpdate>) -> Vec<UpdateResult> {
        let ids: Vec<Id> = updates.iter().map(|item| self.parameters.space.id_of(&item.key)).collect();
        let names: Vec<OperationId> = updates.iter().map(|_| self.next_operation()).collect();
        let distinct: BTreeSet<&Bytes> = updates.iter().map(|item| &item.key).collect();
        let concurrent = if distinct.len() == updates.len() { CONCURRENT } else { 1 };
        let sizes: Vec<usize> = updates
            .iter()
            .zip(&ids)
            .zip(&names)
            .map(|((item, id), name)| {
                item.key.len() + update_item(*name, id, &item.key, &item.update).1.len()
            })
            .collect();
        let mut results: Vec<Option<UpdateResult>> = Vec::new();
        results.resize_with(updates.len(), || None);
        let batches = self.batches(&ids, &sizes);
        let answers = stream::iter(batches)
            .map(|(host, positions)| {
                let (ids, names, updates) = (&ids, &names, &updates);
                async move {
                    let replies = self.update_batch(&host, &positions, ids, names, updates).await;
                    (positions, replies)
                }
            })
            .buffer_unordered(concurrent)
            .collect::<Vec<_>>()
            .await;
        for (positions, replies) in answers {
            for (position, reply) in positions.into_iter().zip(replies) {
                results[position] = reply;
            }
        }
        let missing: Vec<usize> = (0..updates.len()).filter(|i| results[*i].is_none()).collect();
        let rest = stream::iter(missing)
            .map(|i| {
                let (id, item, operation) = (ids[i], &updates[i], names[i]);
                let (key, update) = (item.key.clone(), item.update.clone());
                async move { (i, self.run(&id, Operation::Update { operation, key, update }).await) }
            })
            .buffer_unordered(concurrent)
            .collect::<Vec<_>>()
            .await;
        for (i, result) in rest {
            results[i] = Some(result.and_then(|(done, hops)| match done {
                Done::Updated(updated, previous) => Ok((updated, previous, hops)),
                _ => Err(Error::TryAgain { reason: "the answer is nonsense".into() }),
            }));
        }
        results
            .into_iter()
            .map(|result| result.unwrap_or_else(|| Err(Error::TryAgain { reason: "not asked".into() })))
            .collect()
    }

    /// Positions by believed owner, other hosts' only, cut into messages. What is missing goes one by one, and so
    /// does everything while an operation of this node's is one too many.
    fn batches(&self, ids: &[Id], sizes: &[usize]) -> Vec<(Arc<Host>, Vec<usize>)> {
        let mut owners: BTreeMap<Incarnation, (Arc<Host>, Vec<usize>)> = BTreeMap::new();
        let routing = self.routing();
        for (position, id) in ids.iter().enumerate() {
            let Some(owner) = routing.believed_owner(id) else { continue };
            if owner.host.incarnation != self.me.incarnation && sizes[position] <= MAX_BYTES / 4 {
                let known = owners.entry(owner.host.incarnation);
                known.or_insert_with(|| (owner.host.clone(), Vec::new())).1.push(position);
            }
        }
        drop(routing);
        let mut batches = Vec::new();
        for (host, positions) in owners.into_values().filter(|(_, positions)| positions.len() > 1) {
            let mut batch = Vec::new();
            let mut bytes = 0;
            for position in positions {
                if batch.len() >= MAX_ITEMS || bytes + sizes[position] > MAX_BYTES {
                    batches.push((host.clone(), std::mem::take(&mut batch)));
                    bytes = 0;
                }
                bytes += sizes[position];
                batch.push(position);
            }
            batches.push((host, batch));
        }
        batches
    }

    /// The entries that one host answered for; fewer than asked when it answered for fewer, or not at all.
    async fn read_batch(
        &self,
        host: &Arc<Host>,
        positions: &[usize],
        ids: &[Id],
        keys: &[Bytes],
    ) -> Vec<Option<Entry>> {
        let items = positions.iter().map(|i| GetItem { id: ids[*i], key: keys[*i].clone() }).collect();
        let request = Request::Get { trail: Trail::default(), items };
        let deadline = Instant::now() + self.config.operation_deadline / 2;
        let answer = self.call(host, &request, Bytes::new(), Lane::Request, deadline).await;
        let Ok((Response::Items(replies), body)) = answer else { return Vec::new() };
        let lengths = replies.iter().filter_map(|reply| match reply {
            ItemReply::Found { value_bytes, .. } => Some(*value_bytes),
            _ => None,
        });
        let Ok(values) = wire::split_values(&body, lengths) else { return Vec::new() };
        let mut values = values.into_iter();
        let mut entries = Vec::new();
        for reply in replies {
            match reply {
                ItemReply::Found { version, expires_at, .. } => {
                    let value = values.next().unwrap_or_default();
                    entries.push(Some(found(version, expires_at, value)));
                }
                ItemReply::Absent => entries.push(None),
                // This key and those behind it go one by one.
                _ => break,
            }
        }
        entries
    }

    /// One result for each position, `None` where the update was certainly not executed.
    async fn update_batch(
        &self,
        host: &Arc<Host>,
        positions: &[usize],
        ids: &[Id],
        names: &[OperationId],
        updates: &[ManyUpdate],
    ) -> Vec<Option<UpdateResult>> {
        let (items, values): (Vec<_>, Vec<_>) = positions
            .iter()
            .map(|i| update_item(names[*i], &ids[*i], &updates[*i].key, &updates[*i].update))
            .unzip();
        let request = Request::Update { trail: Trail::default(), items };
        let body = wire::join_values(values.iter());
        let deadline = Instant::now() + self.config.operation_deadline;
        let indeterminate =
            |reason: &str| Some(Err(Error::Indeterminate { copies: 0, reason: reason.to_owned() }));
        let (replies, body) = match self.call(host, &request, body, Lane::Request, deadline).await {
            Ok((Response::Items(replies), body)) if replies.len() == positions.len() => (replies, body),
            Ok(_) => return positions.iter().map(|_| indeterminate("the answer is nonsense")).collect(),
            Err(CallError::NoReply(reason)) => {
                return positions.iter().map(|_| indeterminate(&reason)).collect();
            }
            Err(CallError::Closed) => {
                return positions.iter().map(|_| indeterminate("this node was closed")).collect();
            }
            Err(_) => return positions.iter().map(|_| None).collect(),
        };
        let lengths = replies.iter().map(|reply| match reply {
            ItemReply::Updated(updated) => updated.previous_bytes.unwrap_or(0),
            _ => 0,
        });
        let values = wire::split_values(&body, lengths).unwrap_or_default();
        replies
            .into_iter()
            .enumerate()
            .map(|(i, reply)| match reply {
                ItemReply::Updated(updated) => {
                    let previous = updated.previous_bytes.and_then(|_| values.get(i).cloned());
                    Some(Ok((updated, previous, 1)))
                }
                ItemReply::NotMine(_) | ItemReply::TryAgain(_) => None,
                ItemReply::Storage(reason) => indeterminate(&reason),
                _ => indeterminate("its outcome is no longer known"),
            })
            .collect()
    }
}
