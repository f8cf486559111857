//! QUIC transport for chord, with mutual TLS.
//!
//! ```
//! use chord::transport::{CallOptions, Frame, Lane, Transport};
//! use chord_transport_quic::certs::Authority;
//! use chord_transport_quic::{QuicConfig, QuicTransport};
//! use std::time::Duration;
//! use tokio::time::Instant;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let authority = Authority::ephemeral()?; // or Authority::create(dir, false), once for a ring
//! let node = |name| -> Result<QuicConfig, Box<dyn std::error::Error>> {
//!     Ok(QuicConfig::new("quic://127.0.0.1:0".parse()?, authority.issue(name, &["127.0.0.1"])?))
//! };
//! let (a, b) = (QuicTransport::bind(node("a")?).await?, QuicTransport::bind(node("b")?).await?);
//!
//! let options = CallOptions { deadline: Instant::now() + Duration::from_secs(5), lane: Lane::Request };
//! let serve = async {
//!     let call = b.accept().await.expect("b is open");
//!     assert_eq!(call.peer().map(|name| &**name), Some("a"));
//!     call.reply(Frame::new("pong", ""));
//! };
//! let (reply, ()) = tokio::join!(a.call(b.endpoint(), Frame::new("ping", ""), options), serve);
//! assert_eq!(reply?, Frame::new("pong", ""));
//! a.close().await;
//! b.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Who may talk to whom
//! Every connection is TLS 1.3 with certificates at both ends, issued by an authority of one's own; the system's
//! authorities are not asked. A certificate of another authority is refused in the handshake, whichever end shows
//! it. The endpoint `quic://NAME@HOST:PORT` is verified by NAME: whoever answers at the address must show the
//! certificate issued to NAME, wherever it runs. Without NAME, as an operator types it for a first contact, HOST
//! is verified: an IP address or DNS name that the certificate was issued for. [`Incoming::peer`] is the name in
//! the caller's certificate. See [`certs`] for the certificate directory, and for how names are written.
//!
//! A dial counts as done only when the called host has confirmed that it let the caller in: in TLS 1.3 the
//! caller's own handshake ends before that. So `Unreachable` still means that nothing was delivered.
//!
//! # Connections
//! One UDP socket serves all. There is one connection to each peer that is called, made by the first call (later
//! ones wait for the same dial, which goes on when its first caller gives up) and again by the first call after
//! it was lost. A peer's calls come in on the connection that it made, so two hosts that call each other have
//! two. How a loss is noticed:
//!
//! | the peer | noticed |
//! |---|---|
//! | closed, or was dropped | at once, it says so |
//! | died and is up again, at the same address with the same key | by the first packet: it disowns the connection |
//! | died, or the network did | after [`idle_timeout`](QuicConfig::idle_timeout) of silence; calls end by their deadline before |
//! | is not there when dialled | at once if the network says so (ICMP), else after [`dial_timeout`](QuicConfig::dial_timeout) |
//!
//! # Frames
//! A frame up to 64 KiB travels on the stream of its lane, which exists as long as the connection; what waits for
//! that stream is written together. A larger one has a stream of its own, and is read only as far as memory was
//! paid for by bytes that arrived. Streams have priorities, in this order: `Control`, `Request`, large frames
//! of either, `Bulk`; a large frame never fills the windows that the others need.
//!
//! # Bounds
//! | what | bound | past it |
//! |---|---|---|
//! | a frame | [`max_frame_bytes`](QuicConfig::max_frame_bytes) | `TooLarge`, by the sender or the receiver |
//! | calls in flight to a peer on a lane | [`max_in_flight`](QuicConfig::max_in_flight) | `Overloaded`, at once |
//! | calls of a peer on a lane that wait for their reply | [`max_in_flight`](QuicConfig::max_in_flight) | the lane is not read |
//! | frames that wait for `accept` | [`accept_queue`](QuicConfig::accept_queue) | peers are not read |
//! | large frames of a peer being read or waiting for `accept` | 4, and 4 of `Bulk` | they are not read |
//! | unread bytes of a peer | 1 MiB a stream, 16 MiB a connection | QUIC stops it |
//! | connections from peers | [`max_connections`](QuicConfig::max_connections) | refused after the handshake |
//! | peers called | [`max_connections`](QuicConfig::max_connections) | the one idle longest is let go; all busy: `Overloaded` |
//! | handshakes at once | 64 | refused, and dialled again within `dial_timeout`; from the 32nd on an address must prove itself first |
//! | strangers: handshakes under way or failed that QUIC still remembers | 256, about 100 KiB each | refused |
//! | first packets not looked at yet | 1024, about 2 KiB each, at worst 64 KiB | ignored; they are sent again |
//!
//! The socket asks for a receive buffer of 4 MiB; Linux grants what `net.core.rmem_max` allows.
//!
//! A peer that breaks the protocol loses its connection, and the log says why; nobody else notices.
//!
//! # What it does not do
//! There is no way to revoke one certificate; see [`certs`]. There is no 0-RTT and no resumption. A call that was
//! dropped before it was written may still be sent. A host that rests behind a NAT can call but not be called.
//!
//! [`Incoming::peer`]: chord::transport::Incoming::peer

pub mod certs;
mod config;
mod dial;
mod frame;
#[cfg(test)]
mod hostile;
mod large;
mod link;
mod pool;
mod serve;
mod tasks;
mod tls;
mod transport;

pub use config::{QuicConfig, QuicError};
pub use transport::QuicTransport;
