//! QUIC transport for chord, with mutual TLS.

pub mod certs;
mod config;
mod dial;
mod frame;
#[cfg(test)]
mod hostile;
mod large;
mod link;
mod pool;
mod serve;
mod tasks;
mod tls;
mod transport;

pub use config::{QuicConfig, QuicError};
pub use transport::QuicTransport;
