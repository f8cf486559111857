//! An in-process network for chord, with faults: for tests, simulations and demonstrations.
//!
//! A [`Network`] holds any number of hosts, each a [`MemTransport`]. Its links have latency, jitter, loss,
//! duplication, reordering and a bounded rate; it can be partitioned; hosts can crash, lose their power, freeze and
//! restart. Every frame is serialised on its way, so that nothing is shared by accident.
//!
//! All chance comes from the network's one seed and is drawn in the order in which frames are sent. On tokio's
//! current-thread runtime with its clock paused, the same program with the same seed therefore sees the same
//! network: [`Network::record`] and [`Network::trace`] show that it did. Tokio's timers count whole milliseconds:
//! a delay ends at the next one, but requests that arrive in the same one still do so in the order of their
//! times.
//!
//! ```
//! # async fn example() {
//! use std::time::Duration;
//! use chord_transport_mem::{Link, Network};
//!
//! let network = Network::new(7);
//! network.set_default_link(Link { latency: Duration::from_millis(20), loss: 0.01, ..Link::default() });
//! let (alice, bob) = (network.listen("alice"), network.listen("bob"));
//! network.partition(&[&["alice"], &["bob"]]);
//! network.heal();
//! # drop((alice, bob));
//! # }
//! ```
//!
//! A whole ring of nodes on such a network, for tests, is a [`testkit::Cluster`].

mod delivery;
mod frame;
mod host;
mod link;
mod network;
mod state;
pub mod testkit;
mod trace;
mod transport;

pub use crate::host::Traffic;
pub use crate::link::Link;
pub use crate::network::{ListenError, Network, Options};
pub use crate::trace::{Fate, Kind, Record, TRACE_RECORDS};
pub use crate::transport::MemTransport;
