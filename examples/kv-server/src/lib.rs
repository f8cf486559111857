//! chord-kv: a key-value service on a Chord ring that speaks the Redis protocol, its command line, and the parts
//! both are made of.

#![allow(
    clippy::disallowed_methods,
    reason = "a service reads the clock and spawns tasks; the engine's core must not"
)]

pub mod cli;
pub mod client;
pub mod commands;
pub mod demo;
pub mod node;
pub mod resp;
pub mod server;
