//! Finds who answers for a key, and asks it: the operation itself is the question, so the usual request is one hop.
//!
//! The believed owner is asked first. A host that does not answer for the key says who may ("not mine"), which
//! corrects the contact table and is followed ([`crate::protocol::search`]). Nobody is asked twice in a
//! round; rounds are repeated with growing pauses until the deadline, or until it is clear that nobody answers.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::error::Error;
use crate::node::call::CallError;
use crate::node::execute::NotDone;
use crate::node::{Metrics, Node};
use crate::protocol::entry::{Entry, Update, Version};
use crate::protocol::group::Verdict;
use crate::protocol::id::Id;
use crate::protocol::message::{
    ActionHead, GetItem, ItemReply, NotMine, OperationId, Request, Response, Trail, UpdateItem, Updated,
};
use crate::protocol::peer::Host;
use crate::protocol::search::{FIRST_PAUSE, MAX_DENIALS, MAX_PAUSE, Search, SearchRound, learn_not_mine};
use crate::transport::{Lane, Transport};

/// A value larger than this is sent only to a host that has said it answers for the key.
const SMALL_VALUE_BYTES: usize = 64 << 10;

/// One operation on one key.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// Reads it.
    Get {
        /// The key.
        key: Bytes,
        /// The longest value that another host is to send; `None` for any.
        max_value_bytes: Option<u32>,
    },
    /// Updates it.
    Update {
        /// The key.
        key: Bytes,
        /// What to do.
        update: Update,
    },
    /// Asks who answers for it.
    Locate,
}

/// What a read found.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    /// The live entry, if there is one.
    Entry(Option<Entry>),
    /// Another host has the value, and it is longer than was asked for: so many bytes.
    Long(u32),
}

impl Found {
    /// What was found by who asked for values of any length.
    ///
    /// # Errors
    /// [`Error::TryAgain`] where the answer does not fit the question.
    pub(crate) fn entry(self) -> Result<Option<Entry>, Error> {
        match self {
            Found::Entry(entry) => Ok(entry),
            Found::Long(_) => Err(nonsense()),
        }
    }
}

/// What an operation came to.
#[derive(Clone, Debug)]
pub(crate) enum Done {
    /// What was read.
    Read(Found),
    /// What the update did, and the value it found if that was asked for.
    Updated(Updated, Option<Bytes>),
    /// Who answers for the key, under which epoch.
    Located(Arc<Host>, u64),
}

/// What asking one host came to.
enum Reply {
    Done(Done),
    NotMine(NotMine),
    /// Certainly not executed, by a host that may answer for the key all the same.
    Refused(String),
    /// Certainly not executed: the host is gone.
    Gone(String),
    /// The operation is over, with this error.
    Failed(Error),
}

impl<T: Transport> Node<T> {
    /// When an operation that begins now is over at the latest.
    pub(crate) fn operation_deadline(&self) -> Instant {
        Instant::now() + self.config.operation_deadline
    }

    /// The live entry of `key`, if there is one, and the calls to other hosts that it took.
    pub(crate) async fn read(
        &self,
        id: &Id,
        key: &[u8],
        deadline: Instant,
    ) -> Result<(Option<Entry>, usize), Error> {
        let (found, hops) = self.read_short(id, key, None, deadline).await?;
        Ok((found.entry()?, hops))
    }

    /// As [`Node::read`], but of another host's value that is longer than `max_value_bytes` only how long it is.
    pub(crate) async fn read_short(
        &self,
        id: &Id,
        key: &[u8],
        max_value_bytes: Option<u32>,
        deadline: Instant,
    ) -> Result<(Found, usize), Error> {
        if let Some(entry) = self.read_if_here(id, key, deadline).await? {
            Metrics::add(&self.metrics.operations, 1);
            return Ok((Found::Entry(entry), 0));
        }
        let operation = Operation::Get { key: Bytes::copy_from_slice(key), max_value_bytes };
        // Boxed, so that the usual read of an own key does not carry its size.
        match Box::pin(self.run(id, operation, deadline)).await? {
            (Done::Read(found), hops) => Ok((found, hops)),
            _ => Err(nonsense()),
        }
    }

    /// Updates `key`. What it did, the value it found if that was asked for, and the calls to other hosts that it took.
    pub(crate) async fn update(
        &self,
        id: &Id,
        key: &Bytes,
        update: &Update,
        deadline: Instant,
    ) -> Result<(Updated, Option<Bytes>, usize), Error> {
        if let Some((updated, previous)) = self.update_if_here(id, key, update, deadline).await? {
            Metrics::add(&self.metrics.operations, 1);
            return Ok((updated, previous, 0));
        }
        let operation = Operation::Update { key: key.clone(), update: update.clone() };
        match Box::pin(self.run(id, operation, deadline)).await? {
            (Done::Updated(updated, previous), hops) => Ok((updated, previous, hops)),
            _ => Err(nonsense()),
        }
    }

    /// Runs one operation and counts the calls to other hosts that it took.
    pub(crate) async fn run(
        &self,
        id: &Id,
        operation: Operation,
        deadline: Instant,
    ) -> Result<(Done, usize), Error> {
        self.check_open()?;
        let Ok(_permit) = self.operations.try_acquire() else {
            return Err(Error::Overloaded { what: "operations in flight on this node" });
        };
        Metrics::add(&self.metrics.operations, 1);
        let started = Instant::now();
        let mut search = Search::default();
        if started >= deadline {
            search.reason = "others of the same call took until its deadline".into();
            return Err(into_error(search, &operation));
        }
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(done) = self.round(id, &operation, &mut search, deadline).await? {
                return Ok((done, search.hops));
            }
            let next = Instant::now() + self.jittered(pause);
            let is_denied =
                search.denials >= MAX_DENIALS && started.elapsed() >= self.config.operation_deadline / 4;
            if next >= deadline || is_denied {
                return Err(into_error(search, &operation));
            }
            tokio::time::sleep_until(next).await;
            pause = (2 * pause).min(MAX_PAUSE);
        }
    }

    /// Asks every host that may answer for `id`, each once. `None` when none does.
    async fn round(
        &self,
        id: &Id,
        operation: &Operation,
        search: &mut Search,
        deadline: Instant,
    ) -> Result<Option<Done>, Error> {
        let hint = match self.try_here(id, operation, search, deadline).await? {
            Ok(done) => return Ok(Some(done)),
            Err(hint) => hint,
        };
        let (mode, max_hops) = (self.config.routing, self.config.max_hops);
        let mut round = SearchRound::begin(search, &self.routing(), id, mode, hint, max_hops);
        while search.hops < 4 * max_hops && Instant::now() < deadline {
            let next = round.next(search, |host| self.routing().is_lost(host));
            let Some((peer, host)) = next else { break };
            match self.ask(id, &host, operation, search, deadline).await {
                Reply::Done(done) => {
                    if let Some(peer) = peer {
                        self.routing().learn(&[peer]);
                    }
                    return Ok(Some(done));
                }
                Reply::Failed(error) => return Err(error),
                Reply::NotMine(said) => {
                    learn_not_mine(&mut self.routing(), &host, &said);
                    round.not_mine(search, peer.as_ref(), said, &self.me);
                    if search.epoch_at(&self.me) > 0 {
                        // The record was sent here, and has arrived or is about to.
                        match self.try_here(id, operation, search, deadline).await? {
                            Ok(done) => return Ok(Some(done)),
                            Err(elsewhere) => round.looked_here(elsewhere),
                        }
                    }
                }
                reply @ (Reply::Refused(_) | Reply::Gone(_)) => {
                    round.unanswered(peer.as_ref(), matches!(reply, Reply::Gone(_)));
                    if let Reply::Refused(reason) | Reply::Gone(reason) = reply {
                        search.reason = reason;
                    }
                }
            }
        }
        round.end(search, &self.me);
        Ok(None)
    }

    /// Runs the operation here, if this host answers for the key; else says who may.
    async fn try_here(
        &self,
        id: &Id,
        operation: &Operation,
        search: &mut Search,
        deadline: Instant,
    ) -> Result<Result<Done, Option<Arc<Host>>>, Error> {
        let trail = Trail { min_epoch: search.epoch_at(&self.me), forwarded: false };
        let result = match operation {
            Operation::Get { key, .. } => {
                let entry = self.read_here(id, key, trail, deadline).await;
                entry.map(|entry| Done::Read(Found::Entry(entry)))
            }
            Operation::Update { key, update } => {
                let result = self.update_here(id, key, update, trail, deadline).await;
                result.map(|(updated, previous)| Done::Updated(updated, previous))
            }
            Operation::Locate => match self.verdict(id, trail, deadline).await {
                Verdict::Serve { epoch, .. } => Ok(Done::Located(self.me.clone(), epoch)),
                elsewhere => Err(NotDone::Elsewhere(elsewhere)),
            },
        };
        match result {
            Ok(done) => Ok(Ok(done)),
            Err(NotDone::Elsewhere(verdict)) => Ok(Err(search.note(verdict))),
            Err(reason) if matches!(operation, Operation::Update { .. }) => Err(reason.of_update()),
            Err(reason) => Err(reason.of_read()),
        }
    }

    /// Asks one host to run the operation.
    async fn ask(
        &self,
        id: &Id,
        host: &Arc<Host>,
        operation: &Operation,
        search: &mut Search,
        deadline: Instant,
    ) -> Reply {
        if self.routing().is_lost(host.incarnation) && !search.silent.contains(host) {
            search.hops += 1;
            if !self.gives_sign_of_life(host).await {
                search.silent.push(host.clone());
            }
        }
        if search.silent.contains(host) {
            return Reply::Gone(format!("{} counts as dead", host.name));
        }
        let trail = Trail { min_epoch: search.epoch_at(host), forwarded: false };
        let (request, body) = match operation {
            Operation::Locate => (Request::Locate { trail, id: *id }, Bytes::new()),
            Operation::Get { key, max_value_bytes } => {
                let items = vec![GetItem { id: *id, key: key.clone() }];
                (Request::get(trail, items, *max_value_bytes), Bytes::new())
            }
            Operation::Update { key, update } => {
                // Its name is new each time that it is sent: what was refused before may still arrive somewhere, late.
                let (item, value) = update_item(self.next_operation(), id, key, update);
                if value.len() > SMALL_VALUE_BYTES && search.sure_of != Some(host.incarnation) {
                    let locate = Request::Locate { trail, id: *id };
                    let patience = self.patience(deadline);
                    match self.call_while_alive(host, &locate, Bytes::new(), Lane::Request, patience).await {
                        Ok((Response::Here { .. }, _)) => search.hops += 1,
                        Ok((Response::NotMine(said), _)) => return Reply::NotMine(said),
                        Ok(_) => return Reply::Refused(format!("{} answered nonsense", host.name)),
                        Err(error) => return self.failed_call(host, &error, search),
                    }
                    search.sure_of = Some(host.incarnation);
                }
                (Request::Update { trail, items: vec![item] }, value)
            }
        };
        if !request.is_idempotent() && self.is_too_late(host, deadline) {
            let known = Some(search.reason.clone()).filter(|reason| !reason.is_empty());
            return Reply::Refused(known.unwrap_or_else(|| "too little time was left for an answer".into()));
        }
        let deadline = if request.is_idempotent() { self.patience(deadline) } else { deadline };
        match self.call_while_alive(host, &request, body, Lane::Request, deadline).await {
            Ok((Response::Items(replies), body)) if replies.len() == 1 => {
                item_reply(replies.into_iter().next(), body, operation)
            }
            Ok((Response::Here { epoch }, _)) => Reply::Done(Done::Located(host.clone(), epoch)),
            Ok((Response::NotMine(said), _)) => Reply::NotMine(said),
            Ok(_) => Reply::Refused(format!("{} answered nonsense", host.name)),
            Err(CallError::NoReply(reason)) if !request.is_idempotent() => {
                Reply::Failed(Error::Indeterminate { copies: 0, reason })
            }
            // The call may have been cut off after it was sent.
            Err(CallError::Closed) if !request.is_idempotent() => {
                Reply::Failed(Error::Indeterminate { copies: 0, reason: "this node was closed".into() })
            }
            Err(error @ CallError::ReplyTooLarge { .. }) if !request.is_idempotent() => {
                Reply::Failed(Error::Indeterminate { copies: 0, reason: error.to_string() })
            }
            Err(CallError::TooLarge { len, max } | CallError::ReplyTooLarge { len, max }) => {
                Reply::Failed(Error::TooLarge { what: "a frame", len, max })
            }
            Err(CallError::Closed) => Reply::Failed(Error::Closed("the transport is closed".into())),
            Err(error) => self.failed_call(host, &error, search),
        }
    }

    /// What a call without effect that failed says about its host.
    fn failed_call(&self, host: &Arc<Host>, error: &CallError, search: &mut Search) -> Reply {
        match error {
            CallError::NotExecuted(reason) => Reply::Gone(reason.clone()),
            CallError::NoReply(reason) if self.routing().is_lost(host.incarnation) => {
                search.silent.push(host.clone());
                Reply::Gone(reason.clone())
            }
            other => Reply::Refused(other.to_string()),
        }
    }

    /// One try of a question that can be repeated takes half of the time that is left.
    fn patience(&self, deadline: Instant) -> Instant {
        let now = Instant::now();
        now + deadline.saturating_duration_since(now) / 2
    }
}

/// What an operation that was answered by nobody ends with. None of it was executed.
fn into_error(search: Search, operation: &Operation) -> Error {
    if search.denials > 0 {
        return Error::Unavailable { have: 0, need: 1, hosts: search.asked };
    }
    match operation {
        Operation::Update { .. } => Error::TryAgain { reason: search.reason },
        _ => Error::Timeout { reason: search.reason },
    }
}

fn nonsense() -> Error {
    Error::TryAgain { reason: "the answer is nonsense".into() }
}

/// An update as it travels, and its value.
pub(crate) fn update_item(
    operation: OperationId,
    id: &Id,
    key: &Bytes,
    update: &Update,
) -> (UpdateItem, Bytes) {
    use crate::protocol::entry::Action;
    let (action, value) = match &update.action {
        Action::Set { value, expiry } => (ActionHead::Set(*expiry), value.clone()),
        Action::Remove => (ActionHead::Remove, Bytes::new()),
        Action::Add(by) => (ActionHead::Add(*by), Bytes::new()),
        Action::Append(tail) => (ActionHead::Append, tail.clone()),
        Action::Expire(expiry) => (ActionHead::Expire(*expiry), Bytes::new()),
    };
    let item = UpdateItem {
        operation,
        id: *id,
        key: key.clone(),
        action,
        condition: update.condition,
        return_previous: update.return_previous,
        value_bytes: value.len() as u32,
    };
    (item, value)
}

fn item_reply(reply: Option<ItemReply>, body: Bytes, operation: &Operation) -> Reply {
    let is_update = matches!(operation, Operation::Update { .. });
    match reply {
        Some(ItemReply::Found { version, expires_at, .. }) if !is_update => {
            Reply::Done(Done::Read(Found::Entry(Some(found(version, expires_at, body)))))
        }
        Some(ItemReply::Absent) if !is_update => Reply::Done(Done::Read(Found::Entry(None))),
        Some(ItemReply::Long { value_bytes }) if !is_update => {
            Reply::Done(Done::Read(Found::Long(value_bytes)))
        }
        Some(ItemReply::Updated(updated)) if is_update => {
            let previous = updated.previous_bytes.map(|_| body);
            Reply::Done(Done::Updated(updated, previous))
        }
        Some(ItemReply::NotMine(said)) => Reply::NotMine(said),
        Some(ItemReply::TryAgain(reason)) => Reply::Refused(reason),
        Some(ItemReply::Forgotten) => {
            Reply::Failed(Error::Indeterminate { copies: 0, reason: "its outcome is no longer known".into() })
        }
        Some(ItemReply::Storage(reason)) if is_update => {
            Reply::Failed(Error::Indeterminate { copies: 0, reason })
        }
        Some(ItemReply::Storage(reason)) => Reply::Failed(Error::Storage(reason)),
        _ => Reply::Refused("the answer is nonsense".into()),
    }
}

/// The entry that a reply and its value make.
pub(crate) fn found(version: Version, expires_at: Option<u64>, value: Bytes) -> Entry {
    Entry { version, value: Some(value), expires_at }
}
