//! When a node counts as ended.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chord::transport::{CallOptions, Endpoint, Frame, Incoming, Transport, TransportError};
use chord::{Chord, Config};
use chord_transport_mem::{MemTransport, Network};
use tokio::time::{Instant, sleep, timeout};

/// How long the transport takes to say goodbye.
const GOODBYE: Duration = Duration::from_secs(6);

/// A transport that takes its time to close.
struct Lingering(MemTransport);

#[async_trait]
impl Transport for Lingering {
    fn endpoint(&self) -> &Endpoint {
        self.0.endpoint()
    }

    fn max_frame_bytes(&self) -> usize {
        self.0.max_frame_bytes()
    }

    async fn call(&self, to: &Endpoint, frame: Frame, options: CallOptions) -> Result<Frame, TransportError> {
        self.0.call(to, frame, options).await
    }

    async fn accept(&self) -> Option<Incoming> {
        self.0.accept().await
    }

    async fn close(&self) {
        sleep(GOODBYE).await;
        self.0.close().await;
    }
}

async fn node() -> Chord<Arc<Lingering>> {
    let transport = Arc::new(Lingering(Network::new(1).listen("n1")));
    Chord::create(transport, Config::named("n1")).await.expect("a ring")
}

#[tokio::test(start_paused = true)]
async fn a_node_has_ended_when_its_leaving_returns_and_not_while_its_transport_closes() {
    let node = node().await;
    let (left, closed) = tokio::join!(
        async {
            node.leave().await.expect("an empty ring may end");
            Instant::now()
        },
        async {
            let reason = node.closed().await;
            assert!(reason.to_string().contains("has left"), "{reason}");
            Instant::now()
        }
    );
    assert_eq!(left, closed);
}

#[tokio::test(start_paused = true)]
async fn a_node_has_ended_though_nobody_waits_for_its_stop_any_more() {
    let node = node().await;
    assert!(timeout(GOODBYE / 2, node.stop()).await.is_err(), "the transport takes longer");
    let reason = timeout(GOODBYE, node.closed()).await.expect("it has ended");
    assert!(reason.to_string().contains("was stopped"), "{reason}");
}
