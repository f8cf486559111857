//! Messages about keys that no engine of this project would send.

mod stranger;

use bytes::Bytes;
use chord::protocol::message::{ActionHead, ItemReply, Response, UpdateItem};
use chord::{Chord, Config, Expiry};
use chord_transport_mem::Network;
use stranger::{Stranger, updates};

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
