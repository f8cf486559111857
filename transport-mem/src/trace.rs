//! What the network did, for comparing two runs.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::frame;

/// How many records a trace keeps, the latest ones.
pub const TRACE_RECORDS: usize = 65_536;

/// Which way of a call a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// From the caller.
    Request,
    /// Back to it.
    Reply,
}

/// What became of a frame, decided when it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It takes this long.
    Arrives(Duration),
    /// It takes this long, and a copy of it that long.
    ArrivesTwice(Duration, Duration),
    /// The link lost it, or the host it went to has no power.
    Lost,
    /// A partition is in between.
    Cut,
    /// Nobody listens there.
    Refused,
}

impl Fate {
    /// The same, after `wait`, if it arrives.
    pub(crate) fn later(self, wait: Duration) -> Fate {
        match self {
            Fate::Arrives(delay) => Fate::Arrives(wait + delay),
            Fate::ArrivesTwice(delay, copy) => Fate::ArrivesTwice(wait + delay, wait + copy),
            fate => fate,
        }
    }
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// When it was sent, since [`Network::record`](crate::Network::record).
    pub at: Duration,
    /// The host that sent it.
    pub from: Arc<str>,
    /// The host it was sent to.
    pub to: Arc<str>,
    /// Which way of a call it went.
    pub kind: Kind,
    /// Bytes of head and body.
    pub len: usize,
    /// A hash of its content, the same for the same content in every run of one build.
    pub hash: u64,
    /// What became of it.
    pub fate: Fate,
}

/// The latest records and a fingerprint of all.
pub(crate) struct Trace {
    start: Instant,
    records: VecDeque<Record>,
    fingerprint: DefaultHasher,
}

impl Trace {
    pub(crate) fn start() -> Trace {
        Trace { start: Instant::now(), records: VecDeque::new(), fingerprint: DefaultHasher::new() }
    }

    pub(crate) fn add(&mut self, from: &Arc<str>, to: &str, kind: Kind, wire: &Bytes, fate: Fate) {
        let mut content = DefaultHasher::new();
        wire.hash(&mut content);
        let record = Record {
            at: self.start.elapsed(),
            from: Arc::clone(from),
            to: to.into(),
            kind,
            len: frame::len(wire),
            hash: content.finish(),
            fate,
        };
        record.hash(&mut self.fingerprint);
        if self.records.len() == TRACE_RECORDS {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        self.records.iter().cloned().collect()
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint.finish()
    }
}
