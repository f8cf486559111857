//! The public conformance suite, over QUIC on loopback.

use std::time::Duration;

use async_trait::async_trait;
use chord::conformance::Fixture;
use chord::transport::Endpoint;
use chord_transport_quic::certs::Authority;
use chord_transport_quic::{QuicConfig, QuicError, QuicTransport};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep};

struct Quic {
    authority: Authority,
    absent: Endpoint,
}

impl Quic {
    fn new() -> Quic {
        let unused = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let absent = format!("quic://absent@{}", unused.expect("a free port"));
        Quic {
            authority: Authority::ephemeral().expect("an authority"),
            absent: absent.parse().expect("an endpoint"),
        }
    }
}

#[async_trait]
impl Fixture for Quic {
    type Transport = QuicTransport;

    async fn open(&self, name: &str, at: Option<&Endpoint>) -> QuicTransport {
        let address = at.map_or("127.0.0.1:0", Endpoint::address);
        let certificates = self.authority.issue(name, &["127.0.0.1"]).expect("a certificate");
        let listen = format!("quic://{address}").parse().expect("an endpoint");
        let mut config = QuicConfig::new(listen, certificates);
        config.max_frame_bytes = self.max_frame_bytes();
        config.max_in_flight = self.max_in_flight();
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            match QuicTransport::bind(config.clone()).await {
                Ok(transport) => return transport,
                Err(QuicError::Listen { .. }) if Instant::now() < end => {
                    sleep(Duration::from_millis(10)).await
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn max_frame_bytes(&self) -> usize {
        1 << 20
    }

    fn max_in_flight(&self) -> usize {
        64
    }

    fn absent(&self) -> Endpoint {
        self.absent.clone()
    }

    async fn garbage(&self, to: &Endpoint, bytes: &[u8]) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        for datagram in bytes.chunks(1400).chain([&bytes[..bytes.len().min(65_000)]]) {
            let _ = socket.send_to(datagram, to.address()).await;
        }
    }
}

chord::transport_conformance!(Quic::new());
