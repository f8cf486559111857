//! The laboratory: experiments that show how Chord works and what it costs, on the engine's own protocol code.
//!
//! Nothing of the protocol is written here a second time. Rings are [`chord::protocol::simulate::Simulation`]s, ids come
//! from [`chord::protocol::id::IdSpace`], lookups are driven by [`chord::protocol::lookup::Lookup`]. An experiment
//! ([`experiments`]) turns arguments into a [`report::Report`]: tables, figures and pictures, which are printed or
//! written to a directory only when all of it has been computed.

pub mod chart;
pub mod cli;
pub mod error;
pub mod experiments;
pub mod memory;
pub mod network;
pub mod parallel;
pub mod progress;
pub mod recursive;
pub mod report;
pub mod ring_picture;
pub mod statistics;
pub mod traffic;
pub mod upkeep;
pub mod warm;
