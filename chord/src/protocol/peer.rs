//! Who takes part in a ring: hosts, and the virtual nodes they run.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::protocol::id::Id;
use crate::transport::{Endpoint, is_host_name};

/// One life of a host: random, new at each start unless a durable store brought it back. A process that restarts
/// without its data is another host, never an old one with amnesia (docs/protocol.md, "Groups").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub u128);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0 >> 96)
    }
}

/// A host's name: 1 to 63 of `[A-Za-z0-9_-]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(Arc<str>);

/// A text that names no host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a host name (1 to 63 letters, digits, '-' or '_')")]
pub struct InvalidHostName(String);

impl HostName {
    /// The host name `name`.
    ///
    /// # Errors
    /// [`InvalidHostName`] unless it is 1 to 63 of `[A-Za-z0-9_-]`.
    pub fn new(name: &str) -> Result<HostName, InvalidHostName> {
        if is_host_name(name) {
            Ok(HostName(name.into()))
        } else {
            Err(InvalidHostName(name.chars().take(80).collect()))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for HostName {
    type Error = InvalidHostName;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        HostName::new(&name)
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> String {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A process that takes part: its name, where it is reached, and which life of it this is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Host {
    /// Its name, chosen by its operator; what certificates are issued for.
    pub name: HostName,
    /// Its advertised endpoint.
    pub endpoint: Endpoint,
    /// This life of it.
    pub incarnation: Incarnation,
}

#[cfg(test)]
impl Host {
    /// A host for tests, in memory under its own name.
    pub(crate) fn named(name: &str, incarnation: u128) -> Arc<Host> {
        Arc::new(Host {
            name: HostName::new(name).expect("a host name"),
            endpoint: format!("mem://{name}@{name}:1").parse().expect("an endpoint"),
            incarnation: Incarnation(incarnation),
        })
    }
}

/// A virtual node: an id and the host that runs it. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Peer {
    /// Where it sits on the circle.
    pub id: Id,
    /// Who runs it.
    pub host: Arc<Host>,
}

impl Peer {
    /// The virtual node `id` of `host`.
    pub fn new(id: Id, host: Arc<Host>) -> Peer {
        Peer { id, host }
    }

    /// Whether the same life of the same host runs both.
    pub fn same_host(&self, other: &Peer) -> bool {
        self.host.incarnation == other.host.incarnation
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.host.name)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
