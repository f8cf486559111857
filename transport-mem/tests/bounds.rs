//! What is larger than one message, from strangers and from a host's own pointers: refused or fitted, and the node
//! serves on. A node that cannot serve any more ends.

mod waiting;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chord::protocol::id::Id;
use chord::protocol::message::{Request, Response};
use chord::protocol::peer::{Host, HostName, Incarnation};
use chord::protocol::routing::{Ask, RoutingMode};
use chord::protocol::wire::{Header, decode_response, encode_request};
use chord::transport::{CallOptions, Lane, Transport};
use chord::{Chord, Config, Endpoint, Error, VirtualNodes};
use chord_transport_mem::testkit::Cluster;
use chord_transport_mem::{MemTransport, Network, Options};
use tokio::time::{Instant, timeout};
use waiting::soon;

async fn ask(
    transport: &MemTransport,
    to: &Endpoint,
    header: Header,
    request: &Request,
) -> Result<Response, String> {
    let frame = encode_request(header, request, Bytes::new()).expect("it fits");
    let options = CallOptions { deadline: Instant::now() + Duration::from_secs(3), lane: Lane::Control };
    let reply = transport.call(to, frame, options).await.map_err(|error| error.to_string())?;
    decode_response(&reply).map(|(_, response)| response).map_err(|error| error.to_string())
}

#[tokio::test(start_paused = true)]
async fn one_round_of_too_many_questions_is_refused_and_the_node_serves_on() {
    let network = Network::new(1);
    let node = Chord::create(network.listen("node"), Config::named("node")).await.expect("a ring");
    let stranger = network.listen("stranger");
    let me = Arc::new(Host {
        name: HostName::new("stranger").expect("a name"),
        endpoint: stranger.endpoint().clone(),
        incarnation: Incarnation(7),
    });
    let to_anyone = Header { ring_tag: 0, from: me.incarnation, to: Incarnation(0), remaining_ms: 1000 };
    let hello = Request::Hello { host: me.clone() };
    let welcome = ask(&stranger, node.endpoint(), to_anyone, &hello).await;
    let Ok(Response::Welcome { host, parameters, .. }) = welcome else { panic!("{welcome:?}") };
    let header = Header { ring_tag: parameters.tag(), to: host.incarnation, ..to_anyone };
    let asks = vec![Ask::FindSuccessor { id: Id::from_u128(5), mode: RoutingMode::Fingers }; 40_000];
    let refused = ask(&stranger, node.endpoint(), header, &Request::Round { host: me, asks }).await;
    assert!(matches!(refused, Ok(Response::Malformed(_))), "{refused:?}");
    let welcome = ask(&stranger, node.endpoint(), to_anyone, &hello).await;
    assert!(matches!(welcome, Ok(Response::Welcome { .. })), "{welcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_host_of_1024_virtual_nodes_is_described_in_one_message() {
    let network = Network::new(1);
    let at = |name: &str| -> Endpoint {
        format!("mem://{name}@{name}.example.org:7001").parse().expect("an endpoint")
    };
    let config =
        |name: &str, count| Config { virtual_nodes: VirtualNodes::Count(count), ..Config::named(name) };
    let large = network.listen_at(&at("storage-eu-1")).expect("nobody listens there");
    let large = Chord::create(large, config("storage-eu-1", 1024)).await.expect("a ring");
    let small = network.listen_at(&at("storage-eu-2")).expect("nobody listens there");
    let known = [large.endpoint().clone()];
    let small = Chord::join(small, &known, config("storage-eu-2", 1)).await.expect("it joins");
    for i in 0..20 {
        large.put(format!("key {i}"), "value").await.expect("the ring serves");
    }
    // They are counted twice only while they change hands.
    soon("every key is counted once", async || small.count().await.expect("both hosts answer") == 20).await;
    assert_eq!(small.check().await.expect("both hosts answer").virtual_nodes, 1025);
    assert!(small.get("key 1").await.expect("the large host serves on").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_transport_ends_under_it_ends_and_says_so() {
    let network = Network::new(1);
    let node = Chord::create(network.listen("node"), Config::named("node")).await.expect("a ring");
    network.crash("node");
    let reason = timeout(Duration::from_secs(60), node.closed()).await.expect("it ends");
    assert!(reason.to_string().contains("the transport closed"), "{reason}");
    assert!(matches!(node.get("key").await, Err(Error::Closed(_))));
}

#[tokio::test(start_paused = true)]
async fn a_count_names_the_host_that_did_not_answer_instead_of_leaving_it_out() {
    let cluster = Cluster::of(2).await;
    cluster.client(0).put("key", "value").await.expect("the ring serves");
    assert_eq!(cluster.node(0).count().await.expect("both hosts answer"), 1);
    cluster.network().power_off("n1");
    let count = cluster.node(0).count().await;
    let named = |hosts: &[HostName]| hosts.iter().map(HostName::as_str).eq(["n1"]);
    assert!(matches!(&count, Err(Error::Unavailable { hosts, .. }) if named(hosts)), "{count:?}");
}

#[tokio::test(start_paused = true)]
async fn greetings_under_a_known_name_cost_one_question_at_a_time() {
    let cluster = Cluster::of(2).await;
    let node = cluster.node(0);
    cluster.network().power_off("n1");
    let elsewhere = "mem://n1@elsewhere:1".parse().expect("an endpoint");
    let stranger = cluster.network().listen_at(&elsewhere).expect("nobody listens there");
    let host = Arc::new(Host {
        name: HostName::new("n1").expect("a name"),
        endpoint: stranger.endpoint().clone(),
        incarnation: Incarnation(7),
    });
    let header = Header { ring_tag: 0, from: host.incarnation, to: Incarnation(0), remaining_ms: 1000 };
    let before = node.status().await.counters.calls;
    let hello = Request::Hello { host };
    let greetings = (0..200).map(|_| ask(&stranger, node.endpoint(), header, &hello));
    let answers = futures::future::join_all(greetings).await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Response::Welcome { .. }))), "{answers:?}");
    tokio::task::yield_now().await;
    let calls = node.status().await.counters.calls - before;
    assert!((1..20).contains(&calls), "{calls} calls for 200 greetings");
}

/// A hand-off of such a value would fail for ever, and its host could never leave.
#[tokio::test(start_paused = true)]
async fn a_node_does_not_start_with_values_or_chunks_that_its_transport_does_not_move() {
    let refused = |result: Result<Chord<MemTransport>, Error>, field: &str| match result {
        Err(Error::Invalid(reason)) => assert!(reason.starts_with(field), "{reason}"),
        other => panic!("{:?}", other.map(|_| "it started")),
    };
    let narrow = Network::with_options(1, Options { max_frame_bytes: 1 << 20, ..Options::default() });
    refused(Chord::create(narrow.listen("a"), Config::named("a")).await, "max_value_bytes");
    let most = Config { max_value_bytes: (1 << 20) - (128 << 10), ..Config::named("a") };
    let chunks = Config { chunk_bytes: 1 << 20, ..most.clone() };
    refused(Chord::create(narrow.listen("a"), chunks).await, "chunk_bytes");
    let beyond = Config { max_value_bytes: most.max_value_bytes + 1, ..most.clone() };
    refused(Chord::create(narrow.listen("a"), beyond).await, "max_value_bytes");
    let node = Chord::create(narrow.listen("a"), most).await.expect("they fit");
    // What the joiner says itself does not matter: the ring's values are as long as its creator allowed.
    let wide = Config { max_value_bytes: 1, chunk_bytes: 1 << 20, ..Config::named("b") };
    refused(Chord::join(narrow.listen("b"), &[node.endpoint().clone()], wide).await, "chunk_bytes");
}

#[tokio::test(start_paused = true)]
async fn of_many_items_only_those_that_are_too_large_are_refused() {
    let network = Network::new(1);
    let small = Config { max_key_bytes: 8, max_value_bytes: 8, ..Config::named("node") };
    let node = Chord::create(network.listen("node"), small).await.expect("a ring");
    let entries = [("a", "value"), ("b", "too long a value"), ("too long a key", "value"), ("c", "value")];
    let entries = entries.map(|(key, value)| (key, Bytes::from_static(value.as_bytes())));
    let is_too_large = |error: &Error| matches!(error, Error::TooLarge { .. });
    let put = node.put_many(&entries).await;
    let put: Vec<bool> = put.iter().map(|result| !result.as_ref().is_err_and(is_too_large)).collect();
    assert_eq!(put, [true, false, false, true]);
    let found = node.get_many(&entries.map(|(key, _)| key)).await;
    let values: Vec<_> =
        found.into_iter().map(|result| result.map_err(|error| is_too_large(&error))).collect();
    assert_eq!(values, [Ok(Some("value".into())), Ok(None), Err(true), Ok(Some("value".into()))]);
}
