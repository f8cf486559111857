//! The experiments, a module each: arguments in, a [`crate::report::Report`] out.

pub mod advise;
pub mod balance;
pub mod beside;
pub mod churn;
pub mod draw;
pub mod failure;
pub mod fingers;
pub mod hash;
pub mod hops;
pub mod join;
pub mod load;
pub mod mapping;
pub mod network;
pub mod scale;
pub mod worksheet;
