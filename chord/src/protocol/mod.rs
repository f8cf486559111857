//! The protocol, pure.

pub mod id;
pub mod peer;
