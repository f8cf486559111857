//! The handle: [`Chord`].

use std::sync::Arc;

use bytes::Bytes;

use crate::answer::{Receipt, Record, ShortRead, receipt, record, short_read, value_of};
use crate::config::Config;
use crate::error::Error;
use crate::node::many::ManyUpdate;
use crate::node::route::Found;
use crate::node::{Guard, Node};
use crate::protocol::entry::{Action, Condition, Expiry, Update};
use crate::protocol::group::Group;
use crate::protocol::id::{Id, IdSpace, Interval};
use crate::protocol::invariants::NodeSnapshot;
use crate::protocol::successors::SuccessorLimits;
use crate::storage::{MemoryStorage, Storage};
use crate::transport::{Endpoint, Transport};
use crate::view::{CheckReport, Explanation, FingerRow, LookupReport, RingRow, Status};

/// A node of a ring, and the way to use the ring's store. Cheap to clone; every clone is the same node.
///
/// The node ends when [`Chord::leave`] returns, or when the last clone is dropped; the latter is a crash for the
/// ring: what the node owned is gone.
pub struct Chord<T: Transport> {
    guard: Arc<Guard<T>>,
}

impl<T: Transport> Clone for Chord<T> {
    fn clone(&self) -> Self {
        Chord { guard: self.guard.clone() }
    }
}

/// Options of [`Chord::put_with`].
#[derive(Clone, Copy, Debug, Default)]
pub struct PutOptions {
    /// How long the value is to live.
    pub expiry: Expiry,
    /// When to write.
    pub condition: Condition,
}

/// What a node holds at one instant, with real ids: see [`Chord::neighbourhood`].
#[derive(Clone, Debug)]
pub struct Neighbourhood {
    /// The ring's circle.
    pub space: IdSpace,
    /// How long its successor lists are.
    pub limits: SuccessorLimits,
    /// The pointers of its virtual nodes; empty once it has ended.
    pub nodes: Vec<NodeSnapshot>,
    /// The intervals it answers for, with their records; empty once it has ended.
    pub served: Vec<(Interval, Arc<Group>)>,
    /// Hand-offs under way, in either direction.
    pub transfers: usize,
}

impl<T: Transport> std::fmt::Debug for Chord<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chord").field("host", &self.guard.node.me).finish_non_exhaustive()
    }
}

impl<T: Transport> Chord<T> {
    /// Starts a new ring of which this node is the first host, with its entries in memory.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a configuration that does not fit.
    pub async fn create(transport: T, config: Config) -> Result<Self, Error> {
        Chord::create_with(transport, config, Arc::new(MemoryStorage::new())).await
    }

    /// [`Chord::create`] with a store of your own. It must be this node's alone, and empty: no earlier life of a host is
    /// brought back from it yet.
    ///
    /// # Errors
    /// As [`Chord::create`]; [`Error::Invalid`] also for a store with entries (tombstones included), [`Error::Storage`]
    /// and [`Error::Timeout`] for one that does not tell whether it has any.
    pub async fn create_with(transport: T, config: Config, storage: Arc<dyn Storage>) -> Result<Self, Error> {
        Ok(Chord::new(Node::create(transport, config, storage).await?))
    }

    /// Joins the ring that one of `known` belongs to; they are tried in turn. Returns when the node has its places
    /// in the ring and answers for any key; what it is going to own arrives in the background.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when no known endpoint led into a ring, [`Error::Refused`] when the ring does not take
    /// this host (its id is taken, its parameters differ), [`Error::Invalid`] for a configuration that does not fit.
    /// The transport is closed then.
    ///
    /// # Cancel safety
    /// Dropping the future ends the node; for the ring it may be a host that failed while it joined.
    pub async fn join(transport: T, known: &[Endpoint], config: Config) -> Result<Self, Error> {
        Chord::join_with(transport, known, config, Arc::new(MemoryStorage::new())).await
    }

    /// [`Chord::join`] with a store of your own. It must be this node's alone, and empty, as for [`Chord::create_with`].
    ///
    /// # Errors
    /// As [`Chord::join`], and of the store as [`Chord::create_with`].
    pub async fn join_with(
        transport: T,
        known: &[Endpoint],
        config: Config,
        storage: Arc<dyn Storage>,
    ) -> Result<Self, Error> {
        Ok(Chord::new(Node::join(transport, known, config, storage).await?))
    }

    /// The value of `key`. Linearizable: what it returns was the newest at some moment during the call.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::Unavailable`], [`Error::Overloaded`], [`Error::TooLarge`],
    /// [`Error::Storage`], [`Error::Closed`]; nothing changed in any case.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        Ok(self.get_record(key).await?.map(|record| record.value))
    }

    /// [`Chord::get`] with version, expiry and hops.
    ///
    /// # Errors
    /// As [`Chord::get`].
    pub async fn get_record(&self, key: impl AsRef<[u8]>) -> Result<Option<Record>, Error> {
        let key = key.as_ref();
        let node = self.node();
        let (entry, hops) = node.read(&self.id_of(key)?, key, node.operation_deadline()).await?;
        Ok(entry.map(|entry| record(entry, hops)))
    }

    /// Stores `value` under `key`, for ever.
    ///
    /// # Errors
    /// As [`Chord::update`].
    pub async fn put(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<Receipt, Error> {
        self.put_with(key, value, PutOptions::default()).await
    }

    /// Stores `value` under `key` as `options` say. Look at [`Receipt::outcome`]: a condition that was not met is no
    /// error.
    ///
    /// # Errors
    /// As [`Chord::update`].
    pub async fn put_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        options: PutOptions,
    ) -> Result<Receipt, Error> {
        let action = Action::Set { value: value.into(), expiry: options.expiry };
        let update = Update { action, condition: options.condition, return_previous: false };
        self.update(key, update).await
    }

    /// Removes the value of `key`; [`Receipt::existed`] says whether there was one.
    ///
    /// # Errors
    /// As [`Chord::update`].
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<Receipt, Error> {
        self.update(key, remove()).await
    }

    /// Changes one key by `update`, decided at its owner in one step.
    ///
    /// # Errors
    /// [`Error::Indeterminate`] when it may have been executed; every other error means that it was not.
    ///
    /// # Cancel safety
    /// A dropped update may be executed all the same.
    pub async fn update(&self, key: impl AsRef<[u8]>, update: Update) -> Result<Receipt, Error> {
        let node = self.node();
        let key = key.as_ref();
        let id = self.id_of(key)?;
        self.check_value(&update)?;
        let key = Bytes::copy_from_slice(key);
        let deadline = node.operation_deadline();
        let (updated, previous, hops) = node.update(&id, &key, &update, deadline).await?;
        Ok(receipt(updated, previous, hops))
    }

    /// Whether `key` has a value.
    ///
    /// # Errors
    /// As [`Chord::get`].
    pub async fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        Ok(self.get_short(key, 0).await? != ShortRead::Value(None))
    }

    /// The values of `keys`: one result each, in order. Keys of one owner travel together; together they are no
    /// snapshot. A key that is too long ends with [`Error::TooLarge`], and the others are read.
    pub async fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Result<Option<Bytes>, Error>> {
        self.read_many(keys, None, |found| Ok(value_of(found.entry()?))).await
    }

    /// [`Chord::get_many`] for who has little room: of another host's value that is longer than `max_bytes` only how long
    /// it is. A value of this host is answered whatever its length: it is shared with the store, not copied.
    pub async fn get_many_short<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        max_bytes: usize,
    ) -> Vec<Result<ShortRead, Error>> {
        self.read_many(keys, Some(at_most(max_bytes)), |found| Ok(short_read(found))).await
    }

    async fn read_many<K: AsRef<[u8]>, R>(
        &self,
        keys: &[K],
        max_value_bytes: Option<u32>,
        answer: impl Fn(Found) -> Result<R, Error>,
    ) -> Vec<Result<R, Error>> {
        let checked: Vec<_> = keys.iter().map(|key| self.check_key(key.as_ref())).collect();
        let keys: Vec<&[u8]> = fitting(keys, &checked).map(AsRef::as_ref).collect();
        let results = self.node().read_many(&keys, max_value_bytes).await;
        in_their_places(checked, results.into_iter().map(|found| answer(found?)))
    }

    /// [`Chord::get`] as [`Chord::get_many_short`] reads.
    ///
    /// # Errors
    /// As [`Chord::get`].
    pub async fn get_short(&self, key: impl AsRef<[u8]>, max_bytes: usize) -> Result<ShortRead, Error> {
        let (node, key) = (self.node(), key.as_ref());
        let id = self.id_of(key)?;
        let deadline = node.operation_deadline();
        let (found, _) = node.read_short(&id, key, Some(at_most(max_bytes)), deadline).await?;
        Ok(short_read(found))
    }

    /// Stores entries: one result each, in order. Not atomic; of two entries for one key the later wins.
    pub async fn put_many<K: AsRef<[u8]>>(&self, entries: &[(K, Bytes)]) -> Vec<Result<Receipt, Error>> {
        let updates: Vec<(&[u8], Update)> = entries
            .iter()
            .map(|(key, value)| {
                let action = Action::Set { value: value.clone(), expiry: Expiry::Never };
                let update = Update { action, condition: Condition::Always, return_previous: false };
                (key.as_ref(), update)
            })
            .collect();
        self.update_many(&updates).await
    }

    /// Changes keys, each on its own: one result each, in order. Not atomic; updates of one key take effect in
    /// order. One whose key or value is too long ends with [`Error::TooLarge`], and the others are executed.
    pub async fn update_many<K: AsRef<[u8]>>(&self, updates: &[(K, Update)]) -> Vec<Result<Receipt, Error>> {
        let check = |(key, update): &(K, Update)| {
            self.check_key(key.as_ref())?;
            self.check_value(update)
        };
        let checked: Vec<_> = updates.iter().map(check).collect();
        let item = |(key, update): &(K, Update)| ManyUpdate {
            key: Bytes::copy_from_slice(key.as_ref()),
            update: update.clone(),
        };
        let items: Vec<ManyUpdate> = fitting(updates, &checked).map(item).collect();
        let results = self.node().update_many(&items).await;
        in_their_places(
            checked,
            results
                .into_iter()
                .map(|result| result.map(|(updated, previous, hops)| receipt(updated, previous, hops))),
        )
    }

    /// Who the ring says owns `key`, and the way there, hop by hop.
    ///
    /// # Errors
    /// [`Error::TryAgain`] when the ring could not tell, [`Error::Timeout`] when it had not by an operation's deadline,
    /// [`Error::Closed`].
    pub async fn lookup(&self, key: impl AsRef<[u8]>) -> Result<LookupReport, Error> {
        self.check_key(key.as_ref())?;
        self.node().lookup(key.as_ref()).await
    }

    /// Everything about `key`: who answers for it under which epoch, its version and time left, the way to it. All of that
    /// by one operation's deadline.
    ///
    /// # Errors
    /// As [`Chord::get`].
    pub async fn explain(&self, key: impl AsRef<[u8]>) -> Result<Explanation, Error> {
        self.check_key(key.as_ref())?;
        self.node().explain(key.as_ref()).await
    }

    /// This node, without asking anyone. Waits for its store until the operation's deadline at most.
    pub async fn status(&self) -> Status {
        self.node().status().await
    }

    /// This node's pointers and records at this instant, without waiting. In a program that holds all nodes of a
    /// ring, on one thread, their neighbourhoods together are a snapshot of the ring: a simulation checks the
    /// properties of [`crate::protocol::invariants`] on it.
    pub fn neighbourhood(&self) -> Neighbourhood {
        self.node().neighbourhood()
    }

    /// Two counters that grow whenever this node's pointers, and its records, change; `None` once it has ended.
    /// Cheap: they tell when [`Chord::neighbourhood`] is worth another look.
    pub fn changes(&self) -> Option<(u64, u64)> {
        self.node().changes()
    }

    /// Every virtual node of the ring in order of ids. Asks every host, for six times an operation's deadline at most;
    /// those that do not answer by then are left out.
    ///
    /// # Errors
    /// [`Error::Timeout`] when this node's own store does not answer, [`Error::Closed`].
    pub async fn ring(&self) -> Result<Vec<RingRow>, Error> {
        self.node().ring_rows().await
    }

    /// This node's finger tables in the paper's form, virtual node by virtual node.
    pub fn fingers(&self) -> Vec<FingerRow> {
        self.node().finger_rows()
    }

    /// Walks the whole ring and checks its invariants. Asks every host, three times at most when one seems broken; each
    /// walk ends as [`Chord::ring`] does, and names those that did not answer.
    ///
    /// # Errors
    /// [`Error::Timeout`] when this node's own store does not answer, [`Error::Closed`].
    pub async fn check(&self) -> Result<CheckReport, Error> {
        self.node().check().await
    }

    /// Keys with a value in the whole ring, expired ones that were not collected yet included. Asks every host, as
    /// [`Chord::ring`] does; three times at most when keys change hands between two of its questions. Keys
    /// that change hands at that moment are counted twice: where they are served, and where they are copied to.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when nobody alive answers for a part of the circle: what a dead host owned is never left out
    /// silently. [`Error::Timeout`] naming the hosts that did not answer, this node's own store included;
    /// [`Error::Closed`].
    pub async fn count(&self) -> Result<u64, Error> {
        self.node().count_keys().await
    }

    /// Leaves the ring: hands over everything this node owns, tells its neighbours, ends every task and closes the
    /// transport; then it returns. Every clone of the handle is closed afterwards.
    ///
    /// # Errors
    /// [`Error::LastHost`] when no other host answers and there are entries, or others hold parts of the circle;
    /// [`Error::TryAgain`] when the hand-over has not got on for 30 seconds; the node goes on in both cases. It gets on
    /// while entries are stored and dropped, and while a host that lives takes its time for a large message: a leave may
    /// take hours. [`Error::Closed`] when the node ended otherwise.
    ///
    /// # Cancel safety
    /// A dropped `leave` goes on to its end, while a handle is left. Leaving again waits for that end.
    pub async fn leave(&self) -> Result<(), Error> {
        self.guard.node.leave().await
    }

    /// Ends the node at once and returns when its tasks and its transport have ended. For the ring this is a crash:
    /// what the node owned is gone.
    pub async fn stop(&self) {
        self.node().shut_down(Error::Closed("the node was stopped".into())).await;
    }

    /// Waits until the node has ended, its transport included, and says why. A [`Chord::leave`] or [`Chord::stop`]
    /// returns at the same moment.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn closed(&self) -> Error {
        let mut ended = self.node().ended.subscribe();
        // The sender lives as long as this handle.
        let _ = ended.wait_for(|ended| *ended).await;
        match self.node().check_open() {
            Err(reason) => reason,
            Ok(()) => Error::Closed("the node has ended".into()),
        }
    }

    /// The node's configuration, the ring's parameters included.
    pub fn config(&self) -> &Config {
        &self.node().config
    }

    /// The advertised endpoint, by which other hosts join.
    pub fn endpoint(&self) -> &Endpoint {
        &self.node().me.endpoint
    }

    fn new(guard: Guard<T>) -> Self {
        Chord { guard: Arc::new(guard) }
    }

    fn node(&self) -> &Node<T> {
        &self.guard.node
    }

    fn id_of(&self, key: &[u8]) -> Result<Id, Error> {
        self.check_key(key)?;
        Ok(self.node().parameters.space.id_of(key))
    }

    fn check_key(&self, key: &[u8]) -> Result<(), Error> {
        check_length("a key", key.len(), self.config().max_key_bytes)
    }

    fn check_value(&self, update: &Update) -> Result<(), Error> {
        match &update.action {
            Action::Set { value, .. } | Action::Append(value) => {
                check_length("a value", value.len(), self.config().max_value_bytes)
            }
            Action::Remove | Action::Add(_) | Action::Expire(_) => Ok(()),
        }
    }
}

fn check_length(what: &'static str, len: usize, max: usize) -> Result<(), Error> {
    if len > max { Err(Error::TooLarge { what, len, max }) } else { Ok(()) }
}

/// Those of `items` that were found to fit.
fn fitting<'a, I>(items: &'a [I], checked: &'a [Result<(), Error>]) -> impl Iterator<Item = &'a I> {
    items.iter().zip(checked).filter(|(_, fits)| fits.is_ok()).map(|(item, _)| item)
}

/// One result an item: why it does not fit, or the next of `results`.
fn in_their_places<R>(
    checked: Vec<Result<(), Error>>,
    mut results: impl Iterator<Item = Result<R, Error>>,
) -> Vec<Result<R, Error>> {
    let place = |fits: Result<(), Error>| {
        fits.and_then(|()| results.next().expect("there is a result for each item that fits"))
    };
    checked.into_iter().map(place).collect()
}

fn at_most(max_bytes: usize) -> u32 {
    u32::try_from(max_bytes).unwrap_or(u32::MAX)
}

fn remove() -> Update {
    Update { action: Action::Remove, condition: Condition::Always, return_previous: false }
}
