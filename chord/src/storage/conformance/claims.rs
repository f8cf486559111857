//! The claims, one function each, in the order of the macro's list. Each is given an empty store.

mod batches;
mod contents;
mod scans;
mod together;

pub use self::batches::*;
pub use self::contents::*;
pub use self::scans::*;
pub use self::together::*;
