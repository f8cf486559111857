//! Who is let into a ring, who is not, and what is left of a host that leaves.

mod waiting;

use std::time::Duration;

use chord::protocol::id::{HashKind, IdSpace};
use chord::transport::Transport;
use chord::{Chord, Config, Error, Expected, VirtualNodes};
use chord_transport_mem::testkit::Cluster;
use chord_transport_mem::{Link, Network};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};
use waiting::soon;

const DELAY: Duration = Duration::from_millis(5);

#[tokio::test(start_paused = true)]
async fn a_joiner_with_a_taken_id_is_refused_and_told_who_holds_it() {
    let space = IdSpace::new(160, HashKind::Sha1).expect("the default circle");
    let taken = space.virtual_node_id("n1", 0);
    let cluster = Cluster::builder()
        .link(Link::with_latency(DELAY))
        .configure(move |config| {
            if config.name == "twin" {
                config.virtual_nodes = VirtualNodes::Explicit(vec![("twin".to_owned(), taken)]);
            }
        })
        .watched()
        .start(3)
        .await;
    match cluster.join("twin").await {
        Err(Error::Refused(reason)) => {
            assert!(reason.contains("n1 at mem://n1@n1:1"), "{reason}");
            assert!(reason.contains(&space.show(&taken)), "{reason}");
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("two hosts have one id"),
    }
    cluster.settle().await;
    assert_eq!(cluster.check().await.hosts, 3);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_starts_again_under_its_name_is_let_in_however_it_ended() {
    let cluster = Cluster::builder().link(Link::with_latency(DELAY)).start(3).await;
    cluster.leave("n1").await.expect("it leaves");
    cluster.join("n1").await.expect("it comes back");
    cluster.settle().await;
    cluster.restart("n1").await.expect("it comes back from a crash");
    cluster.network().power_off("n2");
    cluster.restart("n2").await.expect("it comes back though nobody was told that it had gone");
    soon("three hosts in one ring", async || cluster.check().await.hosts == 3).await;
}

#[tokio::test(start_paused = true)]
async fn hosts_of_two_rings_refuse_each_other() {
    let network = Network::new(1);
    network.set_default_link(Link::with_latency(DELAY));
    let one = Chord::create(network.listen("one"), Config::named("one")).await.expect("a ring");
    let known = [one.endpoint().clone()];
    let two = Chord::join(network.listen("two"), &known, Config::named("two")).await.expect("it joins");
    soon("the ring is settled", async || {
        one.check().await.is_ok_and(|report| report.hosts == 2 && report.is_settled())
    })
    .await;
    let mut key = String::new();
    for i in 0..1000 {
        key = format!("key{i}");
        one.put(&key, "ours").await.expect("the ring serves");
        if one.explain(&key).await.expect("the ring serves").owner == "two" {
            break;
        }
    }
    // Where a member was, a ring of its own begins.
    network.crash("two");
    two.stop().await;
    let other = Chord::create(network.listen("two"), Config::named("two")).await.expect("another ring");
    other.put(&key, "theirs").await.expect("a ring of one works");
    let read = one.get(&key).await;
    assert!(matches!(read, Err(Error::Unavailable { .. })), "the other ring's word is not taken: {read:?}");
    soon("each is alone", async || {
        one.check().await.is_ok_and(|report| report.hosts == 1)
            && other.check().await.is_ok_and(|report| report.hosts == 1)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_ring_that_is_not_as_expected_never_hears_of_the_joiner() {
    let network = Network::new(1);
    let config = Config { bits: 100, hash: HashKind::Md5, ..Config::named("one") };
    let one = Chord::create(network.listen("one"), config).await.expect("a ring");
    let known = [one.endpoint().clone()];
    let another = Expected { ring_name: Some("another".to_owned()), ..Expected::default() };
    let wider = Expected { bits: Some(128), hash: Some(HashKind::Md5), ..Expected::default() };
    let sha1 = Expected { hash: Some(HashKind::Sha1), ..Expected::default() };
    for (expected, difference) in [
        (another, "the ring's name is chord, not another"),
        (wider, "the ring's number of bits is 100, not 128"),
        (sha1, "the ring's hash is md5, not sha1"),
    ] {
        let before = one.changes();
        let config = Config { expected, ..Config::named("two") };
        let joined = Chord::join(network.listen("two"), &known, config).await;
        match joined.map(|_| ()) {
            Err(Error::Refused(reason)) => assert_eq!(reason, difference),
            other => panic!("{difference}: {other:?}"),
        }
        assert_eq!(one.changes(), before, "{difference}");
    }
    // What is not expected is taken over.
    let expected = Expected { hash: Some(HashKind::Md5), ..Expected::default() };
    let two = Chord::join(network.listen("two"), &known, Config { expected, ..Config::named("two") });
    assert_eq!(two.await.expect("it is as expected").config().bits, 100);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_to_join_itself_is_told_so_at_once_and_tries_the_others() {
    let network = Network::new(1);
    let started = Instant::now();
    let transport = network.listen("lonely");
    let known = ["mem://lonely:1".parse().expect("an endpoint")];
    match Chord::join(transport, &known, Config::named("lonely")).await.map(|_| ()) {
        Err(Error::Unreachable(reason)) => assert!(reason.contains("is this host itself"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    let one = Chord::create(network.listen("one"), Config::named("one")).await.expect("a ring");
    let transport = network.listen("two");
    let known = [transport.endpoint().clone(), one.endpoint().clone()];
    Chord::join(transport, &known, Config::named("two")).await.expect("the other one is a ring");
}

#[tokio::test(start_paused = true)]
async fn the_last_host_leaves_only_without_entries() {
    let cluster = Cluster::of(2).await;
    cluster.client(0).put("key", "value").await.expect("the ring serves");
    cluster.leave("n0").await.expect("the other takes the key");
    let refused = cluster.leave("n1").await;
    assert!(matches!(refused, Err(Error::LastHost { entries: 1 })), "{refused:?}");
    let read = cluster.client(0).get("key").await.expect("it serves on");
    assert_eq!(read.as_deref(), Some(&b"value"[..]));
    cluster.client(0).delete("key").await.expect("it serves on");
    cluster.leave("n1").await.expect("there is nothing to lose");
}

/// The hand-offs to it that are still under way must get their turn, or the leave looks for their end for ever.
#[tokio::test(start_paused = true)]
async fn a_leave_ends_when_the_only_heir_has_just_crashed() {
    let cluster = Cluster::of(3).await;
    for i in 0..50 {
        cluster.client(0).put(&format!("key{i}"), "value").await.expect("the ring serves");
    }
    cluster.leave("n2").await.expect("the others take its keys");
    let node = cluster.named("n0");
    cluster.crash("n1").await;
    let refused = node.leave().await;
    assert!(matches!(refused, Err(Error::LastHost { .. })), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_leaves_leaves_no_task_and_no_listener() {
    let cluster = Cluster::of(2).await;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let of_two = tasks();
    let node = cluster.join("n2").await.expect("it joins");
    cluster.settle().await;
    assert!(tasks() > of_two, "a node has tasks to count");
    let endpoint = node.endpoint().clone();
    cluster.leave("n2").await.expect("it leaves");
    assert!(matches!(node.get("key").await, Err(Error::Closed(_))), "its handle says that it has left");
    assert!(cluster.network().listen_at(&endpoint).is_ok(), "nobody listens where it was");
    soon("no task of its is left", async || tasks() <= of_two).await;
}

/// Its records are needed all the same: without them nobody could answer for its part of the circle.
#[tokio::test(start_paused = true)]
async fn a_host_without_entries_does_not_leave_its_part_to_nobody_while_the_other_is_silent() {
    let cluster = Cluster::of(2).await;
    let leaver = cluster.named("n1");
    cluster.freeze("n0");
    sleep(Duration::from_secs(5)).await;
    let refused = leaver.leave().await;
    assert!(matches!(refused, Err(Error::LastHost { entries: 0 })), "{refused:?}");
    cluster.thaw("n0");
    cluster.settle().await;
    leaver.leave().await.expect("the other takes its part");
    for i in 0..50 {
        cluster.named("n0").put(format!("key{i}"), "value").await.expect("it answers for the whole circle");
    }
}
