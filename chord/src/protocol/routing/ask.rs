//! What hosts ask each other about the ring, and what they answer.

use serde::{Deserialize, Serialize};

use crate::protocol::id::Id;
use crate::protocol::lookup::{Route, RoutingMode};
use crate::protocol::peer::Peer;
use crate::protocol::ring::Neighbours;

/// A question of one host to another about the ring. Each is idempotent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// The pointers of the virtual node `of`.
    Neighbours {
        /// The virtual node asked.
        of: Id,
    },
    /// `from` believes to be the predecessor of `to`.
    Notify {
        /// The virtual node notified.
        to: Id,
        /// The notifier.
        from: Peer,
    },
    /// Who owns `id`, or who knows better.
    FindSuccessor {
        /// The id searched.
        id: Id,
        /// Which pointers the answer may come from.
        mode: RoutingMode,
    },
    /// Are you there?
    Ping,
    /// Does the virtual node `node` own `id`? If not, as [`Ask::FindSuccessor`]. A right finger is told so in few
    /// bytes.
    Owns {
        /// The virtual node taken for the owner.
        node: Id,
        /// The id.
        id: Id,
    },
}

/// The answer to an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Ask::Neighbours`].
    Neighbours(Neighbours),
    /// To [`Ask::Neighbours`] and [`Ask::Notify`]: this host runs no virtual node of that id.
    NoSuchNode,
    /// To [`Ask::Notify`], whatever came of it.
    Notified,
    /// To [`Ask::FindSuccessor`], and to [`Ask::Owns`] if it does not.
    Route(Route),
    /// To [`Ask::Ping`].
    Pong,
    /// To [`Ask::Owns`]: it does.
    Owns,
}
