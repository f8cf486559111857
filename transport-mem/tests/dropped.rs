//! Futures that are dropped half way: what is left of a join, and of a leave.

mod waiting;

use std::time::Duration;

use chord::transport::Transport;
use chord::{Chord, Config, Error};
use chord_transport_mem::{Link, Network};
use tokio::runtime::Handle;
use tokio::time::timeout;
use waiting::soon;

const DELAY: Duration = Duration::from_millis(50);

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_join_that_was_dropped() {
    let network = Network::new(1);
    network.set_default_link(Link::with_latency(DELAY));
    let first = Chord::create(network.listen("first"), Config::named("first")).await.expect("a ring");
    let known = [first.endpoint().clone()];
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let alone = tasks();
    // While it greets, while it takes its places, and while it tells its successors.
    for millis in [20, 120, 250, 350] {
        let name = format!("joiner{millis}");
        let transport = network.listen(&name);
        let endpoint = transport.endpoint().clone();
        let join = Chord::join(transport, &known, Config::named(&name));
        assert!(timeout(Duration::from_millis(millis), join).await.is_err(), "a join takes longer");
        soon("its address is free", async || network.listen_at(&endpoint).is_ok()).await;
    }
    soon("no task is left", async || tasks() <= alone).await;
    soon("the ring is of one", async || {
        first.check().await.is_ok_and(|report| report.hosts == 1 && report.is_settled())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_leave_that_was_dropped_goes_on_and_leaving_again_waits_for_its_end() {
    let network = Network::new(1);
    network.set_default_link(Link::with_latency(DELAY));
    let stays = Chord::create(network.listen("stays"), Config::named("stays")).await.expect("a ring");
    let known = [stays.endpoint().clone()];
    let leaver =
        Chord::join(network.listen("leaver"), &known, Config::named("leaver")).await.expect("it joins");
    let settled = async |hosts: usize| {
        stays.check().await.is_ok_and(|report| report.hosts == hosts && report.is_settled())
    };
    soon("both are settled", async || settled(2).await).await;
    for i in 0..50 {
        stays.put(format!("key {i}"), "value").await.expect("the ring serves");
    }
    assert!(timeout(Duration::from_millis(20), leaver.leave()).await.is_err(), "a leave takes longer");
    assert_eq!(leaver.status().await.state, "leaving");
    let (one, two) = tokio::join!(leaver.leave(), leaver.leave());
    assert!(one.is_ok() && two.is_ok(), "both wait for the leave under way: {one:?} {two:?}");
    assert!(matches!(leaver.leave().await, Err(Error::Closed(_))), "it has left");
    assert!(network.listen_at(leaver.endpoint()).is_ok(), "its address is free");
    soon("the other is alone", async || settled(1).await).await;
    for i in 0..50 {
        let value = stays.get(format!("key {i}")).await.expect("the ring serves");
        assert_eq!(value.as_deref(), Some(&b"value"[..]));
    }
}
