//! Who is connected: [`Client`].

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A connected client as `CLIENT LIST` tells about it.
#[derive(Debug)]
pub struct Client {
    id: i64,
    address: SocketAddr,
    since: Instant,
    /// What the client tells about itself; never held across an await.
    details: Mutex<Details>,
}

/// What a client tells about itself.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// `CLIENT SETNAME`.
    pub name: String,
    /// `CLIENT SETINFO LIB-NAME`.
    pub library: String,
    /// `CLIENT SETINFO LIB-VER`.
    pub library_version: String,
}

impl Client {
    /// The client number `id`, connected from `address` just now.
    pub fn new(id: i64, address: SocketAddr) -> Client {
        Client { id, address, since: Instant::now(), details: Mutex::default() }
    }

    /// Its number; no two clients of a service's life share one.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// From where it is connected.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has told about itself.
    pub fn details(&self) -> Details {
        self.details.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what it has told about itself.
    pub fn describe(&self, change: impl FnOnce(&mut Details)) {
        change(&mut self.details.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Its line of `CLIENT LIST`.
    pub fn line(&self) -> String {
        let Details { name, library, library_version } = self.details();
        format!(
            "id={} addr={} name={name} age={} flags=N db=0 lib-name={library} lib-ver={library_version} \
             user=default resp=2",
            self.id,
            self.address,
            self.since.elapsed().as_secs(),
        )
    }
}
