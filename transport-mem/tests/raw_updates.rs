//! Messages about keys that no engine of this project would send.

mod stranger;

use std::sync::Arc;

use bytes::Bytes;
use chord::protocol::group::TransferId;
use chord::protocol::message::{ActionHead, EntryHead, ItemReply, Request, Response, UpdateItem};
use chord::storage::MemoryStorage;
use chord::storage::faulty::{DelayingFailing, Faults, Hang};
use chord::{Chord, Config, Error, Expiry, Version};
use chord_transport_mem::Network;
use stranger::{ME, Stranger, updates};

/// 512 such items on one key of 16 MiB would make their host reserve 8 GiB for one answer.
#[tokio::test(start_paused = true)]
async fn one_message_does_not_make_a_host_answer_with_more_values_than_the_longest_has_bytes() {
    let network = Network::new(1);
    let node = Chord::create(network.listen("node"), Config::named("node")).await.expect("a ring");
    let longest = node.config().max_value_bytes;
    node.put("key", vec![1; longest]).await.expect("it is stored");
    let stranger = Stranger::greets(&network, "stranger", node.endpoint()).await;
    let touch = |counter| UpdateItem {
        action: ActionHead::Expire(Expiry::Keep),
        return_previous: true,
        ..stranger.set(counter, "key", 0)
    };
    let request = updates((1..=8).map(touch).collect());
    let (response, body) = stranger.asks(&request, Bytes::new()).await.expect("it is answered");
    let Response::Items(replies) = response else { panic!("{response:?}") };
    assert_eq!(body.len(), longest);
    assert!(matches!(&replies[0], ItemReply::Updated(updated) if updated.existed), "{:?}", replies[0]);
    assert_eq!(replies[1..], vec![ItemReply::Forgotten; 7]);
    assert_eq!(node.get("key").await.expect("it serves on").map(|value| value.len()), Some(longest));
}

/// A key of almost a message's length fits into no chunk: its hand-off would fail for ever, and its host never leave.
#[tokio::test(start_paused = true)]
async fn keys_beyond_the_rings_limit_or_under_a_false_id_are_refused_by_owner_and_learner() {
    let network = Network::new(1);
    let node = Chord::create(network.listen("node"), Config::named("node")).await.expect("a ring");
    let stranger = Stranger::greets(&network, "stranger", node.endpoint()).await;
    let long = Bytes::from(vec![b'k'; node.config().max_key_bytes + 1]);
    let misplaced = UpdateItem { key: "elsewhere".into(), ..stranger.set(2, "key", 0) };
    for item in [stranger.set(1, long, 0), misplaced] {
        let entry = EntryHead {
            id: item.id,
            key: item.key.clone(),
            version: Version::default(),
            expires_at: None,
            value_bytes: None,
        };
        let transfer = TransferId { source: ME, number: 1 };
        let chunk = Request::Chunk { transfer, entries: vec![entry] };
        // What travels with it is not executed either.
        let batch = updates(vec![stranger.set(3, "key", 0), item]);
        for request in [batch, chunk] {
            let (response, _) = stranger.asks(&request, Bytes::new()).await.expect("it is answered");
            assert!(matches!(response, Response::Malformed(_)), "{response:?}");
        }
    }
    assert_eq!(node.count().await.expect("it answers"), 0);
    assert!(node.status().await.counters.malformed > 0);
}

/// Bounded in number only, what is worked on may be a thousand times as long as memory is.
#[tokio::test(start_paused = true)]
async fn large_requests_that_wait_occupy_no_more_bytes_than_the_bound_and_small_ones_are_served() {
    let network = Network::new(1);
    let store = Arc::new(DelayingFailing::new(Arc::new(MemoryStorage::new()), Faults::default()));
    let (value, room) = (1 << 20, 9 << 20);
    let narrow = Config { max_value_bytes: value, max_serving_bytes: room, ..Config::named("node") };
    let node =
        Chord::create_with(network.listen("node"), narrow.clone(), store.clone()).await.expect("a ring");
    let stranger = Stranger::greets(&network, "stranger", node.endpoint()).await;
    store.hang(Hang::Writes);
    let ask = |i: u64, bytes| {
        let request = updates(vec![stranger.set(i, format!("key {i}"), bytes)]);
        let stranger = &stranger;
        async move { stranger.asks(&request, vec![0; bytes].into()).await.expect("it is answered").0 }
    };
    let large = futures::future::join_all((1..=20).map(|i| ask(i, value)));
    let (answers, small) = tokio::join!(large, ask(21, 10));
    let overloaded = answers.iter().filter(|answer| matches!(answer, Response::Overloaded)).count();
    assert_eq!(overloaded, 20 - 8, "{answers:?}");
    assert_eq!(small, Response::Items(vec![ItemReply::Forgotten]));
    store.hang(Hang::Nothing);
    let served = ask(22, value).await;
    assert!(matches!(served, Response::Items(_)), "{served:?}");
    let too_narrow = Config { max_serving_bytes: room - 1, ..narrow };
    let refused = Chord::create(network.listen("other"), too_narrow).await.map(|_| "it started");
    assert!(
        matches!(&refused, Err(Error::Invalid(reason)) if reason.starts_with("max_serving_bytes")),
        "{refused:?}"
    );
}
