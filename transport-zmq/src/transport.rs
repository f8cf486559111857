//! [`ZmqTransport`]: the contract of `chord::transport` put together from the parts.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use chord::transport::{CallOptions, Endpoint, Frame, Incoming, Transport, TransportError};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout_at};

use crate::config::{SCHEME, ZmqConfig, ZmqError};
use crate::connection::{Answer, Connection, NotSent, WaitingCall};
use crate::counters::{Counters, ZmqStats};
use crate::lifetime::Lifetime;
use crate::link::{Context, Link};
use crate::peers::Peers;
use crate::{listener, socket};

/// How often one call looks for a connection that takes its frame. The first may have been lost unnoticed.
const ATTEMPTS: usize = 2;

/// A network of ZeroMQ sockets. See the crate's documentation for what it guarantees and what it cannot.
pub struct ZmqTransport {
    endpoint: Endpoint,
    bound: SocketAddr,
    context: Arc<Context>,
    peers: Peers,
    accept_rx: Mutex<mpsc::Receiver<Incoming>>,
    lifetime: Lifetime,
}

impl ZmqTransport {
    /// Listens as `config` says. Needs a tokio runtime with I/O and time enabled; the transport's tasks run on
    /// it and end with [`Transport::close`], or soon after the transport is dropped.
    ///
    /// # Errors
    /// [`ZmqError`]; nothing is left behind.
    pub async fn bind(config: ZmqConfig) -> Result<ZmqTransport, ZmqError> {
        config.validate()?;
        let addresses = socket::resolve(&config.listen, config.trusted_network).await?;
        match &config.advertise {
            // Where the network is trusted the advertised name may resolve only elsewhere.
            Some(_) if config.trusted_network => {}
            Some(advertise) => drop(socket::resolve(advertise, false).await?),
            None if addresses.iter().any(|address| address.ip().is_unspecified()) => {
                let reason = "needed when listening on all interfaces";
                return Err(ZmqError::Invalid { field: "advertise", reason });
            }
            None => {}
        }
        let (router, bound) = socket::listen(&config.listen, &addresses).await?;
        let endpoint = match &config.advertise {
            Some(advertise) => advertise.with_name(&config.name),
            None => format!("{SCHEME}://{}@{bound}", config.name).parse(),
        };
        let endpoint = endpoint.map_err(|_| ZmqError::Invalid { field: "advertise", reason: "too long" })?;
        if config.trusted_network {
            tracing::warn!(
                %endpoint, %bound,
                "trusted_network is set: ZeroMQ has no authentication here, whoever reaches this address can read \
                 and write everything and can abort this process with one small message"
            );
        }
        let (accept_tx, accept_rx) = mpsc::channel(config.accept_queue);
        let peers = Peers::new(config.max_peers, config.max_in_flight);
        let batches = Handle::current().runtime_flavor() != RuntimeFlavor::CurrentThread;
        let context = Arc::new(Context { config, counters: Counters::default(), batches });
        let lifetime = Lifetime::new();
        let lifeline = lifetime.lifeline().expect("it is not closing yet");
        tokio::spawn(listener::run(router, context.clone(), accept_tx, lifeline));
        Ok(ZmqTransport { endpoint, bound, context, peers, accept_rx: Mutex::new(accept_rx), lifetime })
    }

    /// The address the listener is bound to, which [`Transport::endpoint`] need not be.
    pub fn local_addr(&self) -> SocketAddr {
        self.bound
    }

    /// What was dropped so far.
    pub fn stats(&self) -> ZmqStats {
        self.context.counters.snapshot()
    }

    /// Hands `frame` to a connection that is to be dialled, or was lost. Cancel safe.
    async fn dial_and_hand_over(
        &self,
        link: &Arc<Link>,
        to: &Endpoint,
        ticket: u64,
        frame: &Frame,
        options: CallOptions,
    ) -> Result<WaitingCall, TransportError> {
        for _ in 0..ATTEMPTS {
            let connection = link.connection(&self.context, &self.lifetime, options.deadline).await?;
            match hand_over(&connection, ticket, frame, to, options) {
                Ok(call) => return Ok(call),
                Err(Refused::Finally(error)) => return Err(error),
                Err(Refused::Gone) => link.give_up(&connection),
            }
        }
        if self.lifetime.is_closing() {
            return Err(TransportError::Closed);
        }
        Err(unreachable(to, "its connections are lost as soon as they are made"))
    }
}

#[async_trait]
impl Transport for ZmqTransport {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn max_frame_bytes(&self) -> usize {
        self.context.config.max_frame_bytes
    }

    async fn call(&self, to: &Endpoint, frame: Frame, options: CallOptions) -> Result<Frame, TransportError> {
        if self.lifetime.is_closing() {
            return Err(TransportError::Closed);
        }
        let max = self.context.config.max_frame_bytes;
        if frame.len() > max {
            return Err(TransportError::TooLarge { len: frame.len(), max });
        }
        if !to.as_str().strip_prefix(SCHEME).is_some_and(|rest| rest.starts_with("://")) {
            return Err(unreachable(to, "not a zmq endpoint"));
        }
        let slot = self
            .peers
            .slot(to, options.lane)
            .ok_or_else(|| TransportError::Overloaded { endpoint: to.clone() })?;
        let link = slot.link();
        let at_once = link.up().map(|up| hand_over(&up, slot.ticket, &frame, to, options));
        let mut call = match at_once {
            Some(Ok(call)) => call,
            Some(Err(Refused::Finally(error))) => return Err(error),
            Some(Err(Refused::Gone)) | None => {
                // Boxed, so that the calls of every day need not carry its state.
                let dialled = Box::pin(self.dial_and_hand_over(link, to, slot.ticket, &frame, options));
                let dialled = timeout_at(options.deadline, dialled).await;
                dialled.map_err(|_| timed_out(to, "still connecting"))??
            }
        };
        match timeout_at(options.deadline, call.answer()).await {
            Ok(Some(Answer::Reply(frame))) => Ok(frame),
            Ok(Some(Answer::TooLarge { len, max })) => Err(TransportError::TooLarge { len, max }),
            Ok(Some(Answer::Overloaded)) => Err(TransportError::Overloaded { endpoint: to.clone() }),
            Ok(None) if self.lifetime.is_closing() => Err(TransportError::Closed),
            Ok(None) => Err(timed_out(to, "the connection was lost")),
            Err(_) => {
                if call.heard_nothing_for(self.context.config.stale_after) {
                    link.give_up(call.connection());
                }
                Err(timed_out(to, "the deadline passed"))
            }
        }
    }

    async fn accept(&self) -> Option<Incoming> {
        let incoming = self.accept_rx.lock().await.recv().await;
        incoming.filter(|_| !self.lifetime.is_closing())
    }

    async fn close(&self) {
        self.lifetime.close().await;
        // What nobody accepted is not kept. A caller inside `accept` finds the same end by itself.
        if let Ok(mut accept_rx) = self.accept_rx.try_lock() {
            while accept_rx.try_recv().is_ok() {}
        }
    }
}

/// Why a connection did not take a frame.
enum Refused {
    Finally(TransportError),
    /// The connection is lost; another may take it.
    Gone,
}

fn hand_over(
    connection: &Arc<Connection>,
    ticket: u64,
    frame: &Frame,
    to: &Endpoint,
    options: CallOptions,
) -> Result<WaitingCall, Refused> {
    let now = Instant::now();
    if now >= options.deadline {
        return Err(Refused::Finally(timed_out(to, "the deadline passed before it was sent")));
    }
    connection.hand_over(ticket, options.lane, frame, now).map_err(|refused| match refused {
        NotSent::Full => Refused::Finally(TransportError::Overloaded { endpoint: to.clone() }),
        NotSent::Gone => Refused::Gone,
    })
}

fn unreachable(endpoint: &Endpoint, reason: &str) -> TransportError {
    TransportError::Unreachable { endpoint: endpoint.clone(), reason: reason.to_owned() }
}

fn timed_out(endpoint: &Endpoint, reason: &str) -> TransportError {
    TransportError::Timeout { endpoint: endpoint.clone(), reason: reason.to_owned() }
}
