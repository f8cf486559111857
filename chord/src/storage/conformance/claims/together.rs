//! What is seen while others write, and what is left of a batch that came to nothing.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;

use crate::protocol::id::{Id, Interval};
use crate::storage::conformance::TRIES;
use crate::storage::conformance::support::*;
use crate::storage::{Batch, Storage, Stored};

/// Ids of the keys that a batch of these claims writes, all around the circle.
fn spread() -> impl Iterator<Item = Id> {
    (0..8).map(|n| around(32 * n + 3))
}

/// One key at each id of [`spread`], all with the version and value `counter`.
fn a_batch(counter: u64) -> Batch {
    storing(spread().map(|id| value(id, "key", counter, counter.to_string())).collect())
}

/// The counter that a key of [`a_batch`] is at; 0 when it is not there.
fn counter_of(entry: Option<&crate::protocol::entry::Entry>) -> u64 {
    let Some(entry) = entry else { return 0 };
    let counter = entry.version.counter;
    assert_eq!(entry.value, Some(Bytes::from(counter.to_string())), "the value of that version");
    counter
}

/// The counter that one page shows for the keys of [`a_batch`].
///
/// # Panics
/// When they are at different ones.
async fn shown_by_a_page(store: &dyn Storage) -> u64 {
    let entries = page(store, EVERYTHING, None, usize::MAX).await.entries;
    let found = entries.iter().filter(|stored| stored.key == "key");
    let counters: Vec<u64> = found.map(|stored| counter_of(Some(&stored.entry))).collect();
    let first = counters.first().copied().unwrap_or(0);
    let whole = if first == 0 { 0 } else { spread().count() };
    assert_eq!(counters, vec![first; whole], "a page shows a part of a batch");
    first
}

/// A scan that runs while others write returns each key that is there throughout exactly once, in order, though
/// keys come and go around it and it is itself rewritten, or cleared and stored again in one batch.
pub async fn a_scan_beside_writes_returns_each_steady_key_once(store: Arc<dyn Storage>) {
    let steady = |counter: u64| {
        let ids = (0..=255).step_by(3).map(around);
        ids.flat_map(move |id| ["b", "d"].map(|key| value(id, key, counter, vec![b'v'; 30])))
    };
    let passing = |counter: u64| {
        let ids = (0..=255).skip(counter as usize % 5).step_by(5).map(around);
        ids.flat_map(move |id| ["a", "c", "e"].map(|key| value(id, key, counter, vec![b'p'; 30])))
    };
    apply(&*store, storing(steady(0).collect())).await;
    let writer = {
        let store = Arc::clone(&store);
        async move {
            for round in Rounds::new() {
                apply(&*store, storing(passing(round).collect())).await;
                apply(&*store, deleting(passing(round).collect())).await;
                let rewritten = steady(round).skip(round as usize % 7).step_by(7);
                apply(&*store, storing(rewritten.collect())).await;
                let cleared = Interval::new(around((round * 50) as u8), around((round * 50 + 20) as u8));
                let entries = steady(round).filter(|stored| cleared.contains(&stored.id)).collect();
                apply(&*store, Batch { clear: vec![cleared], entries, ..Batch::default() }).await;
            }
        }
    };
    beside(writer, move || {
        let store = Arc::clone(&store);
        async move {
            let interval = Interval::new(around(128), around(128));
            let found = pages(&*store, interval, 2000).await.concat();
            let place = |stored: &Stored| (stored.id <= interval.after, stored.id, stored.key.clone());
            assert!(found.is_sorted_by(|a, b| place(a) < place(b)), "in order and no key twice");
            let found: Vec<_> = found.iter().map(place).collect();
            for stored in steady(0) {
                let seen = found.binary_search(&place(&stored)).is_ok();
                assert!(seen, "the scan missed {:?} at {}", stored.key, stored.id);
            }
        }
    })
    .await;
}

/// Who has seen one change of a batch sees the others from then on, entries and state alike.
pub async fn readers_see_a_batch_whole(store: Arc<dyn Storage>) {
    let writer = {
        let store = Arc::clone(&store);
        async move {
            for counter in Rounds::new() {
                let state = Some(Bytes::from(counter.to_string()));
                apply(&*store, Batch { state, ..a_batch(counter) }).await;
            }
        }
    };
    beside(writer, move || {
        let store = Arc::clone(&store);
        async move {
            let mut newest = 0;
            for id in spread().chain(spread().collect::<Vec<_>>().into_iter().rev()) {
                let seen = counter_of(get(&*store, id, b"key").await.as_ref());
                assert!(seen >= newest, "the key at {id} is at {seen}, when another was at {newest}");
                newest = seen;
            }
            let state = load(&*store).await.map_or(0, |state| {
                std::str::from_utf8(&state).ok().and_then(|text| text.parse().ok()).expect("a number")
            });
            assert!(state >= newest, "the state is at {state}, when a key was at {newest}");
            let seen = counter_of(get(&*store, around(3), b"key").await.as_ref());
            assert!(seen >= state, "a key is at {seen}, when the state was at {state}");
        }
    })
    .await;
}

/// A page of a scan shows all of a batch or nothing, and what an earlier page showed at least.
pub async fn a_page_shows_a_batch_whole(store: Arc<dyn Storage>) {
    // What else is there makes the page long, and a batch likelier to come while it is made.
    let others = (0..=255).map(|n| value(around(n), "other", 1, vec![n; 50]));
    apply(&*store, storing(others.collect())).await;
    let writer = {
        let store = Arc::clone(&store);
        async move {
            for counter in Rounds::new() {
                let clear = spread().map(|id| Interval::new(around(id.as_bytes()[0] - 1), id)).collect();
                apply(&*store, Batch { clear, ..a_batch(counter) }).await;
            }
        }
    };
    beside(writer, move || {
        let store = Arc::clone(&store);
        async move {
            let first = shown_by_a_page(&*store).await;
            let then = shown_by_a_page(&*store).await;
            assert!(then >= first, "a page shows {then} after one that showed {first}");
        }
    })
    .await;
}

/// Whatever writers do at once, of each key the newest version stays, and it is never seen to go back.
pub async fn of_concurrent_writers_the_newest_version_stays(store: Arc<dyn Storage>) {
    let writers = (0..4u64).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut seen: HashMap<Id, u64> = HashMap::new();
            for n in 0..50 {
                apply(&*store, a_batch(4 * n + writer)).await;
                for id in spread() {
                    let counter = counter_of(get(&*store, id, b"key").await.as_ref());
                    let before = seen.insert(id, counter).unwrap_or(0).max(4 * n + writer);
                    assert!(counter >= before, "the key at {id} is at {counter} and was at {before}");
                }
            }
        })
    });
    for ended in join_all(writers).await {
        ended.expect("the writer saw nothing wrong");
    }
    for stored in a_batch(199).entries {
        assert_holds(&*store, &stored).await;
    }
}

/// After an error of `apply` all of the batch is in force or nothing, and applying it again puts it in force. A
/// store that never fails keeps this for nothing.
pub async fn a_failed_batch_is_in_force_whole_or_not_at_all(store: Arc<dyn Storage>) {
    let mut before = 0;
    for counter in 1..=100 {
        let failed = store.apply(a_batch(counter)).await.is_err();
        let shown = shown_by_a_page(&*store).await;
        let allowed = [if failed { before } else { counter }, counter];
        assert!(allowed.contains(&shown), "{shown} is in force after {counter}; failed: {failed}");
        for id in spread() {
            assert_eq!(counter_of(get(&*store, id, b"key").await.as_ref()), shown, "at {id}");
        }
        before = shown;
    }
    apply(&*store, a_batch(101)).await;
    assert_eq!(shown_by_a_page(&*store).await, 101, "in force when a try succeeds");
}

/// A future of `apply` that is dropped at any of its waits leaves all of the batch in force or nothing, and the
/// store works on.
pub async fn a_dropped_batch_is_in_force_whole_or_not_at_all(store: Arc<dyn Storage>) {
    let mut newest = 0;
    for counter in 1..=60 {
        {
            let mut applying = pin!(store.apply(a_batch(counter)));
            if counter % 2 == 0 {
                // Dropped after some time.
                let limit = Duration::from_micros(50 * counter);
                let _ = tokio::time::timeout(limit, applying).await;
            } else {
                // Dropped after so many polls.
                for _ in 0..counter / 2 {
                    let ended =
                        poll_fn(|context| Poll::Ready(applying.as_mut().poll(context).is_ready())).await;
                    if ended {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
        }
        let shown = shown_by_a_page(&*store).await;
        assert!((newest..=counter).contains(&shown), "{shown} after {newest}, dropped: {counter}");
        newest = shown;
    }
    let tries = 1_000 + TRIES as u64;
    apply(&*store, a_batch(tries)).await;
    assert_eq!(shown_by_a_page(&*store).await, tries, "the store works on");
}
