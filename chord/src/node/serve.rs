//! Answers other hosts: decode, one call into the protocol or the store, encode.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use tokio::runtime::Handle;
use tokio::time::{Duration, Instant};

use crate::error::Error;
use crate::node::call::CallError;
use crate::node::execute::NotDone;
use crate::node::window::Seen;
use crate::node::{Metrics, Node, Phase};
use crate::protocol::entry::{Action, Update};
use crate::protocol::group::{Group, Verdict};
use crate::protocol::id::Id;
use crate::protocol::message::{
    ActionHead, GetItem, ItemReply, NotMine, Request, Response, Trail, UpdateItem,
};
use crate::protocol::peer::{Host, Incarnation};
use crate::protocol::routing::{Answer, Ask};
use crate::protocol::search;
use crate::protocol::wire::{self, Header, WireError};
use crate::transport::{Frame, Incoming, Lane, Transport};

/// The longest a request is worked on, whatever deadline it claims.
const MAX_SERVING: Duration = Duration::from_secs(60);

/// Ends the node with its serving: one that is deaf must not look alive, least of all to its own handles.
struct EndsNode<T: Transport>(Arc<Node<T>>);

impl<T: Transport> Drop for EndsNode<T> {
    fn drop(&mut self) {
        if self.0.check_open().is_err() {
            return;
        }
        let reason = if std::thread::panicking() {
            "serving failed: a bug; what this node owned is gone"
        } else {
            "the transport closed; what this node owned is gone"
        };
        tracing::error!(name = %self.0.me.name, reason, "the node ends");
        self.0.abandon(Error::Closed(reason.into()));
        // What the transport listens on goes with it, not with the last handle. Without a runtime all has ended.
        if let Ok(runtime) = Handle::try_current() {
            let node = self.0.clone();
            runtime.spawn(async move { node.transport.close().await });
        }
    }
}

impl<T: Transport> Node<T> {
    /// Starts the task that serves others.
    pub(crate) fn start_serving(self: &Arc<Self>) {
        let ends = EndsNode(self.clone());
        self.tasks.spawn(async move { ends.0.serve().await });
    }

    /// Takes frames until the transport closes. What needs no waiting is answered here and now; the rest in a task.
    async fn serve(self: &Arc<Self>) {
        while let Some(incoming) = self.transport.accept().await {
            let (header, request) = match wire::decode_request(&incoming.frame) {
                Ok(decoded) => decoded,
                Err(error) => {
                    Metrics::add(&self.metrics.malformed, 1);
                    let answer = match error {
                        WireError::UnsupportedVersion { .. } => wire::unsupported_version(),
                        _ => {
                            self.encode(Incarnation(0), &Response::Malformed(error.to_string()), Bytes::new())
                        }
                    };
                    incoming.reply(answer);
                    continue;
                }
            };
            if let Some(refusal) = self.refuse(&header, &request, &incoming) {
                incoming.reply(self.encode(header.from, &refusal, Bytes::new()));
                continue;
            }
            if let Some(response) = self.answer_at_once(&request) {
                incoming.reply(self.encode(header.from, &response, Bytes::new()));
                continue;
            }
            let Ok(permit) = self.serving.clone().try_acquire_owned() else {
                incoming.reply(self.encode(header.from, &Response::Overloaded, Bytes::new()));
                continue;
            };
            let node = self.clone();
            let mut work = Box::pin(async move {
                let _permit = permit;
                node.answer(header, request, incoming).await;
            });
            if futures::poll!(work.as_mut()).is_pending() {
                self.tasks.spawn(work);
            }
        }
    }

    /// Why a request is not even looked at. No host speaks for another one, nor for an earlier life of itself.
    fn refuse(&self, header: &Header, request: &Request, incoming: &Incoming) -> Option<Response> {
        let name = incoming.peer().map(AsRef::as_ref);
        if !request.is_from(header.from, name) {
            return Some(Response::Refused("it names another host as its sender".into()));
        }
        if matches!(request, Request::Hello { .. }) {
            return None;
        }
        if header.ring_tag != self.parameters.tag() {
            return Some(Response::Refused("another ring".into()));
        }
        if header.to != self.me.incarnation {
            return Some(Response::Replaced(self.me.clone()));
        }
        if let (Some(name), Some(transfer)) = (name, request.goes_on_with())
            && self.groups().source(transfer).is_some_and(|source| source.name.as_str() != name)
        {
            return Some(Response::Refused("another host offered this hand-off".into()));
        }
        None
    }

    /// Answers that take no waiting.
    fn answer_at_once(self: &Arc<Self>, request: &Request) -> Option<Response> {
        match request {
            Request::Hello { host } => {
                self.suspect_namesakes(host);
                Some(Response::Welcome {
                    host: self.me.clone(),
                    nodes: self.routing().rings().map(|ring| ring.me().clone()).collect(),
                    parameters: self.parameters.clone(),
                })
            }
            Request::Round { asks, .. } => Some(Response::Round(self.answer_round(asks))),
            Request::Leave { nodes } => {
                let mut routing = self.routing();
                for (peer, neighbours) in nodes {
                    routing.left(peer, neighbours);
                }
                drop(routing);
                self.ring_changed.notify_one();
                self.hand_off_due.notify_one();
                Some(Response::Done)
            }
            Request::Abort { transfer } => {
                self.change_groups(|groups| groups.abort(*transfer));
                Some(Response::Done)
            }
            _ => None,
        }
    }

    fn answer_round(&self, asks: &[Ask]) -> Vec<Answer> {
        let mut routing = self.routing();
        let before = routing.changed();
        routing.learn(asks.iter().filter_map(|ask| match ask {
            Ask::Notify { from, .. } => Some(from),
            _ => None,
        }));
        let answers = asks.iter().map(|ask| routing.answer(ask)).collect();
        let news = routing.changed() != before || routing.has_doubt();
        drop(routing);
        if news {
            self.ring_changed.notify_one();
            self.hand_off_due.notify_one();
        }
        answers
    }

    /// A host that comes under a known name as another life: whether the earlier life is over is asked at once, but of
    /// each only once at a time, however many greet.
    fn suspect_namesakes(self: &Arc<Self>, host: &Host) {
        let suspects: Vec<Arc<Host>> = self.routing().namesakes(&host.name, host.incarnation);
        for suspect in suspects.into_iter().filter(|suspect| suspect.incarnation != self.me.incarnation) {
            let Ok(permit) = self.serving.clone().try_acquire_owned() else { return };
            if !self.probe_is_due(&suspect) {
                continue;
            }
            let node = self.clone();
            self.tasks.spawn(async move {
                let _permit = permit;
                let request = Request::Round { host: node.me.clone(), asks: vec![Ask::Ping] };
                let _ = node.control(&suspect, &request).await;
            });
        }
    }

    async fn answer(self: &Arc<Self>, header: Header, request: Request, incoming: Incoming) {
        let claimed = Duration::from_millis(header.remaining_ms.into());
        let deadline = Instant::now() + claimed.min(MAX_SERVING);
        let body = incoming.frame.body.clone();
        let (response, body) = match request {
            Request::Get { trail, items } => self.answer_get(trail, &items, deadline).await,
            Request::Update { trail, items } => {
                match self.answer_update(trail, items, &body, deadline).await {
                    Some(answer) => answer,
                    // Another copy of this request is being executed and will be answered.
                    None => return,
                }
            }
            Request::Locate { trail, id } => (self.answer_locate(trail, &id, deadline).await, Bytes::new()),
            Request::Describe => match self.describe(deadline).await {
                Ok(description) => (Response::Description(Box::new(description)), Bytes::new()),
                // Nobody waits for it any more.
                Err(_) => return,
            },
            Request::Offer { transfer, from, pieces, leaving } => {
                (self.take_offer(transfer, &from, &pieces, leaving).await, Bytes::new())
            }
            Request::Chunk { transfer, entries } => {
                (self.take_chunk(transfer, entries, &body).await, Bytes::new())
            }
            Request::Install { transfer, groups } => {
                (self.take_install(transfer, &groups).await, Bytes::new())
            }
            Request::Hello { .. } | Request::Round { .. } | Request::Leave { .. } | Request::Abort { .. } => {
                return;
            }
        };
        incoming.reply(self.encode(header.from, &response, body));
    }

    async fn answer_get(&self, trail: Trail, items: &[GetItem], deadline: Instant) -> (Response, Bytes) {
        let mut answers = Vec::with_capacity(items.len());
        let mut onward = Onward::default();
        let mut room = Room { bytes: self.parameters.max_value_bytes, is_taken: false };
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
    async fn answer_update(
        &self,
        trail: Trail,
        items: Vec<UpdateItem>,
        body: &Bytes,
        deadline: Instant,
    ) -> Option<(Response, Bytes)> {
        let Ok(values) = wire::split_values(body, items.iter().map(|item| item.value_bytes)) else {
            Metrics::add(&self.metrics.malformed, 1);
            return Some((Response::Malformed("the values do not fit the body".into()), Bytes::new()));
        };
        let (items, values) = (&items, &values);
        let mut answers = Vec::with_capacity(items.len());
        let mut onward = Onward::default();
        for (item, value) in items.iter().zip(values) {
            let answer = match self.answer_update_item(trail, item, value, deadline).await? {
                Ok(answer) => answer,
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
            answers[i] = answer;
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

    async fn answer_locate(&self, trail: Trail, id: &Id, deadline: Instant) -> Response {
        match self.verdict(id, trail, deadline).await {
            Verdict::Serve { epoch, .. } => Response::Here { epoch },
            elsewhere => Response::NotMine(self.not_mine(id, elsewhere)),
        }
    }

    fn not_done(&self, id: &Id, reason: NotDone) -> ItemReply {
        match reason {
            NotDone::Elsewhere(verdict) => ItemReply::NotMine(self.not_mine(id, verdict)),
            NotDone::TryAgain(reason) => ItemReply::TryAgain(reason),
            NotDone::Indeterminate(_) => ItemReply::Forgotten,
            NotDone::Storage(reason) => ItemReply::Storage(reason),
        }
    }

    fn not_mine(&self, id: &Id, verdict: Verdict) -> NotMine {
        Metrics::add(&self.metrics.redirected, 1);
        search::not_mine(verdict, &self.routing(), id, self.config.routing)
    }

    /// Encodes a response to `to`: a short one in its place when it does not fit.
    pub(crate) fn encode(&self, to: Incarnation, response: &Response, body: Bytes) -> Frame {
        let header =
            Header { ring_tag: self.parameters.tag(), from: self.me.incarnation, to, remaining_ms: 0 };
        wire::encode_response(header, response, body).unwrap_or_else(|error| {
            tracing::warn!(%error, "an answer does not fit: saying so instead");
            wire::encode_response(header, &instead_of(response), Bytes::new()).expect("a word an item fits")
        })
    }

    /// Whether this host is leaving the ring.
    pub(crate) fn is_leaving(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Leaving | Phase::Parting)
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
}

impl Room {
    /// `answer`, if there is room for its value.
    fn take(&mut self, answer: ItemAnswer) -> ItemAnswer {
        let len = answer.1.len() as u64;
        if self.is_taken && len > self.bytes {
            return (ItemReply::TryAgain("the answer is large enough".into()), Bytes::new());
        }
        self.is_taken |= len > 0;
        self.bytes = self.bytes.saturating_sub(len);
        answer
    }
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

/// What is answered in place of a response that does not fit.
fn instead_of(response: &Response) -> Response {
    match response {
        // Some of them may have been executed.
        Response::Items(replies) => Response::Items(vec![ItemReply::Forgotten; replies.len()]),
        _ => Response::Overloaded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_answer_are_no_longer_together_than_the_longest_but_one_always_fits() {
        let answer = |len| (ItemReply::Absent, Bytes::from(vec![0; len]));
        let lengths = |room: u64, values: &[usize]| {
            let mut room = Room { bytes: room, is_taken: false };
            values.iter().map(|len| room.take(answer(*len)).1.len()).collect::<Vec<_>>()
        };
        assert_eq!(lengths(100, &[60, 50, 40, 0, 1]), [60, 0, 40, 0, 0]);
        assert_eq!(lengths(100, &[0, 200, 1]), [0, 200, 0]);
    }

    #[test]
    fn updates_whose_answer_does_not_fit_are_not_called_undone() {
        let replies = vec![ItemReply::Absent, ItemReply::TryAgain("x".into())];
        assert_eq!(instead_of(&Response::Items(replies)), Response::Items(vec![ItemReply::Forgotten; 2]));
        assert_eq!(instead_of(&Response::Round(Vec::new())), Response::Overloaded);
    }
}
