//! The protocol, pure.

pub mod entry;
pub mod id;
pub mod peer;
pub mod routing;
pub mod contacts;
pub mod fingers;
pub mod invariants;
pub mod lookup;
pub mod ring;
pub mod successors;
