//! The only place that calls the transport: encodes, bounds, decodes, and notes who answers and who does not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::node::{Metrics, Node};
use crate::protocol::message::{Request, Response};
use crate::protocol::peer::{Host, Incarnation};
use crate::protocol::wire::{self, Header, WireError};
use crate::transport::{CallOptions, Endpoint, Frame, Lane, Transport, TransportError};

/// The longest deadline of a maintenance call.
const MAX_CONTROL_DEADLINE: Duration = Duration::from_secs(2);
/// Answers a host may miss in a row; with the next one it is taken for dead.
const TOLERATED_MISSES: u32 = 1;
/// Hosts whose times are remembered.
const MAX_HOSTS: usize = 65_536;

/// Why a call has no response, by what it means for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// Certainly not executed: the host is gone, replaced, or of another ring.
    NotExecuted(String),
    /// It may have been executed.
    NoReply(String),
    /// Certainly not executed, by a host that lives: it is overloaded.
    Busy(String),
    /// The frame exceeds the transport's limit.
    TooLarge { len: usize, max: usize },
    /// This node's transport is closed.
    Closed,
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CallError::NotExecuted(reason) | CallError::NoReply(reason) | CallError::Busy(reason) => {
                f.write_str(reason)
            }
            CallError::TooLarge { len, max } => write!(f, "a frame of {len} bytes exceeds {max}"),
            CallError::Closed => f.write_str("this node is closed"),
        }
    }
}

/// Round-trip times and missed answers of other hosts.
#[derive(Default)]
pub(crate) struct PeerTimes {
    hosts: BTreeMap<Incarnation, HostTimes>,
}

#[derive(Clone, Copy, Default)]
struct HostTimes {
    /// Smoothed round trip and its deviation (Jacobson, 1988).
    round_trip: Option<(Duration, Duration)>,
    misses: u32,
}

impl PeerTimes {
    /// When a maintenance call to `host` is given up: its usual round trip and four deviations, doubled with each
    /// miss, at least `floor`.
    fn deadline(&self, host: Incarnation, floor: Duration) -> Duration {
        let times = self.hosts.get(&host).copied().unwrap_or_default();
        let usual = times.round_trip.map_or(floor, |(mean, deviation)| 2 * mean + 4 * deviation);
        (usual * (1 + times.misses)).clamp(floor, MAX_CONTROL_DEADLINE.max(floor))
    }

    fn answered(&mut self, host: Incarnation, took: Duration) {
        if self.hosts.len() >= MAX_HOSTS && !self.hosts.contains_key(&host) {
            self.hosts.pop_first();
        }
        let times = self.hosts.entry(host).or_default();
        times.misses = 0;
        times.round_trip = Some(match times.round_trip {
            None => (took, took / 2),
            Some((mean, deviation)) => {
                let off = took.abs_diff(mean);
                ((7 * mean + took) / 8, (3 * deviation + off) / 4)
            }
        });
    }

    /// Notes a missed answer; whether the host is now taken for dead.
    fn missed(&mut self, host: Incarnation) -> bool {
        let times = self.hosts.entry(host).or_default();
        times.misses += 1;
        times.misses > TOLERATED_MISSES
    }

    pub(crate) fn forget(&mut self, host: Incarnation) {
        self.hosts.remove(&host);
    }
}

impl<T: Transport> Node<T> {
    /// A maintenance call: short, and a miss is noted.
    pub(crate) async fn control(&self, to: &Arc<Host>, request: &Request) -> Result<Response, CallError> {
        let patience = self.times().deadline(to.incarnation, self.config.min_call_deadline);
        let deadline = Instant::now() + patience;
        let result = self.call(to, request, Bytes::new(), Lane::Control, deadline).await;
        if matches!(result, Err(CallError::NoReply(_))) && self.times().missed(to.incarnation) {
            tracing::info!(host = %to.name, "does not answer: taken for dead");
            self.host_failed(to.incarnation);
        }
        result.map(|(response, _)| response)
    }

    /// A call whose response may carry values. A host that cannot be reached, or was replaced, is taken out of the
    /// ring's pointers at once.
    pub(crate) async fn call(
        &self,
        to: &Arc<Host>,
        request: &Request,
        body: Bytes,
        lane: Lane,
        deadline: Instant,
    ) -> Result<(Response, Bytes), CallError> {
        Metrics::add(&self.metrics.calls, 1);
        let sent = Instant::now();
        let header = Header {
            ring_tag: self.parameters.tag(),
            from: self.me.incarnation,
            to: to.incarnation,
            remaining_ms: millis_until(deadline),
        };
        let frame = wire::encode_request(header, request, body);
        let result = exchange(&self.transport, &to.endpoint, frame, lane, deadline).await;
        let result = match result {
            Ok((Response::Replaced(by), _)) => {
                tracing::info!(host = %to.name, by = %by.name, "was replaced at its endpoint");
                self.host_failed(to.incarnation);
                Err(CallError::NotExecuted(format!("{} was replaced", to.name)))
            }
            Ok((Response::Refused(reason), _)) => {
                tracing::info!(host = %to.name, reason, "refuses this host: no peer of this ring");
                self.host_failed(to.incarnation);
                Err(CallError::NotExecuted(format!("{} refused: {reason}", to.name)))
            }
            Ok(reply) => {
                self.times().answered(to.incarnation, sent.elapsed());
                refusals(reply, to)
            }
            Err(Unanswered::Transport(TransportError::Unreachable { reason, .. })) => {
                tracing::debug!(host = %to.name, reason, "cannot be reached");
                self.host_failed(to.incarnation);
                Err(CallError::NotExecuted(format!("{} cannot be reached: {reason}", to.name)))
            }
            Err(Unanswered::Transport(TransportError::Overloaded { .. })) => {
                Err(CallError::Busy(format!("too many calls in flight to {}", to.name)))
            }
            Err(Unanswered::Transport(TransportError::TooLarge { len, max })) => {
                Err(CallError::TooLarge { len, max })
            }
            Err(Unanswered::Transport(TransportError::Closed)) => Err(CallError::Closed),
            Err(Unanswered::Transport(TransportError::Timeout { reason, .. })) => {
                Err(CallError::NoReply(format!("no reply from {}: {reason}", to.name)))
            }
            Err(Unanswered::Wire(error)) => Err(CallError::NoReply(format!("{}: {error}", to.name))),
        };
        if result.is_err() {
            Metrics::add(&self.metrics.call_failures, 1);
        }
        result
    }
}

/// What came instead of a response.
pub(crate) enum Unanswered {
    Transport(TransportError),
    Wire(WireError),
}

/// Sends one frame and decodes what comes back.
pub(crate) async fn exchange(
    transport: &impl Transport,
    to: &Endpoint,
    frame: Frame,
    lane: Lane,
    deadline: Instant,
) -> Result<(Response, Bytes), Unanswered> {
    let reply =
        transport.call(to, frame, CallOptions { deadline, lane }).await.map_err(Unanswered::Transport)?;
    let (_, response) = wire::decode_response(&reply).map_err(Unanswered::Wire)?;
    Ok((response, reply.body))
}

/// Turns the responses that refuse a whole request into errors.
fn refusals(reply: (Response, Bytes), to: &Host) -> Result<(Response, Bytes), CallError> {
    match reply.0 {
        Response::Overloaded => Err(CallError::Busy(format!("{} is overloaded", to.name))),
        Response::Malformed(reason) => {
            Err(CallError::NotExecuted(format!("{} did not understand: {reason}", to.name)))
        }
        _ => Ok(reply),
    }
}

/// Milliseconds from now until `deadline`, for the header.
pub(crate) fn millis_until(deadline: Instant) -> u32 {
    u32::try_from(deadline.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u32::MAX)
}
