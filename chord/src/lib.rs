//! An embeddable, self-organising key-value store on the Chord protocol.

mod chord;
mod config;
#[cfg(feature = "conformance")]
#[allow(clippy::disallowed_methods, reason = "the suites run on a clock")]
pub mod conformance;
mod error;
#[allow(clippy::disallowed_methods, reason = "the engine runs on tokio's clock")]
mod node;
pub mod protocol;
pub mod storage;
pub mod transport;
pub mod view;

pub use crate::chord::{Chord, Neighbourhood, PutOptions, Receipt, Record};
pub use crate::config::{
    Config, Env, Interval, MAX_KEY_BYTES, MAX_VALUE_BYTES, MAX_VIRTUAL_NODES, VirtualNodes,
};
pub use crate::error::Error;
pub use crate::protocol::entry::{Action, Condition, Expiry, Outcome, Update, Version};
pub use crate::protocol::routing::RoutingMode;
pub use crate::transport::Endpoint;
