//! The way to one peer for one lane: dialled by one task, shared by all calls, made anew after a loss.

use std::sync::{Arc, Mutex};

use chord::transport::{Endpoint, TransportError};
use futures::FutureExt;
use futures::future::Shared;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::ZmqConfig;
use crate::connection::Connection;
use crate::counters::Counters;
use crate::lifetime::{Lifeline, Lifetime};
use crate::socket;

/// What every task of a transport needs to know.
pub(crate) struct Context {
    pub(crate) config: ZmqConfig,
    pub(crate) counters: Counters,
    /// Whether we gather frames into batches before the library sees them. Its writers flush when they run. On
    /// a current-thread runtime they run after every task that was ready before them, and find a batch. A
    /// multi-thread runtime runs a woken task next, and it would find one frame.
    pub(crate) batches: bool,
}

type Dial = Shared<oneshot::Receiver<Result<Arc<Connection>, Arc<str>>>>;

pub(crate) struct Link {
    endpoint: Endpoint,
    /// Guards the link's state. Never held across an await.
    state: Mutex<State>,
}

enum State {
    Down(Option<Failure>),
    /// One task dials for everyone; `failures` dials have failed before.
    Dialling {
        dial: Dial,
        failures: u32,
    },
    Up(Arc<Connection>),
}

/// The dials that failed since the link was last up.
struct Failure {
    count: u32,
    retry_at: Instant,
    reason: Arc<str>,
}

enum Step {
    Use(Arc<Connection>),
    Await(Dial),
    Pause(Instant, Lifeline),
}

impl Link {
    pub(crate) fn new(endpoint: Endpoint) -> Arc<Link> {
        Arc::new(Link { endpoint, state: Mutex::new(State::Down(None)) })
    }

    /// The connection, if there is one.
    pub(crate) fn up(&self) -> Option<Arc<Connection>> {
        match &*self.state.lock().expect("no holder panics") {
            State::Up(connection) => Some(connection.clone()),
            State::Down(_) | State::Dialling { .. } => None,
        }
    }

    /// The connection, dialled if there is none; all concurrent callers share one dial. Cancel safe: a dial
    /// goes on without its callers.
    ///
    /// # Errors
    /// `Unreachable` when the dial fails, or when the pause after a failed one outlasts `deadline`; `Closed`.
    pub(crate) async fn connection(
        self: &Arc<Self>,
        context: &Arc<Context>,
        lifetime: &Lifetime,
        deadline: Instant,
    ) -> Result<Arc<Connection>, TransportError> {
        loop {
            match self.step(context, lifetime, deadline)? {
                Step::Use(connection) => return Ok(connection),
                Step::Await(dial) => {
                    return match dial.await {
                        Ok(Ok(connection)) => Ok(connection),
                        Ok(Err(reason)) => Err(self.unreachable(&reason)),
                        Err(_) => Err(TransportError::Closed),
                    };
                }
                Step::Pause(until, mut lifeline) => tokio::select! {
                    () = sleep_until(until) => {}
                    () = lifeline.cut() => return Err(TransportError::Closed),
                },
            }
        }
    }

    fn step(
        self: &Arc<Self>,
        context: &Arc<Context>,
        lifetime: &Lifetime,
        deadline: Instant,
    ) -> Result<Step, TransportError> {
        let mut state = self.state.lock().expect("no holder panics");
        let failures = match &*state {
            State::Up(connection) => return Ok(Step::Use(connection.clone())),
            State::Dialling { dial, .. } => return Ok(Step::Await(dial.clone())),
            State::Down(None) => 0,
            State::Down(Some(failure)) if failure.retry_at >= deadline => {
                return Err(self.unreachable(&failure.reason));
            }
            State::Down(Some(failure)) if failure.retry_at > Instant::now() => {
                let lifeline = lifetime.lifeline().ok_or(TransportError::Closed)?;
                return Ok(Step::Pause(failure.retry_at, lifeline));
            }
            State::Down(Some(failure)) => failure.count,
        };
        let lifeline = lifetime.lifeline().ok_or(TransportError::Closed)?;
        let (dial_tx, dial_rx) = oneshot::channel();
        let dial = dial_rx.shared();
        *state = State::Dialling { dial: dial.clone(), failures };
        drop(state);
        tokio::spawn(self.clone().run(context.clone(), lifeline, dial_tx));
        Ok(Step::Await(dial))
    }

    /// The task of one connection: dials, brings answers until it ends, waits until the library has let go.
    async fn run(
        self: Arc<Self>,
        context: Arc<Context>,
        mut lifeline: Lifeline,
        dial_tx: oneshot::Sender<Result<Arc<Connection>, Arc<str>>>,
    ) {
        let config = &context.config;
        let dialled = tokio::select! {
            biased;
            () = lifeline.cut() => return,
            dialled = timeout(
                config.dial_timeout,
                socket::dial(&self.endpoint, config.trusted_network, config.dial_timeout),
            ) => dialled.unwrap_or_else(|_| Err(format!("no ZeroMQ handshake within {:?}", config.dial_timeout))),
        };
        let dialled = match dialled {
            Ok(dialled) => dialled,
            Err(reason) => {
                tracing::debug!(peer = %self.endpoint, %reason, "cannot connect");
                let reason: Arc<str> = reason.into();
                self.failed(reason.clone(), config);
                // An error means that all callers have gone.
                let _ = dial_tx.send(Err(reason));
                return;
            }
        };
        let connection = Arc::new(Connection::new(dialled.send, context.batches));
        *self.state.lock().expect("no holder panics") = State::Up(connection.clone());
        let _ = dial_tx.send(Ok(connection.clone()));
        let max = config.max_frame_bytes;
        let ended =
            connection.run(dialled.recv, dialled.monitor, max, &context.counters, &mut lifeline).await;
        tracing::debug!(peer = %self.endpoint, reason = ended, "connection ended");
        self.give_up(&connection);
        drop(connection);
        if !socket::released(dialled.backend).await {
            tracing::warn!(peer = %self.endpoint, "the peer does not read: its socket stays until it does or dies");
            context.counters.stuck_socket();
        }
    }

    fn failed(&self, reason: Arc<str>, config: &ZmqConfig) {
        let mut state = self.state.lock().expect("no holder panics");
        let failures = match &*state {
            State::Dialling { failures, .. } => *failures,
            State::Down(_) | State::Up(_) => 0,
        };
        let pause = config.redial_min.saturating_mul(1 << failures.min(20)).min(config.redial_max);
        *state = State::Down(Some(Failure {
            count: failures.saturating_add(1),
            retry_at: Instant::now() + pause,
            reason,
        }));
    }

    /// Uses `connection` for no further call; those that wait on it keep it.
    pub(crate) fn give_up(&self, connection: &Arc<Connection>) {
        let mut state = self.state.lock().expect("no holder panics");
        if matches!(&*state, State::Up(up) if Arc::ptr_eq(up, connection)) {
            *state = State::Down(None);
        }
        drop(state);
        connection.retire();
    }

    /// Closes the connection, if there is one, as soon as no call waits on it.
    pub(crate) fn retire(&self) {
        let state = std::mem::replace(&mut *self.state.lock().expect("no holder panics"), State::Down(None));
        if let State::Up(connection) = state {
            connection.retire();
        }
    }

    pub(crate) fn is_dialling(&self) -> bool {
        matches!(&*self.state.lock().expect("no holder panics"), State::Dialling { .. })
    }

    fn unreachable(&self, reason: &str) -> TransportError {
        TransportError::Unreachable { endpoint: self.endpoint.clone(), reason: reason.to_owned() }
    }
}
