//! What all connections share: [`Service`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chord::Error;
use tokio::sync::{Mutex as AsyncMutex, watch};

use crate::commands::Failure;
use crate::node::Node;
use crate::server::{Budget, Client, Counters};

/// How a service is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What clients must know; `None` lets everyone in.
    pub password: Option<Bytes>,
    /// Most connections at once.
    pub max_clients: usize,
    /// Most bytes that connections hold together in buffers beyond 16 KiB each.
    pub max_buffer_bytes: usize,
    /// Most bytes of replies that one connection holds, unless a single value is larger.
    pub max_reply_bytes: usize,
    /// Longest value before the ring's limit is known, in bytes.
    pub max_value_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            password: None,
            max_clients: 10_000,
            max_buffer_bytes: 1 << 30,
            max_reply_bytes: 256 << 20,
            max_value_bytes: 16 << 20,
        }
    }
}

/// The service on one client port: its node, once that is part of a ring, and everything connections share.
#[derive(Debug)]
pub struct Service {
    settings: Settings,
    address: SocketAddr,
    started: Instant,
    node: OnceLock<NodeSlot>,
    budget: Arc<Budget>,
    counters: Counters,
    next_id: AtomicI64,
    /// Who is connected, by number; never held across an await.
    clients: Mutex<BTreeMap<i64, Arc<Client>>>,
    /// Serialises leaving: held until the node has left or refused to.
    leaving: AsyncMutex<()>,
    stop_tx: watch::Sender<bool>,
}

/// Waits for the end of a service.
#[derive(Clone, Debug)]
pub struct Stopping {
    stop_rx: watch::Receiver<bool>,
}

impl Stopping {
    /// Returns when the service ends, or has ended.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn wait(&mut self) {
        // An error says that the service is gone, which is an end as well.
        let _ = self.stop_rx.wait_for(|stop| *stop).await;
    }
}

struct NodeSlot(Node);

impl std::fmt::Debug for NodeSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Node")
    }
}

impl Service {
    /// A service on `address` whose node is not yet part of a ring.
    pub fn new(settings: Settings, address: SocketAddr) -> Arc<Service> {
        Arc::new(Service {
            budget: Budget::new(settings.max_buffer_bytes),
            settings,
            address,
            started: Instant::now(),
            node: OnceLock::new(),
            counters: Counters::default(),
            next_id: AtomicI64::new(1),
            clients: Mutex::default(),
            leaving: AsyncMutex::new(()),
            stop_tx: watch::Sender::new(false),
        })
    }

    /// From here on commands are run on `node`. Only the first call has an effect.
    pub fn open(&self, node: Node) {
        let _ = self.node.set(NodeSlot(node));
    }

    /// The node, once it is part of a ring.
    pub fn node(&self) -> Option<&Node> {
        self.node.get().map(|slot| &slot.0)
    }

    /// The node.
    ///
    /// # Errors
    /// [`Failure::LOADING`] until it is part of a ring.
    pub fn ready(&self) -> Result<&Node, Failure> {
        self.node().ok_or(Failure::LOADING)
    }

    /// Lets the node leave its ring and ends the service. `force` ends it even if no other host answers and its data, or its
    /// part of the circle, is then lost. Waits for a leaving under way; once that is done, so is this.
    ///
    /// # Errors
    /// Those of [`chord::Chord::leave`]; the service goes on.
    pub async fn leave(&self, force: bool) -> Result<(), Failure> {
        let node = self.ready()?;
        let _guard = self.leaving.lock().await;
        if *self.stop_tx.borrow() {
            return Ok(());
        }
        match node.leave().await {
            Err(Error::LastHost { entries }) if force => {
                tracing::warn!(entries, "the ring's last host ends; its data is lost");
                node.stop().await;
            }
            result => result?,
        }
        self.stop();
        Ok(())
    }

    /// Ends the service: connections answer what they are at and close.
    pub fn stop(&self) {
        self.stop_tx.send_replace(true);
    }

    /// A way to wait for the end of the service.
    pub fn stopping(&self) -> Stopping {
        Stopping { stop_rx: self.stop_tx.subscribe() }
    }

    /// Whether clients must authenticate.
    pub fn needs_password(&self) -> bool {
        self.settings.password.is_some()
    }

    /// Whether `password` opens the service; any does when it has none. Takes the same time for any wrong one of
    /// the right length.
    pub fn password_is(&self, password: &[u8]) -> bool {
        match &self.settings.password {
            None => true,
            Some(expected) => {
                let differing = expected.iter().zip(password).fold(0, |sum, (a, b)| sum | (a ^ b));
                expected.len() == password.len() && differing == 0
            }
        }
    }

    /// Longest value accepted, in bytes: the ring's limit once it is known.
    pub fn max_value_bytes(&self) -> usize {
        self.node().map_or(self.settings.max_value_bytes, |node| node.config().max_value_bytes)
    }

    /// Longest argument accepted, in bytes: a key or a value.
    pub fn max_bulk_bytes(&self) -> usize {
        self.max_value_bytes().max(self.node().map_or(0, |node| node.config().max_key_bytes))
    }

    /// How many values a connection may read before it writes them out, if each is as large as it may be: what one
    /// connection may hold, and half of what the memory for clients has left, so that others find some too. One at
    /// least.
    pub(super) fn most_values(&self) -> usize {
        let room = self.settings.max_reply_bytes.min(self.budget.left() / 2);
        (room / self.max_value_bytes().max(1)).max(1)
    }

    /// How it is set up.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How long it has been running.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// What it has counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The bound on the memory of connections.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Who is connected, the longest connected first.
    pub fn clients(&self) -> Vec<Arc<Client>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// How many are connected.
    pub fn connected(&self) -> usize {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Takes in a client; `None` when there are as many as may be.
    pub(super) fn admit(&self, address: SocketAddr) -> Option<Arc<Client>> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= self.settings.max_clients {
            self.counters.reject();
            return None;
        }
        self.counters.accept();
        let client = Arc::new(Client::new(self.next_id.fetch_add(1, Ordering::Relaxed), address));
        clients.insert(client.id(), client.clone());
        Some(client)
    }

    /// Forgets a client.
    pub(super) fn dismiss(&self, client: &Client) {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).remove(&client.id());
    }
}
