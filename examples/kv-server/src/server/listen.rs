//! Accepting connections: [`serve`].

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::server::connection::Connection;
use crate::server::{Client, Service};

/// Connections the operating system keeps waiting to be accepted.
const BACKLOG: u32 = 1024;
/// Pause after the operating system refused to accept a connection (no file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long connections have to finish when the service ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// A listening socket on `address`. Accepted connections have keep-alive on, so that clients that vanished are
/// noticed in the end.
///
/// # Errors
/// The operating system's: the address is taken, or not this host's.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_keepalive(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves clients on `listener` until the service stops; returns when the last connection has ended. Whoever connects in
/// between finds the port open, and the connection closed. The listener is given back: dropping it closes the port.
pub async fn serve(listener: TcpListener, service: Arc<Service>) -> TcpListener {
    let mut stopping = service.stopping();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopping.wait() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => match service.admit(address) {
                    Some(client) => {
                        connections.spawn(connection(service.clone(), stream, client));
                    }
                    None => refuse(stream),
                },
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    let all_ended = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        ended = timeout(FAREWELL, all_ended) => if ended.is_err() {
            connections.shutdown().await;
        },
        () = turn_away(&listener) => {}
    }
    listener
}

/// Accepts connections and closes them, for ever.
async fn turn_away(listener: &TcpListener) {
    loop {
        if listener.accept().await.is_err() {
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

async fn connection(service: Arc<Service>, stream: TcpStream, client: Arc<Client>) {
    let _registered = Registered { service: &service, client: &client };
    if let Err(error) = Connection::new(&service, stream, client.clone()).run().await {
        tracing::debug!(client = client.id(), address = %client.address(), %error, "connection ended");
    }
}

/// Takes its client off the list when it is dropped, however the connection ends.
struct Registered<'a> {
    service: &'a Service,
    client: &'a Client,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.service.dismiss(self.client);
    }
}

/// Says once, without waiting, why the connection is closed.
fn refuse(stream: TcpStream) {
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(b"-ERR max number of clients reached\r\n");
    }
}
