//! What a hand-off offers, and whom it keeps waiting.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Mutex;

use async_trait::async_trait;
use futures::FutureExt as _;

use super::*;
use crate::config::Config;
use crate::node::{Guard, MAX_HAND_OFFS};
use crate::protocol::entry::{Entry, Version};
use crate::protocol::group::{Group, Verdict};
use crate::protocol::routing;
use crate::protocol::wire::{self, Header};
use crate::storage::faulty::{DelayingFailing, Faults, Hang};
use crate::storage::{Batch, MemoryStorage, Storage, Stored};
use crate::transport::{CallOptions, Endpoint, Frame, Incoming, TransportError};

/// The learner may have forgotten what was decided for it, because it took this host for dead. If it declined
/// what the ring calls another's by now, nobody would ever serve it again.
#[test]
fn what_is_decided_is_offered_whomever_the_ring_names() {
    let host = Host::named("a", 1);
    let transfer = TransferId { source: host.incarnation, number: 1 };
    let pieces = vec![(Interval::whole(), 1)];
    let mut job = HandOff::new(transfer, pieces, host.clone(), false);
    let insists = |job: &HandOff| matches!(job.offer(host.clone()), Request::Offer { leaving: true, .. });
    assert!(!insists(&job));
    job.decided = true;
    assert!(insists(&job));
}

/// What a host answers; `None` when it is not reached.
type Answer = dyn Fn(&Endpoint, &Request) -> Option<Response> + Send + Sync;

/// All other hosts.
struct Others {
    me: Endpoint,
    answer: Box<Answer>,
    /// How long they take to answer chunks with entries.
    chunks_take: Duration,
}

impl Others {
    fn who(answer: impl Fn(&Endpoint, &Request) -> Option<Response> + Send + Sync + 'static) -> Others {
        let me = Host::named("a", 1).endpoint.clone();
        Others { me, answer: Box::new(answer), chunks_take: Duration::ZERO }
    }
}

#[async_trait]
impl Transport for Others {
    fn endpoint(&self) -> &Endpoint {
        &self.me
    }

    fn max_frame_bytes(&self) -> usize {
        17 << 20
    }

    async fn call(&self, to: &Endpoint, frame: Frame, _: CallOptions) -> Result<Frame, TransportError> {
        let (header, request) = wire::decode_request(&frame).unwrap();
        let unreached = || TransportError::Unreachable { endpoint: to.clone(), reason: "crashed".into() };
        let response = (self.answer)(to, &request).ok_or_else(unreached)?;
        if matches!(&request, Request::Chunk { entries, .. } if !entries.is_empty()) {
            tokio::time::sleep(self.chunks_take).await;
        }
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
    // One host crashes before each decision reaches it; the other takes everything.
    let (crashes, decided) = (crashed.endpoint.clone(), Mutex::new(BTreeSet::new()));
    let others = Others::who(move |to, request| match request {
        Request::Install { .. } if *to != crashes => Some(Response::Installed),
        Request::Install { transfer, .. } => {
            decided.lock().unwrap().insert(*transfer);
            None
        }
        Request::Offer { transfer, .. } => {
            (!decided.lock().unwrap().contains(transfer)).then_some(Response::Learning)
        }
        _ => None,
    });
    let storage = Arc::new(MemoryStorage::new());
    let guard = Node::create(others, Config::named("a"), storage).await.unwrap();
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

/// A node that begins to hand everything over to `learner`: one key, at the id that is returned.
async fn gives_away_one_key(others: Others, learner: &Arc<Host>) -> (Guard<Others>, Id) {
    let guard = Node::create(others, Config::named("a"), Arc::new(MemoryStorage::new())).await.unwrap();
    let node = &guard.node;
    let (id, key) = (Id::from_u128(5), Bytes::from_static(b"key"));
    let version = Version { epoch: 1, counter: 1 };
    let entry = Entry { version, value: Some(Bytes::from_static(b"value")), expires_at: None };
    node.storage.apply(Batch::one(Stored { id, key, entry })).await.unwrap();
    assert!(node.start_hand_off(Interval::whole(), learner.clone(), true));
    (guard, id)
}

/// Nobody serves what is decided: copying all of it once more would take as long as it did the first time.
#[tokio::test(start_paused = true)]
async fn what_was_confirmed_is_not_copied_again_when_an_installation_is_not_answered() {
    let learner = Host::named("learner", 2);
    let told: Arc<Mutex<Vec<&str>>> = Arc::default();
    let heard = told.clone();
    let others = Others::who(move |_, request| {
        let mut heard = heard.lock().unwrap();
        let (what, answer) = match request {
            Request::Offer { .. } => ("offer", Some(Response::Learning)),
            Request::Chunk { .. } => ("chunk", Some(Response::Stored)),
            Request::Install { .. } => {
                let answered = heard.iter().filter(|what| **what == "install").count() >= 5;
                ("install", answered.then_some(Response::Installed))
            }
            _ => return None,
        };
        heard.push(what);
        answer
    });
    let (guard, id) = gives_away_one_key(others, &learner).await;
    let node = &guard.node;
    soon("the end", || matches!(node.groups().verdict(&id), Verdict::Moved(_))).await;
    assert_eq!(
        *told.lock().unwrap(),
        ["offer", "chunk", "install", "install", "install", "install", "install", "install"]
    );
}

/// What is decided is served by nobody until it is installed. A repetition of the offer has to wait: what is sent once
/// it is answered must not be cleared.
#[tokio::test(start_paused = true)]
async fn while_an_offer_clears_others_install_and_its_repetition_is_not_answered() {
    let other = Host::named("other", 2);
    let others = Others::who(|_, request| match request {
        Request::Offer { .. } => Some(Response::Learning),
        Request::Install { .. } => Some(Response::Installed),
        _ => None,
    });
    let memory: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let store = Arc::new(DelayingFailing::new(memory.clone(), Faults::default()));
    let guard = Node::create(others, Config::named("a"), store.clone()).await.unwrap();
    let node = &guard.node;
    let id = Id::from_u128;
    assert!(node.start_hand_off(Interval::whole(), other.clone(), true));
    soon("the end", || matches!(node.groups().verdict(&id(5)), Verdict::Moved(_))).await;

    let (decided, cleared) = (Interval::new(id(0), id(10)), Interval::new(id(10), id(20)));
    let transfer = |number| TransferId { source: other.incarnation, number };
    let (decided_pieces, cleared_pieces) = ([(decided, 2)], [(cleared, 2)]);
    let offered = node.take_offer(transfer(1), &other, &decided_pieces, true).await;
    assert!(matches!(offered, Response::Learning), "{offered:?}");
    let version = Version { epoch: 1, counter: 1 };
    let entry = Entry { version, value: Some(Bytes::from_static(b"left over")), expires_at: None };
    memory.apply(Batch::one(Stored { id: id(15), key: Bytes::from_static(b"key"), entry })).await.unwrap();

    store.hang(Hang::Writes);
    let offer = || Box::pin(node.take_offer(transfer(2), &other, &cleared_pieces, true));
    let (mut first, mut again) = (offer(), offer());
    assert!(futures::poll!(&mut first).is_pending());
    assert!(futures::poll!(&mut again).is_pending());
    let records = [(decided, Group::of_one(3, node.me.clone()))];
    let installed = node.take_install(transfer(1), &records).now_or_never();
    assert!(matches!(installed, Some(Response::Installed)), "{installed:?}");
    assert!(futures::poll!(&mut again).is_pending());
    store.hang(Hang::Nothing);
    let (first, again) = tokio::join!(first, again);
    assert!(matches!((first, again), (Response::Learning, Response::Learning)));
    assert_eq!(memory.stats().await.entries, 0);
}

/// The learner may have taken the offer that it declined, and hold a part of the copy: it may not be told to install that.
#[tokio::test(start_paused = true)]
async fn what_was_declined_is_not_installed_under_the_name_that_was_offered() {
    let learner = Host::named("learner", 2);
    let told: Arc<Mutex<Vec<(&str, u64)>>> = Arc::default();
    let heard = told.clone();
    let others = Others::who(move |_, request| {
        let mut heard = heard.lock().unwrap();
        let offers = heard.iter().filter(|(what, _)| *what == "offer").count();
        let (what, transfer, answer) = match request {
            Request::Offer { transfer, .. } if offers == 1 => {
                ("offer", transfer, Response::Declined("this host is leaving".into()))
            }
            Request::Offer { transfer, .. } => ("offer", transfer, Response::Learning),
            Request::Chunk { transfer, .. } => ("chunk", transfer, Response::Stored),
            Request::Install { transfer, .. } if offers < 3 => {
                ("install", transfer, Response::NoSuchTransfer)
            }
            Request::Install { transfer, .. } => ("install", transfer, Response::Installed),
            _ => return None,
        };
        heard.push((what, transfer.number));
        Some(answer)
    });
    let (guard, id) = gives_away_one_key(others, &learner).await;
    let node = &guard.node;
    soon("the end", || matches!(node.groups().verdict(&id), Verdict::Moved(_))).await;
    let expected = [
        ("offer", 1),
        ("chunk", 1),
        ("install", 1),
        ("offer", 2),
        ("install", 3),
        ("offer", 4),
        ("chunk", 4),
        ("install", 4),
    ];
    assert_eq!(*told.lock().unwrap(), expected);
}

/// It may have taken this host for dead since, and left. That is how this host finds it when it froze while it waited.
#[tokio::test(start_paused = true)]
async fn nothing_is_decided_on_an_old_answer() {
    let learner = Host::named("learner", 2);
    let told: Arc<Mutex<Vec<&str>>> = Arc::default();
    let heard = told.clone();
    let mut others = Others::who(move |_, request| {
        let (what, answer) = match request {
            Request::Offer { .. } => ("offer", Response::Learning),
            Request::Chunk { entries, .. } if entries.is_empty() => ("still?", Response::NoSuchTransfer),
            Request::Chunk { .. } => ("chunk", Response::Stored),
            Request::Install { .. } => ("install", Response::Installed),
            Request::Round { .. } => return Some(Response::Round(vec![routing::Answer::Pong])),
            _ => return None,
        };
        heard.lock().unwrap().push(what);
        Some(answer)
    });
    others.chunks_take = Duration::from_secs(4);
    let (guard, id) = gives_away_one_key(others, &learner).await;
    let node = &guard.node;
    soon("it begins again", || told.lock().unwrap().len() >= 6).await;
    assert_eq!(told.lock().unwrap()[..6], ["offer", "chunk", "still?", "offer", "chunk", "still?"]);
    assert!(matches!(node.groups().verdict(&id), Verdict::Serve { .. }));
}

/// It would stay under way for ever, and what it hands over could not be handed to anybody else.
#[tokio::test(start_paused = true)]
async fn a_hand_off_that_panics_ends_the_node() {
    let learner = Host::named("learner", 2);
    let others = Others::who(|_, request| match request {
        Request::Offer { .. } => panic!("out of luck"),
        _ => None,
    });
    let (guard, _) = gives_away_one_key(others, &learner).await;
    soon("the end", || guard.node.check_open().is_err()).await;
    let reason = guard.node.check_open().unwrap_err().to_string();
    assert!(reason.contains("a hand-off failed: a bug"), "{reason}");
}
