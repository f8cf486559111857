//! What a [`QuicTransport`](crate::QuicTransport) can be told.

use std::time::Duration;

use chord::transport::{Endpoint, is_host_name};

use crate::certs::{CertError, Certificates};
use crate::frame::SMALL_FRAME_BYTES;

/// Configuration of one transport. [`QuicConfig::new`] fills in the defaults; every field may be changed.
#[derive(Clone, Debug)]
pub struct QuicConfig {
    /// The host's name. The certificate must have been issued to it.
    pub name: String,
    /// Where to listen: `quic://HOST:PORT`. Port 0 takes a free one; a name in it is ignored. The same UDP socket
    /// is dialled from.
    pub listen: Endpoint,
    /// What others are told to dial, when that differs from where this host listens (behind a forwarded port, or
    /// when it listens on all addresses). Port 0 stands for the port listened on. Default: the bound address.
    pub advertise: Option<Endpoint>,
    /// What this host shows, and whom it trusts.
    pub certificates: Certificates,
    /// Largest frame, head and body together, sent or accepted, in bytes; 64 KiB to 1 GiB. Default: 17 MiB and
    /// 64 KiB. All hosts of a ring should agree: a frame that its receiver finds too large is refused by it.
    pub max_frame_bytes: usize,
    /// Calls in flight to one peer on each lane; past it a call fails with `Overloaded`. Also the calls of one peer
    /// on one lane that are worked on at once; past it the lane is not read from. At least 1; default 1024.
    pub max_in_flight: usize,
    /// Frames that wait to be accepted, from all peers together; past it peers are not read from. At least 1;
    /// default 1024.
    pub accept_queue: usize,
    /// Connections from peers at once, and as many to peers. Past it incoming ones are refused, and an outgoing
    /// one takes the place of the one that was idle longest. More than there are hosts. At least 1; default 1024.
    pub max_connections: usize,
    /// How long a connection may take to come about, at either end. Past it a call fails with `Unreachable`.
    /// Default: 2 s, room for a lost packet between continents.
    pub dial_timeout: Duration,
    /// After how much silence a connection is given up, whoever its peer; the smaller of the two ends' counts.
    /// Default: 10 s.
    pub idle_timeout: Duration,
    /// How often the host that dialled breaks the silence of a connection. Well below `idle_timeout`, to survive
    /// lost packets. Default: 3 s.
    pub keep_alive: Duration,
}

/// Why a transport cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuicError {
    /// The configuration makes no sense.
    #[error("{field}: {reason}")]
    InvalidConfig {
        /// Which field of [`QuicConfig`].
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Certificates(#[from] CertError),
    /// The socket cannot be opened.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
}

const MAX_FRAME_BYTES: usize = 1 << 30;

/// Largest bound on a queue or a table.
const MAX_BOUND: usize = 1 << 20;

impl QuicConfig {
    /// The defaults, for the host that `certificates` were issued to.
    pub fn new(listen: Endpoint, certificates: Certificates) -> QuicConfig {
        QuicConfig {
            name: certificates.name().to_owned(),
            listen,
            advertise: None,
            certificates,
            max_frame_bytes: (17 << 20) + (64 << 10),
            max_in_flight: 1024,
            accept_queue: 1024,
            max_connections: 1024,
            dial_timeout: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(3),
        }
    }

    /// Whether the fields make sense, each for itself and together.
    ///
    /// # Errors
    /// [`QuicError::InvalidConfig`], naming the field.
    pub fn validate(&self) -> Result<(), QuicError> {
        let check = |holds: bool, field: &'static str, reason: &str| match holds {
            true => Ok(()),
            false => Err(QuicError::InvalidConfig { field, reason: reason.to_owned() }),
        };
        check(is_host_name(&self.name), "name", "1 to 63 letters, digits, '-' or '_'")?;
        check(
            self.certificates.name() == self.name,
            "certificates",
            &format!("issued to {:?}, but this host is {:?}", self.certificates.name(), self.name),
        )?;
        check(self.listen.scheme() == "quic", "listen", "expected quic://HOST:PORT")?;
        if let Some(advertise) = &self.advertise {
            check(advertise.scheme() == "quic", "advertise", "expected quic://HOST:PORT")?;
            check(
                advertise.name().is_none_or(|name| name == self.name),
                "advertise",
                "it carries another host's name",
            )?;
        }
        let frame = SMALL_FRAME_BYTES..=MAX_FRAME_BYTES;
        check(frame.contains(&self.max_frame_bytes), "max_frame_bytes", "64 KiB to 1 GiB")?;
        let bound = 1..=MAX_BOUND;
        check(bound.contains(&self.max_in_flight), "max_in_flight", "1 to 1048576")?;
        check(bound.contains(&self.accept_queue), "accept_queue", "1 to 1048576")?;
        check(bound.contains(&self.max_connections), "max_connections", "1 to 1048576")?;
        check(!self.dial_timeout.is_zero(), "dial_timeout", "more than nothing")?;
        check(!self.keep_alive.is_zero(), "keep_alive", "more than nothing")?;
        check(self.keep_alive < self.idle_timeout, "keep_alive", "below idle_timeout")?;
        let day = Duration::from_secs(24 * 60 * 60);
        check(self.idle_timeout <= day, "idle_timeout", "at most a day")
    }
}
