//! What an operation can end with, named by what the caller can do.

use crate::protocol::peer::HostName;

/// Why an operation has no result. Each variant says whether state changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A read, or a question about the ring, had no answer by its deadline. Nothing changed; ask again.
    #[error("no answer within the deadline ({reason})")]
    Timeout {
        /// What was waited for.
        reason: String,
    },
    /// A write was sent and its answer did not come: `copies` hosts are known to hold it. It may still become
    /// visible, so repeating it blindly may apply it twice.
    #[error("the write may still become visible ({copies} copies known; {reason})")]
    Indeterminate {
        /// Copies that were acknowledged.
        copies: usize,
        /// What was waited for.
        reason: String,
    },
    /// The operation was certainly not executed; the same call may succeed now.
    #[error("not executed, try again ({reason})")]
    TryAgain {
        /// What stood in the way.
        reason: String,
    },
    /// Nobody who may answer for the key is alive: its group has `have` of the `need` members a majority takes.
    /// Nothing changed. Stays so until they return.
    #[error("unavailable: {have} of {need} needed hosts answer for this key{}", show_hosts(hosts))]
    Unavailable {
        /// Members that answered.
        have: usize,
        /// Members a majority takes.
        need: usize,
        /// The hosts that were asked.
        hosts: Vec<HostName>,
    },
    /// A bound was reached. Nothing was done; slow down.
    #[error("overloaded: {what}")]
    Overloaded {
        /// The bound.
        what: &'static str,
    },
    /// A key or value beyond the ring's limit. Nothing was done.
    #[error("{what} of {len} bytes exceeds the limit of {max}")]
    TooLarge {
        /// Key or value.
        what: &'static str,
        /// Its length.
        len: usize,
        /// The ring's limit.
        max: usize,
    },
    /// The caller's mistake, in its configuration or its arguments. Nothing was done.
    #[error("{0}")]
    Invalid(String),
    /// The ring refused this host: a taken id, other parameters, another ring, another wire version.
    #[error("the ring refused this host: {0}")]
    Refused(String),
    /// None of the known endpoints led into a ring. Nothing was done.
    #[error("no ring reached: {0}")]
    Unreachable(String),
    /// A host to which no other answers cannot leave with data, nor while others hold parts of the circle: its own would be
    /// gone. Nothing was done.
    #[error(
        "this is the last host of the ring that answers; leaving would destroy {entries} entries and its part"
    )]
    LastHost {
        /// What it holds.
        entries: u64,
    },
    /// The store failed a read, or did not tell at the start whether it is empty. Nothing changed. A write whose store
    /// failed ends with [`Error::Indeterminate`]: it may be in force all the same.
    #[error("storage: {0}")]
    Storage(String),
    /// This node has left, was stopped, or stepped down. Nothing was done.
    #[error("this node is closed: {0}")]
    Closed(String),
}

impl Error {
    /// Whether the same call may succeed when it is simply made again, without the risk of applying it twice.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Timeout { .. }
            | Error::TryAgain { .. }
            | Error::Unavailable { .. }
            | Error::Overloaded { .. }
            | Error::Unreachable(_) => true,
            Error::Indeterminate { .. }
            | Error::TooLarge { .. }
            | Error::Invalid(_)
            | Error::Refused(_)
            | Error::LastHost { .. }
            | Error::Storage(_)
            | Error::Closed(_) => false,
        }
    }
}

fn show_hosts(hosts: &[HostName]) -> String {
    if hosts.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
    format!(" (asked {})", names.join(", "))
}
