//! Birth and death of the library's sockets: where its hazards are fenced in.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Weak;
use std::time::Duration;

use chord::transport::Endpoint;
use futures::channel::mpsc;
use socket2::{Domain, Protocol, Socket as RawSocket, TcpKeepalive, Type};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::Instant;
use zeromq::{
    DealerRecvHalf, DealerSendHalf, DealerSocket, MultiPeerBackend, RouterSocket, Socket, SocketEvent,
    SocketOptions,
};

use crate::config::ZmqError;

/// Connections that wait for the library to accept them.
const BACKLOG: i32 = 1024;
/// A silent connection is probed after this time, and then every [`KEEPALIVE_INTERVAL`].
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// An accepted connection whose peer acknowledges or takes nothing for this long is cut by the system.
const PEER_SILENT: Duration = Duration::from_secs(60);
/// How long a dropped socket may take to be let go by the library.
const RELEASE_LIMIT: Duration = Duration::from_secs(1);

/// The addresses of `endpoint`; all of them loopback addresses unless `trusted`.
pub(crate) async fn resolve(endpoint: &Endpoint, trusted: bool) -> Result<Vec<SocketAddr>, ZmqError> {
    let network = |source| ZmqError::Network { endpoint: endpoint.clone(), source };
    let addresses: Vec<SocketAddr> = lookup_host(endpoint.address()).await.map_err(network)?.collect();
    if addresses.is_empty() {
        return Err(network(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
    }
    match addresses.iter().find(|address| !address.ip().is_loopback()) {
        Some(&address) if !trusted => Err(ZmqError::NotTrusted { endpoint: endpoint.clone(), address }),
        _ => Ok(addresses),
    }
}

/// A ROUTER that listens on one of `addresses`, and the address it is bound to.
pub(crate) async fn listen(
    endpoint: &Endpoint,
    addresses: &[SocketAddr],
) -> Result<(RouterSocket, SocketAddr), ZmqError> {
    let network = |source| ZmqError::Network { endpoint: endpoint.clone(), source };
    let mut refused = io::Error::new(io::ErrorKind::NotFound, "no address");
    for &address in addresses {
        match listening_socket(address) {
            Ok(listener) => {
                let bound = listener.local_addr().map_err(network)?;
                let mut router = RouterSocket::new();
                router.bind_listener(listener).await.map_err(|error| ZmqError::Library {
                    endpoint: endpoint.clone(),
                    reason: error.to_string(),
                })?;
                return Ok((router, bound));
            }
            Err(error) => refused = error,
        }
    }
    Err(network(refused))
}

/// The library never asks whether an accepted peer is still there; the system does, by options that accepted
/// connections inherit from the listener.
fn listening_socket(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(PEER_SILENT))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A connected DEALER. It never reconnects by itself and `recv` does not tell of a loss: `monitor` does.
pub(crate) struct Dialled {
    pub(crate) send: DealerSendHalf,
    pub(crate) recv: DealerRecvHalf,
    pub(crate) monitor: mpsc::Receiver<SocketEvent>,
    pub(crate) backend: Weak<dyn MultiPeerBackend>,
}

/// Connects a DEALER to `endpoint`, without an identity: ROUTER hands a claimed one over to whoever claims it
/// last. The error is for people.
///
/// The library retries a refused connection silently until its timeout, so a plain TCP connection asks first:
/// a refusal is known at once, with the system's own error, and of several addresses the one that answers is
/// taken. The listener sees a connection that ends before the handshake.
pub(crate) async fn dial(endpoint: &Endpoint, trusted: bool, limit: Duration) -> Result<Dialled, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let addresses = resolve(endpoint, trusted).await.map_err(|error| text(&error))?;
    let address = reachable(&addresses).await.map_err(|error| text(&error))?;
    let mut options = SocketOptions::default();
    options.connect_timeout(limit);
    let mut dealer = DealerSocket::with_options(options);
    let monitor = dealer.monitor();
    dealer.connect(&format!("tcp://{address}")).await.map_err(|error| text(&error))?;
    let backend = std::sync::Arc::downgrade(&dealer.backend());
    let (send, recv) = dealer.split();
    Ok(Dialled { send, recv, monitor, backend })
}

async fn reachable(addresses: &[SocketAddr]) -> io::Result<SocketAddr> {
    let probe = TcpStream::connect(addresses).await?;
    let address = probe.peer_addr()?;
    if probe.local_addr()? == address {
        // TCP's simultaneous open: a free port of this machine, dialled from itself.
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(address)
}

/// Waits until the library has let go of a socket whose halves were dropped. Returns false when it has not
/// within [`RELEASE_LIMIT`].
///
/// The library's own tasks cannot be joined, but each holds the socket's backend. A peer whose handshake ends
/// while the socket is shut down is registered after all, and would keep itself alive for ever: so the shutdown
/// is repeated until nobody is left.
pub(crate) async fn released(backend: Weak<dyn MultiPeerBackend>) -> bool {
    let limit = Instant::now() + RELEASE_LIMIT;
    let mut pause = Duration::ZERO;
    loop {
        match backend.upgrade() {
            None => return true,
            Some(backend) => backend.shutdown(),
        }
        if Instant::now() >= limit {
            return false;
        }
        if pause.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(pause).await;
        }
        pause = (pause * 2).clamp(Duration::from_millis(1), Duration::from_millis(20));
    }
}
