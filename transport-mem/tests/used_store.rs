//! A store that another life of a host has used.

use std::sync::Arc;

use chord::protocol::id::Id;
use chord::storage::{Batch, MemoryStorage, Storage, Stored};
use chord::{Chord, Config, Error, Version};
use chord_transport_mem::{MemTransport, Network};

/// A store that has `key` under a version that a new node takes long to reach.
async fn used(value: Option<&'static str>) -> Arc<dyn Storage> {
    let store = MemoryStorage::new();
    let entry = chord::protocol::entry::Entry {
        version: Version { epoch: 1, counter: 5000 },
        value: value.map(Into::into),
        expires_at: None,
    };
    let stored = Stored { id: Id::from_u128(5), key: "key".into(), entry };
    store.apply(Batch::one(stored)).await.expect("it is stored");
    Arc::new(store)
}

fn is_refused(result: Result<Chord<MemTransport>, Error>) -> bool {
    matches!(&result, Err(Error::Invalid(reason)) if reason.contains("not empty"))
}

/// The store would ignore the first 5,000 writes of the key, and each would be acknowledged.
#[tokio::test(start_paused = true)]
async fn a_node_does_not_begin_with_a_store_that_is_not_empty() {
    let network = Network::new(1);
    let node = Chord::create(network.listen("a"), Config::named("a")).await.expect("a ring");
    let known = [node.endpoint().clone()];
    for value in [Some("value"), None] {
        let created = Chord::create_with(network.listen("b"), Config::named("b"), used(value).await).await;
        assert!(is_refused(created), "created with {value:?}");
        let joined =
            Chord::join_with(network.listen("c"), &known, Config::named("c"), used(value).await).await;
        assert!(is_refused(joined), "joined with {value:?}");
    }
    assert_eq!(node.ring().await.expect("it answers").len(), 8, "it is alone");
}
