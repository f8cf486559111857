//! RESP2, the protocol of Redis: requests read ([`parse`]), replies written ([`reply`]), and for our own client
//! the reverse ([`value`]).

pub mod inline;
pub mod number;
pub mod parse;
pub mod reply;
pub mod value;

pub use parse::{Limits, Parser, ProtocolError, Request};
pub use reply::{Mark, Reply};
pub use value::{Value, ValueError};
