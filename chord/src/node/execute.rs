//! What the owner of a key does: reads and updates on its own store, and only while it holds the group record.

use bytes::Bytes;
use tokio::time::Instant;

use crate::error::Error;
use crate::node::deadline::by;
use crate::node::keys::KeyLock;
use crate::node::{Metrics, Node};
use crate::protocol::entry::{Entry, Outcome, Update, Version};
use crate::protocol::group::{TransferId, Verdict};
use crate::protocol::id::Id;
use crate::protocol::message::{Trail, Updated};
use crate::storage::{Batch, Stored};
use crate::transport::Transport;

/// Why an operation has no result here.
#[derive(Debug)]
pub(crate) enum NotDone {
    /// This host does not answer for the key.
    Elsewhere(Verdict),
    /// It does, but could not by the deadline. Certainly not executed.
    TryAgain(String),
    /// The store has taken a write and not said by the deadline what came of it: it may still be stored.
    Indeterminate(String),
    /// The store failed.
    Storage(String),
}

impl NotDone {
    /// What a read that had no result ends with.
    pub(crate) fn of_read(self) -> Error {
        match self {
            NotDone::Elsewhere(_) => Error::Timeout { reason: "the owner has changed".into() },
            NotDone::TryAgain(reason) | NotDone::Indeterminate(reason) => Error::Timeout { reason },
            NotDone::Storage(reason) => Error::Storage(reason),
        }
    }

    /// What an update that had no result ends with.
    pub(crate) fn of_update(self) -> Error {
        match self {
            NotDone::Elsewhere(_) => Error::TryAgain { reason: "the owner has changed".into() },
            NotDone::TryAgain(reason) => Error::TryAgain { reason },
            NotDone::Indeterminate(reason) | NotDone::Storage(reason) => {
                Error::Indeterminate { copies: 0, reason }
            }
        }
    }
}

impl<T: Transport> Node<T> {
    /// Whether this host answers for `id`. A host that is about to, and that the asker was sent to by the owner
    /// before, waits for the record to be installed instead of sending the asker back.
    pub(crate) async fn verdict(&self, id: &Id, trail: Trail, deadline: Instant) -> Verdict {
        loop {
            let changed = self.groups_changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let (verdict, promised) = {
                let groups = self.groups();
                (groups.verdict(id), groups.awaits(trail.min_epoch, id))
            };
            if !promised || tokio::time::timeout_at(deadline, changed).await.is_err() {
                return verdict;
            }
        }
    }

    /// Reads a key if this host answers for it right now, without waiting for anybody.
    pub(crate) async fn read_if_here(
        &self,
        id: &Id,
        key: &[u8],
        deadline: Instant,
    ) -> Result<Option<Option<Entry>>, Error> {
        self.check_open()?;
        if !matches!(self.groups().verdict(id), Verdict::Serve { .. }) {
            return Ok(None);
        }
        match self.read_here(id, key, Trail::default(), deadline).await {
            Ok(found) => Ok(Some(found)),
            Err(NotDone::Elsewhere(_)) => Ok(None),
            Err(reason) => Err(reason.of_read()),
        }
    }

    /// Updates a key if this host answers for it right now: the short way of an update that needs no other host.
    ///
    /// Cancel safety: as [`Node::write_here`].
    pub(crate) async fn update_if_here(
        &self,
        id: &Id,
        key: &Bytes,
        update: &Update,
        deadline: Instant,
    ) -> Result<Option<(Updated, Option<Bytes>)>, Error> {
        self.check_open()?;
        if !matches!(self.groups().verdict(id), Verdict::Serve { .. }) {
            return Ok(None);
        }
        let Ok(_permit) = self.operations.try_acquire() else {
            return Err(Error::Overloaded { what: "operations in flight on this node" });
        };
        match self.update_here(id, key, update, Trail::default(), deadline).await {
            Ok(done) => Ok(Some(done)),
            Err(NotDone::Elsewhere(_)) => Ok(None),
            Err(reason) => Err(reason.of_update()),
        }
    }

    /// Reads a key that this host answers for: its live entry, if there is one.
    pub(crate) async fn read_here(
        &self,
        id: &Id,
        key: &[u8],
        trail: Trail,
        deadline: Instant,
    ) -> Result<Option<Entry>, NotDone> {
        loop {
            let verdict = self.groups().verdict(id);
            let epoch = match verdict {
                Verdict::Serve { epoch, .. } => epoch,
                _ => match self.verdict(id, trail, deadline).await {
                    Verdict::Serve { epoch, .. } => epoch,
                    elsewhere => return Err(NotDone::Elsewhere(elsewhere)),
                },
            };
            let found = self.stored_by(id, key, deadline).await?;
            // A host that handed over in between may have dropped the entry already.
            if !self.groups().still_holds(id, epoch) {
                continue;
            }
            Metrics::add(&self.metrics.served, 1);
            let Some(entry) = found else { return Ok(None) };
            // Only an expiry makes the clock worth asking.
            let now = if entry.expires_at.is_some() { self.now() } else { 0 };
            if entry.is_live(now) {
                return Ok(Some(entry));
            }
            if entry.value.is_some() {
                let buried = self.bury(id, key, entry.version, deadline).await;
                buried.map_err(|reason| match reason {
                    // Who only reads has no part in what may still be stored.
                    NotDone::Indeterminate(reason) => NotDone::TryAgain(reason),
                    reason => reason,
                })?;
            }
            return Ok(None);
        }
    }

    /// Writes a tombstone for an expired entry: another owner's clock may disagree, so it is answered as absent
    /// only after that.
    pub(crate) async fn bury(
        &self,
        id: &Id,
        key: &[u8],
        version: Version,
        deadline: Instant,
    ) -> Result<(), NotDone> {
        let key = Bytes::copy_from_slice(key);
        let write = |current: Option<&Entry>, now: u64| {
            let expired = current.is_some_and(|entry| entry.version == version && entry.has_expired(now));
            (expired.then_some((None, None)), ())
        };
        self.write_here(id, &key, Trail::default(), deadline, write).await.map(|_| ())
    }

    /// Executes `update` on a key that this host answers for. Returns what it did and the value it found, if that
    /// was asked for.
    pub(crate) async fn update_here(
        &self,
        id: &Id,
        key: &Bytes,
        update: &Update,
        trail: Trail,
        deadline: Instant,
    ) -> Result<(Updated, Option<Bytes>), NotDone> {
        let max = usize::try_from(self.parameters.max_value_bytes).unwrap_or(usize::MAX);
        let decide = |current: Option<&Entry>, now: u64| {
            let found = current.filter(|entry| entry.is_live(now));
            let decision = update.decide(current, now, max);
            let previous =
                if update.return_previous { found.and_then(|entry| entry.value.clone()) } else { None };
            let updated = Updated {
                outcome: decision.outcome,
                version: found.map(|entry| entry.version),
                copies: 1,
                existed: found.is_some(),
                previous_bytes: previous.as_ref().map(|value| value.len() as u32),
                previous_expires_at: found.and_then(|entry| entry.expires_at),
                number: decision.number,
            };
            (decision.write, (updated, previous))
        };
        let (written, (mut updated, previous)) = self.write_here(id, key, trail, deadline, decide).await?;
        Metrics::add(&self.metrics.served, 1);
        // Otherwise what was written is at most the tombstone of an expired value.
        if updated.outcome == Outcome::Applied {
            updated.version = written;
        }
        Ok((updated, previous))
    }

    /// The one write path: under the key's lock, decides on the newest entry and stores the outcome under the next
    /// version. Returns that version, if anything was written.
    ///
    /// Ends by `deadline`, also where the store does not answer: with [`NotDone::Indeterminate`] once it was given the
    /// write.
    ///
    /// Cancel safety: dropped before the store was given the write, it has done nothing; afterwards it is done to its
    /// end.
    async fn write_here<R>(
        &self,
        id: &Id,
        key: &Bytes,
        trail: Trail,
        deadline: Instant,
        decide: impl Fn(Option<&Entry>, u64) -> (Option<(Option<Bytes>, Option<u64>)>, R),
    ) -> Result<(Option<Version>, R), NotDone> {
        loop {
            let changed = self.groups_changed.notified();
            tokio::pin!(changed);
            let Some(lock) = self.keys.lock_by(id, deadline).await else {
                return Err(NotDone::TryAgain("an earlier write is not stored yet".into()));
            };
            changed.as_mut().enable();
            let verdict = self.groups().verdict(id);
            let (epoch, copying) = match verdict {
                Verdict::Serve { epoch, copying, held } if !held && !self.is_behind(copying) => {
                    (epoch, copying)
                }
                Verdict::Serve { .. } => {
                    drop(lock);
                    if tokio::time::timeout_at(deadline, changed).await.is_err() {
                        return Err(NotDone::TryAgain("the key is being handed over".into()));
                    }
                    continue;
                }
                _ => {
                    drop(lock);
                    match self.verdict(id, trail, deadline).await {
                        Verdict::Serve { .. } => continue,
                        elsewhere => return Err(NotDone::Elsewhere(elsewhere)),
                    }
                }
            };
            let current = self.stored_by(id, key, deadline).await?;
            let (write, result) = decide(current.as_ref(), self.now());
            let Some((value, expires_at)) = write else { return Ok((None, result)) };
            let version = Version { epoch, counter: self.next_version() };
            // Noted before it is stored: whoever sends it waits for this key's lock first.
            if let Some(transfer) = copying {
                self.note_written(transfer, id, key, value.as_ref().map_or(0, Bytes::len));
            }
            let stored = Stored { id: *id, key: key.clone(), entry: Entry { version, value, expires_at } };
            self.apply_by(stored, lock, deadline).await?;
            return Ok((Some(version), result));
        }
    }

    /// What the store has of a key, a tombstone included.
    async fn stored_by(&self, id: &Id, key: &[u8], deadline: Instant) -> Result<Option<Entry>, NotDone> {
        match by(deadline, self.storage.get(id, key)).await {
            Some(found) => found.map_err(|error| NotDone::Storage(error.0)),
            None => Err(NotDone::TryAgain("the store does not answer".into())),
        }
    }

    /// Stores what was decided under `lock`. Where the store makes it wait, a task of the node goes on with it, and
    /// with the lock, whatever becomes of the caller: nothing of the key is decided before this write has landed.
    async fn apply_by(&self, stored: Stored, lock: KeyLock, deadline: Instant) -> Result<(), NotDone> {
        let storage = self.storage.clone();
        let applying = Box::pin(async move {
            let applied = storage.apply(Batch::one(stored)).await;
            drop(lock);
            applied
        });
        match self.carry_out(applying, deadline).await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(NotDone::Storage(error.0)),
            None => Err(NotDone::Indeterminate("the store has not said that it is stored".into())),
        }
    }

    fn is_behind(&self, copying: Option<TransferId>) -> bool {
        copying.is_some_and(|transfer| self.dirty().get(&transfer).is_some_and(|dirty| dirty.is_full()))
    }

    fn note_written(&self, transfer: TransferId, id: &Id, key: &Bytes, value_bytes: usize) {
        if let Some(dirty) = self.dirty().get_mut(&transfer) {
            dirty.note(*id, key.clone(), value_bytes);
        }
    }
}
