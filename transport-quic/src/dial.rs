//! Making a connection.

use std::future::pending;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use chord::transport::{Endpoint, Lane};
use quinn::{ClientConfig, Connecting, ConnectionError, TransportErrorCode};
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::{sleep, timeout};

use crate::certs::dns_name;
use crate::frame::READY;
use crate::link::{Link, open_lane};
use crate::tasks::Tasks;

/// Addresses of one host that are tried, one after the other.
const MAX_ADDRESSES: usize = 4;

/// The first pause before a busy listener is asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// What it takes to dial.
pub(crate) struct Dialler {
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) client: ClientConfig,
    pub(crate) timeout: Duration,
    pub(crate) max_frame_bytes: usize,
}

/// A connection to the host that `to` names, or the reason why there is none. An error means that no frame can
/// have been delivered.
pub(crate) async fn dial(dialler: &Dialler, to: &Endpoint, tasks: &Arc<Tasks>) -> Result<Arc<Link>, String> {
    if to.scheme() != "quic" || to.port() == 0 {
        return Err("expected quic://[NAME@]HOST:PORT".to_owned());
    }
    let identity = to.name().map_or_else(|| to.host().to_owned(), dns_name);
    let addresses = timeout(dialler.timeout, resolve(to)).await.map_err(|_| "its name is not resolved")??;
    let share = dialler.timeout / addresses.len() as u32;
    let mut reason = String::new();
    for address in addresses {
        let dialled = timeout(share, connect_patiently(dialler, address, &identity, tasks)).await;
        match dialled.unwrap_or_else(|_| Err(format!("no answer from {address}, or it is too busy"))) {
            Ok(link) => return Ok(link),
            Err(failed) => reason = failed,
        }
    }
    tracing::debug!(to = %to, reason, "dial failed");
    Err(reason)
}

async fn resolve(to: &Endpoint) -> Result<Vec<SocketAddr>, String> {
    if let Ok(ip) = to.host().parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, to.port())]);
    }
    let found = lookup_host((to.host(), to.port())).await.map_err(|error| error.to_string())?;
    let addresses: Vec<_> = found.take(MAX_ADDRESSES).collect();
    if addresses.is_empty() { Err("its name has no address".to_owned()) } else { Ok(addresses) }
}

/// Why one attempt failed.
enum Attempt {
    /// The listener has more handshakes under way than it wants; the next attempt may succeed.
    Busy,
    Failed(String),
}

impl From<String> for Attempt {
    fn from(reason: String) -> Attempt {
        Attempt::Failed(reason)
    }
}

/// Tries again while the listener is busy, with growing pauses. Whoever asks bounds the time.
async fn connect_patiently(
    dialler: &Dialler,
    address: SocketAddr,
    identity: &str,
    tasks: &Arc<Tasks>,
) -> Result<Arc<Link>, String> {
    let mut pause = FIRST_PAUSE;
    loop {
        match connect(dialler, address, identity, tasks).await {
            Ok(link) => return Ok(link),
            Err(Attempt::Failed(reason)) => return Err(reason),
            Err(Attempt::Busy) => sleep(pause).await,
        }
        pause *= 2;
    }
}

async fn connect(
    dialler: &Dialler,
    address: SocketAddr,
    identity: &str,
    tasks: &Arc<Tasks>,
) -> Result<Arc<Link>, Attempt> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let connecting = dialler
        .endpoint
        .connect_with(dialler.client.clone(), address, identity)
        .map_err(|error| text(&error))?;
    let connection = tokio::select! {
        connected = shake_hands(connecting) => connected?,
        reason = refusal(address) => return Err(reason.into()),
    };
    let (send, mut recv) = open_lane(&connection, Lane::Control).await.map_err(|error| text(&error))?;
    let mut ready = [0];
    recv.read_exact(&mut ready).await.map_err(|error| match connection.close_reason() {
        Some(reason) => reason.to_string(),
        None => error.to_string(),
    })?;
    if ready[0] != READY {
        return Err("it speaks another protocol".to_owned().into());
    }
    let started = Link::start(connection, (send, recv), dialler.max_frame_bytes, tasks).await;
    started.map_err(|error| text(&error).into())
}

async fn shake_hands(connecting: Connecting) -> Result<quinn::Connection, Attempt> {
    connecting.await.map_err(|error| match &error {
        ConnectionError::ConnectionClosed(close)
            if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
        {
            Attempt::Busy
        }
        _ => Attempt::Failed(error.to_string()),
    })
}

/// Ends when the network says that nobody listens at `address`. QUIC's own socket, which serves all peers, is
/// not told; one that is connected to the address is. The datagram is too short to mean anything to a listener.
async fn refusal(address: SocketAddr) -> String {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let ask = async {
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(address).await?;
        socket.send(&[0]).await?;
        socket.recv(&mut [0]).await
    };
    match ask.await {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable
            ) =>
        {
            format!("{address}: {error}")
        }
        _ => pending().await,
    }
}
