//! Values that have expired stay away, whatever the clocks say afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chord::{Action, Chord, Condition, Config, Expiry, Outcome, PutOptions, Update};
use chord_transport_mem::Network;

#[tokio::test(start_paused = true)]
async fn a_value_once_answered_as_absent_stays_away_when_the_clock_steps_back() {
    let now = Arc::new(AtomicU64::new(1_000_000));
    let clock = now.clone();
    let mut config = Config::named("n1");
    config.env.clock = Arc::new(move || clock.load(Ordering::Relaxed));
    let node = Chord::create(Network::new(1).listen("n1"), config).await.expect("a ring");

    let version = node.put("other", "v").await.expect("it is stored").version.expect("it was written");
    let updates = [
        (Action::Remove, Condition::Always),
        (Action::Expire(Expiry::Never), Condition::Always),
        (Action::Append(Bytes::from_static(b"w")), Condition::Present),
        (Action::Add(1), Condition::Version(version)),
    ];
    for (action, condition) in updates {
        let name = format!("{action:?} {condition:?}");
        let options = PutOptions { expiry: Expiry::InMillis(100), condition: Condition::Always };
        node.put_with("k", "v", options).await.expect("it is stored");
        now.fetch_add(200, Ordering::Relaxed);
        let update = Update { action, condition, return_previous: true };
        let receipt = node.update("k", update).await.expect("the owner decides");
        assert_eq!((receipt.outcome, receipt.existed), (Outcome::NotMet, false), "{name}");
        assert_eq!((receipt.version, receipt.previous), (None, None), "{name}");
        now.fetch_sub(200, Ordering::Relaxed);
        assert_eq!(node.get("k").await.expect("the owner answers"), None, "{name}");
    }
    node.stop().await;
}
