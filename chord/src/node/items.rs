//! Answers a request about several keys: each on its own, values as far as one answer has room, and what is being
//! installed elsewhere passed on, one call for each new owner.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use tokio::time::Instant;

use crate::node::call::CallError;
use crate::node::execute::NotDone;
use crate::node::window::Seen;
use crate::node::{Metrics, Node};
use crate::protocol::entry::{Action, Update};
use crate::protocol::group::{Group, Verdict};
use crate::protocol::id::Id;
use crate::protocol::message::{ActionHead, GetItem, ItemReply, Request, Response, Trail, UpdateItem};
use crate::protocol::peer::{Host, Incarnation};
use crate::protocol::wire;
use crate::transport::{Lane, Transport};

impl<T: Transport> Node<T> {
    pub(crate) async fn answer_get(
        &self,
        trail: Trail,
        items: &[GetItem],
        deadline: Instant,
    ) -> (Response, Bytes) {
        let mut answers = Vec::with_capacity(items.len());
        let mut onward = Onward::default();
        let mut room = Room::new(self.parameters.max_value_bytes, too_much_read);
        for item in items {
            let answer = match self.answer_get_item(trail, item, deadline).await {
                Ok(answer) => room.take(answer),
                Err(next) => onward.put_off(answers.len(), &next),
            };
            answers.push(answer);
        }
        let forwarded = onward.into_batches().map(|(next, trail, positions)| async move {
            let items = positions.iter().map(|i| items[*i].clone()).collect();
            let request = Request::Get { trail, items };
            let answers = self.forward(&next, &request, Bytes::new(), positions.len(), deadline).await;
            positions.into_iter().zip(answers)
        });
        for (i, answer) in join_all(forwarded).await.into_iter().flatten() {
            answers[i] = room.take(answer);
        }
        items_response(answers)
    }

    /// The answer to one item; the record that is being installed elsewhere, where it is to be passed on.
    async fn answer_get_item(
        &self,
        trail: Trail,
        item: &GetItem,
        deadline: Instant,
    ) -> Result<ItemAnswer, Arc<Group>> {
        match self.read_here(&item.id, &item.key, trail, deadline).await {
            Ok(Some(entry)) => {
                let value = entry.value.unwrap_or_default();
                let reply = ItemReply::Found {
                    version: entry.version,
                    expires_at: entry.expires_at,
                    value_bytes: value.len() as u32,
                };
                Ok((reply, value))
            }
            Ok(None) => Ok((ItemReply::Absent, Bytes::new())),
            Err(NotDone::Elsewhere(Verdict::Fenced(next))) if !trail.forwarded => Err(next),
            Err(reason) => Ok((self.not_done(&item.id, reason), Bytes::new())),
        }
    }

    /// `None` when an item is being executed for an earlier copy of the same request.
    pub(crate) async fn answer_update(
        &self,
        trail: Trail,
        items: Vec<UpdateItem>,
        body: &Bytes,
        deadline: Instant,
    ) -> Option<(Response, Bytes)> {
        let malformed = |reason: &str| {
            Metrics::add(&self.metrics.malformed, 1);
            Some((Response::Malformed(reason.into()), Bytes::new()))
        };
        let Ok(values) = wire::split_values(body, items.iter().map(|item| item.value_bytes)) else {
            return malformed("the values do not fit the body");
        };
        if !items.iter().all(|item| self.parameters.admits(&item.id, &item.key)) {
            return malformed("a key is too long, or not under its id");
        }
        let (items, values) = (&items, &values);
        let mut answers = Vec::with_capacity(items.len());
        let mut onward = Onward::default();
        let mut room = Room::new(self.parameters.max_value_bytes, || ItemReply::Forgotten);
        for (item, value) in items.iter().zip(values) {
            let answer = match self.answer_update_item(trail, item, value, deadline).await? {
                Ok(answer) => room.take(answer),
                Err(next) => onward.put_off(answers.len(), &next),
            };
            answers.push(answer);
        }
        let forwarded = onward.into_batches().map(|(next, trail, positions)| async move {
            let body = wire::join_values(positions.iter().map(|i| &values[*i]));
            let items = positions.iter().map(|i| items[*i].clone()).collect();
            let request = Request::Update { trail, items };
            let answers = self.forward(&next, &request, body, positions.len(), deadline).await;
            positions.into_iter().zip(answers)
        });
        for (i, answer) in join_all(forwarded).await.into_iter().flatten() {
            answers[i] = room.take(answer);
        }
        Some(items_response(answers))
    }

    /// As [`Node::answer_get_item`].
    async fn answer_update_item(
        &self,
        trail: Trail,
        item: &UpdateItem,
        value: &Bytes,
        deadline: Instant,
    ) -> Option<Result<ItemAnswer, Arc<Group>>> {
        match self.window().begin(item.operation) {
            Seen::New => {}
            Seen::InProgress => return None,
            Seen::Done(reply, value) => return Some(Ok((reply, value))),
            Seen::Forgotten => return Some(Ok((ItemReply::Forgotten, Bytes::new()))),
        }
        let update = Update {
            action: action(item.action, value.clone()),
            condition: item.condition,
            return_previous: item.return_previous,
        };
        let result = self.update_here(&item.id, &item.key, &update, trail, deadline).await;
        let (reply, found) = match result {
            Ok((updated, previous)) => (ItemReply::Updated(updated), previous.unwrap_or_default()),
            Err(NotDone::Elsewhere(Verdict::Fenced(next))) if !trail.forwarded => {
                self.window().undone(item.operation);
                return Some(Err(next));
            }
            Err(reason) => (self.not_done(&item.id, reason), Bytes::new()),
        };
        match &reply {
            ItemReply::NotMine(_) | ItemReply::TryAgain(_) => self.window().undone(item.operation),
            _ => self.window().done(item.operation, &reply, &found),
        }
        Some(Ok((reply, found)))
    }

    /// Passes `count` items on to the owner that is installing its record at this moment. One answer for each.
    async fn forward(
        &self,
        next: &Arc<Host>,
        request: &Request,
        body: Bytes,
        count: usize,
        deadline: Instant,
    ) -> Vec<ItemAnswer> {
        let reply = match self.call(next, request, body, Lane::Request, deadline).await {
            Ok((Response::Items(replies), body)) if replies.len() == count => {
                let lengths = replies.iter().map(ItemReply::value_bytes);
                if let Ok(values) = wire::split_values(&body, lengths) {
                    return replies.into_iter().zip(values).collect();
                }
                nonsense(request)
            }
            Err(CallError::NoReply(_) | CallError::ReplyTooLarge { .. } | CallError::Closed)
                if !request.is_idempotent() =>
            {
                ItemReply::Forgotten
            }
            Ok(_) => nonsense(request),
            Err(error) => ItemReply::TryAgain(error.to_string()),
        };
        vec![(reply, Bytes::new()); count]
    }

    fn not_done(&self, id: &Id, reason: NotDone) -> ItemReply {
        match reason {
            NotDone::Elsewhere(verdict) => ItemReply::NotMine(self.not_mine(id, verdict)),
            NotDone::TryAgain(reason) => ItemReply::TryAgain(reason),
            NotDone::Indeterminate(_) => ItemReply::Forgotten,
            NotDone::Storage(reason) => ItemReply::Storage(reason),
        }
    }
}

/// One key's answer, with its value.
type ItemAnswer = (ItemReply, Bytes);

/// Items that are to be passed on, by the owner and the epoch of the record that it is installing.
#[derive(Default)]
struct Onward {
    batches: BTreeMap<(Incarnation, u64), (Arc<Host>, Vec<usize>)>,
}

impl Onward {
    /// Puts the item at `position` off. Returns what stands in its place until it is answered.
    fn put_off(&mut self, position: usize, next: &Group) -> ItemAnswer {
        let Some(owner) = next.owner() else {
            return (ItemReply::TryAgain("the next owner is unknown".into()), Bytes::new());
        };
        let batch = self.batches.entry((owner.incarnation, next.epoch));
        batch.or_insert_with(|| (owner.clone(), Vec::new())).1.push(position);
        (ItemReply::Absent, Bytes::new())
    }

    fn into_batches(self) -> impl Iterator<Item = (Arc<Host>, Trail, Vec<usize>)> {
        self.batches.into_iter().map(|((_, min_epoch), (owner, positions))| {
            (owner, Trail { min_epoch, forwarded: true }, positions)
        })
    }
}

fn items_response(answers: Vec<ItemAnswer>) -> (Response, Bytes) {
    let (replies, values): (Vec<ItemReply>, Vec<Bytes>) = answers.into_iter().unzip();
    (Response::Items(replies), wire::join_values(values.iter()))
}

/// Room for values in one answer: for as many bytes as the largest value has, which fits a frame, or for one value.
struct Room {
    bytes: u64,
    is_taken: bool,
    /// What is answered instead of a value for which there is none.
    instead: fn() -> ItemReply,
}

impl Room {
    fn new(bytes: u64, instead: fn() -> ItemReply) -> Room {
        Room { bytes, is_taken: false, instead }
    }

    /// `answer`, if there is room for its value.
    fn take(&mut self, answer: ItemAnswer) -> ItemAnswer {
        let len = answer.1.len() as u64;
        if self.is_taken && len > self.bytes {
            return ((self.instead)(), Bytes::new());
        }
        self.is_taken |= len > 0;
        self.bytes = self.bytes.saturating_sub(len);
        answer
    }
}

fn too_much_read() -> ItemReply {
    ItemReply::TryAgain("the answer is large enough".into())
}

/// What an answer that is none says about the items of `request`.
fn nonsense(request: &Request) -> ItemReply {
    if request.is_idempotent() {
        ItemReply::TryAgain("the next owner answered nonsense".into())
    } else {
        ItemReply::Forgotten
    }
}

/// The action that travelled without its value.
fn action(head: ActionHead, value: Bytes) -> Action {
    match head {
        ActionHead::Set(expiry) => Action::Set { value, expiry },
        ActionHead::Remove => Action::Remove,
        ActionHead::Add(by) => Action::Add(by),
        ActionHead::Append => Action::Append(value),
        ActionHead::Expire(expiry) => Action::Expire(expiry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_answer_are_no_longer_together_than_the_longest_but_one_always_fits() {
        let answer = |len| (ItemReply::Absent, Bytes::from(vec![0; len]));
        let lengths = |room: u64, values: &[usize]| {
            let mut room = Room::new(room, too_much_read);
            values.iter().map(|len| room.take(answer(*len)).1.len()).collect::<Vec<_>>()
        };
        assert_eq!(lengths(100, &[60, 50, 40, 0, 1]), [60, 0, 40, 0, 0]);
        assert_eq!(lengths(100, &[0, 200, 1]), [0, 200, 0]);
    }
}
