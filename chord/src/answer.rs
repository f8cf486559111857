//! What reads and writes answer: [`Record`], [`ShortRead`], [`Receipt`].

use bytes::Bytes;

use crate::node::route::Found;
use crate::protocol::entry::{Entry, Outcome, Version};
use crate::protocol::message::Updated;

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

/// What a read found that takes no long values from other hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShortRead {
    /// The value, if there is one.
    Value(Option<Bytes>),
    /// Another host has the value, and it is longer than was asked for: so many bytes.
    Long(usize),
}

/// What a write did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Whether it took effect; if not, which condition stood in the way.
    pub outcome: Outcome,
    /// The version it wrote, or found when it wrote nothing and the key had a value.
    pub version: Option<Version>,
    /// Copies that hold it (members of the group that acknowledged).
    pub copies: usize,
    /// The value it found, if it was asked for ([`Update::return_previous`](crate::Update::return_previous)).
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

pub(crate) fn value_of(entry: Option<Entry>) -> Option<Bytes> {
    entry.and_then(|entry| entry.value)
}

pub(crate) fn short_read(found: Found) -> ShortRead {
    match found {
        Found::Entry(entry) => ShortRead::Value(value_of(entry)),
        Found::Long(bytes) => ShortRead::Long(bytes as usize),
    }
}

pub(crate) fn record(entry: Entry, hops: usize) -> Record {
    Record {
        value: entry.value.unwrap_or_default(),
        version: entry.version,
        expires_at: entry.expires_at,
        hops,
    }
}

pub(crate) fn receipt(updated: Updated, previous: Option<Bytes>, hops: usize) -> Receipt {
    Receipt {
        outcome: updated.outcome,
        version: updated.version,
        copies: updated.copies.into(),
        previous,
        previous_expires_at: updated.previous_expires_at,
        existed: updated.existed,
        number: updated.number,
        hops,
    }
}
