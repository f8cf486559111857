//! The handle: [`Chord`].

use std::sync::Arc;

use bytes::Bytes;

use crate::config::Config;
use crate::error::Error;
use crate::protocol::entry::{Update, Version};
use crate::storage::Storage;
use crate::transport::{Endpoint, Transport};
use crate::view::{CheckReport, Explanation, FingerRow, LookupReport, RingRow, Status};

/// A node of a ring, and the way to use the ring's store. Cheap to clone; every clone is the same node.
///
/// The node ends when [`Chord::leave`] returns, or when the last clone is dropped; the latter is a crash for the
/// ring: what the node owned is gone.
pub struct Chord<T: Transport> {
    inner: Arc<T>,
}

impl<T: Transport> Clone for Chord<T> {
    fn clone(&self) -> Self {
        Chord { inner: self.inner.clone() }
    }
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The value.
    pub value: Bytes,
    /// When it was written.
    pub version: Version,
    /// When it expires, Unix milliseconds.
    pub expires_at: Option<u64>,
    /// Calls to other hosts that the read needed.
    pub hops: usize,
}

/// What a write did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Whether it took effect; if not, which condition stood in the way.
    pub outcome: crate::protocol::entry::Outcome,
    /// The version it wrote, or found when it wrote nothing and the key had a value.
    pub version: Option<Version>,
    /// Copies that hold it (members of the group that acknowledged).
    pub copies: usize,
    /// The value it found, if it was asked for ([`Update::return_previous`]).
    pub previous: Option<Bytes>,
    /// When the value it found would have expired.
    pub previous_expires_at: Option<u64>,
    /// Whether it found a value.
    pub existed: bool,
    /// The sum after an addition, the length after an appending.
    pub number: Option<i64>,
    /// Calls to other hosts that it needed.
    pub hops: usize,
}

/// Options of [`Chord::put_with`].
#[derive(Clone, Copy, Debug, Default)]
pub struct PutOptions {
    /// How long the value is to live.
    pub expiry: crate::protocol::entry::Expiry,
    /// When to write.
    pub condition: crate::protocol::entry::Condition,
}

#[allow(missing_docs, clippy::missing_errors_doc, unused_variables)]
impl<T: Transport> Chord<T> {
    /// Starts a new ring of which this node is the first host.
    pub async fn create(transport: T, config: Config) -> Result<Self, Error> {
        todo!()
    }
    pub async fn create_with(transport: T, config: Config, storage: Arc<dyn Storage>) -> Result<Self, Error> {
        todo!()
    }
    /// Joins the ring that one of `known` belongs to, tried in turn until the operation deadline... returns when the node has its place in the ring
    /// (its data may still be on the way: `status().settled` / wait_ready).
    pub async fn join(transport: T, known: &[Endpoint], config: Config) -> Result<Self, Error> {
        todo!()
    }
    pub async fn join_with(
        transport: T,
        known: &[Endpoint],
        config: Config,
        storage: Arc<dyn Storage>,
    ) -> Result<Self, Error> {
        todo!()
    }
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        todo!()
    }
    /// With version, expiry and hops.
    pub async fn get_record(&self, key: impl AsRef<[u8]>) -> Result<Option<Record>, Error> {
        todo!()
    }
    pub async fn put(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<Receipt, Error> {
        todo!()
    }
    pub async fn put_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        options: PutOptions,
    ) -> Result<Receipt, Error> {
        todo!()
    }
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<Receipt, Error> {
        todo!()
    }
    pub async fn update(&self, key: impl AsRef<[u8]>, update: Update) -> Result<Receipt, Error> {
        todo!()
    }
    pub async fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        todo!()
    }
    /// One result a key, in order; keys of one owner travel together.
    pub async fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Result<Option<Bytes>, Error>> {
        todo!()
    }
    /// One result an entry, in order; not atomic; the later of two entries for one key wins.
    pub async fn put_many<K: AsRef<[u8]>>(&self, entries: &[(K, Bytes)]) -> Vec<Result<Receipt, Error>> {
        todo!()
    }
    pub async fn lookup(&self, key: impl AsRef<[u8]>) -> Result<LookupReport, Error> {
        todo!()
    }
    pub async fn explain(&self, key: impl AsRef<[u8]>) -> Result<Explanation, Error> {
        todo!()
    }
    /// This node, without asking anyone.
    pub async fn status(&self) -> Status {
        todo!()
    }
    /// Every virtual node of the ring in order of ids, asked of every host.
    pub async fn ring(&self) -> Result<Vec<RingRow>, Error> {
        todo!()
    }
    /// This node's finger tables in the paper's form.
    pub fn fingers(&self) -> Vec<FingerRow> {
        todo!()
    }
    /// Walks the whole ring and checks its invariants.
    pub async fn check(&self) -> Result<CheckReport, Error> {
        todo!()
    }
    /// Keys with a value in the whole ring (asks every host).
    pub async fn len(&self) -> Result<u64, Error> {
        todo!()
    }
    /// Hands everything over, tells the neighbours and ends. Err(LastHost) for the last host with data.
    pub async fn leave(&self) -> Result<(), Error> {
        todo!()
    }
    /// Ends at once, as a crash; what it owned is gone. For the last host, and for tests.
    pub async fn stop(&self) {
        todo!()
    }
    /// Waits until the node has ended and says why.
    pub async fn closed(&self) -> Error {
        todo!()
    }
    pub fn config(&self) -> &Config {
        todo!()
    }
    pub fn endpoint(&self) -> &Endpoint {
        todo!()
    }
}
