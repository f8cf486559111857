//! The protocol, pure.

pub mod contacts;
pub mod entry;
pub mod fingers;
pub mod group;
pub mod id;
pub mod interval_map;
pub mod invariants;
pub mod lookup;
pub mod message;
pub mod peer;
pub mod ring;
pub mod routing;
pub mod simulate;
pub mod successors;
pub mod wire;
