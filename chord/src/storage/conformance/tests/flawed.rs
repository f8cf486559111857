//! Stores with one flaw each: a suite that lets one pass tests nothing.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::task::yield_now;

use crate::protocol::entry::Entry;
use crate::protocol::id::{Id, Interval};
use crate::storage::conformance::{claims, run};
use crate::storage::{Batch, Cursor, Page, Storage, StorageError, StorageStats, Stored};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    LastWriteWins,
    SameVersionReplaces,
    ClearsAfterStoring,
    DeletesBeforeStoring,
    ClearsTheStartToo,
    ClearsNoWholeCircle,
    DeletesAnyVersion,
    DropsTombstones,
    LosesTheExpiry,
    TakesEmptyForTombstone,
    KeepsOneKeyAnId,
    ForgetsTheState,
    CountsIgnoredBytes,
    ScansFromZero,
    ScansNoWholeCircle,
    ExceedsThePage,
    CutsThePageShort,
    AddsAnEmptyPage,
    SkipsTheRestOfAnId,
    StartsAnewWhenTheCursorIsGone,
    PutsEntriesOneByOne,
    PutsTheStateFirst,
    ReadsAPageInParts,
    ChecksTheVersionTooEarly,
    LeavesHalfWhenItFails,
    LeavesHalfWhenDropped,
}

/// A store in one map under one lock.
struct Plain {
    flaw: Flaw,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    map: BTreeMap<(Id, Bytes), Entry>,
    state: Option<Bytes>,
    ignored_bytes: u64,
    calls: u64,
}

impl Plain {
    fn new(flaw: Flaw) -> Plain {
        Plain { flaw, held: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn clear(&self, held: &mut Held, clear: &[Interval]) {
        let cleared = |interval: &Interval, id: &Id| match self.flaw {
            Flaw::ClearsTheStartToo => interval.contains(id) || interval.after == *id,
            Flaw::ClearsNoWholeCircle => interval.contains(id) && !interval.is_whole(),
            _ => interval.contains(id),
        };
        held.map.retain(|(id, _), _| !clear.iter().any(|interval| cleared(interval, id)));
    }

    fn store(&self, held: &mut Held, stored: Stored) {
        let Stored { id, key, mut entry } = stored;
        if self.flaw == Flaw::LosesTheExpiry {
            entry.expires_at = None;
        }
        if self.flaw == Flaw::TakesEmptyForTombstone {
            entry.value = entry.value.filter(|value| !value.is_empty());
        }
        if self.flaw == Flaw::KeepsOneKeyAnId {
            held.map.retain(|(other, _), _| *other != id);
        }
        let place = (id, key);
        let there = held.map.get(&place).map(|there| there.version);
        let newer = match self.flaw {
            Flaw::LastWriteWins => true,
            Flaw::SameVersionReplaces => there.is_none_or(|there| there <= entry.version),
            _ => there.is_none_or(|there| there < entry.version),
        };
        if !newer {
            held.ignored_bytes += entry.value.map_or(0, |value| value.len() as u64);
        } else if self.flaw == Flaw::DropsTombstones && entry.value.is_none() {
            held.map.remove(&place);
        } else {
            held.map.insert(place, entry);
        }
    }

    fn delete(&self, held: &mut Held, deletes: Vec<Stored>) {
        for Stored { id, key, entry } in deletes {
            let place = (id, key);
            let any = self.flaw == Flaw::DeletesAnyVersion;
            if held.map.get(&place).is_some_and(|there| any || there.version == entry.version) {
                held.map.remove(&place);
            }
        }
    }

    /// Everything in `interval`, clockwise.
    fn scanned(&self, held: &Held, interval: Interval) -> Vec<Stored> {
        if self.flaw == Flaw::ScansNoWholeCircle && interval.is_whole() {
            return Vec::new();
        }
        let inside = held.map.iter().filter(|((id, _), _)| interval.contains(id));
        let mut found: Vec<Stored> = inside
            .map(|((id, key), entry)| Stored { id: *id, key: key.clone(), entry: entry.clone() })
            .collect();
        if self.flaw != Flaw::ScansFromZero {
            found.sort_by_key(|stored| stored.id <= interval.after);
        }
        found
    }

    fn page(&self, held: &Held, interval: Interval, after: Option<Cursor>, max_bytes: usize) -> Page {
        let place = |id: Id, key: &Bytes| (id <= interval.after, id, key.clone());
        let mut rest = self.scanned(held, interval);
        if let Some(cursor) = after {
            let there = held.map.contains_key(&(cursor.id, cursor.key.clone()));
            let passed = place(cursor.id, &cursor.key);
            rest.retain(|stored| match self.flaw {
                Flaw::SkipsTheRestOfAnId => stored.id != cursor.id && place(stored.id, &stored.key) > passed,
                Flaw::StartsAnewWhenTheCursorIsGone if !there => true,
                _ => place(stored.id, &stored.key) > passed,
            });
        }
        let mut room = max_bytes;
        let mut taken = 0;
        for stored in &rest {
            let len = stored.len_bytes();
            if taken > 0 && len > room && !(self.flaw == Flaw::ExceedsThePage && room > 0) {
                break;
            }
            room = room.saturating_sub(len);
            taken += 1;
            if self.flaw == Flaw::CutsThePageShort && taken == 4 {
                break;
            }
        }
        let more = taken < rest.len() || self.flaw == Flaw::AddsAnEmptyPage;
        rest.truncate(taken);
        let next = rest.last().filter(|_| more).map(|last| Cursor { id: last.id, key: last.key.clone() });
        Page { entries: rest, next }
    }
}

/// Time for others to see what is half done.
async fn others_run() {
    for _ in 0..10 {
        yield_now().await;
    }
}

#[async_trait]
impl Storage for Plain {
    async fn apply(&self, batch: Batch) -> Result<(), StorageError> {
        let Batch { clear, mut entries, deletes, state } = batch;
        if self.flaw == Flaw::PutsTheStateFirst {
            self.lock().state.clone_from(&state);
            others_run().await;
        }
        if self.flaw == Flaw::ChecksTheVersionTooEarly {
            {
                let held = self.lock();
                let newer = |stored: &Stored| {
                    let there = held.map.get(&(stored.id, stored.key.clone()));
                    there.is_none_or(|there| there.version < stored.entry.version)
                };
                entries.retain(newer);
            }
            others_run().await;
            let mut held = self.lock();
            held.map.extend(entries.drain(..).map(|stored| ((stored.id, stored.key), stored.entry)));
        }
        let in_steps = match self.flaw {
            Flaw::PutsEntriesOneByOne | Flaw::LeavesHalfWhenDropped => entries.len(),
            Flaw::LeavesHalfWhenItFails if self.lock().calls.is_multiple_of(2) => entries.len() / 2,
            _ => 0,
        };
        for stored in entries.drain(..in_steps) {
            self.store(&mut self.lock(), stored);
            if self.flaw != Flaw::LeavesHalfWhenItFails {
                yield_now().await;
            }
        }
        let mut held = self.lock();
        held.calls += 1;
        if self.flaw == Flaw::LeavesHalfWhenItFails && held.calls % 2 == 1 {
            return Err(StorageError("half of it is in force".into()));
        }
        if self.flaw != Flaw::ClearsAfterStoring {
            self.clear(&mut held, &clear);
        }
        if self.flaw == Flaw::DeletesBeforeStoring {
            self.delete(&mut held, deletes.clone());
        }
        for stored in entries {
            self.store(&mut held, stored);
        }
        if self.flaw == Flaw::ClearsAfterStoring {
            self.clear(&mut held, &clear);
        }
        if self.flaw != Flaw::DeletesBeforeStoring {
            self.delete(&mut held, deletes);
        }
        if state.is_some() || self.flaw == Flaw::ForgetsTheState {
            held.state = state;
        }
        Ok(())
    }

    async fn get(&self, id: &Id, key: &[u8]) -> Result<Option<Entry>, StorageError> {
        Ok(self.lock().map.get(&(*id, Bytes::copy_from_slice(key))).cloned())
    }

    async fn scan(
        &self,
        interval: Interval,
        after: Option<Cursor>,
        max_bytes: usize,
    ) -> Result<Page, StorageError> {
        if self.flaw != Flaw::ReadsAPageInParts {
            return Ok(self.page(&self.lock(), interval, after, max_bytes));
        }
        let mut whole = Page { entries: Vec::new(), next: after };
        let mut room = max_bytes;
        loop {
            let part = self.page(&self.lock(), interval, whole.next.clone(), 1);
            room = room.saturating_sub(part.entries.iter().map(Stored::len_bytes).sum());
            whole.entries.extend(part.entries);
            whole.next = part.next;
            if room < 1000 || whole.next.is_none() {
                return Ok(whole);
            }
            yield_now().await;
        }
    }

    async fn load(&self) -> Result<Option<Bytes>, StorageError> {
        Ok(self.lock().state.clone())
    }

    async fn stats(&self) -> StorageStats {
        let held = self.lock();
        let tombstones = held.map.values().filter(|entry| entry.value.is_none()).count() as u64;
        let bytes =
            held.map.iter().map(|((_, key), entry)| key.len() + entry.value.as_ref().map_or(0, Bytes::len));
        let ignored = if self.flaw == Flaw::CountsIgnoredBytes { held.ignored_bytes } else { 0 };
        StorageStats {
            entries: held.map.len() as u64 - tombstones,
            tombstones,
            bytes: bytes.sum::<usize>() as u64 + ignored,
        }
    }
}

mod a_plain_store {
    use super::*;

    crate::storage_conformance!(Plain::new(Flaw::None));
}

type Claim = fn(Arc<dyn Storage>) -> BoxFuture<'static, ()>;

macro_rules! caught_by {
    ($($flaw:ident: $claim:ident,)*) => {
        [$((Flaw::$flaw, stringify!($claim), (|store| Box::pin(claims::$claim(store))) as Claim)),*]
    };
}

#[test]
fn each_flaw_is_caught_by_the_claim_that_it_breaks() {
    let cases = caught_by! {
        LastWriteWins: the_newer_version_decides,
        LastWriteWins: batches_may_come_in_any_order,
        SameVersionReplaces: the_newer_version_decides,
        ClearsAfterStoring: a_batch_clears_then_stores_then_deletes,
        DeletesBeforeStoring: a_batch_clears_then_stores_then_deletes,
        ClearsTheStartToo: a_clear_drops_its_intervals_and_nothing_else,
        ClearsNoWholeCircle: a_clear_drops_its_intervals_and_nothing_else,
        DeletesAnyVersion: a_delete_needs_the_very_version,
        DropsTombstones: tombstones_are_stored_and_scanned,
        LosesTheExpiry: entries_come_back_whole,
        TakesEmptyForTombstone: keys_and_values_may_be_empty_or_large,
        KeepsOneKeyAnId: keys_that_share_an_id_are_kept_apart,
        ForgetsTheState: the_state_is_kept_until_it_is_replaced,
        CountsIgnoredBytes: the_stats_count_what_is_there,
        ScansFromZero: a_scan_goes_clockwise_from_its_start,
        ScansNoWholeCircle: a_scan_of_the_whole_circle_begins_where_it_is_cut,
        ExceedsThePage: a_page_keeps_its_bound,
        CutsThePageShort: a_page_keeps_its_bound,
        AddsAnEmptyPage: a_page_keeps_its_bound,
        SkipsTheRestOfAnId: keys_that_share_an_id_are_kept_apart,
        StartsAnewWhenTheCursorIsGone: a_scan_goes_on_after_a_key_that_is_gone,
        StartsAnewWhenTheCursorIsGone: a_scan_beside_writes_returns_each_steady_key_once,
        PutsEntriesOneByOne: readers_see_a_batch_whole,
        PutsTheStateFirst: readers_see_a_batch_whole,
        ReadsAPageInParts: a_page_shows_a_batch_whole,
        ChecksTheVersionTooEarly: of_concurrent_writers_the_newest_version_stays,
        LeavesHalfWhenItFails: a_failed_batch_is_in_force_whole_or_not_at_all,
        LeavesHalfWhenDropped: a_dropped_batch_is_in_force_whole_or_not_at_all,
    };
    for (flaw, name, claim) in cases {
        let store = Arc::new(Plain::new(flaw));
        let caught = catch_unwind(AssertUnwindSafe(|| run(name, claim(store)))).is_err();
        assert!(caught, "`{name}` lets pass a store that {flaw:?}");
    }
}
