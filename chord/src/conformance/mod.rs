//! The public conformance suite for transports.
//!
//! Everything the engine relies on and that can be seen from outside is one claim here: an async function over
//! a [`Fixture`] that panics when the transport breaks it. A transport's author writes the fixture and one line,
//!
//! ```ignore
//! chord::transport_conformance!(MyFixture::new());
//! ```
//!
//! which expands to one `#[test]` for each claim, each with a fixture and a runtime of its own. The crate needs
//! chord with the feature `conformance` among its dev-dependencies, and nothing else.
//!
//! The claims run on real time, on a runtime with two worker threads. They wait for events and never sleep;
//! what they bound in time they bound generously, so that a busy machine does not fail a correct transport.

pub mod claims;
mod support;

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;

use crate::transport::{Endpoint, Transport};

/// What the suite must know of a transport to test it.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The transport under test.
    type Transport: Transport;

    /// A transport for the host `name` that listens when this returns and whose endpoint carries the name.
    ///
    /// With `at`, an endpoint that an earlier, closed or dropped transport had, it listens on the same address:
    /// a restart. The fixture retries while the address is still taken and panics after a deadline of its own.
    async fn open(&self, name: &str, at: Option<&Endpoint>) -> Self::Transport;

    /// The frame limit of the transports that [`Fixture::open`] makes, in bytes: at least 64 KiB. A limit near
    /// 1 MiB keeps the tests fast.
    fn max_frame_bytes(&self) -> usize;

    /// How many calls to one peer may be in flight at once on each lane, at least 4.
    fn max_in_flight(&self) -> usize;

    /// An endpoint where nobody listens and the network says so at once.
    fn absent(&self) -> Endpoint;

    /// Throws `bytes` at the listener of `to` from outside, below the transport's framing, on a connection of
    /// their own, and returns when they were handed over or refused. Does nothing where that is impossible.
    async fn garbage(&self, to: &Endpoint, bytes: &[u8]);
}

/// Longest a claim may take.
const CLAIM_LIMIT: Duration = Duration::from_secs(30);

/// Runs `claim` on a runtime of its own; what [`transport_conformance!`](crate::transport_conformance) calls.
///
/// # Panics
/// When the claim does, and, naming it, when it has not ended after 30 seconds.
pub fn run(name: &str, claim: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("the system gives two threads");
    let ended = runtime.block_on(async { tokio::time::timeout(CLAIM_LIMIT, claim).await });
    runtime.shutdown_background();
    assert!(ended.is_ok(), "the claim `{name}` has not ended after {CLAIM_LIMIT:?}");
}

/// One `#[test]` for each claim of [`conformance::claims`](crate::conformance::claims), run on the
/// [`Fixture`](crate::conformance::Fixture) that the expression makes.
#[macro_export]
macro_rules! transport_conformance {
    ($fixture:expr) => {
        $crate::transport_conformance! { @each $fixture;
            a_call_brings_back_head_and_body_intact
            many_calls_in_flight_get_each_its_own_reply
            calls_in_both_directions_at_once_are_answered
            a_frame_at_the_limit_passes
            an_oversize_frame_is_refused_and_not_delivered
            an_oversize_reply_fails_its_call_only
            an_unknown_peer_is_unreachable_at_once
            a_closed_peer_ends_the_call_it_was_working_on
            a_dropped_peer_ends_the_call_by_its_deadline
            a_peer_restarted_on_its_address_is_reached_again
            a_slow_call_delays_no_other
            a_deadline_is_kept
            a_call_dropped_by_the_peer_times_out
            cancelled_calls_leave_nothing_behind
            a_cancelled_accept_loses_no_frame
            closing_ends_what_is_in_flight
            closing_leaves_no_task
            dropping_leaves_no_task
            garbage_from_the_wire_is_survived
            bulk_does_not_starve_the_other_lanes
            large_requests_do_not_delay_control
            calls_past_the_bound_are_refused_at_once
            a_full_lane_takes_no_other_lanes_room
        }
    };
    (@each $fixture:expr; $($claim:ident)*) => {
        $(
            #[test]
            fn $claim() {
                $crate::conformance::run(stringify!($claim), async {
                    $crate::conformance::claims::$claim(&$fixture).await
                });
            }
        )*
    };
}
