//! What a hand-off offers, and whom it keeps waiting.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::config::Config;
use crate::node::MAX_HAND_OFFS;
use crate::protocol::group::Verdict;
use crate::protocol::wire::Header;
use crate::storage::MemoryStorage;
use crate::transport::{CallOptions, Endpoint, Frame, Incoming, TransportError};

/// The learner may have forgotten what was decided for it, because it took this host for dead. If it declined
/// what the ring calls another's by now, nobody would ever serve it again.
#[test]
fn what_is_decided_is_offered_whomever_the_ring_names() {
    let host = Host::named("a", 1);
    let transfer = TransferId { source: host.incarnation, number: 1 };
    let pieces = vec![(Interval::whole(), 1)];
    let mut job = HandOff {
        transfer,
        pieces,
        to: host.clone(),
        leaving: false,
        urgent: false,
        decided: false,
        moved: false,
        place: None,
    };
    let insists = |job: &HandOff| matches!(job.offer(host.clone()), Request::Offer { leaving: true, .. });
    assert!(!insists(&job));
    job.decided = true;
    assert!(insists(&job));
}

/// Everybody takes what is handed over, but one host crashes before each decision reaches it.
struct OneCrashes {
    me: Endpoint,
    crashed: Endpoint,
    /// What was decided for it.
    decided: Mutex<BTreeSet<TransferId>>,
}

#[async_trait]
impl Transport for OneCrashes {
    fn endpoint(&self) -> &Endpoint {
        &self.me
    }

    fn max_frame_bytes(&self) -> usize {
        17 << 20
    }

    async fn call(&self, to: &Endpoint, frame: Frame, _: CallOptions) -> Result<Frame, TransportError> {
        let (header, request) = wire::decode_request(&frame).unwrap();
        let mut decided = self.decided.lock().unwrap();
        let response = match request {
            Request::Offer { transfer, .. } if !decided.contains(&transfer) => Response::Learning,
            Request::Install { .. } if *to != self.crashed => Response::Installed,
            request => {
                if let Request::Install { transfer, .. } = request {
                    decided.insert(transfer);
                }
                return Err(TransportError::Unreachable { endpoint: to.clone(), reason: "crashed".into() });
            }
        };
        let header = Header { from: header.to, to: header.from, ..header };
        Ok(wire::encode_response(header, &response, Bytes::new()).unwrap())
    }

    async fn accept(&self) -> Option<Incoming> {
        pending().await
    }

    async fn close(&self) {}
}

async fn soon(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not within ten seconds");
}

#[tokio::test(start_paused = true)]
async fn hand_offs_that_are_decided_for_a_crashed_host_keep_no_place_from_others() {
    let (crashed, live) = (Host::named("crashed", 2), Host::named("live", 3));
    let transport = OneCrashes {
        me: Host::named("a", 1).endpoint.clone(),
        crashed: crashed.endpoint.clone(),
        decided: Mutex::default(),
    };
    let storage = Arc::new(MemoryStorage::new());
    let guard = Node::create(transport, Config::named("a"), storage).await.unwrap();
    let node = &guard.node;
    let piece = |i: usize| Interval::new(Id::from_u128(10 * i as u128), Id::from_u128(10 * i as u128 + 5));
    let verdict = |i: usize| node.groups().verdict(&piece(i).upto);
    for i in 0..=MAX_HAND_OFFS {
        soon("a place", || node.start_hand_off(piece(i), crashed.clone(), true)).await;
        soon("the decision", || matches!(verdict(i), Verdict::Fenced(_))).await;
    }
    let last = MAX_HAND_OFFS + 1;
    soon("a place", || node.start_hand_off(piece(last), live.clone(), true)).await;
    soon("the end", || matches!(verdict(last), Verdict::Moved(_))).await;
}
