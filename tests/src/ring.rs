//! Rings inside the test's own process, over any transport.

use std::sync::Arc;
use std::time::Duration;

use chord::transport::Transport;
use chord::{Chord, Config, Endpoint, Interval};
use chord_transport_mem::Network;
use chord_transport_quic::certs::Authority;
use chord_transport_quic::{QuicConfig, QuicTransport};
use chord_transport_zmq::{ZmqConfig, ZmqTransport};

/// A node over any transport.
pub type Node = Chord<Arc<dyn Transport>>;

/// How long a ring is given to settle.
const SETTLE_TIME: Duration = Duration::from_secs(60);

/// What the nodes of one ring talk over.
pub enum Wires {
    /// In memory.
    Mem(Network),
    /// ZeroMQ on loopback.
    Zmq,
    /// QUIC on loopback, with certificates of one authority.
    Quic(Box<Authority>),
}

impl Wires {
    /// In memory.
    pub fn mem() -> Wires {
        Wires::Mem(Network::new(1))
    }

    /// ZeroMQ.
    pub fn zmq() -> Wires {
        Wires::Zmq
    }

    /// QUIC.
    pub fn quic() -> Wires {
        Wires::Quic(Box::new(Authority::ephemeral().expect("an authority can be made")))
    }

    /// A transport for the host `name`.
    pub async fn listen(&self, name: &str) -> Arc<dyn Transport> {
        match self {
            Wires::Mem(network) => Arc::new(network.listen(name)),
            Wires::Zmq => {
                let config = ZmqConfig { name: name.to_owned(), ..ZmqConfig::default() };
                Arc::new(ZmqTransport::bind(config).await.expect("zmq binds on loopback"))
            }
            Wires::Quic(authority) => {
                let certificates = authority.issue(name, &["127.0.0.1"]).expect("a certificate is issued");
                let listen = "quic://127.0.0.1:0".parse().expect("the literal is an endpoint");
                let config = QuicConfig::new(listen, certificates);
                Arc::new(QuicTransport::bind(config).await.expect("quic binds on loopback"))
            }
        }
    }
}

/// A configuration with short intervals, so that tests settle soon.
pub fn quick(name: &str) -> Config {
    let millis = Duration::from_millis;
    Config {
        stabilize: Interval::new(millis(20), millis(250)),
        fix_fingers: Interval::new(millis(30), millis(500)),
        ..Config::named(name)
    }
}

/// Starts a node: the first of `known` decides whether it creates a ring or joins one.
pub async fn start(wires: &Wires, known: &[Endpoint], config: Config) -> Node {
    let transport = wires.listen(&config.name).await;
    let name = config.name.clone();
    let node = match known {
        [] => Chord::create(transport, config).await,
        _ => Chord::join(transport, known, config).await,
    };
    node.unwrap_or_else(|error| panic!("{name} does not start: {error}"))
}

/// Waits until `check` says that the ring of `hosts` hosts is settled.
pub async fn settled(node: &Node, hosts: usize) {
    let deadline = tokio::time::Instant::now() + SETTLE_TIME;
    loop {
        let report = node.check().await.expect("the node is open");
        assert!(report.is_safe(), "{report:#?}");
        if report.is_settled() && report.hosts == hosts {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "the ring does not settle: {report:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
