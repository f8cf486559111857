//! The only place that calls the transport: encodes, bounds, decodes, and notes who answers and who does not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::node::{Metrics, Node};
use crate::protocol::message::{Request, Response};
use crate::protocol::peer::{Host, Incarnation};
use crate::protocol::routing::Ask;
use crate::protocol::wire::{self, Header, WireError};
use crate::transport::{CallOptions, Endpoint, Frame, Lane, Transport, TransportError};

/// The longest deadline of a maintenance call.
const MAX_CONTROL_DEADLINE: Duration = Duration::from_secs(2);
/// Answers a host may miss in a row; with the next one it is taken for dead.
const TOLERATED_MISSES: u32 = 1;
/// What an answer is given beside its usual way, so that it is there before its caller stops waiting.
const ANSWER_SLACK: Duration = Duration::from_millis(10);
/// How long a message of a hand-off may take before it is sent again, beside the time its bytes take.
const TRANSFER_FLOOR: Duration = Duration::from_secs(5);
/// The bytes a second that a link is trusted with until it has shown what it carries.
const SLOWEST_LINK: f64 = (32 << 10) as f64;
/// From so many bytes on a message shows that.
const TELLING_BYTES: usize = 64 << 10;
/// Hosts whose times are remembered.
const MAX_HOSTS: usize = 65_536;

/// Why a call has no response, by what it means for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// Certainly not executed: the host is gone, replaced, or of another ring.
    NotExecuted(String),
    /// It may have been executed.
    NoReply(String),
    /// By a host that lives, which is overloaded: certainly not executed, but for what a hand-off sends, which may be carried
    /// out later.
    Busy(String),
    /// The request exceeds the transport's limit: certainly not executed.
    TooLarge { len: usize, max: usize },
    /// The reply exceeds it: executed, if only by all appearances.
    ReplyTooLarge { len: usize, max: usize },
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
            CallError::ReplyTooLarge { len, max } => write!(f, "a reply of {len} bytes exceeds {max}"),
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
    /// The bytes a second of the last large message, from its sending to its answer.
    bytes_per_second: Option<f64>,
    misses: u32,
    /// When the last miss was noted.
    missed_at: Option<Instant>,
    /// When it was last asked for a sign of life on behalf of a request that waits.
    probed_at: Option<Instant>,
}

impl PeerTimes {
    /// When a maintenance call to `host` is given up: twice its usual round trip and four deviations, as much again for
    /// each miss, at least `floor`.
    fn deadline(&self, host: Incarnation, floor: Duration) -> Duration {
        let misses = self.hosts.get(&host).map_or(0, |times| times.misses);
        self.deadline_after(host, floor, misses)
    }

    /// [`PeerTimes::deadline`] after so many misses.
    fn deadline_after(&self, host: Incarnation, floor: Duration, misses: u32) -> Duration {
        let times = self.hosts.get(&host).copied().unwrap_or_default();
        let usual = times.round_trip.map_or(floor, |(mean, deviation)| 2 * mean + 4 * deviation);
        (usual * (1 + misses)).clamp(floor, MAX_CONTROL_DEADLINE.max(floor))
    }

    /// How long two maintenance calls to `host` in a row take to miss their answers, from none missed on.
    fn two_misses(&self, host: Incarnation, floor: Duration) -> Duration {
        (0..=TOLERATED_MISSES).map(|misses| self.deadline_after(host, floor, misses)).sum()
    }

    /// How long a request to `host` and its answer take on their way, unless something is out of the ordinary: twice the
    /// usual round trip and four deviations. `None` while none was measured.
    fn way(&self, host: Incarnation) -> Option<Duration> {
        let (mean, deviation) = self.hosts.get(&host)?.round_trip?;
        Some(2 * mean + 4 * deviation + ANSWER_SLACK)
    }

    /// When the `tries`-th sending of a hand-off's message of `bytes` is given up: after five seconds and four times
    /// what its bytes took at the pace of the last large message, or at 32 KiB a second as long as there was none.
    /// A repeated one has the time of that slowest link, doubled with each try: the link may have become slower.
    ///
    /// A transport loses a call with its connection, and says so, and a host that does not live any more ends the
    /// call too (`Node::call_while_alive`): so a deadline that is far costs only where single frames are lost, and
    /// one that is near sends the same bytes again down a link that they already fill.
    pub(crate) fn transfer_time(&self, host: Incarnation, bytes: usize, tries: u32) -> Duration {
        let shown = self.hosts.get(&host).and_then(|times| times.bytes_per_second);
        let rate = match shown {
            Some(rate) if tries == 1 => rate / 4.0,
            Some(rate) => SLOWEST_LINK.min(rate / 4.0),
            None => SLOWEST_LINK,
        };
        let time = TRANSFER_FLOOR + Duration::from_secs_f64(bytes as f64 / rate);
        time * 2u32.saturating_pow(tries.saturating_sub(1))
    }

    /// Notes the answer to a message of `bytes`: the host lives, and a large message tells the pace of its link.
    fn answered(&mut self, host: Incarnation, lane: Lane, bytes: usize, took: Duration) {
        let times = self.entry(host);
        times.misses = 0;
        if lane == Lane::Bulk && bytes >= TELLING_BYTES {
            times.bytes_per_second = Some(bytes as f64 / took.as_secs_f64());
        }
    }

    /// Notes how long `host` took for a maintenance call. Others say nothing about the next ping: they are large, or wait
    /// there for a reason.
    fn took(&mut self, host: Incarnation, took: Duration) {
        let times = self.entry(host);
        times.round_trip = Some(match times.round_trip {
            None => (took, took / 2),
            Some((mean, deviation)) => {
                let off = took.abs_diff(mean);
                ((7 * mean + took) / 8, (3 * deviation + off) / 4)
            }
        });
    }

    /// Notes a missed answer to a call made at `sent`; whether the host is now taken for dead. Calls that waited at
    /// the same time miss their answers together: they count as one.
    fn missed(&mut self, host: Incarnation, sent: Instant) -> bool {
        let times = self.entry(host);
        if times.missed_at.is_none_or(|at| sent >= at) {
            times.misses += 1;
            times.missed_at = Some(Instant::now());
        }
        times.misses > TOLERATED_MISSES
    }

    /// Whether it is time to ask `host` for a sign of life again, `pause` after whoever asked last; notes that it
    /// is asked.
    fn probe_is_due(&mut self, host: Incarnation, pause: Duration) -> bool {
        let times = self.entry(host);
        let due = times.probed_at.is_none_or(|at| at.elapsed() >= pause);
        if due {
            times.probed_at = Some(Instant::now());
        }
        due
    }

    pub(crate) fn forget(&mut self, host: Incarnation) {
        self.hosts.remove(&host);
    }

    fn entry(&mut self, host: Incarnation) -> &mut HostTimes {
        if self.hosts.len() >= MAX_HOSTS && !self.hosts.contains_key(&host) {
            self.hosts.pop_first();
        }
        self.hosts.entry(host).or_default()
    }
}

impl<T: Transport> Node<T> {
    /// A maintenance call: short, and a miss is noted.
    pub(crate) async fn control(&self, to: &Arc<Host>, request: &Request) -> Result<Response, CallError> {
        let sent = Instant::now();
        let deadline = sent + self.usual_time(to);
        let result = self.call(to, request, Bytes::new(), Lane::Control, deadline).await;
        // What came later waited for this host, which slept.
        if result.is_ok() && Instant::now() <= deadline {
            self.times().took(to.incarnation, sent.elapsed());
        }
        if matches!(result, Err(CallError::NoReply(_))) && self.times().missed(to.incarnation, sent) {
            tracing::info!(host = %to.name, "does not answer: taken for dead");
            self.host_failed(to.incarnation);
        }
        result.map(|(response, _)| response)
    }

    /// A call that may take long: past the time that maintenance would give it, the host is asked for signs of
    /// life. While it gives them the call goes on; it ends without a reply once the host counts as dead.
    pub(crate) async fn call_while_alive(
        &self,
        to: &Arc<Host>,
        request: &Request,
        body: Bytes,
        lane: Lane,
        deadline: Instant,
    ) -> Result<(Response, Bytes), CallError> {
        let late = Instant::now() + self.usual_time(to);
        let call = self.call(to, request, body, lane, deadline);
        tokio::pin!(call);
        if let Ok(result) = tokio::time::timeout_at(late, call.as_mut()).await {
            return result;
        }
        tokio::select! {
            biased;
            result = call => result,
            () = self.dead(to) => Err(CallError::NoReply(format!("{} counts as dead", to.name))),
        }
    }

    /// Asks `host` for signs of life, until it counts as dead. Whoever waits for it at the same time asks in turn.
    async fn dead(&self, host: &Arc<Host>) {
        while !self.routing().is_lost(host.incarnation) {
            let pause = self.usual_time(host);
            let next = Instant::now() + pause;
            if self.times().probe_is_due(host.incarnation, pause) {
                self.gives_sign_of_life(host).await;
            }
            tokio::time::sleep_until(next).await;
        }
    }

    /// Asks `host` for a sign of life; whether it gave one. If so, what others say about it is believed again.
    pub(crate) async fn gives_sign_of_life(&self, host: &Arc<Host>) -> bool {
        let request = Request::Round { host: self.me.clone(), asks: vec![Ask::Ping] };
        let alive = self.control(host, &request).await.is_ok();
        if alive {
            self.routing().alive(host);
        }
        alive
    }

    /// Whether it is time to ask `host` for a sign of life: not while it is being asked already.
    pub(crate) fn probe_is_due(&self, host: &Host) -> bool {
        let pause = self.usual_time(host);
        self.times().probe_is_due(host.incarnation, pause)
    }

    /// How long ago `host` may have been asked what it answered, if it is to be counted on: two thirds of the time in which two
    /// maintenance calls in a row miss their answers, after which it would take this host for dead.
    pub(crate) fn fresh_time(&self, host: &Host) -> Duration {
        self.times().two_misses(host.incarnation, self.config.min_call_deadline) * 2 / 3
    }

    /// How long a maintenance call to `host` may take.
    fn usual_time(&self, host: &Host) -> Duration {
        self.times().deadline(host.incarnation, self.config.min_call_deadline)
    }

    /// How long `to` may work on a request, for the header: what its caller waits without the way there and back, so that
    /// "not executed" is heard in time, but three quarters of it at least.
    fn announced_millis(&self, to: &Host, deadline: Instant) -> u32 {
        let left = deadline.saturating_duration_since(Instant::now());
        let way = self.times().way(to.incarnation).unwrap_or(self.config.min_call_deadline);
        millis(left - way.min(left / 4))
    }

    /// Whether an update that is sent to `host` now may be refused too late for its caller to hear it. One that has most of
    /// its time left is sent all the same.
    pub(crate) fn is_too_late(&self, host: &Host, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let way = self.times().way(host.incarnation);
        way.is_some_and(|way| left < (4 * way).min(self.config.operation_deadline / 4))
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
            remaining_ms: self.announced_millis(to, deadline),
        };
        let frame = wire::encode_request(header, request, body).map_err(|error| {
            Metrics::add(&self.metrics.call_failures, 1);
            CallError::TooLarge { len: error.len, max: wire::MAX_MESSAGE_BYTES }
        })?;
        let request_len = frame.len();
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
                self.times().answered(to.incarnation, lane, request_len, sent.elapsed());
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
            Err(Unanswered::Transport(TransportError::TooLarge { len, max })) if request_len > max => {
                Err(CallError::TooLarge { len, max })
            }
            Err(Unanswered::Transport(TransportError::TooLarge { len, max })) => {
                Err(CallError::ReplyTooLarge { len, max })
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
    millis(deadline.saturating_duration_since(Instant::now()))
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Incarnation = Incarnation(1);
    const CHUNK: usize = 256 << 10;
    const VALUE: usize = 16 << 20;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_message_of_a_hand_off_has_the_time_its_bytes_take_on_a_slow_link() {
        let times = PeerTimes::default();
        assert_eq!(times.transfer_time(HOST, 0, 1), seconds(5));
        assert_eq!(times.transfer_time(HOST, CHUNK, 1), seconds(5 + 8));
        assert_eq!(times.transfer_time(HOST, VALUE, 1), seconds(5 + 512));
        assert_eq!(times.transfer_time(HOST, CHUNK, 3), seconds(4 * (5 + 8)));
    }

    #[test]
    fn what_a_link_has_shown_shortens_the_wait_for_a_lost_message_but_only_once() {
        let mut times = PeerTimes::default();
        times.answered(HOST, Lane::Bulk, CHUNK, Duration::from_millis(250));
        assert_eq!(times.transfer_time(HOST, CHUNK, 1), seconds(5 + 1));
        assert_eq!(times.transfer_time(HOST, VALUE, 1), seconds(5 + 64));
        assert_eq!(
            times.transfer_time(HOST, VALUE, 2),
            2 * seconds(5 + 512),
            "the link may be slower by now"
        );
        times.answered(HOST, Lane::Bulk, CHUNK, seconds(64));
        assert_eq!(times.transfer_time(HOST, CHUNK, 1), seconds(5 + 256));
        times.answered(HOST, Lane::Bulk, CHUNK, Duration::ZERO);
        assert_eq!(times.transfer_time(HOST, VALUE, 1), seconds(5));
    }

    #[test]
    fn two_calls_miss_their_answers_in_at_least_three_of_the_shortest_deadlines() {
        let (mut times, floor) = (PeerTimes::default(), Duration::from_millis(500));
        assert_eq!(times.two_misses(HOST, floor), 3 * floor);
        times.took(HOST, seconds(1));
        assert_eq!(times.two_misses(HOST, floor), 2 * MAX_CONTROL_DEADLINE);
        times.missed(HOST, Instant::now());
        assert_eq!(times.two_misses(HOST, floor), 2 * MAX_CONTROL_DEADLINE, "whatever was missed before");
        assert_eq!(PeerTimes::default().two_misses(HOST, seconds(3)), seconds(6));
    }

    #[test]
    fn a_large_message_does_not_change_when_a_host_counts_as_dead() {
        let mut times = PeerTimes::default();
        let floor = Duration::from_millis(500);
        times.answered(HOST, Lane::Bulk, VALUE, seconds(134));
        assert_eq!(times.deadline(HOST, floor), floor);
        times.took(HOST, seconds(1));
        assert_eq!(times.deadline(HOST, floor), MAX_CONTROL_DEADLINE);
    }
}
