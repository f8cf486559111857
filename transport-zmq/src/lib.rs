//! ZeroMQ transport for chord, for trusted networks.

mod config;
mod connection;
mod counters;
mod frame;
mod lifetime;
mod link;
mod listener;
mod peers;
mod socket;
mod transport;

pub use config::{SCHEME, ZmqConfig, ZmqError};
pub use counters::ZmqStats;
pub use transport::ZmqTransport;
