//! Updates of many keys that ask for the values they find.

use std::time::Duration;

use chord::{Action, Chord, Condition, Config, Update};
use chord_transport_mem::{Link, Network};
use tokio::time::sleep;

const BYTES: usize = 8 << 20;

/// Four such values do not fit into one frame.
#[tokio::test(start_paused = true)]
async fn updates_of_many_keys_return_the_values_they_removed_however_large_they_are_together() {
    let network = Network::new(1);
    network.set_default_link(Link::with_latency(Duration::from_millis(1)));
    let alice = Chord::create(network.listen("alice"), Config::named("alice")).await.expect("a ring of one");
    let seeds = [alice.endpoint().clone()];
    let bob = Chord::join(network.listen("bob"), &seeds, Config::named("bob")).await.expect("it joins");
    sleep(Duration::from_secs(20)).await;
    let mut keys = Vec::new();
    for i in 0..400 {
        let key = format!("key{i}");
        if alice.explain(&key).await.expect("it answers").owner == "bob" {
            keys.push(key);
        }
        if keys.len() == 4 {
            break;
        }
    }
    assert_eq!(keys.len(), 4, "bob owns keys");
    for key in &keys {
        alice.put(key, vec![1; BYTES]).await.expect("it is written");
    }
    let remove = Update { action: Action::Remove, condition: Condition::Present, return_previous: true };
    let updates: Vec<_> = keys.iter().map(|key| (key, remove.clone())).collect();
    for (key, result) in keys.iter().zip(alice.update_many(&updates).await) {
        let previous = result.expect("it is removed").previous;
        assert_eq!(previous.map(|value| value.len()), Some(BYTES), "{key}");
        assert_eq!(alice.get(key).await.expect("it answers"), None, "{key}");
    }
    drop(bob);
}
