//! What hosts say to each other: every request and every response.
//!
//! Values never pass through the codec: they travel in the frame's body, back to back, and the message says how
//! long each is. A message changes by a new kind or a new wire version, never by a new field.

mod packed;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::protocol::entry::{Condition, Expiry, Outcome, Version};
use crate::protocol::group::{Group, TransferId};
use crate::protocol::id::{Id, IdSpace, Interval};
use crate::protocol::peer::{Host, Incarnation, Peer};
use crate::protocol::ring::Neighbours;
use crate::protocol::routing::{Answer, Ask, Route};

/// Questions of one [`Request::Round`], at most. So many answers, each with the pointers of a virtual node, fit into
/// one message.
pub const MAX_ASKS: usize = 256;
/// Keys of one [`Request::Get`], [`Request::GetShort`] or [`Request::Update`], at most.
pub const MAX_ITEMS: usize = 512;
/// Virtual nodes of one [`Request::Leave`], at most.
pub const MAX_LEAVING: usize = 256;
/// Pieces of one [`Request::Offer`] or [`Request::Install`], at most: each is looked for among all records.
pub const MAX_PIECES: usize = 1024;

/// What every host of a ring agrees on; fixed by its creator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// The random id drawn at the ring's creation: what a ring is. Its first 8 bytes are the tag in every frame.
    pub genesis: u128,
    /// A name for people.
    pub ring_name: String,
    /// The identifier circle.
    pub space: IdSpace,
    /// Copies of each key.
    pub replicas: u16,
    /// Longest key, in bytes.
    pub max_key_bytes: u64,
    /// Longest value, in bytes.
    pub max_value_bytes: u64,
}

impl Parameters {
    /// The ring's tag in every frame.
    pub fn tag(&self) -> u64 {
        (self.genesis >> 64) as u64
    }

    /// Whether `key` is one that this ring stores, and `id` is its id. A longer one could not be handed over, and its
    /// host never leave; one under another id would be found by nobody.
    pub fn admits(&self, id: &Id, key: &[u8]) -> bool {
        key.len() as u64 <= self.max_key_bytes && *id == self.space.id_of(key)
    }
}

/// Names one sending of an update for ever: who asked, and its how-manieth that is. A repeated one is answered, not
/// executed; one that was refused is neither. An update that is sent again, because it was certainly not executed, has
/// another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OperationId {
    /// The asking host's life.
    pub caller: Incarnation,
    /// Its counter, from 1.
    pub counter: u64,
}

/// How an operation on keys has travelled so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trail {
    /// The newest epoch the asker was told of for the key. A host that is about to install it waits for it
    /// instead of sending the asker back.
    pub min_epoch: u64,
    /// Set on what a fenced owner passes on; it is not passed on again.
    pub forwarded: bool,
}

/// An update without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActionHead {
    /// [`crate::Action::Set`]; the value is in the body.
    Set(Expiry),
    /// [`crate::Action::Remove`].
    Remove,
    /// [`crate::Action::Add`].
    Add(i64),
    /// [`crate::Action::Append`]; the tail is in the body.
    Append,
    /// [`crate::Action::Expire`].
    Expire(Expiry),
}

/// One key to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetItem {
    /// The key's id.
    pub id: Id,
    /// The key.
    #[serde(with = "key_bytes")]
    pub key: bytes::Bytes,
}

/// One update to execute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateItem {
    /// Its name.
    pub operation: OperationId,
    /// The key's id.
    pub id: Id,
    /// The key.
    #[serde(with = "key_bytes")]
    pub key: bytes::Bytes,
    /// What to do.
    pub action: ActionHead,
    /// When to do it.
    pub condition: Condition,
    /// Whether to answer with the value found.
    pub return_previous: bool,
    /// Bytes of its value in the body.
    pub value_bytes: u32,
}

/// One entry on its way to a learner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryHead {
    /// The key's id.
    pub id: Id,
    /// The key.
    #[serde(with = "key_bytes")]
    pub key: bytes::Bytes,
    /// When it was written.
    pub version: Version,
    /// When it expires, Unix milliseconds.
    pub expires_at: Option<u64>,
    /// Bytes of its value in the body; `None` is a tombstone.
    pub value_bytes: Option<u32>,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// A host wants to join, or to know whom it talks to. The one request that needs no ring tag and no
    /// incarnation. Idempotent.
    Hello {
        /// Who asks.
        host: Arc<Host>,
    },
    /// What one round of maintenance asks of a host, in one message. Idempotent.
    Round {
        /// Who asks.
        host: Arc<Host>,
        /// The questions; answered one by one.
        asks: Vec<Ask>,
    },
    /// The sender's virtual nodes leave the ring; its data has moved. Idempotent.
    Leave {
        /// Each with its neighbours.
        nodes: Vec<(Peer, Neighbours)>,
    },
    /// Everything about the host, for `ring` and `check`. Idempotent.
    Describe,
    /// Reads keys. Idempotent.
    Get {
        /// How it travelled.
        trail: Trail,
        /// The keys.
        items: Vec<GetItem>,
    },
    /// Updates keys, each on its own. Not idempotent: each carries an operation id. The values found, where they are
    /// asked for, are answered as far as they are together no longer than the ring's longest value: what is found
    /// beyond that is [`ItemReply::Forgotten`], because an outcome without it would read as "there was none". Who
    /// wants every value asks for one in a message.
    Update {
        /// How it travelled.
        trail: Trail,
        /// The updates; values in the body in this order.
        items: Vec<UpdateItem>,
    },
    /// Who answers for an id? Nothing is read. Idempotent.
    Locate {
        /// How it travelled.
        trail: Trail,
        /// The id.
        id: Id,
    },
    /// The owner of an interval wants the receiver to become its owner, and to learn its entries first: the
    /// learner drops what it has there and accepts chunks. Idempotent.
    Offer {
        /// The hand-off's name.
        transfer: TransferId,
        /// Who offers.
        from: Arc<Host>,
        /// What is offered, with the epochs in force.
        pieces: Vec<(Interval, u64)>,
        /// The ring need not name the receiver: the owner is leaving, or has decided for the receiver before.
        leaving: bool,
    },
    /// Entries for a learner; values in the body in this order. Merged by version, so idempotent.
    Chunk {
        /// The hand-off.
        transfer: TransferId,
        /// The entries.
        entries: Vec<EntryHead>,
    },
    /// The records that follow are decided, and the sender, the owner before, is fenced. Idempotent.
    Install {
        /// The hand-off.
        transfer: TransferId,
        /// The decided records.
        groups: Vec<(Interval, Group)>,
    },
    /// The hand-off will not happen. Idempotent.
    Abort {
        /// The hand-off.
        transfer: TransferId,
    },
    /// Reads keys as `Get` does, but of a value that is long only how long it is. Idempotent.
    GetShort {
        /// How it travelled.
        trail: Trail,
        /// The keys.
        items: Vec<GetItem>,
        /// The longest value that is sent, in bytes.
        max_value_bytes: u32,
    },
}

/// One key's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ItemReply {
    /// The value is in the body.
    Found {
        /// When it was written.
        version: Version,
        /// When it expires.
        expires_at: Option<u64>,
        /// Bytes of it in the body.
        value_bytes: u32,
    },
    /// There is no value.
    Absent,
    /// An update was decided.
    Updated(Updated),
    /// The host does not answer for this key.
    NotMine(NotMine),
    /// The operation was certainly not executed here.
    TryAgain(String),
    /// It was executed, or may have been; its answer is no longer known, or had no room beside others.
    Forgotten,
    /// The store failed.
    Storage(String),
    /// To `GetShort`: there is a value, and it is longer than was asked for. The body has nothing of it.
    Long {
        /// Bytes of it.
        value_bytes: u32,
    },
}

impl ItemReply {
    /// Bytes of its value in the body.
    pub fn value_bytes(&self) -> u32 {
        match self {
            ItemReply::Found { value_bytes, .. } => *value_bytes,
            ItemReply::Updated(updated) => updated.previous_bytes.unwrap_or(0),
            _ => 0,
        }
    }
}

/// What an update did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updated {
    /// How it ended.
    pub outcome: Outcome,
    /// The version written, or found.
    pub version: Option<Version>,
    /// Members that hold it.
    pub copies: u16,
    /// Whether there was a value.
    pub existed: bool,
    /// Bytes of the value found, in the body, if it was asked for.
    pub previous_bytes: Option<u32>,
    /// When the value found would have expired.
    pub previous_expires_at: Option<u64>,
    /// The sum or the length.
    pub number: Option<i64>,
}

/// Why a host does not answer for a key, and who may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotMine {
    /// The host known to hold the record, and its epoch; a guess when the epoch is 0.
    pub holder: Option<(Arc<Host>, u64)>,
    /// The virtual node that the answering host takes for the id's owner: for the asker to remember, so that it
    /// comes to the right one next time.
    pub owner: Option<Peer>,
    /// The next steps of a lookup.
    pub route: Route,
}

/// A host, described. On the wire every other host is named once, however many pointers lead to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "packed::Description", try_from = "packed::Description")]
pub struct Description {
    /// Who.
    pub host: Arc<Host>,
    /// Its virtual nodes.
    pub nodes: Vec<NodeDescription>,
    /// The records it holds and serves.
    pub groups: Vec<(Interval, Group)>,
    /// Keys with a value.
    pub keys: u64,
    /// Hand-offs under way.
    pub transfers: u32,
    /// Whether it is leaving the ring.
    pub leaving: bool,
}

/// A virtual node, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeDescription {
    /// Its label.
    pub label: String,
    /// Itself.
    pub peer: Peer,
    /// Its pointers.
    pub neighbours: Neighbours,
    /// Its distinct fingers, clockwise.
    pub fingers: Vec<Peer>,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// To `Hello`: who answers, its virtual nodes, and the ring.
    Welcome {
        /// Who answers.
        host: Arc<Host>,
        /// Its virtual nodes.
        nodes: Vec<Peer>,
        /// The ring.
        parameters: Parameters,
    },
    /// To `Round`: one answer a question.
    Round(Vec<Answer>),
    /// To `Leave` and `Abort`.
    Done,
    /// To `Describe`.
    Description(Box<Description>),
    /// To `Get`, `GetShort` and `Update`: one reply an item; values in the body in this order.
    Items(Vec<ItemReply>),
    /// To `Locate`: the sender answers for the id under this epoch.
    Here {
        /// The epoch.
        epoch: u64,
    },
    /// To `Locate`.
    NotMine(NotMine),
    /// To `Offer`: send chunks.
    Learning,
    /// To `Offer`: no, and why. To `Chunk`: the store has failed.
    Declined(String),
    /// To `Chunk`: stored.
    Stored,
    /// To `Install`: the records are in force here.
    Installed,
    /// To `Chunk` and `Install`: the receiver knows no such hand-off; begin again.
    NoSuchTransfer,
    /// A bound was reached; nothing was done. To `Offer`, `Chunk` and `Install`: not yet; it may still be done.
    Overloaded,
    /// The host addressed was replaced by this one.
    Replaced(Arc<Host>),
    /// The sender is of another ring, or not welcome.
    Refused(String),
    /// The message was not understood; nothing was done.
    Malformed(String),
}

impl Request {
    /// Reads keys: whole values, or only those of at most `max_value_bytes`.
    pub fn get(trail: Trail, items: Vec<GetItem>, max_value_bytes: Option<u32>) -> Request {
        match max_value_bytes {
            None => Request::Get { trail, items },
            Some(max_value_bytes) => Request::GetShort { trail, items, max_value_bytes },
        }
    }

    /// The number of the message kind in the header.
    pub fn kind(&self) -> u8 {
        match self {
            Request::Hello { .. } => 1,
            Request::Round { .. } => 2,
            Request::Leave { .. } => 3,
            Request::Describe => 4,
            Request::Get { .. } => 5,
            Request::Update { .. } => 6,
            Request::Locate { .. } => 7,
            Request::Offer { .. } => 8,
            Request::Chunk { .. } => 9,
            Request::Install { .. } => 10,
            Request::Abort { .. } => 11,
            Request::GetShort { .. } => 12,
        }
    }

    /// Whether it asks for no more than one message may. [`Request::Chunk`] is answered with one word, whatever it holds.
    pub fn is_bounded(&self) -> bool {
        match self {
            Request::Round { asks, .. } => asks.len() <= MAX_ASKS,
            Request::Leave { nodes } => nodes.len() <= MAX_LEAVING,
            Request::Get { items, .. } | Request::GetShort { items, .. } => items.len() <= MAX_ITEMS,
            Request::Update { items, .. } => items.len() <= MAX_ITEMS,
            Request::Offer { pieces, .. } => pieces.len() <= MAX_PIECES,
            Request::Install { groups, .. } => groups.len() <= MAX_PIECES,
            Request::Hello { .. }
            | Request::Describe
            | Request::Locate { .. }
            | Request::Chunk { .. }
            | Request::Abort { .. } => true,
        }
    }

    /// Whether all that it says about its sender fits who sent it: the life `from`, and `name` where the transport has
    /// authenticated that. A hand-off's name tells its source.
    pub fn is_from(&self, from: Incarnation, name: Option<&str>) -> bool {
        let is = |host: &Host| host.incarnation == from && name.is_none_or(|name| name == host.name.as_str());
        match self {
            Request::Hello { host } => is(host),
            Request::Round { host, asks } => {
                let notifiers_are = |ask: &Ask| match ask {
                    Ask::Notify { from, .. } => is(&from.host),
                    Ask::Neighbours { .. } | Ask::FindSuccessor { .. } | Ask::Ping | Ask::Owns { .. } => true,
                };
                is(host) && asks.iter().all(notifiers_are)
            }
            Request::Leave { nodes } => nodes.iter().all(|(leaver, _)| is(&leaver.host)),
            Request::Offer { transfer, from: host, .. } => is(host) && transfer.source == from,
            Request::Chunk { transfer, .. }
            | Request::Install { transfer, .. }
            | Request::Abort { transfer } => transfer.source == from,
            Request::Describe
            | Request::Get { .. }
            | Request::GetShort { .. }
            | Request::Update { .. }
            | Request::Locate { .. } => true,
        }
    }

    /// Whether it brings the receiver entries or records.
    pub fn hands_off(&self) -> bool {
        matches!(self, Request::Offer { .. } | Request::Chunk { .. } | Request::Install { .. })
    }

    /// The hand-off to the receiver that it goes on with, or ends.
    pub fn goes_on_with(&self) -> Option<TransferId> {
        match self {
            Request::Chunk { transfer, .. }
            | Request::Install { transfer, .. }
            | Request::Abort { transfer } => Some(*transfer),
            _ => None,
        }
    }

    /// Whether executing it twice is the same as executing it once.
    pub fn is_idempotent(&self) -> bool {
        !matches!(self, Request::Update { .. })
    }
}

/// Keys pass through the codec as one run of bytes.
mod key_bytes {
    use bytes::Bytes;
    use serde::{Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(key: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(key)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        deserializer.deserialize_bytes(KeyVisitor)
    }

    struct KeyVisitor;

    impl de::Visitor<'_> for KeyVisitor {
        type Value = Bytes;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a key")
        }

        fn visit_bytes<E: de::Error>(self, key: &[u8]) -> Result<Bytes, E> {
            Ok(Bytes::copy_from_slice(key))
        }
    }
}
