//! [`ZmqConfig`]: what a [`ZmqTransport`](crate::ZmqTransport) is told at its start.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use chord::transport::{Endpoint, is_host_name};

/// The scheme of this transport's endpoints.
pub const SCHEME: &str = "zmq";

/// Configuration of a [`ZmqTransport`](crate::ZmqTransport). All fields are public; start from
/// [`ZmqConfig::default`] and set at least `name`.
#[derive(Clone, Debug)]
pub struct ZmqConfig {
    /// The host's name, 1 to 63 of `[A-Za-z0-9_-]`; part of the advertised endpoint. No default.
    pub name: String,
    /// Where to listen, `zmq://HOST:PORT`; port 0 takes a free one. Default `zmq://127.0.0.1:0`.
    ///
    /// Without [`trusted_network`](Self::trusted_network) every address of HOST must be a loopback address.
    pub listen: Endpoint,
    /// The endpoint to hand to others when it differs from the bound address (several interfaces, address
    /// translation). Default: `name` and the bound address. Needed when `listen` is `0.0.0.0` or `[::]`. A NAME
    /// in it must be `name`.
    pub advertise: Option<Endpoint>,
    /// Whether every machine that can reach the listener, and every machine this host may be told to call, is
    /// trusted. Default `false`: listening on, advertising or calling anything but loopback is refused.
    ///
    /// There is no authentication here, and a message of 73 bytes can abort the process inside the ZeroMQ
    /// library, so this is a statement about the network that only its operator can make.
    pub trusted_network: bool,
    /// Longest frame (head and body together), in bytes, sent or accepted. Default 17 MiB and 64 KiB: the
    /// largest value with its head. At most 1 GiB.
    pub max_frame_bytes: usize,
    /// Calls in flight to one peer on each lane; one more fails with `Overloaded` at once. Default 1024. A
    /// larger bound helps only calls that wait long for their answers; it also bounds what can pile up for a
    /// peer that has stopped reading.
    pub max_in_flight: usize,
    /// Peers with a connection or a remembered failure. Default 1024. Calling one more forgets the peer that
    /// was idle for longest, and closes its connections; when none is idle the call fails with `Overloaded`.
    pub max_peers: usize,
    /// Frames waiting for `accept`. Default 256. When it is full nothing more is read, and TCP slows the
    /// callers down.
    pub accept_queue: usize,
    /// Frames of each lane handed out by `accept` (or waiting for it) and not answered yet. Default 16,384. Past it
    /// frames of that lane are answered with a refusal, `Overloaded` to their callers, until one is answered or
    /// dropped; those of other lanes are not.
    pub max_unanswered: usize,
    /// How long a dial may take: name resolution, TCP, and ZeroMQ's handshake. Then its calls fail with
    /// `Unreachable`. Default 2 s.
    pub dial_timeout: Duration,
    /// Pause between a failed dial and the next one to the same peer, doubled after each failure up to
    /// [`redial_max`](Self::redial_max). A call in the pause waits for its end, and fails with `Unreachable` at
    /// once if its deadline comes first. The loss of an established connection costs no pause. Default 10 ms.
    pub redial_min: Duration,
    /// Longest pause between failed dials. Default 500 ms: a peer that returns is found that soon.
    pub redial_max: Duration,
    /// A connection over which a call waited this long in vain, and nothing else was heard meanwhile, is given
    /// up: the next call dials anew (calls still waiting keep the old one). Default 3 s. ZeroMQ's heartbeats are
    /// not implemented by the library, so without this a healed network would wait for TCP's own retries, which
    /// back off to two minutes. Calls with shorter deadlines do not count.
    pub stale_after: Duration,
}

impl Default for ZmqConfig {
    fn default() -> Self {
        ZmqConfig {
            name: String::new(),
            listen: "zmq://127.0.0.1:0".parse().expect("the literal is an endpoint"),
            advertise: None,
            trusted_network: false,
            max_frame_bytes: (17 << 20) + (64 << 10),
            max_in_flight: 1024,
            max_peers: 1024,
            accept_queue: 256,
            max_unanswered: 16_384,
            dial_timeout: Duration::from_secs(2),
            redial_min: Duration::from_millis(10),
            redial_max: Duration::from_millis(500),
            stale_after: Duration::from_secs(3),
        }
    }
}

impl ZmqConfig {
    /// Checks every field for itself and against the others. Addresses are resolved, and checked against
    /// [`trusted_network`](Self::trusted_network), by [`ZmqTransport::bind`](crate::ZmqTransport::bind).
    ///
    /// # Errors
    /// [`ZmqError::Invalid`], naming the field.
    pub fn validate(&self) -> Result<(), ZmqError> {
        let check = |holds: bool, field, reason| {
            if holds { Ok(()) } else { Err(ZmqError::Invalid { field, reason }) }
        };
        check(is_host_name(&self.name), "name", "a host name is 1 to 63 of [A-Za-z0-9_-]")?;
        check(self.listen.scheme() == SCHEME, "listen", "the scheme is not zmq")?;
        if let Some(advertise) = &self.advertise {
            check(advertise.scheme() == SCHEME, "advertise", "the scheme is not zmq")?;
            check(advertise.port() != 0, "advertise", "port 0 cannot be called")?;
            let named = advertise.name().is_none_or(|name| name == self.name);
            check(named, "advertise", "it carries another name than `name`")?;
        }
        let frame = 1..=1 << 30;
        check(frame.contains(&self.max_frame_bytes), "max_frame_bytes", "not from 1 byte to 1 GiB")?;
        let count = 1..=1 << 20;
        check(count.contains(&self.max_in_flight), "max_in_flight", "not from 1 to 1,048,576")?;
        check(count.contains(&self.max_peers), "max_peers", "not from 1 to 1,048,576")?;
        check(count.contains(&self.accept_queue), "accept_queue", "not from 1 to 1,048,576")?;
        let unanswered = self.max_unanswered >= self.accept_queue;
        check(unanswered, "max_unanswered", "smaller than accept_queue")?;
        check(count.contains(&self.max_unanswered), "max_unanswered", "not from 1 to 1,048,576")?;
        check(!self.dial_timeout.is_zero(), "dial_timeout", "zero")?;
        check(!self.redial_min.is_zero(), "redial_min", "zero")?;
        check(self.redial_min <= self.redial_max, "redial_max", "smaller than redial_min")?;
        check(!self.stale_after.is_zero(), "stale_after", "zero")
    }
}

/// Why a [`ZmqTransport`](crate::ZmqTransport) could not be started. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ZmqError {
    /// A field of the configuration is wrong.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field of [`ZmqConfig`].
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An address is no loopback address and [`ZmqConfig::trusted_network`] is not set. Listen on loopback, use
    /// a transport with authentication, or vouch for the network.
    #[error(
        "{endpoint} ({address}) is not a loopback address, and ZeroMQ has no authentication here: whoever \
         reaches it can read and write everything, and a 73-byte hostile message can abort the process inside \
         the library; set trusted_network only where every machine that can reach it is trusted"
    )]
    NotTrusted {
        /// The `listen` or `advertise` endpoint.
        endpoint: Endpoint,
        /// The address that is not a loopback address.
        address: SocketAddr,
    },
    /// The operating system refused: the name does not resolve, the address is not ours, the port is taken.
    #[error("{endpoint}: {source}")]
    Network {
        /// The `listen` or `advertise` endpoint.
        endpoint: Endpoint,
        /// What the operating system said.
        source: io::Error,
    },
    /// The ZeroMQ library refused to adopt the listening socket.
    #[error("the ZeroMQ library cannot listen on {endpoint}: {reason}")]
    Library {
        /// The `listen` endpoint.
        endpoint: Endpoint,
        /// What the library said.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> ZmqConfig {
        ZmqConfig { name: "n1".into(), ..ZmqConfig::default() }
    }

    #[track_caller]
    fn refused(field: &str, change: impl FnOnce(&mut ZmqConfig)) {
        let mut config = valid();
        change(&mut config);
        match config.validate() {
            Err(ZmqError::Invalid { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{field} was not refused: {other:?}"),
        }
    }

    #[test]
    fn the_default_lacks_only_a_name() {
        assert!(matches!(ZmqConfig::default().validate(), Err(ZmqError::Invalid { field: "name", .. })));
        valid().validate().unwrap();
        assert!(ZmqConfig::default().max_frame_bytes >= 17 << 20);
    }

    #[test]
    fn every_field_is_validated_and_named() {
        refused("name", |c| c.name = "a b".into());
        refused("listen", |c| c.listen = "quic://127.0.0.1:0".parse().unwrap());
        refused("advertise", |c| c.advertise = Some("mem://n1@127.0.0.1:1".parse().unwrap()));
        refused("advertise", |c| c.advertise = Some("zmq://n1@127.0.0.1:0".parse().unwrap()));
        refused("advertise", |c| c.advertise = Some("zmq://n2@127.0.0.1:1".parse().unwrap()));
        refused("max_frame_bytes", |c| c.max_frame_bytes = 0);
        refused("max_frame_bytes", |c| c.max_frame_bytes = usize::MAX);
        refused("max_in_flight", |c| c.max_in_flight = 0);
        refused("max_peers", |c| c.max_peers = 0);
        refused("accept_queue", |c| c.accept_queue = 0);
        refused("max_unanswered", |c| c.max_unanswered = c.accept_queue - 1);
        refused("max_unanswered", |c| c.max_unanswered = usize::MAX);
        refused("dial_timeout", |c| c.dial_timeout = Duration::ZERO);
        refused("redial_min", |c| c.redial_min = Duration::ZERO);
        refused("redial_max", |c| c.redial_max = c.redial_min / 2);
        refused("stale_after", |c| c.stale_after = Duration::ZERO);
    }
}
