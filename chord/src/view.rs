//! What a node tells about itself and the ring, for people and programs to read. Ids are strings as
//! [`crate::protocol::id::IdSpace::show`] prints them. The field names are part of the JSON formats (docs/cli.md).

use serde::{Deserialize, Serialize};

/// A node's own view of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The host's name.
    pub name: String,
    /// Its advertised endpoint.
    pub endpoint: String,
    /// This life of it, hex.
    pub incarnation: String,
    /// The ring's name.
    pub ring: String,
    /// The ring's genesis id, hex.
    pub ring_id: String,
    /// Bits of an id.
    pub bits: u16,
    /// The ring's hash.
    pub hash: String,
    /// Copies of each key.
    pub replicas: usize,
    /// `joining`, `ready`, `leaving` or `left`.
    pub state: String,
    /// Its virtual nodes.
    pub virtual_nodes: Vec<VirtualNodeStatus>,
    /// The intervals whose group record it holds.
    pub groups: Vec<GroupStatus>,
    /// Keys with a value in its store, copies included that it learns and does not answer for yet; of a store that
    /// does not answer, what it last told.
    pub keys: u64,
    /// Bytes of keys and values in its store, likewise.
    pub bytes: u64,
    /// Hand-offs under way, in either direction.
    pub transfers: usize,
    /// Pieces of the circle of which it knows different group records, those it handed over included. They are joined
    /// only where all of it is equal, epochs too.
    pub records: usize,
    /// Other virtual nodes it knows.
    pub contacts: usize,
    /// Milliseconds since it started.
    pub uptime_ms: u64,
    /// What it has counted since then.
    pub counters: Counters,
}

/// One virtual node's pointers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VirtualNodeStatus {
    /// Its id.
    pub id: String,
    /// Its label when ids were given explicitly, else NAME or NAME/INDEX.
    pub label: String,
    /// Its predecessor's id, if it has one.
    pub predecessor: Option<String>,
    /// Its successor's id (its own in a ring of one).
    pub successor: String,
    /// Its successor list: ids, nearest first.
    pub successors: Vec<String>,
}

/// An interval (after, upto] whose group this host belongs to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GroupStatus {
    /// The end that does not belong to it.
    pub after: String,
    /// The end that belongs to it.
    pub upto: String,
    /// The group's epoch.
    pub epoch: u64,
    /// Its members' names, the owner first.
    pub members: Vec<String>,
}

/// Counters since the node started; they only grow.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Operations started on this node's handle.
    pub operations: u64,
    /// Operations it served as owner, local ones included.
    pub served: u64,
    /// Calls it sent to other hosts, maintenance included.
    pub calls: u64,
    /// Calls among them that failed.
    pub call_failures: u64,
    /// Requests it answered with "not mine".
    pub redirected: u64,
    /// Entries sent to others by range sync.
    pub entries_sent: u64,
    /// Entries received by range sync.
    pub entries_received: u64,
    /// Frames from peers that could not be read.
    pub malformed: u64,
}

/// One virtual node of the ring.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RingRow {
    /// Its id.
    pub id: String,
    /// Its label.
    pub label: String,
    /// Its host's name.
    pub host: String,
    /// Its host's endpoint.
    pub endpoint: String,
    /// Its predecessor's id.
    pub predecessor: Option<String>,
    /// Its successor's id.
    pub successor: String,
    /// The share of the circle between its predecessor and it, 0 to 1.
    pub share: f64,
    /// Keys its host holds in all its virtual nodes together.
    pub host_keys: u64,
}

/// One row of a finger table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FingerRow {
    /// The virtual node whose table this is.
    pub node: String,
    /// The finger's number, from 1.
    pub k: u16,
    /// Where it starts: node + 2^(k-1).
    pub start: String,
    /// Where it ends: the next finger's start, exclusive.
    pub end: String,
    /// The first node known at or after `start`.
    pub successor: String,
    /// That node's host.
    pub host: String,
}

/// One call of a lookup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HopRow {
    /// The virtual node asked.
    pub id: String,
    /// Its host.
    pub host: String,
    /// What came of it: `closer`, `owner` or `dead`.
    pub answer: String,
}

/// Where an id's successor was found, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LookupReport {
    /// The key's id.
    pub id: String,
    /// The virtual node that the ring says owns it.
    pub node: String,
    /// Its host.
    pub host: String,
    /// Calls to other hosts.
    pub hops: usize,
    /// Each call in order.
    pub path: Vec<HopRow>,
}

/// Everything about one key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// The key, bytes that are not UTF-8 replaced.
    pub key: String,
    /// Its id.
    pub id: String,
    /// The host that holds the id's group record and answered for it.
    pub owner: String,
    /// That host's endpoint.
    pub endpoint: String,
    /// The virtual node that the ring says owns the id; `unknown` when the ring has not told by the deadline.
    pub node: String,
    /// The group's epoch.
    pub epoch: u64,
    /// The names of the hosts that hold the key.
    pub holders: Vec<String>,
    /// Whether there is a value.
    pub exists: bool,
    /// The value's version, EPOCH.COUNTER.
    pub version: Option<String>,
    /// Bytes of the value.
    pub value_bytes: Option<u64>,
    /// Milliseconds until it expires.
    pub time_left_ms: Option<u64>,
    /// Calls that a plain request for it needs now (contact table included).
    pub hops: usize,
    /// The path that finger routing takes, hop by hop; empty when it had not come to its end by the deadline.
    pub path: Vec<HopRow>,
}

/// What a walk over the whole ring found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CheckReport {
    /// Hosts that answered.
    pub hosts: usize,
    /// Virtual nodes they run.
    pub virtual_nodes: usize,
    /// Broken invariants, one line each. Empty: the ring is safe.
    pub violations: Vec<String>,
    /// What is not yet ideal: links, fingers, records not at the ring's owner, transfers under way. Empty: settled.
    pub unsettled: Vec<String>,
    /// Hosts that are named by others and did not answer.
    pub unreachable: Vec<String>,
}

impl CheckReport {
    /// Whether no invariant is broken.
    pub fn is_safe(&self) -> bool {
        self.violations.is_empty()
    }

    /// Whether links and fingers are ideal and nothing is under way.
    pub fn is_settled(&self) -> bool {
        self.is_safe() && self.unsettled.is_empty() && self.unreachable.is_empty()
    }
}
