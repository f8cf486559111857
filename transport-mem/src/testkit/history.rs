//! What clients did, in the order of its beginnings and ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use chord::{Error, Receipt, Record};

use crate::testkit::Node;
use crate::testkit::linearizable::{self, Anomaly};

/// What clients did to keys, each of which is a register: empty at first, written (a deletion writes "nothing"), read.
///
/// Beginnings and ends are put in one order as they are recorded, so record in the process in which things happen.
/// Give every write of a key another value: then the check is sharp and quick. Clones are the same history.
#[derive(Clone, Default)]
pub struct History {
    /// Never held across an await.
    records: Arc<Mutex<Records>>,
}

#[derive(Default)]
struct Records {
    clock: u64,
    operations: Vec<Operation>,
}

/// One operation of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The key.
    pub key: Bytes,
    /// For a write what it writes, `None` inside for a deletion; `None` for a read.
    pub written: Option<Option<Bytes>>,
    /// When it began.
    pub invoked: u64,
    /// When it ended, and how; `None` while it has not.
    pub ended: Option<(u64, Outcome)>,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A write was acknowledged.
    Written,
    /// A read found this; `None` is no value.
    Read(Option<Bytes>),
    /// A write may or may not take effect, at any time. The same as if it had not ended.
    Unknown,
    /// It has no effect, now and for ever; why.
    NotExecuted(String),
}

/// An operation under way. Dropping it leaves it without an end.
#[derive(Debug)]
#[must_use = "an operation that is never ended counts as one of unknown outcome"]
pub struct Call(usize);

impl History {
    /// An empty history.
    pub fn new() -> History {
        History::default()
    }

    /// A client of `node` whose operations are recorded here.
    pub fn client(&self, node: Node) -> Client {
        Client { node, history: self.clone() }
    }

    /// A read of `key` begins.
    pub fn begin_read(&self, key: impl Into<Bytes>) -> Call {
        self.begin(key.into(), None)
    }

    /// A write of `value` to `key` begins; `None` deletes.
    pub fn begin_write(&self, key: impl Into<Bytes>, value: Option<Bytes>) -> Call {
        self.begin(key.into(), Some(value))
    }

    /// An operation ends.
    pub fn end(&self, call: Call, outcome: Outcome) {
        let mut records = self.records();
        records.clock += 1;
        let at = records.clock;
        records.operations[call.0].ended = Some((at, outcome));
    }

    /// Everything recorded so far, in the order of its beginnings.
    pub fn operations(&self) -> Vec<Operation> {
        self.records().operations.clone()
    }

    /// Whether every key was one register: no acknowledged write was lost, and there is an order of each key's
    /// operations that agrees with what they returned and in which none moves beyond its beginning or end.
    ///
    /// # Errors
    /// The first key that was not, with its operations.
    ///
    /// Source: Wing, Gong, "Testing and verifying concurrent objects" (1993), with Lowe's memory of states (2017).
    pub fn check(&self) -> Result<(), Anomaly> {
        let mut keys: BTreeMap<Bytes, Vec<Operation>> = BTreeMap::new();
        for operation in self.operations() {
            keys.entry(operation.key.clone()).or_default().push(operation);
        }
        keys.into_iter().try_for_each(|(key, operations)| linearizable::check(key, operations))
    }

    fn begin(&self, key: Bytes, written: Option<Option<Bytes>>) -> Call {
        let mut records = self.records();
        records.clock += 1;
        let invoked = records.clock;
        records.operations.push(Operation { key, written, invoked, ended: None });
        Call(records.operations.len() - 1)
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A node's handle that records what is done with it.
#[derive(Clone)]
pub struct Client {
    node: Node,
    history: History,
}

impl Client {
    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// [`chord::Chord::get`], recorded.
    ///
    /// # Errors
    /// The node's.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        Ok(self.get_record(key).await?.map(|record| record.value))
    }

    /// [`chord::Chord::get_record`], recorded.
    ///
    /// # Errors
    /// The node's.
    pub async fn get_record(&self, key: &str) -> Result<Option<Record>, Error> {
        let call = self.history.begin_read(key.to_owned());
        let result = self.node.get_record(key).await;
        let outcome = match &result {
            Ok(record) => Outcome::Read(record.as_ref().map(|record| record.value.clone())),
            Err(error) => Outcome::NotExecuted(error.to_string()),
        };
        self.history.end(call, outcome);
        result
    }

    /// [`chord::Chord::put`], recorded.
    ///
    /// # Errors
    /// The node's.
    pub async fn put(&self, key: &str, value: impl Into<Bytes>) -> Result<Receipt, Error> {
        let value = value.into();
        let call = self.history.begin_write(key.to_owned(), Some(value.clone()));
        let result = self.node.put(key, value).await;
        self.history.end(call, write_outcome(&result));
        result
    }

    /// [`chord::Chord::delete`], recorded.
    ///
    /// # Errors
    /// The node's.
    pub async fn delete(&self, key: &str) -> Result<Receipt, Error> {
        let call = self.history.begin_write(key.to_owned(), None);
        let result = self.node.delete(key).await;
        self.history.end(call, write_outcome(&result));
        result
    }
}

/// What a write's result promises: see [`chord::Chord::update`].
fn write_outcome(result: &Result<Receipt, Error>) -> Outcome {
    match result {
        Ok(_) => Outcome::Written,
        Err(Error::Indeterminate { .. }) => Outcome::Unknown,
        Err(error) => Outcome::NotExecuted(error.to_string()),
    }
}
