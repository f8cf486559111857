//! The public conformance suite for stores.
//!
//! Every MUST of [`Storage`](crate::storage::Storage) that can be seen from outside is one claim here: an async
//! function over an empty store that panics when the store breaks it. A store's author writes one line,
//!
//! ```ignore
//! chord::storage_conformance!(MyStore::open(fresh_directory()).await);
//! ```
//!
//! which expands to one `#[test]` for each claim, each with a store and a runtime of its own. The crate needs
//! chord with the feature `conformance` among its dev-dependencies, and nothing else.
//!
//! A store may fail: what fails is tried again, up to [`TRIES`] times, and must then be in force. What survives
//! a restart of the process is not seen here; a durable store tests that for itself.

pub mod claims;
mod support;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::time::Duration;

/// How often the suite tries an operation of a store that fails.
pub const TRIES: usize = 100;

/// Longest a claim may take.
const CLAIM_LIMIT: Duration = Duration::from_secs(60);

/// Runs `claim` on a runtime of its own with two threads; what
/// [`storage_conformance!`](crate::storage_conformance) calls.
///
/// # Panics
/// When the claim does, and, naming it, when it has not ended after 60 seconds.
pub fn run(name: &str, claim: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("the system gives two threads");
    let ended = runtime.block_on(async { tokio::time::timeout(CLAIM_LIMIT, claim).await });
    runtime.shutdown_background();
    assert!(ended.is_ok(), "the claim `{name}` has not ended after {CLAIM_LIMIT:?}");
}

/// One `#[test]` for each claim of [`storage::conformance::claims`](crate::storage::conformance::claims), run on
/// the empty [`Storage`](crate::storage::Storage) that the expression makes. The expression is evaluated for
/// each test, inside an async block of its runtime.
#[macro_export]
macro_rules! storage_conformance {
    ($store:expr) => {
        $crate::storage_conformance! { @each $store;
            the_newer_version_decides
            batches_may_come_in_any_order
            a_batch_clears_then_stores_then_deletes
            a_clear_drops_its_intervals_and_nothing_else
            a_delete_needs_the_very_version
            tombstones_are_stored_and_scanned
            entries_come_back_whole
            keys_and_values_may_be_empty_or_large
            keys_that_share_an_id_are_kept_apart
            the_state_is_kept_until_it_is_replaced
            the_stats_count_what_is_there
            a_scan_goes_clockwise_from_its_start
            a_scan_of_the_whole_circle_begins_where_it_is_cut
            a_page_keeps_its_bound
            a_scan_goes_on_after_a_key_that_is_gone
            a_scan_beside_writes_returns_each_steady_key_once
            readers_see_a_batch_whole
            a_page_shows_a_batch_whole
            of_concurrent_writers_the_newest_version_stays
            a_failed_batch_is_in_force_whole_or_not_at_all
            a_dropped_batch_is_in_force_whole_or_not_at_all
        }
    };
    (@each $store:expr; $($claim:ident)*) => {
        $(
            #[test]
            fn $claim() {
                $crate::storage::conformance::run(stringify!($claim), async {
                    let store: ::std::sync::Arc<dyn $crate::storage::Storage> = ::std::sync::Arc::new($store);
                    $crate::storage::conformance::claims::$claim(store).await
                });
            }
        )*
    };
}
