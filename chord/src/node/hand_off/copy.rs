//! The copy of a hand-off: everything in confirmed chunks, what is written meanwhile, and the last writes while others
//! are held back.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{HandOff, Interrupted, MAX_RETRY_PAUSE, RETRY_PAUSE};
use crate::node::call::CallError;
use crate::node::deadline::by;
use crate::node::dirty::{Dirty, FEW_DIRTY_BYTES};
use crate::node::{Metrics, Node};
use crate::protocol::id::Interval;
use crate::protocol::message::{EntryHead, Request, Response};
use crate::protocol::wire;
use crate::storage::{Cursor, Stored};
use crate::transport::{Lane, Transport};

/// Entries of one chunk.
const MAX_CHUNK_ENTRIES: usize = 4096;
/// Tries of one message before a hand-off that is not decided is given up.
const MAX_TRIES: u32 = 3;
/// Tries of one message to a receiver that is busy, or whose store is, once entries were sent: they would be sent again.
const MAX_BUSY_TRIES: u32 = 12;

impl<T: Transport> Node<T> {
    /// Returns with the receiver in possession of everything, and writes held back.
    pub(super) async fn copy(&self, job: &mut HandOff) -> Result<(), Interrupted> {
        if !job.decided {
            // Writes that were decided before the hand-off had this name are not noted: they must be stored.
            self.writes_are_stored().await?;
        }
        match self.insist(job, &job.offer(self.me.clone()), Bytes::new(), Lane::Control).await? {
            Response::Learning => {}
            // Never installed under this name: the learner may have taken this very offer, and hold only a part.
            Response::Declined(_) if job.decided => return Err(Interrupted::Declined),
            Response::Declined(reason) => return Err(Interrupted::GiveUp(reason)),
            _ => return Err(Interrupted::GiveUp("the answer to the offer is nonsense".into())),
        }
        if job.place.is_none() {
            // Decided as it is, nobody serves what it moves: it does not wait for those that may take hours.
            job.place = self.hand_offs.clone().try_acquire_owned().ok();
        }
        for (piece, _) in job.pieces.clone() {
            self.copy_piece(job, piece).await?;
        }
        if !job.decided {
            self.catch_up(job).await?;
            self.change_groups(|groups| groups.hold(job.transfer));
            job.held = true;
            self.writes_are_stored().await?;
            while self.send_dirty_chunk(job).await? > 0 {}
            self.hear_again(job).await?;
        }
        Ok(())
    }

    /// Returns with the receiver heard of just now. One that was not may have taken this host for dead since, forgotten the
    /// hand-off, and left: what is decided for it then, nobody can serve. So it is when this host froze while it waited
    /// for an answer, and finds it when it wakes.
    async fn hear_again(&self, job: &mut HandOff) -> Result<(), Interrupted> {
        let mut tries = 0;
        while job.asked_at.elapsed() > self.fresh_time(&job.to) {
            if tries == MAX_TRIES {
                let reason = "the new owner answers too slowly to be decided for";
                return Err(Interrupted::GiveUp(reason.into()));
            }
            tries += 1;
            self.send_one(job, Vec::new(), Lane::Control).await?;
        }
        Ok(())
    }

    async fn copy_piece(&self, job: &mut HandOff, piece: Interval) -> Result<(), Interrupted> {
        let mut after: Option<Cursor> = None;
        loop {
            let scan = self.storage.scan(piece, after, self.config.chunk_bytes);
            let page = by(self.store_patience(), scan)
                .await
                .ok_or_else(store_hangs)?
                .map_err(|error| Interrupted::GiveUp(error.to_string()))?;
            self.send_chunk(job, page.entries).await?;
            after = match page.next {
                Some(next) => Some(next),
                None => return Ok(()),
            };
            // A chunk of the one, a chunk of the other: neither the copy nor the writes that wait stand still.
            if self.writes_wait(job) {
                self.send_dirty_chunk(job).await?;
            }
        }
    }

    /// Sends what was written meanwhile, until little is left to be sent while writes are held back. With each chunk
    /// the bound on what may wait falls by half of it: writes that outrun the link have half of it, until all that
    /// waits is little.
    async fn catch_up(&self, job: &mut HandOff) -> Result<(), Interrupted> {
        job.urgent = true;
        let mut bound = self.dirty_bytes(job);
        while bound > FEW_DIRTY_BYTES && self.dirty_bytes(job) > FEW_DIRTY_BYTES {
            bound = bound.saturating_sub(self.send_dirty_chunk(job).await? / 2);
            if let Some(dirty) = self.dirty().get_mut(&job.transfer) {
                dirty.set_bound(bound);
            }
        }
        Ok(())
    }

    /// Returns when every write that was let in before this was called is stored. A store that hangs must not make
    /// others wait, who are held back or noted meanwhile: the hand-off is given up then, which lets them go on.
    pub(super) async fn writes_are_stored(&self) -> Result<(), Interrupted> {
        by(self.store_patience(), Box::pin(self.keys.barrier())).await.ok_or_else(store_hangs)
    }

    /// Whether writes wait for the hand-off to get on.
    fn writes_wait(&self, job: &HandOff) -> bool {
        !job.decided && (job.held || self.dirty().get(&job.transfer).is_some_and(Dirty::is_full))
    }

    fn dirty_bytes(&self, job: &HandOff) -> usize {
        self.dirty().get(&job.transfer).map_or(0, Dirty::bytes)
    }

    /// Sends the present entries of some keys that were written since they were last sent, about one chunk. Returns how
    /// many bytes they counted for.
    async fn send_dirty_chunk(&self, job: &mut HandOff) -> Result<usize, Interrupted> {
        let (keys, counted) = match self.dirty().get_mut(&job.transfer) {
            Some(dirty) => dirty.take(self.config.chunk_bytes),
            None => return Ok(0),
        };
        // Writes that wait because too much was waiting may go on.
        self.groups_changed.notify_waiters();
        let mut chunk = Vec::new();
        let mut bytes = 0;
        for (id, key) in keys {
            // Whoever noted the key holds its lock until the write is stored.
            let patience = self.store_patience();
            let lock = self.keys.lock_by(&id, patience).await.ok_or_else(store_hangs)?;
            let found = by(patience, self.storage.get(&id, &key)).await.ok_or_else(store_hangs)?;
            drop(lock);
            let found = found.map_err(|error| Interrupted::GiveUp(error.to_string()))?;
            let Some(entry) = found else { continue };
            let stored = Stored { id, key, entry };
            // It may have grown since it was noted.
            if bytes + stored.len_bytes() > self.config.chunk_bytes {
                self.send_chunk(job, std::mem::take(&mut chunk)).await?;
                bytes = 0;
            }
            bytes += stored.len_bytes();
            chunk.push(stored);
        }
        self.send_chunk(job, chunk).await?;
        Ok(counted)
    }

    async fn send_chunk(&self, job: &mut HandOff, mut entries: Vec<Stored>) -> Result<(), Interrupted> {
        while !entries.is_empty() {
            let rest = entries.split_off(entries.len().min(MAX_CHUNK_ENTRIES));
            job.moved = true;
            let sent_bytes = self.send_one(job, entries, Lane::Bulk).await?;
            self.progress.step();
            let limit = self.config.sync_bytes_per_second.filter(|limit| *limit > 0 && !job.urgent);
            if let Some(limit) = limit {
                let _awaits = self.progress.awaits();
                tokio::time::sleep(Duration::from_secs_f64(sent_bytes as f64 / limit as f64)).await;
            }
            entries = rest;
        }
        Ok(())
    }

    /// Sends one chunk; with no entries it asks whether the receiver still learns. Returns how many bytes of values it had.
    async fn send_one(
        &self,
        job: &mut HandOff,
        entries: Vec<Stored>,
        lane: Lane,
    ) -> Result<usize, Interrupted> {
        let values: Vec<Bytes> = entries.iter().filter_map(|stored| stored.entry.value.clone()).collect();
        let body = wire::join_values(values.iter());
        let sent_bytes = body.len();
        let request = Request::Chunk { transfer: job.transfer, entries: entries.iter().map(head).collect() };
        match self.insist(job, &request, body, lane).await? {
            Response::Stored => Metrics::add(&self.metrics.entries_sent, entries.len() as u64),
            Response::Declined(reason) => return Err(Interrupted::GiveUp(reason)),
            _ => return Err(Interrupted::Again),
        }
        Ok(sent_bytes)
    }

    /// Sends one idempotent message until it is answered, or until the hand-off must be given up. The first sending of a
    /// chunk is waited for, by a leave too, as long as the host lives and its time lasts
    /// ([`PeerTimes::transfer_time`]).
    ///
    /// [`PeerTimes::transfer_time`]: crate::node::call::PeerTimes::transfer_time
    pub(super) async fn insist(
        &self,
        job: &mut HandOff,
        request: &Request,
        body: Bytes,
        lane: Lane,
    ) -> Result<Response, Interrupted> {
        let (mut tries, mut pause) = (0, RETRY_PAUSE);
        loop {
            tries += 1;
            let sent = Instant::now();
            let deadline = sent + self.times().transfer_time(job.to.incarnation, body.len(), tries);
            let awaits = (tries == 1 && lane == Lane::Bulk).then(|| self.progress.awaits());
            let result = self.call_while_alive(&job.to, request, body.clone(), lane, deadline).await;
            drop(awaits);
            let error = match result {
                Ok((response, _)) => {
                    job.asked_at = sent;
                    return Ok(response);
                }
                Err(error) => error,
            };
            let most = match error {
                CallError::NotExecuted(_) | CallError::TooLarge { .. } | CallError::Closed => 0,
                CallError::Busy(_) if self.writes_wait(job) => {
                    let in_time = sent.elapsed() <= self.config.operation_deadline / 4;
                    if in_time { MAX_TRIES } else { 0 }
                }
                CallError::Busy(_) if job.moved => MAX_BUSY_TRIES,
                _ => MAX_TRIES,
            };
            if tries >= most || self.routing().is_lost(job.to.incarnation) {
                return Err(Interrupted::GiveUp(error.to_string()));
            }
            tokio::time::sleep(self.jittered(pause)).await;
            pause = (2 * pause).min(MAX_RETRY_PAUSE);
        }
    }
}

fn store_hangs() -> Interrupted {
    Interrupted::GiveUp("the store does not answer".into())
}

fn head(stored: &Stored) -> EntryHead {
    EntryHead {
        id: stored.id,
        key: stored.key.clone(),
        version: stored.entry.version,
        expires_at: stored.entry.expires_at,
        value_bytes: stored.entry.value.as_ref().map(|value| value.len() as u32),
    }
}
