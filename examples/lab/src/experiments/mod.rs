//! The experiments, a module each: arguments in, a [`crate::report::Report`] out.

pub mod beside;
pub mod fingers;
pub mod hash;
pub mod hops;
pub mod join;
pub mod mapping;
pub mod network;
