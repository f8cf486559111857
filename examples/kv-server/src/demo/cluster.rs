//! The nodes of the demo.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chord::transport::{Endpoint, Transport};
use chord::{Chord, Config, Interval};
use chord_transport_mem::Network as MemNetwork;
use chord_transport_quic::certs::Authority;
use chord_transport_quic::{QuicConfig, QuicTransport};
use chord_transport_zmq::{ZmqConfig, ZmqTransport};
use tokio::time::sleep;

use crate::cli::show::print;
use crate::cli::{DEFAULT_CLIENT, Exit, Style};
use crate::demo::Network;
use crate::node::Node;
use crate::server::{self, Service, Settings};

/// How long the ring may take to settle.
const SETTLE_TIME: Duration = Duration::from_secs(20);
/// Pause between two looks whether it has.
const PAUSE: Duration = Duration::from_millis(25);
/// Seed of the network in memory; without faults it decides nothing that shows.
const SEED: u64 = 1;

pub(super) struct Cluster {
    wires: Wires,
    nodes: Vec<Node>,
    /// Nodes ever started; the next one's name is made of it.
    started: usize,
}

/// How a node's transport is made.
enum Wires {
    Quic(Box<Authority>),
    Zmq,
    Mem(MemNetwork),
}

impl Cluster {
    pub(super) fn new(network: Network) -> Result<Cluster, Exit> {
        let wires = match network {
            Network::Quic => Wires::Quic(Box::new(Authority::ephemeral()?)),
            Network::Zmq => Wires::Zmq,
            Network::Mem => Wires::Mem(MemNetwork::new(SEED)),
        };
        Ok(Cluster { wires, nodes: Vec::new(), started: 0 })
    }

    pub(super) fn network(&self) -> &'static str {
        match self.wires {
            Wires::Quic(_) => "quic://",
            Wires::Zmq => "zmq://",
            Wires::Mem(_) => "mem://",
        }
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node that was added last.
    pub(super) fn last(&self) -> &Node {
        self.nodes.last().expect("the demo has at least one node")
    }

    /// Starts one more node and returns its name. It joins through the first.
    pub(super) async fn add(&mut self) -> Result<String, Exit> {
        self.started += 1;
        let name = format!("n{}", self.started);
        let transport = self.listen(&name).await?;
        let millis = Duration::from_millis;
        let config = Config {
            ring_name: "demo".to_owned(),
            stabilize: Interval::new(millis(50), millis(1_000)),
            fix_fingers: Interval::new(millis(100), millis(2_000)),
            ..Config::named(&name)
        };
        let node = match self.nodes.first() {
            None => Chord::create(transport, config).await?,
            Some(first) => Chord::join(transport, &[first.endpoint().clone()], config).await?,
        };
        self.nodes.push(node);
        Ok(name)
    }

    async fn listen(&self, name: &str) -> Result<Arc<dyn Transport>, Exit> {
        let failed = |error: &dyn std::fmt::Display| Exit::Failure(format!("{name}: {error}"));
        Ok(match &self.wires {
            Wires::Quic(authority) => {
                let certificates = authority.issue(name, &["127.0.0.1"])?;
                let listen: Endpoint = "quic://127.0.0.1:0".parse().expect("the literal is an endpoint");
                let config = QuicConfig::new(listen, certificates);
                Arc::new(QuicTransport::bind(config).await.map_err(|error| failed(&error))?)
            }
            Wires::Zmq => {
                let config = ZmqConfig { name: name.to_owned(), ..ZmqConfig::default() };
                Arc::new(ZmqTransport::bind(config).await.map_err(|error| failed(&error))?)
            }
            Wires::Mem(network) => Arc::new(network.listen(name)),
        })
    }

    /// Lets the node at `position` leave; returns its name.
    pub(super) async fn remove(&mut self, position: usize) -> Result<String, Exit> {
        let node = self.nodes.remove(position);
        let name = node.config().name.clone();
        node.leave().await?;
        Ok(name)
    }

    /// Waits until links and fingers are ideal and nothing is under way.
    pub(super) async fn settle(&self) -> Result<(), Exit> {
        let deadline = Instant::now() + SETTLE_TIME;
        loop {
            let report = self.last().check().await?;
            if report.is_settled() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Exit::Failure(format!("the ring did not settle: {report:?}")));
            }
            sleep(PAUSE).await;
        }
    }

    /// Opens a client port on each node and serves until Ctrl-C.
    pub(super) async fn stay(&self, style: Style) -> Result<(), Exit> {
        let mut services = Vec::new();
        for (i, node) in self.nodes.iter().enumerate() {
            let wanted: SocketAddr = DEFAULT_CLIENT.parse().expect("the default is an address");
            let wanted = SocketAddr::new(wanted.ip(), wanted.port() + i as u16);
            let listener = server::bind(wanted).or_else(|_| server::bind(SocketAddr::new(wanted.ip(), 0)));
            let listener = listener.map_err(|error| Exit::Failure(format!("{wanted}: {error}")))?;
            let address = listener.local_addr().unwrap_or(wanted);
            let service = Service::new(Settings::default(), address);
            service.open(node.clone());
            print(&format!(
                "{} redis-cli -p {} get U+2665",
                style.cyan(&node.config().name),
                address.port()
            ))?;
            services.push((service.clone(), tokio::spawn(server::serve(listener, service))));
        }
        print("the ring stays up until Ctrl-C")?;
        let waited = tokio::signal::ctrl_c().await;
        for (service, serving) in services {
            service.stop();
            let _ = serving.await;
        }
        waited.map_err(|error| Exit::Failure(format!("signals: {error}")))
    }

    /// Ends every node.
    pub(super) async fn stop(self) {
        futures::future::join_all(self.nodes.iter().map(Chord::stop)).await;
    }
}
