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

/// What a connection has agreed with the service.
#[derive(Debug)]
pub struct Session {
    /// Who it is, as others see it.
    pub client: Arc<Client>,
    /// Whether it may run commands.
    pub authenticated: bool,
    /// Whether it ends after the reply being written.
    pub closing: bool,
}
