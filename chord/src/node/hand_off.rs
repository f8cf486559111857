//! The sending side of a hand-off: what this host holds and the ring says is another's goes there.
//!
//! One hand-off: offer, copy in confirmed chunks while serving on (writes are noted and sent again), hold writes
//! back, send the last ones, accept the next record (from here on this host is fenced and passes requests on),
//! have it installed, drop the entries. Steps and names: [`crate::protocol::group`].

mod copy;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::node::Node;
use crate::node::dirty::Dirty;
use crate::protocol::group::TransferId;
use crate::protocol::id::{Id, Interval};
use crate::protocol::message::{Request, Response};
use crate::protocol::peer::{Host, Peer};
use crate::protocol::placement;
use crate::protocol::routing::{Route, RoutingMode};
use crate::transport::{Lane, Transport};

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
    /// What is decided was declined: it is installed already, or not wanted now. An installation under a new name, which
    /// was never offered, tells.
    Declined,
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
    /// Only the installation is left: the receiver has confirmed everything under this name, or was never offered it, and
    /// can only say whether it has installed the record before.
    confirmed: bool,
    /// Writes are held back.
    held: bool,
    /// When the message was sent that the receiver answered last.
    asked_at: Instant,
    /// A chunk was sent.
    moved: bool,
    /// Its place among those that run at once. A decided one goes on for ever, and gives the place back when the
    /// receiver does not answer, until it has something to copy again.
    place: Option<OwnedSemaphorePermit>,
}

impl HandOff {
    fn new(transfer: TransferId, pieces: Vec<(Interval, u64)>, to: Arc<Host>, leaving: bool) -> HandOff {
        HandOff {
            transfer,
            pieces,
            to,
            leaving,
            urgent: false,
            decided: false,
            confirmed: false,
            held: false,
            asked_at: Instant::now(),
            moved: false,
            place: None,
        }
    }

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
            // The hand-off that was given up begins another pass in time.
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

    /// Whether no hand-off to `host` was given up just now.
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
        let mut job = HandOff::new(transfer, pieces, to, leaving);
        job.place = Some(permit);
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
                    job.held = false;
                    if job.moved {
                        self.progress.was_in_vain();
                    }
                    self.tell_abort(&mut job).await;
                    self.give_place_back(&mut job);
                    tokio::time::sleep(self.jittered(pause)).await;
                    return;
                }
                Err(Interrupted::GiveUp(reason)) => {
                    tracing::warn!(transfer = %job.transfer, to = %job.to.name, reason,
                        "decided, but the new owner does not answer: trying on");
                    self.give_place_back(&mut job);
                }
                Err(again @ (Interrupted::Again | Interrupted::Declined)) => {
                    if !job.decided {
                        self.progress.was_in_vain();
                    } else if matches!(again, Interrupted::Declined) {
                        self.give_place_back(&mut job);
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
                    job.confirmed = matches!(again, Interrupted::Declined);
                    job.held = false;
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

    /// Others have no need to wait for a hand-off that does not get on, which may be for ever.
    fn give_place_back(&self, job: &mut HandOff) {
        if job.place.take().is_some() {
            self.hand_off_due.notify_one();
        }
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
            _ => Err(Interrupted::Again),
        }
    }

    /// A learner that does not hear of it waits for the rest of the hand-off, and cannot leave in order meanwhile.
    async fn tell_abort(&self, job: &mut HandOff) {
        let request = Request::Abort { transfer: job.transfer };
        let _ = self.insist(job, &request, Bytes::new(), Lane::Control).await;
    }
}

#[cfg(test)]
mod tests;
