//! A page of a scan over all shards, each locked by itself and for a short while.
//!
//! A run of the circle is read in passes. A pass takes a quota from each shard; a shard that has more ends the
//! pass at the last entry it gave, since what lies beyond may lie in that shard. What all shards gave up to the
//! nearest of these ends is complete, and the next pass goes on from there.

use std::ops::RangeBounds;
use std::sync::RwLock;

use bytes::Bytes;

use super::read;
use super::shard::{Run, Shard, runs};
use crate::protocol::id::{Id, Interval};
use crate::storage::{Cursor, Page, Stored};

/// How many times its even share of a page a shard may give in the first pass. More fills the page in fewer
/// passes, less leaves fewer entries that were found in vain.
const SHARE: usize = 2;

pub(super) fn page(
    shards: &[RwLock<Shard>],
    interval: Interval,
    after: Option<Cursor>,
    max_bytes: usize,
) -> Page {
    let mut page = Page::default();
    let mut room = max_bytes;
    for (run, mut after) in runs_after(&interval, after) {
        let mut quota = (room / shards.len() * SHARE).max(1);
        loop {
            let (found, end) = pass(shards, run, after.as_ref(), quota);
            for stored in found {
                let len = stored.len_bytes();
                if len > room && !page.entries.is_empty() {
                    page.next = page.entries.last().map(cursor_of);
                    return page;
                }
                room = room.saturating_sub(len);
                page.entries.push(stored);
            }
            if end.is_none() {
                break;
            }
            after = end;
            quota = quota.saturating_mul(2);
        }
    }
    page
}

/// The runs of `interval` that lie at least partly beyond `after`, with the place to start in each.
fn runs_after(interval: &Interval, after: Option<Cursor>) -> Vec<(Run, Option<Cursor>)> {
    let Some(cursor) = after else {
        return runs(interval).into_iter().map(|run| (run, None)).collect();
    };
    let past = runs(interval).into_iter().skip_while(|run| !run.contains(&cursor.id));
    let mut start = Some(cursor.clone());
    past.map(|run| (run, start.take())).collect()
}

/// What the shards hold in `run` beyond `after`, in order, up to where each gave all it has or about `quota`
/// bytes; and the last place that is complete, unless it is the end of the run.
fn pass(
    shards: &[RwLock<Shard>],
    run: Run,
    after: Option<&Cursor>,
    quota: usize,
) -> (Vec<Stored>, Option<Cursor>) {
    let mut found: Vec<Stored> = Vec::new();
    let mut end: Option<Cursor> = None;
    for shard in shards {
        let shard = read(shard);
        let mut taken = 0;
        for (id, item) in shard.walk(run, after) {
            if end.as_ref().is_some_and(|end| place(end) < (id, item.key())) {
                break;
            }
            if taken > quota {
                end = found.last().map(cursor_of);
                break;
            }
            let stored = item.stored_at(*id);
            taken += stored.len_bytes();
            found.push(stored);
        }
    }
    if let Some(end) = &end {
        found.retain(|stored| (&stored.id, &stored.key) <= place(end));
    }
    found.sort_unstable_by(|a, b| (&a.id, &a.key).cmp(&(&b.id, &b.key)));
    (found, end)
}

fn place(cursor: &Cursor) -> (&Id, &Bytes) {
    (&cursor.id, &cursor.key)
}

fn cursor_of(stored: &Stored) -> Cursor {
    Cursor { id: stored.id, key: stored.key.clone() }
}
