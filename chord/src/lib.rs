//! An embeddable, self-organising key-value store on the Chord protocol.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod protocol;
pub mod transport;
