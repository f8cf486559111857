//! What the tests of this crate share.

use std::sync::Arc;
use std::time::Duration;

use chord::transport::{CallOptions, Frame, Lane, Transport, TransportError};
use chord_transport_zmq::{ZmqConfig, ZmqTransport};
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub(crate) fn config(name: &str) -> ZmqConfig {
    ZmqConfig { name: name.into(), ..ZmqConfig::default() }
}

pub(crate) async fn open(config: ZmqConfig) -> Arc<ZmqTransport> {
    Arc::new(ZmqTransport::bind(config).await.expect("a loopback port"))
}

/// Answers every frame with itself until the transport closes.
pub(crate) fn echo(transport: &Arc<ZmqTransport>) -> JoinHandle<()> {
    let transport = Arc::clone(transport);
    tokio::spawn(async move {
        while let Some(incoming) = transport.accept().await {
            let frame = incoming.frame.clone();
            incoming.reply(frame);
        }
    })
}

pub(crate) fn within(limit: Duration) -> CallOptions {
    CallOptions { deadline: Instant::now() + limit, lane: Lane::Request }
}

pub(crate) async fn call(
    from: &ZmqTransport,
    to: &ZmqTransport,
    frame: Frame,
) -> Result<Frame, TransportError> {
    from.call(to.endpoint(), frame, within(Duration::from_secs(10))).await
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < limit, "{what}: not within 20 s");
        tokio::task::yield_now().await;
    }
}
