//! Operations on many keys: those of one believed owner travel together, what that misses goes one by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join;
use tokio::time::Instant;

use crate::error::Error;
use crate::node::at_once::{few_at_once, many_at_once};
use crate::node::call::CallError;
use crate::node::route::{Found, found, update_item};
use crate::node::{Metrics, Node};
use crate::protocol::entry::{Action, Update};
use crate::protocol::group::Verdict;
use crate::protocol::id::Id;
use crate::protocol::message::{GetItem, ItemReply, MAX_ITEMS, Request, Response, Trail, Updated};
use crate::protocol::peer::{Host, Incarnation};
use crate::protocol::wire;
use crate::transport::{Lane, Transport};

/// Bytes of keys and values of one message; larger values travel alone.
const MAX_BYTES: usize = 1 << 20;

/// What one update of many came to.
pub(crate) type UpdateResult = Result<(Updated, Option<Bytes>, usize), Error>;

/// One update of many.
pub(crate) struct ManyUpdate {
    pub(crate) key: Bytes,
    pub(crate) update: Update,
}

impl<T: Transport> Node<T> {
    /// Reads keys; one result each, in order. Those not begun by the deadline of the whole time out. Of values of other hosts
    /// that are longer than `max_value_bytes` only how long they are.
    pub(crate) async fn read_many(
        &self,
        keys: &[&[u8]],
        max_value_bytes: Option<u32>,
    ) -> Vec<Result<Found, Error>> {
        let ids: Vec<Id> = keys.iter().map(|key| self.parameters.space.id_of(key)).collect();
        let ids = &ids;
        let deadline = self.operation_deadline();
        let read = |i: usize| async move {
            (i, self.read_short(&ids[i], keys[i], max_value_bytes, deadline).await.map(|(found, _)| found))
        };
        let mut results: Vec<Option<Result<Found, Error>>> = vec![None; keys.len()];
        let (here, away) = self.by_place(ids, (0..keys.len()).collect());
        let batches = self.batches(ids, &away, |i| keys[i].len());
        let batched = batches.into_iter().map(|(host, positions)| async move {
            let items =
                positions.iter().map(|i| GetItem { id: ids[*i], key: Bytes::copy_from_slice(keys[*i]) });
            let request = Request::get(Trail::default(), items.collect(), max_value_bytes);
            let replies = self.read_batch(&host, &request, deadline).await;
            positions.into_iter().zip(replies).collect::<Vec<_>>()
        });
        let (here, batched) = join(few_at_once(here, read), many_at_once(batched)).await;
        for (i, result) in here {
            results[i] = Some(result);
        }
        for (i, found) in batched.into_iter().flatten() {
            Metrics::add(&self.metrics.operations, 1);
            results[i] = Some(Ok(found));
        }
        let rest = away.into_iter().filter(|i| results[*i].is_none()).map(read).collect::<Vec<_>>();
        for (i, result) in many_at_once(rest).await {
            results[i] = Some(result);
        }
        results.into_iter().map(|result| result.unwrap_or_else(|| Err(not_asked()))).collect()
    }

    /// Updates keys, each on its own; one result each, in order. Updates of one key take effect in order: each is
    /// over before the next one begins. Those not begun by the deadline of the whole are certainly not executed, nor
    /// are those of a key that is unavailable by then.
    pub(crate) async fn update_many(&self, updates: &[ManyUpdate]) -> Vec<UpdateResult> {
        let ids: Vec<Id> = updates.iter().map(|item| self.parameters.space.id_of(&item.key)).collect();
        let mut results: Vec<Option<UpdateResult>> = Vec::new();
        results.resize_with(updates.len(), || None);
        let deadline = self.operation_deadline();
        let mut unavailable: BTreeMap<Id, Error> = BTreeMap::new();
        for mut turn in turns(&ids) {
            turn.retain(|i| match unavailable.get(&ids[*i]) {
                Some(error) => {
                    results[*i] = Some(Err(error.clone()));
                    false
                }
                None => true,
            });
            self.update_turn(&turn, &ids, updates, &mut results, deadline).await;
            for i in turn {
                if let Some(Err(error @ Error::Unavailable { .. })) = &results[i] {
                    unavailable.insert(ids[i], error.clone());
                }
            }
        }
        results.into_iter().map(|result| result.unwrap_or_else(|| Err(not_asked()))).collect()
    }

    /// Updates the keys at `positions`, of which no two are the same.
    async fn update_turn(
        &self,
        positions: &[usize],
        ids: &[Id],
        updates: &[ManyUpdate],
        results: &mut [Option<UpdateResult>],
        deadline: Instant,
    ) {
        let update = |i: usize| async move {
            (i, self.update(&ids[i], &updates[i].key, &updates[i].update, deadline).await)
        };
        let (here, away) = self.by_place(ids, positions.to_vec());
        let here = few_at_once(here, update);
        let size = |i: usize| match &updates[i].update {
            // The values found may be of any size, and must fit into one reply.
            update if update.return_previous => usize::MAX,
            update => updates[i].key.len() + value_bytes(update),
        };
        let batched = self.batches(ids, &away, size).into_iter().map(|(host, positions)| async move {
            let replies = self.update_batch(&host, &positions, ids, updates, deadline).await;
            positions.into_iter().zip(replies).collect::<Vec<_>>()
        });
        let (here, batched) = join(here, many_at_once(batched)).await;
        for (i, result) in here {
            results[i] = Some(result);
        }
        for (i, result) in batched.into_iter().flatten() {
            Metrics::add(&self.metrics.operations, u64::from(result.is_some()));
            results[i] = result;
        }
        let rest = away.into_iter().filter(|i| results[*i].is_none()).map(update).collect::<Vec<_>>();
        for (i, result) in many_at_once(rest).await {
            results[i] = Some(result);
        }
    }

    /// Positions whose ids this host answers for right now, and the others.
    fn by_place(&self, ids: &[Id], positions: Vec<usize>) -> (Vec<usize>, Vec<usize>) {
        let groups = self.groups();
        positions.into_iter().partition(|i| matches!(groups.verdict(&ids[*i]), Verdict::Serve { .. }))
    }

    /// `positions` by believed owner, other hosts' only, cut into messages. What is missing goes one by one.
    fn batches(
        &self,
        ids: &[Id],
        positions: &[usize],
        size: impl Fn(usize) -> usize,
    ) -> Vec<(Arc<Host>, Vec<usize>)> {
        if positions.is_empty() {
            return Vec::new();
        }
        let mut owners: BTreeMap<Incarnation, (Arc<Host>, Vec<usize>)> = BTreeMap::new();
        let routing = self.routing();
        for position in positions.iter().copied() {
            let Some(owner) = routing.believed_owner(&ids[position]) else { continue };
            if owner.host.incarnation != self.me.incarnation && size(position) <= MAX_BYTES / 4 {
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
                if batch.len() >= MAX_ITEMS || bytes + size(position) > MAX_BYTES {
                    batches.push((host.clone(), std::mem::take(&mut batch)));
                    bytes = 0;
                }
                bytes += size(position);
                batch.push(position);
            }
            batches.push((host, batch));
        }
        batches
    }

    /// What one host answered to a read; for fewer keys than asked when it answered for fewer, or not at all.
    async fn read_batch(&self, host: &Arc<Host>, request: &Request, deadline: Instant) -> Vec<Found> {
        if Instant::now() >= deadline {
            return Vec::new();
        }
        let deadline = deadline.min(Instant::now() + self.config.operation_deadline / 2);
        let answer = self.call_while_alive(host, request, Bytes::new(), Lane::Request, deadline).await;
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
                    entries.push(Found::Entry(Some(found(version, expires_at, value))));
                }
                ItemReply::Absent => entries.push(Found::Entry(None)),
                ItemReply::Long { value_bytes } => entries.push(Found::Long(value_bytes)),
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
        updates: &[ManyUpdate],
        deadline: Instant,
    ) -> Vec<Option<UpdateResult>> {
        if Instant::now() >= deadline || self.is_too_late(host, deadline) {
            return Vec::new();
        }
        let (items, values): (Vec<_>, Vec<_>) = positions
            .iter()
            .map(|i| update_item(self.next_operation(), &ids[*i], &updates[*i].key, &updates[*i].update))
            .unzip();
        let request = Request::Update { trail: Trail::default(), items };
        let body = wire::join_values(values.iter());
        let indeterminate =
            |reason: &str| Some(Err(Error::Indeterminate { copies: 0, reason: reason.to_owned() }));
        let (replies, body) = match self.call_while_alive(host, &request, body, Lane::Request, deadline).await
        {
            Ok((Response::Items(replies), body)) if replies.len() == positions.len() => (replies, body),
            Ok(_) => return positions.iter().map(|_| indeterminate("the answer is nonsense")).collect(),
            Err(CallError::NoReply(reason)) => {
                return positions.iter().map(|_| indeterminate(&reason)).collect();
            }
            Err(error @ CallError::ReplyTooLarge { .. }) => {
                return positions.iter().map(|_| indeterminate(&error.to_string())).collect();
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

/// `positions` in turns, so that no id comes twice in one turn and its updates keep their order. Two keys of one
/// id count as one key: that costs a turn and keeps this simple.
fn turns(ids: &[Id]) -> Vec<Vec<usize>> {
    let mut sorted: Vec<usize> = (0..ids.len()).collect();
    sorted.sort_by_key(|i| ids[*i]);
    if sorted.windows(2).all(|pair| ids[pair[0]] != ids[pair[1]]) {
        return vec![(0..ids.len()).collect()];
    }
    let mut turns: Vec<Vec<usize>> = Vec::new();
    for twins in sorted.chunk_by(|a, b| ids[*a] == ids[*b]) {
        turns.resize_with(turns.len().max(twins.len()), Vec::new);
        for (turn, position) in turns.iter_mut().zip(twins) {
            turn.push(*position);
        }
    }
    turns
}

fn value_bytes(update: &Update) -> usize {
    match &update.action {
        Action::Set { value, .. } | Action::Append(value) => value.len(),
        Action::Remove | Action::Add(_) | Action::Expire(_) => 0,
    }
}

fn not_asked() -> Error {
    Error::TryAgain { reason: "not asked".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(ids: &[u128]) -> Vec<Vec<usize>> {
        turns(&ids.iter().map(|id| Id::from_u128(*id)).collect::<Vec<_>>())
    }

    #[test]
    fn distinct_keys_take_one_turn() {
        assert_eq!(cut(&[5, 3, 9]), [[0, 1, 2]]);
    }

    #[test]
    fn updates_of_one_key_take_turns_in_their_order() {
        assert_eq!(cut(&[7, 1, 7, 7, 1]), [vec![1, 0], vec![4, 2], vec![3]]);
    }
}
