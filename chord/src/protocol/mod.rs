//! The protocol, pure.

pub mod entry;
pub mod id;
pub mod peer;
pub mod routing;
