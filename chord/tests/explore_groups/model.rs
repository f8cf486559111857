//! The state of three hosts, compact.

use std::fmt;

/// Hosts: A, B, C.
pub(crate) const HOSTS: usize = 3;
/// Ids, each with one key, at most.
pub(crate) const MOST_IDS: usize = 2;

/// A host by number.
pub(crate) type Code = u8;
/// An epoch for each id; 0 where the id is not meant.
pub(crate) type Epochs = [u8; MOST_IDS];

/// What is stored for a key: its version, and whether it is a tombstone. The value itself is the version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Stamp {
    pub(crate) epoch: u8,
    pub(crate) counter: u8,
    pub(crate) tombstone: bool,
}

/// What is stored for the key at each id.
pub(crate) type Entries = [Option<Stamp>; MOST_IDS];

/// A request that was sent. It may arrive at any later moment, any number of times, or never.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Message {
    pub(crate) to: Code,
    pub(crate) from: Code,
    /// With `from`, the hand-off's name.
    pub(crate) number: u8,
    pub(crate) what: Content,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Content {
    Offer(Epochs),
    Chunk(Entries),
    Install(Epochs),
    Abort,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reply {
    Learning,
    Declined,
    Stored,
    Installed,
    NoSuchTransfer,
}

/// Where a hand-off stands in `Node::hand_over`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// Waits at `KeyLocks::barrier`, before the offer or (`held`) before the last keys are sent.
    Barrier { held: bool },
    /// Waits for the answer to the offer.
    Offer,
    /// Waits for the answer to a chunk.
    Chunk { entries: Entries, then: Then },
    /// In `send_dirty_chunk`: reads these keys under their locks, having read `found`.
    Gather { keys: u8, found: Entries, held: bool },
    /// Waits for the answer to the installation of these epochs.
    Install(Epochs),
    /// Has left, under `Node::clearing`, and drops the entries of these ids next.
    Dropping { ids: u8 },
}

/// What follows a confirmed chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Then {
    /// The page from this id on.
    Copy(u8),
    /// Writes are held back.
    Hold,
    /// The next look at the keys that were written before.
    Dirty,
}

/// `node::hand_off::HandOff`, with its keys written meanwhile (`Dirty`).
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Job {
    pub(crate) number: u8,
    pub(crate) to: Code,
    pub(crate) pieces: Epochs,
    pub(crate) decided: bool,
    /// Everything was confirmed under the present name.
    pub(crate) complete: bool,
    pub(crate) step: Step,
    /// What a barrier waits for is still under way.
    pub(crate) waits: bool,
    /// The answer to what was sent last has come.
    pub(crate) reply: Option<Reply>,
    /// The ids whose keys were written and not sent since.
    pub(crate) dirty: u8,
    /// What the learner confirmed under the present name. (Only looked at, never used.)
    pub(crate) confirmed: Entries,
}

/// Work on one key, under its lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Work {
    /// `Node::write_here`, between the look at the verdict and the store.
    Write { id: u8, epoch: u8, copying: Option<u8>, tombstone: bool },
    /// `Node::collect`, between the look at the verdict and the store.
    Collect { id: u8, stamp: Stamp },
}

/// One host.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    /// Its group records: a number in [`crate::world::World::known`].
    pub(crate) groups: u32,
    pub(crate) store: Entries,
    /// Its counter of versions.
    pub(crate) counter: u8,
    pub(crate) jobs: Vec<Job>,
    pub(crate) work: Option<Work>,
    /// The ids of the offer that was taken last, while their entries are still to be dropped.
    pub(crate) clearing: u8,
}

impl Node {
    /// Whether a hand-off from here holds `Node::clearing`.
    pub(crate) fn is_dropping(&self) -> bool {
        self.jobs.iter().any(|job| matches!(job.step, Step::Dropping { .. }))
    }

    /// Whether somebody holds the read half of `Node::learning` for more than a moment.
    pub(crate) fn is_collecting(&self) -> bool {
        matches!(self.work, Some(Work::Collect { .. }))
    }
}

/// `Node::read_here`, under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Read {
    pub(crate) host: Code,
    pub(crate) id: u8,
    pub(crate) epoch: u8,
    /// What was acknowledged when it began.
    pub(crate) floor: Option<Stamp>,
    /// A tombstone was acknowledged since.
    pub(crate) removed: bool,
    pub(crate) found: Option<Option<Stamp>>,
}

/// Everything at once.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) nodes: [Node; HOSTS],
    /// Sorted, each once.
    pub(crate) sent: Vec<Message>,
    pub(crate) read: Option<Read>,
    /// The newest acknowledged write of each key.
    pub(crate) newest: Entries,
    /// The newest epoch that served each id, and who did.
    pub(crate) served: [(u8, Code); MOST_IDS],
    /// Names for hand-offs, and writes, that are left.
    pub(crate) names: u8,
    pub(crate) writes: u8,
}

impl State {
    pub(crate) fn node(&self, host: Code) -> &Node {
        &self.nodes[usize::from(host)]
    }

    pub(crate) fn node_mut(&mut self, host: Code) -> &mut Node {
        &mut self.nodes[usize::from(host)]
    }

    pub(crate) fn send(&mut self, message: Message) {
        if let Err(place) = self.sent.binary_search(&message) {
            self.sent.insert(place, message);
        }
    }
}

/// A host, for people.
pub(crate) fn name(host: Code) -> &'static str {
    ["A", "B", "C"][usize::from(host)]
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}{}", self.epoch, self.counter, if self.tombstone { "x" } else { "" })
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Offer(epochs) => write!(f, "Offer{epochs:?}"),
            Content::Chunk(entries) => {
                f.write_str("Chunk")?;
                f.debug_list().entries(entries.iter().flatten()).finish()
            }
            Content::Install(epochs) => write!(f, "Install{epochs:?}"),
            Content::Abort => f.write_str("Abort"),
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}->{} {:?}", name(self.from), self.number, name(self.to), self.what)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (host, node) in (0..).zip(&self.nodes) {
            write!(f, "{}: {:?}", name(host), node.store)?;
            if !node.jobs.is_empty() {
                write!(f, " {:?}", node.jobs)?;
            }
            if let Some(work) = node.work {
                write!(f, " {work:?}")?;
            }
            if node.clearing != 0 {
                write!(f, " clears {:b}", node.clearing)?;
            }
            f.write_str("  ")?;
        }
        write!(f, "{:?}", self.sent)
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}->{} {:?} {:?}", self.number, name(self.to), self.step, self.reply)?;
        if self.decided { f.write_str(" decided") } else { Ok(()) }
    }
}
