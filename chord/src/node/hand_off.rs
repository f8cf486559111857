//! The sending side of a hand-off: what this host holds and the ring says is another's goes there.
//!
//! One hand-off: offer, copy in confirmed chunks while serving on (writes are noted and sent again), hold writes
//! back, send the last ones, accept the next record (from here on this host is fenced and passes requests on),
//! have it installed, drop the entries. Steps and names: [`crate::protocol::group`].

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::node::call::CallError;
use crate::node::deadline::by;
use crate::node::dirty::{Dirty, FEW_DIRTY_BYTES};
use crate::node::{Metrics, Node};
use crate::protocol::group::TransferId;
use crate::protocol::id::{Id, Interval};
use crate::protocol::message::{EntryHead, Request, Response};
use crate::protocol::peer::{Host, Peer};
use crate::protocol::placement;
use crate::protocol::routing::{Route, RoutingMode};
use crate::protocol::wire;
use crate::storage::{Cursor, Stored};
use crate::transport::{Lane, Transport};

/// Entries of one chunk.
const MAX_CHUNK_ENTRIES: usize = 4096;
/// Tries of one message before a hand-off that is not decided is given up.
const MAX_TRIES: u32 = 3;
/// Between tries.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Between tries once the hand-off is decided, at most.
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(2);

/// Why a copy did not get through.
enum Interrupted {
    /// The learner does not want it, or is gone.
    GiveUp(String),
    /// The learner has forgotten the hand-off: begin again under a new name.
    Again,
}

/// One hand-off on its way.
struct HandOff {
    transfer: TransferId,
    pieces: Vec<(Interval, u64)>,
    to: Arc<Host>,
    leaving: bool,
    /// Writes wait for it: it is sent as fast as it goes.
    urgent: bool,
    /// The next records are accepted: there is no way back.
    decided: bool,
    /// The receiver has confirmed everything under this name. While that is so only the installation is left.
    confirmed: bool,
    /// A chunk was sent.
    moved: bool,
    /// Its place among those that run at once. A decided one goes on for ever, and gives the place back when the
    /// receiver does not answer, until it has something to copy again.
    place: Option<OwnedSemaphorePermit>,
}

impl HandOff {
    /// What is decided is the receiver's, whomever the ring names by now.
    fn offer(&self, from: Arc<Host>) -> Request {
        Request::Offer {
            transfer: self.transfer,
            from,
            pieces: self.pieces.clone(),
            leaving: self.leaving || self.decided,
        }
    }
}

impl<T: Transport> Node<T> {
    /// Looks for what this host serves and the ring says is another's, and starts to hand it over. One piece goes
    /// to one owner; what is left of it is looked at when that is done.
    pub(crate) async fn hand_off_pass(self: &Arc<Self>) {
        // While a write hangs in the store nothing can be handed over, and trying would fill up what is noted.
        if self.foreign_pieces().is_empty() || self.writes_are_stored().await.is_err() {
            return;
        }
        let mut pieces = self.foreign_pieces();
        // Those that others decline again and again leave their turn to those behind them.
        let turn = self.hand_off_turn.load(Ordering::Relaxed) % pieces.len().max(1);
        pieces.rotate_left(turn);
        for piece in pieces {
            if self.hand_offs.available_permits() == 0 {
                // The next to end begins another pass.
                return;
            }
            let first = self.parameters.space.add(&piece.after, &Id::from_u128(1));
            let Some(owner) = self.ring_owner(&first).await else { continue };
            let owner = if owner.host.incarnation == self.me.incarnation {
                // The successor lists, here or on the way, have not heard of whoever made the piece foreign.
                self.owner_before(&piece, &first).await
            } else {
                Some(owner)
            };
            let Some(owner) = owner.filter(|owner| owner.host.incarnation != self.me.incarnation) else {
                continue;
            };
            // Whoever was refused begins another pass in time.
            if !self.may_be_offered(&owner.host) {
                continue;
            }
            let begun = self.start_hand_off(placement::part_of(&piece, &owner), owner.host, false);
            self.hand_off_turn.fetch_add(usize::from(begun), Ordering::Relaxed);
        }
    }

    /// What this host serves, is not handing over yet, and owns no more by the ring's pointers.
    fn foreign_pieces(&self) -> Vec<Interval> {
        let idle = self.groups().idle();
        placement::foreign_pieces(&self.routing(), idle)
    }

    /// The owner of `first`, as those before this host's next virtual node know it.
    async fn owner_before(&self, piece: &Interval, first: &Id) -> Option<Peer> {
        let predecessor = placement::node_before(&self.routing(), piece)?;
        let (_, found) = self.walk(first, RoutingMode::Fingers, Route::Closer(vec![predecessor])).await;
        found.and_then(|(_, owners)| owners.into_iter().next())
    }

    /// Whether `host` has refused nothing just now.
    pub(crate) fn may_be_offered(&self, host: &Host) -> bool {
        self.backoff().is_over(host.incarnation, Instant::now())
    }

    /// Starts a hand-off in a task of its own, if there is anything to hand over and a place for it.
    pub(crate) fn start_hand_off(self: &Arc<Self>, interval: Interval, to: Arc<Host>, leaving: bool) -> bool {
        let Ok(permit) = self.hand_offs.clone().try_acquire_owned() else { return false };
        let begun = self.try_change_groups(|groups| {
            let begun = groups.begin(interval)?;
            self.dirty().insert(begun.0, Dirty::default());
            Some(begun)
        });
        let Some((transfer, pieces)) = begun else { return false };
        let job = HandOff {
            transfer,
            pieces,
            to,
            leaving,
            urgent: false,
            decided: false,
            confirmed: false,
            moved: false,
            place: Some(permit),
        };
        self.spawn_vital("a hand-off", |node| async move {
            node.hand_over(job).await;
            node.hand_off_due.notify_one();
        });
        true
    }

    async fn hand_over(&self, mut job: HandOff) {
        let mut pause = RETRY_PAUSE;
        loop {
            match self.copy_and_decide(&mut job).await {
                Ok(()) => break,
                Err(Interrupted::GiveUp(reason)) if !job.decided => {
                    tracing::debug!(transfer = %job.transfer, to = %job.to.name, reason, "hand-off given up");
                    let pause = self.backoff().refused(job.to.incarnation, Instant::now());
                    self.change_groups(|groups| groups.release(job.transfer));
                    self.dirty().remove(&job.transfer);
                    if job.moved {
                        self.progress.was_in_vain();
                    }
                    self.tell_abort(&job).await;
                    // Others have no need to wait until this one is asked again.
                    drop(job.place.take());
                    self.hand_off_due.notify_one();
                    tokio::time::sleep(self.jittered(pause)).await;
                    return;
                }
                Err(Interrupted::GiveUp(reason)) => {
                    tracing::warn!(transfer = %job.transfer, to = %job.to.name, reason,
                        "decided, but the new owner does not answer: trying on");
                    // That may be for ever: others have no need to wait for it.
                    if job.place.take().is_some() {
                        self.hand_off_due.notify_one();
                    }
                }
                Err(Interrupted::Again) => {
                    if !job.decided {
                        self.progress.was_in_vain();
                    }
                    let Some((transfer, pieces)) = self.try_change_groups(|groups| {
                        let renewed = groups.renew(job.transfer)?;
                        let mut dirty = self.dirty();
                        dirty.remove(&job.transfer);
                        dirty.insert(renewed.0, Dirty::default());
                        Some(renewed)
                    }) else {
                        break;
                    };
                    (job.transfer, job.pieces) = (transfer, pieces);
                    job.urgent = job.decided;
                    job.confirmed = false;
                }
            }
            tokio::time::sleep(self.jittered(pause)).await;
            pause = (2 * pause).min(MAX_RETRY_PAUSE);
        }
        // An offer of the same interval back to this host waits, so that dropping does not touch what it brings.
        let clearing = self.clearing.lock().await;
        let clear = self.change_groups(|groups| groups.in_force(job.transfer));
        self.dirty().remove(&job.transfer);
        if let Err(error) = self.drop_entries(clear).await {
            tracing::warn!(%error, "entries that were handed over could not be dropped");
        }
        drop(clearing);
        self.progress.done();
        self.backoff().forget(job.to.incarnation);
        // Whoever waits for the hand-off, waits for the entries to be gone too.
        self.groups_changed.notify_waiters();
    }

    async fn copy_and_decide(&self, job: &mut HandOff) -> Result<(), Interrupted> {
        if !job.confirmed {
            self.copy(job).await?;
            job.confirmed = true;
        }
        let groups = self.change_groups(|groups| groups.accept(job.transfer, &job.to));
        job.decided = true;
        let install = Request::Install { transfer: job.transfer, groups };
        match self.insist(job, &install, Bytes::new(), Lane::Control).await? {
            Response::Installed => Ok(()),
            Response::Declined(reason) => Err(Interrupted::GiveUp(reason)),
            _ => Err(Interrupted::Again),
        }
    }

    /// Returns with the receiver in possession of everything, and writes held back.
    async fn copy(&self, job: &mut HandOff) -> Result<(), Interrupted> {
        if !job.decided {
            // Writes that were decided before the hand-off had this name are not noted: they must be stored.
            self.writes_are_stored().await?;
        }
        match self.insist(job, &job.offer(self.me.clone()), Bytes::new(), Lane::Control).await? {
            Response::Learning => {}
            // By a learner that has installed already, or is muddled: the installation will tell.
            Response::Declined(_) if job.decided => return Ok(()),
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
            self.writes_are_stored().await?;
            while self.send_dirty_chunk(job).await? > 0 {}
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
            if !job.decided && self.dirty().get(&job.transfer).is_some_and(Dirty::is_full) {
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
    async fn writes_are_stored(&self) -> Result<(), Interrupted> {
        by(self.store_patience(), Box::pin(self.keys.barrier())).await.ok_or_else(store_hangs)
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
            let values: Vec<Bytes> = entries.iter().filter_map(|stored| stored.entry.value.clone()).collect();
            let body = wire::join_values(values.iter());
            let sent = (entries.len() as u64, body.len() as u64);
            let request =
                Request::Chunk { transfer: job.transfer, entries: entries.iter().map(head).collect() };
            job.moved = true;
            match self.insist(job, &request, body, Lane::Bulk).await? {
                Response::Stored => Metrics::add(&self.metrics.entries_sent, sent.0),
                Response::Declined(reason) => return Err(Interrupted::GiveUp(reason)),
                _ => return Err(Interrupted::Again),
            }
            self.progress.step();
            let limit = self.config.sync_bytes_per_second.filter(|limit| *limit > 0 && !job.urgent);
            if let Some(limit) = limit {
                let _awaits = self.progress.awaits();
                tokio::time::sleep(Duration::from_secs_f64(sent.1 as f64 / limit as f64)).await;
            }
            entries = rest;
        }
        Ok(())
    }

    /// Sends one idempotent message until it is answered, or until the hand-off must be given up. The first sending of a
    /// chunk is waited for, by a leave too, as long as the host lives and its time lasts
    /// ([`PeerTimes::transfer_time`]).
    ///
    /// [`PeerTimes::transfer_time`]: crate::node::call::PeerTimes::transfer_time
    async fn insist(
        &self,
        job: &HandOff,
        request: &Request,
        body: Bytes,
        lane: Lane,
    ) -> Result<Response, Interrupted> {
        let mut tries = 0;
        loop {
            tries += 1;
            let time = self.times().transfer_time(job.to.incarnation, body.len(), tries);
            let awaits = (tries == 1 && lane == Lane::Bulk).then(|| self.progress.awaits());
            let result =
                self.call_while_alive(&job.to, request, body.clone(), lane, Instant::now() + time).await;
            drop(awaits);
            let error = match result {
                Ok((response, _)) => return Ok(response),
                Err(error) => error,
            };
            let hopeless =
                matches!(error, CallError::NotExecuted(_) | CallError::TooLarge { .. } | CallError::Closed);
            if tries >= MAX_TRIES || hopeless || self.routing().is_lost(job.to.incarnation) {
                return Err(Interrupted::GiveUp(error.to_string()));
            }
            tokio::time::sleep(self.jittered(RETRY_PAUSE)).await;
        }
    }

    /// A learner that does not hear of it waits for the rest of the hand-off, and cannot leave in order meanwhile.
    async fn tell_abort(&self, job: &HandOff) {
        let request = Request::Abort { transfer: job.transfer };
        let _ = self.insist(job, &request, Bytes::new(), Lane::Control).await;
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

#[cfg(test)]
mod tests;
