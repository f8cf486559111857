//! The public conformance suite on ZeroMQ sockets.

use std::time::Duration;

use async_trait::async_trait;
use chord::conformance::Fixture;
use chord::transport::Endpoint;
use chord_transport_zmq::{ZmqConfig, ZmqTransport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const MAX_FRAME_BYTES: usize = 1 << 20;
const MAX_IN_FLIGHT: usize = 64;

struct Sockets;

#[async_trait]
impl Fixture for Sockets {
    type Transport = ZmqTransport;

    async fn open(&self, name: &str, at: Option<&Endpoint>) -> ZmqTransport {
        let mut config = ZmqConfig {
            name: name.into(),
            max_frame_bytes: MAX_FRAME_BYTES,
            max_in_flight: MAX_IN_FLIGHT,
            ..ZmqConfig::default()
        };
        if let Some(at) = at {
            config.listen = at.clone();
        }
        let limit = Instant::now() + Duration::from_secs(10);
        loop {
            match ZmqTransport::bind(config.clone()).await {
                Ok(transport) => return transport,
                Err(error) => assert!(Instant::now() < limit, "{error}"),
            }
            tokio::task::yield_now().await;
        }
    }

    fn max_frame_bytes(&self) -> usize {
        MAX_FRAME_BYTES
    }

    fn max_in_flight(&self) -> usize {
        MAX_IN_FLIGHT
    }

    fn absent(&self) -> Endpoint {
        "zmq://absent@127.0.0.1:1".parse().expect("an endpoint")
    }

    async fn garbage(&self, to: &Endpoint, bytes: &[u8]) {
        let mut stream = TcpStream::connect(to.address()).await.expect("the listener accepts");
        // The listener may hang up before it has taken everything.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let _ = timeout(Duration::from_millis(200), stream.read_to_end(&mut Vec::new())).await;
    }
}

chord::transport_conformance!(Sockets);
