//! [`QuicTransport`].

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chord::transport::{CallOptions, Endpoint, Frame, Incoming, Lane, Transport, TransportError};
use tokio::sync::{Mutex as AsyncMutex, Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};

use crate::config::{QuicConfig, QuicError};
use crate::dial::Dialler;
use crate::link::{CLOSED, Failure};
use crate::pool::{Pool, Slot};
use crate::serve::{Arrived, Listener, listen};
use crate::tasks::{Tasks, TrackedRuntime};
use crate::tls;

/// What the system is asked to hold for the socket to read. Linux's default holds the first packets of about a
/// hundred peers; what does not fit is lost and sent again, with growing delay. The send buffer keeps its default:
/// a longer one would be a queue that knows no priorities.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// How long `close` lets QUIC say goodbye to its peers.
const GOODBYE: Duration = Duration::from_secs(1);

/// How long `close` waits for tasks that were told to end.
const ABORTED: Duration = Duration::from_secs(5);

/// A [`Transport`] over QUIC. See the crate's documentation.
pub struct QuicTransport {
    endpoint: Endpoint,
    max_frame_bytes: usize,
    pool: Pool,
    arrived: AsyncMutex<mpsc::Receiver<Arrived>>,
    closed: AtomicBool,
    /// Held while closing, so that whoever closes a second time waits for the first.
    closing: AsyncMutex<()>,
    /// The socket, until it is closed. Never held across an await.
    dialler: Mutex<Option<Arc<Dialler>>>,
    /// Our tasks.
    tasks: Arc<Tasks>,
    /// Quinn's: the socket's and the connections'.
    drivers: Arc<Tasks>,
}

impl QuicTransport {
    /// Listens, and returns when peers can connect. Must be called within a tokio runtime; the transport's tasks
    /// run on it.
    ///
    /// # Errors
    /// [`QuicError`]: the configuration makes no sense, the certificates are unusable, the address is taken or
    /// not this machine's.
    pub async fn bind(config: QuicConfig) -> Result<QuicTransport, QuicError> {
        config.validate()?;
        let settings = tls::settings(&config)?;
        let listening = |source| QuicError::Listen { address: config.listen.address().to_owned(), source };
        let socket = open_socket(config.listen.address()).await.map_err(listening)?;
        let endpoint = advertised(&config, socket.local_addr().map_err(listening)?)?;

        let (tasks, drivers) = (Arc::<Tasks>::default(), Arc::<Tasks>::default());
        let runtime = Arc::new(TrackedRuntime(drivers.clone()));
        let quic = quinn::Endpoint::new(settings.endpoint, Some(settings.server), socket, runtime)
            .map_err(listening)?;
        let (queue, arrived) = mpsc::channel(config.accept_queue);
        let listener = Listener {
            queue,
            tasks: tasks.clone(),
            connections: Arc::new(Semaphore::new(config.max_connections)),
            handshake_timeout: config.dial_timeout,
            max_frame_bytes: config.max_frame_bytes,
            max_in_flight: config.max_in_flight,
        };
        tasks.spawn(listen(quic.clone(), listener));
        let dialler = Dialler {
            endpoint: quic,
            client: settings.client,
            timeout: config.dial_timeout,
            max_frame_bytes: config.max_frame_bytes,
        };
        Ok(QuicTransport {
            endpoint,
            max_frame_bytes: config.max_frame_bytes,
            pool: Pool::new(config.max_connections, config.max_in_flight),
            arrived: AsyncMutex::new(arrived),
            closed: AtomicBool::new(false),
            closing: AsyncMutex::new(()),
            dialler: Mutex::new(Some(Arc::new(dialler))),
            tasks,
            drivers,
        })
    }

    async fn exchange(
        &self,
        slot: &Slot,
        to: &Endpoint,
        frame: &Frame,
        lane: Lane,
    ) -> Result<Frame, TransportError> {
        loop {
            let link = slot.link(|| self.dialler().clone(), &self.tasks).await.map_err(|reason| {
                self.unless_closed(TransportError::Unreachable {
                    endpoint: to.clone(),
                    reason: reason.to_string(),
                })
            })?;
            return match link.call(frame, lane).await {
                Ok(reply) => Ok(reply),
                Err(Failure::NotSent) => continue,
                Err(Failure::TooLarge { len, max }) => Err(TransportError::TooLarge { len, max }),
                Err(Failure::Lost(reason)) => {
                    Err(self.unless_closed(TransportError::Timeout { endpoint: to.clone(), reason }))
                }
            };
        }
    }

    fn unless_closed(&self, error: TransportError) -> TransportError {
        if self.closed.load(Ordering::Acquire) { TransportError::Closed } else { error }
    }

    fn dialler(&self) -> MutexGuard<'_, Option<Arc<Dialler>>> {
        self.dialler.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells peers goodbye and every task to end.
    fn shut(&self) {
        self.closed.store(true, Ordering::Release);
        if let Some(dialler) = self.dialler().take() {
            dialler.endpoint.close(CLOSED, b"closed");
        }
        self.tasks.abort();
        self.pool.clear();
    }
}

#[async_trait]
impl Transport for QuicTransport {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn max_frame_bytes(&self) -> usize {
        self.max_frame_bytes
    }

    async fn call(&self, to: &Endpoint, frame: Frame, options: CallOptions) -> Result<Frame, TransportError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(TransportError::Closed);
        }
        if frame.len() > self.max_frame_bytes {
            return Err(TransportError::TooLarge { len: frame.len(), max: self.max_frame_bytes });
        }
        let late =
            || TransportError::Timeout { endpoint: to.clone(), reason: "the deadline passed".to_owned() };
        if options.deadline <= Instant::now() {
            return Err(late());
        }
        let slot = self
            .pool
            .slot(to, options.lane)
            .ok_or_else(|| TransportError::Overloaded { endpoint: to.clone() })?;
        let exchange = self.exchange(&slot, to, &frame, options.lane);
        timeout_at(options.deadline, exchange).await.unwrap_or_else(|_| Err(late()))
    }

    async fn accept(&self) -> Option<Incoming> {
        let mut arrived = self.arrived.lock().await;
        if self.closed.load(Ordering::Acquire) {
            return None;
        }
        let next = arrived.recv().await?;
        (!self.closed.load(Ordering::Acquire)).then_some(next.incoming)
    }

    async fn close(&self) {
        let _closing = self.closing.lock().await;
        self.shut();
        self.tasks.joined(ABORTED).await;
        if !self.drivers.joined(GOODBYE).await {
            self.drivers.abort();
            self.drivers.joined(ABORTED).await;
        }
    }
}

impl Drop for QuicTransport {
    fn drop(&mut self) {
        self.shut();
    }
}

impl fmt::Debug for QuicTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicTransport").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// A socket on the first address of `listen` that can be had, with a large receive buffer if the system grants it.
async fn open_socket(listen: &str) -> io::Result<UdpSocket> {
    let socket = tokio::net::UdpSocket::bind(listen).await?.into_std()?;
    let options = quinn::udp::UdpSocketState::new((&socket).into())?;
    let _ = options.set_recv_buffer_size((&socket).into(), RECEIVE_BUFFER_BYTES);
    Ok(socket)
}

/// What others are told to dial: as configured, or the bound address; with the host's name.
fn advertised(config: &QuicConfig, bound: SocketAddr) -> Result<Endpoint, QuicError> {
    let invalid = |reason: &str| QuicError::InvalidConfig { field: "advertise", reason: reason.to_owned() };
    let address = match &config.advertise {
        Some(advertise) if advertise.port() == 0 => {
            let host = advertise.address().rsplit_once(':').map_or("", |(host, _)| host);
            format!("{host}:{}", bound.port())
        }
        Some(advertise) => advertise.address().to_owned(),
        None if bound.ip().is_unspecified() => {
            return Err(invalid("needed when listening on all addresses"));
        }
        None => bound.to_string(),
    };
    let endpoint = format!("quic://{}@{address}", config.name).parse();
    endpoint.map_err(|error: chord::transport::InvalidEndpoint| invalid(&error.to_string()))
}
