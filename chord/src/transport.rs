//! The contract between the engine and a network: [`Transport`].
//!
//! A transport moves opaque [`Frame`]s between [`Endpoint`]s as calls: one frame out, one frame back. It knows
//! nothing of identifiers, keys or rings. Everything the engine relies on is stated as a MUST on the items
//! below and is tested by the public suite in [`crate::conformance`], which a transport of your own can run.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Where a host can be reached: `scheme://[NAME@]HOST:PORT`.
///
/// Advertised endpoints always carry the host's NAME; transports that authenticate (QUIC) verify it. Two
/// endpoints are equal when their text is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint(Arc<str>);

/// Longest endpoint accepted, in bytes.
pub const MAX_ENDPOINT_BYTES: usize = 512;

/// Why a text is no [`Endpoint`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an endpoint: {reason} (expected scheme://[NAME@]HOST:PORT)")]
pub struct InvalidEndpoint {
    text: String,
    reason: &'static str,
}

impl Endpoint {
    /// The part before `://`, for instance `quic`.
    pub fn scheme(&self) -> &str {
        self.0.split_once("://").map_or("", |(scheme, _)| scheme)
    }

    /// The host's name, when the endpoint carries one.
    pub fn name(&self) -> Option<&str> {
        self.rest().split_once('@').map(|(name, _)| name)
    }

    /// `HOST:PORT` without scheme and name; what a socket is dialled with. IPv6 hosts keep their brackets.
    pub fn address(&self) -> &str {
        self.rest().split_once('@').map_or(self.rest(), |(_, address)| address)
    }

    /// The HOST part of the address, without brackets.
    pub fn host(&self) -> &str {
        let host = self.address().rsplit_once(':').map_or("", |(host, _)| host);
        host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host)
    }

    /// The PORT part of the address.
    pub fn port(&self) -> u16 {
        self.address().rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0)
    }

    /// The same address under `name`.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] when `name` is no host name.
    pub fn with_name(&self, name: &str) -> Result<Endpoint, InvalidEndpoint> {
        format!("{}://{}@{}", self.scheme(), name, self.address()).parse()
    }

    /// The endpoint as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn rest(&self) -> &str {
        self.0.split_once("://").map_or("", |(_, rest)| rest)
    }
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |reason| InvalidEndpoint { text: text.chars().take(80).collect(), reason };
        if text.len() > MAX_ENDPOINT_BYTES {
            return Err(invalid("it is too long"));
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| invalid("no scheme"))?;
        if scheme.is_empty() || !scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return Err(invalid("the scheme is not lower-case letters"));
        }
        let address = match rest.split_once('@') {
            Some((name, _)) if !is_host_name(name) => {
                return Err(invalid("the name is not 1 to 63 letters, digits, '-' or '_'"));
            }
            Some((_, address)) => address,
            None => rest,
        };
        let (host, port) = address.rsplit_once(':').ok_or_else(|| invalid("no port"))?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || (!bracketed && host.contains(':')) {
            return Err(invalid("no host, or an IPv6 host without brackets"));
        }
        if host.bytes().any(|b| b.is_ascii_whitespace() || b == b'/' || b == b'@' || !b.is_ascii_graphic()) {
            return Err(invalid("the host has a character that no host name has"));
        }
        if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) || port.parse::<u16>().is_err() {
            return Err(invalid("the port is not a number from 0 to 65535"));
        }
        Ok(Endpoint(text.into()))
    }
}

impl TryFrom<String> for Endpoint {
    type Error = InvalidEndpoint;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> String {
        endpoint.0.as_ref().to_owned()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `name` may name a host: 1 to 63 of `[A-Za-z0-9_-]`.
pub fn is_host_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// One message: a small encoded head and a body (values) that transports move without copying it where they can.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The encoded message.
    pub head: Bytes,
    /// The values it carries, back to back.
    pub body: Bytes,
}

impl Frame {
    /// A frame of `head` and `body`.
    pub fn new(head: impl Into<Bytes>, body: impl Into<Bytes>) -> Frame {
        Frame { head: head.into(), body: body.into() }
    }

    /// Bytes of head and body together; what the frame limit bounds.
    pub fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// Whether head and body are both empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a call is for. A transport MUST NOT let a frame delay one of a more urgent lane (they stand in the order of
/// their urgency) to the same peer by more than one chunk of 64 KiB on the sender's side, which separate connections or
/// streams do: a host whose signs of life wait behind a large value is taken for dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Ring maintenance and group decisions: small, urgent.
    Control,
    /// A client's operation.
    Request,
    /// Range sync: large, patient.
    Bulk,
}

/// How one call is to be made.
#[derive(Clone, Copy, Debug)]
pub struct CallOptions {
    /// When the call must have ended. The transport MUST end it by then with [`TransportError::Timeout`].
    pub deadline: Instant,
    /// What the call is for.
    pub lane: Lane,
}

/// Why a call has no reply, named by what the caller can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The frame was certainly not delivered: nobody listens there, the name does not resolve, the peer proved
    /// to be another host. The call had no effect; another peer may be tried.
    #[error("{endpoint} cannot be reached: {reason}")]
    Unreachable {
        /// Who was called.
        endpoint: Endpoint,
        /// What the network said.
        reason: String,
    },
    /// No reply came by the deadline, or the connection was lost after the frame had been handed to it. The
    /// peer may have executed the call.
    #[error("no reply from {endpoint}: {reason}")]
    Timeout {
        /// Who was called.
        endpoint: Endpoint,
        /// What was waited for.
        reason: String,
    },
    /// The frame, or the peer's reply, is larger than the transport's limit. A frame refused here was not sent.
    #[error("a frame of {len} bytes exceeds the limit of {max}")]
    TooLarge {
        /// Bytes of the frame.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// A bound on what may be in flight was reached, here or at the peer. Nothing was executed; try again later.
    #[error("too many calls in flight to {endpoint}")]
    Overloaded {
        /// Who was called.
        endpoint: Endpoint,
    },
    /// This transport was closed. Nothing was sent, or the call was cut off by the closing.
    #[error("the transport is closed")]
    Closed,
}

/// The authenticated name of a caller, where the transport authenticates.
pub type PeerName = Arc<str>;

/// A frame that arrived, with the way to answer it.
///
/// Dropping it without [`Incoming::reply`] tells the caller nothing: its call ends with `Timeout`.
#[derive(Debug)]
pub struct Incoming {
    /// What was sent.
    pub frame: Frame,
    peer: Option<PeerName>,
    reply_tx: oneshot::Sender<Frame>,
}

impl Incoming {
    /// For transports: a frame from `peer` (its authenticated name, if there is one) and the end on which the
    /// reply will come. The receiver errs when the engine dropped the frame unanswered.
    pub fn new(frame: Frame, peer: Option<PeerName>) -> (Incoming, oneshot::Receiver<Frame>) {
        let (reply_tx, reply_rx) = oneshot::channel();
        (Incoming { frame, peer, reply_tx }, reply_rx)
    }

    /// The caller's authenticated name; `None` where the transport has no authentication.
    pub fn peer(&self) -> Option<&PeerName> {
        self.peer.as_ref()
    }

    /// Answers the call. Never blocks; a caller that has gone is no error.
    pub fn reply(self, frame: Frame) {
        let _ = self.reply_tx.send(frame);
    }
}

/// A network as the engine sees it.
///
/// What an implementation MUST do, beside the MUSTs on [`CallOptions`], [`Lane`] and [`TransportError`]:
/// - **At most once.** Deliver a call at most once; never resend one. (A network may still duplicate packets:
///   the engine tolerates duplicates, a transport does not make them.)
/// - **No order** is promised between calls, and the engine expects none.
/// - **Frame limit.** Refuse a frame larger than its configured limit before sending it, and an announced length
///   beyond it before allocating for it. The limit is at least 17 MiB by default.
/// - **Connections** are pooled, made on first use by one dial at a time for each peer, and made anew after a
///   loss, by the next call at the latest. A dead peer's calls fail as soon as the loss is known.
/// - **Bounds.** At most a configured number of calls in flight for each peer and lane (then `Overloaded`, at once):
///   calls of one lane take no other's room, or a peer full of requests would be lost to the ring's maintenance. At
///   most a configured number of frames waiting for [`Transport::accept`]; past that, peers are slowed down, not
///   buffered for.
/// - **Cancel safety.** Dropping the future of `call` or `accept` at any point loses no other call or frame and
///   leaks nothing. A call dropped after its frame was sent may still be executed.
/// - **Hostile input.** Bytes from the network never panic, never allocate beyond the limits, never end the
///   listener.
/// - **Close.** After `close` returns no task and no socket of the transport is left; calls in flight and later
///   ones fail with `Closed`, `accept` returns `None`. Closing twice is harmless. Dropping the transport without
///   closing it frees everything too, in its own time.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// The endpoint to hand to others (advertised, with the host's name), which may differ from what the
    /// listener is bound to.
    fn endpoint(&self) -> &Endpoint;

    /// The largest frame that passes, head and body together, in bytes. A node does not start with values or chunks
    /// that would not fit.
    fn max_frame_bytes(&self) -> usize;

    /// Sends `frame` to `to` and returns the reply.
    ///
    /// # Errors
    /// See [`TransportError`]; each variant says whether the call may have been executed.
    async fn call(&self, to: &Endpoint, frame: Frame, options: CallOptions) -> Result<Frame, TransportError>;

    /// The next frame from a peer; `None` once the transport is closed. May be called from several tasks.
    async fn accept(&self) -> Option<Incoming>;

    /// Stops listening, ends what is in flight and frees everything.
    async fn close(&self);
}

/// Hands on the future of the transport within, rather than a future of its own around it: a shared transport costs
/// no second allocation a call.
impl<T: Transport + ?Sized> Transport for Arc<T> {
    fn endpoint(&self) -> &Endpoint {
        (**self).endpoint()
    }

    fn max_frame_bytes(&self) -> usize {
        (**self).max_frame_bytes()
    }

    fn call<'a, 'b, 'f>(
        &'a self,
        to: &'b Endpoint,
        frame: Frame,
        options: CallOptions,
    ) -> BoxFuture<'f, Result<Frame, TransportError>>
    where
        'a: 'f,
        'b: 'f,
    {
        (**self).call(to, frame, options)
    }

    fn accept<'a, 'f>(&'a self) -> BoxFuture<'f, Option<Incoming>>
    where
        'a: 'f,
    {
        (**self).accept()
    }

    fn close<'a, 'f>(&'a self) -> BoxFuture<'f, ()>
    where
        'a: 'f,
    {
        (**self).close()
    }
}
