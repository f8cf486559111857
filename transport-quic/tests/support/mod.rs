//! What the tests of this crate share.

use std::sync::Arc;
use std::time::Duration;

use chord::transport::{CallOptions, Endpoint, Frame, Lane, Transport, TransportError};
use chord_transport_quic::certs::Certificates;
use chord_transport_quic::{QuicConfig, QuicTransport};
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub(crate) fn config(certificates: &Certificates) -> QuicConfig {
    QuicConfig::new("quic://127.0.0.1:0".parse().expect("an endpoint"), certificates.clone())
}

pub(crate) async fn bind(certificates: &Certificates) -> Arc<QuicTransport> {
    open(config(certificates)).await
}

pub(crate) async fn open(config: QuicConfig) -> Arc<QuicTransport> {
    Arc::new(QuicTransport::bind(config).await.expect("it listens"))
}

/// Answers every frame with the caller's authenticated name.
pub(crate) fn answer_with_name(transport: &Arc<QuicTransport>) -> JoinHandle<()> {
    let transport = Arc::clone(transport);
    tokio::spawn(async move {
        while let Some(incoming) = transport.accept().await {
            let name = incoming.peer().expect("QUIC authenticates").as_bytes().to_vec();
            incoming.reply(Frame::new(name, Vec::new()));
        }
    })
}

/// Calls `to` and gives the name under which it knows the caller.
pub(crate) async fn ask(caller: &QuicTransport, to: &Endpoint) -> Result<String, TransportError> {
    let reply = call(caller, to, Frame::new("who am I?", Vec::new())).await?;
    Ok(String::from_utf8(reply.head.to_vec()).expect("a name"))
}

#[allow(dead_code, reason = "not every test needs it")]
pub(crate) async fn call(
    caller: &QuicTransport,
    to: &Endpoint,
    frame: Frame,
) -> Result<Frame, TransportError> {
    let options = CallOptions { deadline: Instant::now() + Duration::from_secs(10), lane: Lane::Request };
    caller.call(to, frame, options).await
}

/// Why `result` says that its peer cannot be reached.
#[allow(dead_code, reason = "not every test needs it")]
pub(crate) fn unreachable(result: Result<String, TransportError>) -> String {
    match result {
        Err(TransportError::Unreachable { reason, .. }) => reason,
        other => panic!("expected unreachable, got {other:?}"),
    }
}
