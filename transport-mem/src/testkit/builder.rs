//! How a cluster is set up.

use std::sync::Arc;

use chord::storage::{MemoryStorage, Storage};
use chord::transport::Transport;
use chord::{Config, Env, VirtualNodes};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use crate::Link;
use crate::testkit::Cluster;

/// Unix milliseconds of a cluster's clock at its start: 2020-09-13.
const EPOCH_MILLIS: u64 = 1_600_000_000_000;

type Configure = dyn Fn(&mut Config) + Send + Sync;
type Wrap = dyn Fn(&str, Arc<dyn Transport>) -> Arc<dyn Transport> + Send + Sync;
type Store = dyn Fn(&str) -> Arc<dyn Storage> + Send + Sync;

/// Sets a [`Cluster`] up; see [`Cluster::builder`].
pub struct ClusterBuilder {
    pub(super) seed: u64,
    pub(super) link: Link,
    pub(super) watched: bool,
    virtual_nodes: usize,
    configure: Box<Configure>,
    wrap: Box<Wrap>,
    store: Box<Store>,
    started: Instant,
}

impl ClusterBuilder {
    pub(super) fn new() -> ClusterBuilder {
        ClusterBuilder {
            seed: 1,
            link: Link::default(),
            watched: false,
            virtual_nodes: 2,
            configure: Box::new(|_| {}),
            wrap: Box::new(|_, transport| transport),
            store: Box::new(|_| Arc::new(MemoryStorage::new())),
            started: Instant::now(),
        }
    }

    /// What decides all that chance decides: the network's faults, and every node's random numbers. 1 by default.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The link between any two hosts. Perfect by default.
    pub fn link(mut self, link: Link) -> Self {
        self.link = link;
        self
    }

    /// Virtual nodes of each host. 2 by default.
    pub fn virtual_nodes(mut self, count: usize) -> Self {
        self.virtual_nodes = count;
        self
    }

    /// Changes each node's configuration before it starts; its name, clock and seed are set already.
    pub fn configure(mut self, configure: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        self.configure = Box::new(configure);
        self
    }

    /// Puts something between each node and the network, given the host's name: a transport that counts, delays
    /// or loses what the network's links cannot tell apart.
    pub fn wrap_transport(
        mut self,
        wrap: impl Fn(&str, Arc<dyn Transport>) -> Arc<dyn Transport> + Send + Sync + 'static,
    ) -> Self {
        self.wrap = Box::new(wrap);
        self
    }

    /// Gives each life of a host, by its name, a store of its own, which must be empty. In memory by default.
    pub fn storage(mut self, store: impl Fn(&str) -> Arc<dyn Storage> + Send + Sync + 'static) -> Self {
        self.store = Box::new(store);
        self
    }

    /// Checks the ring's properties and group safety whenever a node makes or takes a call, so after every change:
    /// see [`Cluster::watch_report`]. For one thread only, and not free.
    pub fn watched(mut self) -> Self {
        self.watched = true;
        self
    }

    /// Starts the hosts `n0`, `n1`, ... one after the other, and waits until the ring has settled.
    ///
    /// # Panics
    /// When a host cannot join, or the ring does not settle.
    pub async fn start(self, hosts: usize) -> Cluster {
        let cluster = Cluster::empty(self);
        for i in 0..hosts {
            if let Err(error) = cluster.join(&format!("n{i}")).await {
                panic!("n{i} cannot join: {error}\n{}", cluster.show());
            }
        }
        cluster.settle().await;
        cluster
    }

    /// The configuration of the `life`-th node to be started.
    pub(super) fn config(&self, name: &str, life: u64) -> Config {
        let started = self.started;
        let clock =
            move || EPOCH_MILLIS + u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX / 2);
        let seed = SmallRng::seed_from_u64(self.seed ^ life.rotate_left(32)).random();
        let mut config = Config {
            virtual_nodes: VirtualNodes::Count(self.virtual_nodes),
            env: Env { clock: Arc::new(clock), seed: Some(seed) },
            ..Config::named(name)
        };
        (self.configure)(&mut config);
        config
    }

    pub(super) fn transport(&self, name: &str, transport: Arc<dyn Transport>) -> Arc<dyn Transport> {
        (self.wrap)(name, transport)
    }

    pub(super) fn store(&self, name: &str) -> Arc<dyn Storage> {
        (self.store)(name)
    }
}
