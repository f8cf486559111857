//! The public conformance suite, on real time.

use async_trait::async_trait;
use chord::conformance::Fixture;
use chord::transport::Endpoint;
use chord_transport_mem::{MemTransport, Network, Options};

const OPTIONS: Options = Options { max_frame_bytes: 1 << 20, max_in_flight: 256, max_waiting: 64 };

struct Mem(Network);

#[async_trait]
impl Fixture for Mem {
    type Transport = MemTransport;

    async fn open(&self, name: &str, at: Option<&Endpoint>) -> MemTransport {
        match at {
            Some(endpoint) => self.0.listen_at(endpoint).expect("an ended host leaves its address at once"),
            None => self.0.listen(name),
        }
    }

    fn max_frame_bytes(&self) -> usize {
        OPTIONS.max_frame_bytes
    }

    fn max_in_flight(&self) -> usize {
        OPTIONS.max_in_flight
    }

    fn absent(&self) -> Endpoint {
        Network::endpoint("nobody").expect("a valid name")
    }

    async fn garbage(&self, to: &Endpoint, bytes: &[u8]) {
        self.0.inject(to, bytes);
    }
}

chord::transport_conformance!(Mem(Network::with_options(1, OPTIONS)));
