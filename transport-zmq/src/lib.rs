//! ZeroMQ transport for chord, for trusted networks.
//!
//! [`ZmqTransport`] moves frames over ZeroMQ sockets of the pure-Rust `zeromq` crate: one ROUTER that listens,
//! and for each peer that is called a DEALER for each lane. It needs no system library and no certificates, and
//! it passes the conformance suite of `chord::conformance`.
//!
//! ```no_run
//! use chord::transport::Transport;
//! use chord_transport_zmq::{ZmqConfig, ZmqTransport};
//!
//! # async fn example() -> Result<(), chord_transport_zmq::ZmqError> {
//! let config = ZmqConfig { name: "n1".into(), ..ZmqConfig::default() };
//! let transport = ZmqTransport::bind(config).await?;
//! println!("others reach this host at {}", transport.endpoint());
//! # Ok(())
//! # }
//! ```
//!
//! # When to use it
//!
//! On one machine, or on a network whose every machine is trusted. **There is no authentication and no
//! encryption**: whoever reaches the port can read and write everything. Worse, a message of 73 bytes that
//! announces a frame of 2^61 makes the library reserve that much and abort the process, before any code of ours
//! sees it, on either end of a connection. So anything but loopback is refused, as an address to listen on, to
//! advertise or to call, until [`ZmqConfig::trusted_network`] says that the network is trusted; then a warning
//! at the start says the rest. On any other network use QUIC (`chord-transport-quic`).
//!
//! # How it works
//!
//! - **Framing** is our own inside ZeroMQ messages: 24 bytes with magic, version, kind, lane, correlation id
//!   and lengths, then head and body. Bodies above 4 KiB travel as a part of their own, which we do not copy
//!   (the library does, into its write buffer). A message that is not ours is counted ([`ZmqStats`]) and
//!   dropped; its connection stays.
//! - **Replies** find their calls by correlation id, in any order. Nothing is ever sent twice.
//! - **Lanes** have connections of their own: a value on its way delays no maintenance, and range sync neither. The
//!   listener reads its connections in turn.
//! - **Dialling** is done by one task for each connection, on first use; concurrent calls share it, and it goes
//!   on when they are cancelled. A refused connection is known at once: the library would retry it silently, so
//!   a plain TCP connection asks first (the peer's listener sees it come and go). After a failed dial the next
//!   one waits a little, twice as long each time within [`ZmqConfig::redial_min`] and
//!   [`ZmqConfig::redial_max`]; calls wait with it, or fail at once when they cannot.
//! - **Losses.** The library neither reconnects a DEALER nor ends its `recv`. We watch its monitor: when a
//!   connection is lost every call that waits on it fails with `Timeout` at once, and the next call dials anew.
//!   A peer that is silent without TCP noticing is given up after [`ZmqConfig::stale_after`]. On the listening
//!   side the system's keep-alive finds dead peers within about a minute.
//! - **Errors.** `Unreachable` means that the frame never reached the library; once it did, the outcome is
//!   `Timeout`. A frame beyond the limit of either side is `TooLarge`, without being executed.
//! - **Batches.** Frames that are ready together are written by one system call, on both kinds of runtime.
//! - **Bounds**: calls in flight on each lane, and peers ([`ZmqConfig::max_in_flight`], [`ZmqConfig::max_peers`]; then
//!   `Overloaded`), frames of a lane to answer ([`ZmqConfig::max_unanswered`]; then `Overloaded` too, in answer),
//!   frames to accept ([`ZmqConfig::accept_queue`]; then nothing is read, and TCP slows the peers down).
//!
//! # What the library does not let us promise
//!
//! Each of these is a limit of `zeromq` 0.7, and the reason why the network has to be trusted.
//!
//! - An announced length is not checked before memory is reserved for it, nor is the number of parts of a
//!   message bounded. The frame limit holds between well-behaved hosts.
//! - A connection that never completes ZeroMQ's handshake, and one whose peer has stopped reading while a large
//!   frame was under way, belong to tasks of the library that nobody can end. [`close`] waits a second for
//!   them, then logs a warning, counts them ([`ZmqStats::stuck_sockets`]) and returns; they end with their
//!   connection. In all other cases no task and no socket is left when `close` returns.
//! - The library's own queue for each connection holds 100,000 messages and cannot be made smaller. Calls in
//!   flight are bounded before it. Replies to a peer that goes on asking without reading are not, until the
//!   system cuts it off after a minute.
//! - Frames of a call that was cancelled, or that timed out, are still sent.
//! - A peer that claims the identity of another's connection takes it over. Hosts of ours claim none.
//! - ZeroMQ heartbeats (`ZMQ_HEARTBEAT_IVL` of libzmq) break the connection. Hosts of ours send none.
//!
//! # Cost
//!
//! Beside the bare library with callers, deadlines and a handler of its own, about a tenth more latency for one
//! call at a time, and a quarter more time for each of 64 in flight. docs/performance.md has the figures.
//!
//! [`close`]: chord::transport::Transport::close

mod config;
mod connection;
mod counters;
mod frame;
mod lifetime;
mod link;
mod listener;
mod peers;
mod socket;
mod transport;

pub use config::{SCHEME, ZmqConfig, ZmqError};
pub use counters::ZmqStats;
pub use transport::ZmqTransport;
