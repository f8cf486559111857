//! An embeddable, self-organising key-value store on the Chord protocol.
//!
//! A [`Chord`] is one host of a ring. Hosts join and leave while the ring serves; any of them answers for any key,
//! usually in one call. Every operation on one key is linearizable, and a write that was acknowledged survives
//! joins and graceful leaves. This version keeps one copy of each key: what a crashed host owned is unavailable,
//! and says so.
//!
//! ```
//! use chord::transport::Transport;
//! use chord::{Chord, Condition, Config, Error, Expiry, PutOptions};
//!
//! async fn two_hosts<T: Transport>(first: T, second: T) -> Result<(), Error> {
//!     let alice = Chord::create(first, Config::named("alice")).await?;
//!     let known = [alice.endpoint().clone()];
//!     let bob = Chord::join(second, &known, Config::named("bob")).await?;
//!
//!     alice.put("greeting", "hello, ring").await?;
//!     assert_eq!(bob.get("greeting").await?.as_deref(), Some(&b"hello, ring"[..]));
//!
//!     // Only if nobody else has it, and for a minute: decided at the key's owner, in one step.
//!     let options = PutOptions { expiry: Expiry::InMillis(60_000), condition: Condition::Absent };
//!     let receipt = bob.put_with("lock", "bob", options).await?;
//!     println!("{:?} under version {:?}, {} hops", receipt.outcome, receipt.version, receipt.hops);
//!
//!     // Where is it, under which epoch, and what is the way there?
//!     println!("{:#?}", alice.explain("greeting").await?);
//!     bob.leave().await // returns when what bob owned has moved
//! }
//! ```
//!
//! Transports are crates of their own: `chord-transport-mem` (tests and simulations), `chord-transport-zmq` (trusted
//! networks), `chord-transport-quic` (mutual TLS); or implement [`transport::Transport`] yourself and prove it with the
//! suite in `conformance` (feature `conformance`).
//!
//! | module | what it holds |
//! |---|---|
//! | [`transport`] | the contract of a network |
//! | [`storage`] | the contract of a store, and the one in memory |
//! | [`protocol`] | every decision, as pure functions of messages and state: to read, to simulate, to explore |
//! | [`view`] | what a node tells about itself and the ring |

mod answer;
mod chord;
mod config;
#[cfg(feature = "conformance")]
#[allow(clippy::disallowed_methods, reason = "the suites run on a clock")]
pub mod conformance;
mod error;
#[allow(clippy::disallowed_methods, reason = "the engine runs on tokio's clock")]
mod node;
pub mod protocol;
pub mod storage;
pub mod transport;
pub mod view;

pub use crate::answer::{Receipt, Record, ShortRead};
pub use crate::chord::{Chord, Neighbourhood, PutOptions};
pub use crate::config::{
    Config, Env, Expected, Interval, MAX_CHUNK_BYTES, MAX_KEY_BYTES, MAX_VALUE_BYTES, MAX_VIRTUAL_NODES,
    VirtualNodes,
};
pub use crate::error::Error;
pub use crate::protocol::entry::{Action, Condition, Expiry, Outcome, Update, Version};
pub use crate::protocol::routing::RoutingMode;
pub use crate::transport::Endpoint;
