//! The [`Transport`] of one host.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chord::transport::{CallOptions, Endpoint, Frame, Incoming, Lane, Transport, TransportError};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use crate::frame;
use crate::host::{Condition, Host};
use crate::state::{Reply, Route, Shared};

/// One host's access to a [`Network`](crate::Network), from [`Network::listen`](crate::Network::listen) to its
/// end. Dropping it without closing it is the host's crash.
///
/// Callers are authenticated: [`Incoming::peer`] is the caller's name. Frames that wait are accepted in the
/// order of their lanes: `Control`, `Request`, `Bulk`.
pub struct MemTransport {
    network: Arc<Shared>,
    host: Arc<Host>,
}

impl MemTransport {
    pub(crate) fn new(network: Arc<Shared>, host: Arc<Host>) -> MemTransport {
        MemTransport { network, host }
    }

    /// Sends the frame and waits for the reply, as long as it takes: what is lost is waited for without end.
    async fn exchange(&self, to: &Endpoint, frame: Frame, lane: Lane) -> Result<Frame, TransportError> {
        self.host.awake().await;
        let unreachable =
            |reason: &str| TransportError::Unreachable { endpoint: to.clone(), reason: reason.to_owned() };
        let wire = frame::encode(&frame);
        let peer = match self.network.route(&self.host, to, &wire) {
            Route::Peer(peer) => peer,
            Route::Refused { after, reason } => {
                pause(after).await;
                return Err(unreachable(reason));
            }
            Route::Silence => return pending().await,
        };
        if !peer.reserve(lane).await {
            return Err(unreachable("it stopped listening"));
        }
        let Some((first, copy)) = self.network.send_request(&self.host, &peer, lane, wire) else {
            return pending().await;
        };
        let reply = async {
            match copy {
                None => self.reply(&peer, lane, first).await,
                Some(copy) => tokio::select! {
                    biased;
                    reply = self.reply(&peer, lane, first) => reply,
                    reply = self.reply(&peer, lane, copy) => reply,
                },
            }
        };
        tokio::select! {
            biased;
            reply = reply => reply,
            () = self.reset(&peer) => {
                let reason = "it ended while it worked on the call".to_owned();
                Err(TransportError::Timeout { endpoint: to.clone(), reason })
            }
        }
    }

    /// The reply to one request, once it has come all the way back.
    async fn reply(
        &self,
        peer: &Host,
        lane: Lane,
        reply_rx: oneshot::Receiver<Frame>,
    ) -> Result<Frame, TransportError> {
        let Ok(frame) = reply_rx.await else { return pending().await };
        // What a killed host's tasks go on to say is not heard.
        if matches!(peer.awake().await, Condition::Crashed | Condition::PoweredOff) {
            return pending().await;
        }
        let (len, max) = (frame.len(), self.host.options.max_frame_bytes);
        if len > max {
            return Err(TransportError::TooLarge { len, max });
        }
        let frame = match self.network.send_reply(peer, &self.host, lane, &frame) {
            Reply::Arrives(frame) => frame,
            Reply::ArrivesAt(at, frame) => {
                sleep_until(at).await;
                frame
            }
            Reply::Silence => return pending().await,
        };
        self.host.counters.reply_received(len);
        Ok(frame)
    }

    /// Returns when the host learns that `peer` has ended.
    async fn reset(&self, peer: &Host) {
        peer.reset().await;
        match self.network.latency(peer, &self.host) {
            Some(latency) => pause(latency).await,
            None => pending().await,
        }
    }
}

async fn pause(duration: Duration) {
    if !duration.is_zero() {
        sleep(duration).await;
    }
}

#[async_trait]
impl Transport for MemTransport {
    fn endpoint(&self) -> &Endpoint {
        &self.host.endpoint
    }

    fn max_frame_bytes(&self) -> usize {
        self.host.options.max_frame_bytes
    }

    async fn call(&self, to: &Endpoint, frame: Frame, options: CallOptions) -> Result<Frame, TransportError> {
        let _in_flight = self.host.begin_call(to, options.lane)?;
        let (len, max) = (frame.len(), self.host.options.max_frame_bytes);
        if len > max {
            return Err(TransportError::TooLarge { len, max });
        }
        let timeout = || TransportError::Timeout {
            endpoint: to.clone(),
            reason: "none came by the deadline".to_owned(),
        };
        if Instant::now() >= options.deadline {
            return Err(timeout());
        }
        let outcome = tokio::select! {
            biased;
            () = self.host.ended() => Err(TransportError::Closed),
            () = sleep_until(options.deadline) => Err(timeout()),
            outcome = self.exchange(to, frame, options.lane) => outcome,
        };
        // A frozen host learns of the outcome, even of its own deadline, when it is thawed.
        if self.host.awake().await.has_ended() { Err(TransportError::Closed) } else { outcome }
    }

    async fn accept(&self) -> Option<Incoming> {
        self.host.accept().await
    }

    async fn close(&self) {
        self.network.end(&self.host, Condition::Closed);
    }
}

impl Drop for MemTransport {
    fn drop(&mut self) {
        self.network.end(&self.host, Condition::Crashed);
    }
}
