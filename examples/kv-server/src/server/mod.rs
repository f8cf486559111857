//! The client port: connections in, commands run, replies out, all of it bounded.

mod budget;
mod clients;
mod connection;
mod counters;
mod listen;
mod open_files;
mod service;

pub use budget::{Budget, Charge};
pub use clients::{Client, Details};
pub use counters::Counters;
pub use listen::{bind, serve};
pub use open_files::allow_open_files;
pub use service::{Service, Settings, Stopping};

use std::sync::Arc;

/// Which commands are answered: `CLIENT REPLY`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replies {
    /// All.
    #[default]
    On,
    /// None.
    Off,
    /// All but the next one.
    SkipNext,
    /// Not the one that runs; those after it are.
    SkipThis,
}

impl Replies {
    /// What holds while the next command runs.
    #[must_use]
    pub fn before(self) -> Replies {
        if self == Replies::SkipNext { Replies::SkipThis } else { self }
    }

    /// What holds once it has run.
    #[must_use]
    pub fn after(self) -> Replies {
        if self == Replies::SkipThis { Replies::On } else { self }
    }
}

/// What a connection has agreed with the service.
#[derive(Debug)]
pub struct Session {
    /// Who it is, as others see it.
    pub client: Arc<Client>,
    /// Whether it may run commands.
    pub authenticated: bool,
    /// Which commands are answered.
    pub replies: Replies,
    /// Whether it ends after the reply being written.
    pub closing: bool,
}
