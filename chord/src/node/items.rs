//! Answers a request about several keys: each on its own and those of different keys at once, values as far as one answer
//! has room, and what is being installed elsewhere passed on, one call for each new owner.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::future::join_all;
use tokio::time::Instant;

use crate::node::answers::{Answers, ItemAnswer, Next};
use crate::node::at_once::few_at_once;
use crate::node::call::CallError;
use crate::node::execute::NotDone;
use crate::node::window::Seen;
use crate::node::{Metrics, Node};
use crate::protocol::entry::{Action, Entry, Update};
use crate::protocol::group::Verdict;
use crate::protocol::id::Id;
use crate::protocol::message::{
    ActionHead, GetItem, ItemReply, OperationId, Request, Response, Trail, UpdateItem,
};
use crate::protocol::peer::Host;
use crate::protocol::wire;
use crate::transport::{Lane, Transport};

impl<T: Transport> Node<T> {
    pub(crate) async fn answer_get(
        &self,
        trail: Trail,
        items: &[GetItem],
        max_value_bytes: Option<u32>,
        deadline: Instant,
    ) -> (Response, Bytes) {
        let answers = self.answers(items.len(), || ItemReply::TryAgain("the answer is large enough".into()));
        let (positions, found) = ((0..items.len()).collect(), &answers);
        few_at_once(positions, |i: usize| async move {
            let answer = self.answer_get_item(trail, &items[i], max_value_bytes, deadline).await;
            found.lock().unwrap_or_else(PoisonError::into_inner).put(i, answer);
        })
        .await;
        let mut answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
        let forwarded = answers.onward().map(|(next, trail, positions)| async move {
            let items = positions.iter().map(|i| items[*i].clone()).collect();
            let request = Request::get(trail, items, max_value_bytes);
            let answers = self.forward(&next, &request, Bytes::new(), positions.len(), deadline).await;
            positions.into_iter().zip(answers)
        });
        for (i, answer) in join_all(forwarded).await.into_iter().flatten() {
            answers.put(i, Ok(answer));
        }
        answers.into_response()
    }

    /// The answer to one item, or where it is to be passed on.
    async fn answer_get_item(
        &self,
        trail: Trail,
        item: &GetItem,
        max_value_bytes: Option<u32>,
        deadline: Instant,
    ) -> Result<ItemAnswer, Next> {
        match self.read_here(&item.id, &item.key, trail, deadline).await {
            Ok(Some(entry)) => {
                let value = entry.value.unwrap_or_default();
                let value_bytes = value.len() as u32;
                if max_value_bytes.is_some_and(|max| value_bytes > max) {
                    return Ok((ItemReply::Long { value_bytes }, Bytes::new()));
                }
                let Entry { version, expires_at, .. } = entry;
                Ok((ItemReply::Found { version, expires_at, value_bytes }, value))
            }
            Ok(None) => Ok((ItemReply::Absent, Bytes::new())),
            Err(reason) => match passed_on(trail, &reason) {
                Some(next) => Err(next),
                None => Ok((self.not_done(&item.id, reason), Bytes::new())),
            },
        }
    }

    /// Updates of one key are executed in order. `None` when another copy of the request is being executed, or a part of
    /// it was refused: who sent it has an answer, or gets it.
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
        let seen = self.window().begin_all(items.iter().map(|item| item.operation))?;
        let (items, values) = (&items, &values);
        let answers = self.answers(items.len(), || ItemReply::Forgotten);
        let found = &answers;
        few_at_once(by_key(items, seen), |chain: Vec<(usize, Seen)>| async move {
            for (i, seen) in chain {
                let answer = self.answer_update_item(trail, &items[i], &values[i], seen, deadline).await;
                found.lock().unwrap_or_else(PoisonError::into_inner).put(i, answer);
            }
        })
        .await;
        let mut answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
        let forwarded = answers.onward().map(|(next, trail, positions)| async move {
            let body = wire::join_values(positions.iter().map(|i| &values[*i]));
            let items = positions.iter().map(|i| items[*i].clone()).collect();
            let request = Request::Update { trail, items };
            let answers = self.forward(&next, &request, body, positions.len(), deadline).await;
            positions.into_iter().zip(answers)
        });
        for (i, answer) in join_all(forwarded).await.into_iter().flatten() {
            self.note(items[i].operation, &answer);
            answers.put(i, Ok(answer));
        }
        Some(answers.into_response())
    }

    /// As [`Node::answer_get_item`]. What is passed on counts as being executed here until it is answered, and is noted
    /// then.
    async fn answer_update_item(
        &self,
        trail: Trail,
        item: &UpdateItem,
        value: &Bytes,
        seen: Seen,
        deadline: Instant,
    ) -> Result<ItemAnswer, Next> {
        match seen {
            Seen::New => {}
            Seen::Done(reply, value) => return Ok((reply, value)),
            // It comes twice in one message, if it is not forgotten.
            Seen::InProgress | Seen::Refused | Seen::Forgotten => {
                return Ok((ItemReply::Forgotten, Bytes::new()));
            }
        }
        let update = Update {
            action: action(item.action, value.clone()),
            condition: item.condition,
            return_previous: item.return_previous,
        };
        let result = if Instant::now() < deadline {
            self.update_here(&item.id, &item.key, &update, trail, deadline).await
        } else {
            Err(NotDone::TryAgain("others of the same message took until its deadline".into()))
        };
        let answer = match result {
            Ok((updated, previous)) => (ItemReply::Updated(updated), previous.unwrap_or_default()),
            Err(reason) => match passed_on(trail, &reason) {
                Some(next) => return Err(next),
                None => (self.not_done(&item.id, reason), Bytes::new()),
            },
        };
        self.note(item.operation, &answer);
        Ok(answer)
    }

    /// Remembers what came of an update, for its copies.
    fn note(&self, operation: OperationId, (reply, value): &ItemAnswer) {
        match reply {
            ItemReply::NotMine(_) | ItemReply::TryAgain(_) => self.window().refused(operation),
            _ => self.window().done(operation, reply, value),
        }
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

    fn answers(&self, count: usize, instead: fn() -> ItemReply) -> Mutex<Answers> {
        Mutex::new(Answers::new(count, self.parameters.max_value_bytes, instead))
    }
}

/// Where an item goes on to that was not done here, if it has not been passed on before.
fn passed_on(trail: Trail, reason: &NotDone) -> Option<Next> {
    match reason {
        NotDone::Elsewhere(Verdict::Fenced(next)) if !trail.forwarded => {
            next.owner().map(|owner| Next { owner: owner.clone(), epoch: next.epoch })
        }
        _ => None,
    }
}

/// The positions of each key's updates, in order.
fn by_key(items: &[UpdateItem], seen: Vec<Seen>) -> Vec<Vec<(usize, Seen)>> {
    let mut chains: Vec<Vec<(usize, Seen)>> = Vec::with_capacity(items.len());
    let mut places: BTreeMap<&Id, usize> = BTreeMap::new();
    for (i, seen) in seen.into_iter().enumerate() {
        let place = *places.entry(&items[i].id).or_insert(chains.len());
        match chains.get_mut(place) {
            Some(chain) => chain.push((i, seen)),
            None => chains.push(vec![(i, seen)]),
        }
    }
    chains
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
