//! What a host answers about an id.

use std::sync::Arc;

use super::{Group, TransferId};
use crate::protocol::peer::Host;

/// Whether this host answers for an id, and who does if not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Serve {
        /// Under this epoch.
        epoch: u64,
        /// The hand-off under way, which must be told of every write.
        copying: Option<TransferId>,
        /// Writes wait: the hand-off is about to be decided, or given up.
        held: bool,
    },
    /// It did; this record is decided, and its owner is installing it now.
    Fenced(Arc<Group>),
    /// It did; this record is in force.
    Moved(Arc<Group>),
    /// It is about to: it learns from this host, which serves until then.
    Learning(Arc<Host>),
    /// It knows of no record.
    Unknown,
}

impl Verdict {
    /// Whether an entry under this verdict may be deleted: a tombstone that no hand-off copies (the learner would keep
    /// what it removed), or what means nothing here any more.
    pub fn lets_collect(&self, tombstone: bool) -> bool {
        match self {
            Verdict::Serve { copying, .. } => tombstone && copying.is_none(),
            Verdict::Unknown | Verdict::Moved(_) => true,
            Verdict::Fenced(_) | Verdict::Learning(_) => false,
        }
    }
}
