//! The sending side of a hand-off: `chord/src/node/hand_off.rs`, from one wait to the next.

use crate::model::{Code, Content, Entries, Job, Message, Reply, Stamp, State, Step, Then, Work};
use crate::rules::Flaw;
use crate::world::World;

/// What the engine is made to do wrong, if anything.
pub(crate) struct Source<'a> {
    pub(crate) world: &'a World,
    pub(crate) flaw: Option<Flaw>,
}

impl Source<'_> {
    /// `Node::start_hand_off`.
    pub(crate) fn begin(&self, state: &mut State, host: Code, ids: u8, to: Code) -> Option<()> {
        state.names = state.names.checked_sub(1)?;
        let interval = self.world.interval(ids);
        let (transfer, pieces) = self.world.change(state, host, |groups| groups.begin(interval))?;
        let job = Job {
            number: transfer.number as u8,
            to,
            pieces: self.world.epochs(&pieces),
            decided: false,
            complete: false,
            step: Step::Barrier { held: false },
            waits: state.node(host).work.is_some(),
            reply: None,
            dirty: 0,
            confirmed: Entries::default(),
        };
        state.node_mut(host).jobs.push(job);
        Some(())
    }

    /// `Node::hand_over`, `Node::copy_and_decide` and `Node::copy`, from where the hand-off waits to where it waits next. `None`
    /// while it has to wait on.
    pub(crate) fn go(&self, state: &mut State, host: Code, at: usize) -> Option<()> {
        let job = job_mut(state, host, at);
        match job.step {
            Step::Barrier { .. } if job.waits => None,
            Step::Barrier { held: false } => self.offer(state, host, at),
            Step::Barrier { held: true } => self.send_dirty_chunk(state, host, at, true),
            Step::Offer => match job.reply.take()? {
                Reply::Learning => self.copy(state, host, at, 0),
                Reply::Declined if job.decided => self.ask_whether_installed(state, host, at),
                _ => self.give_up(state, host, at),
            },
            Step::Chunk { entries, then } => match job.reply.take() {
                Some(Reply::Stored) => {
                    for (confirmed, entry) in job.confirmed.iter_mut().zip(entries) {
                        *confirmed = entry.max(*confirmed);
                    }
                    self.then(state, host, at, then)
                }
                None if self.flaw == Some(Flaw::InstallUnconfirmed) => self.then(state, host, at, then),
                None => None,
                Some(_) => self.again(state, host, at),
            },
            Step::Gather { keys, found, held } => self.gather(state, host, at, keys, found, held),
            Step::Install(_) => match job.reply.take()? {
                Reply::Installed => self.in_force(state, host, at),
                _ => self.again(state, host, at),
            },
            Step::Dropping { ids } => {
                state.node_mut(host).jobs.remove(at);
                clear(state, host, ids);
                Some(())
            }
        }
    }

    fn then(&self, state: &mut State, host: Code, at: usize, then: Then) -> Option<()> {
        match then {
            Then::Copy(id) => self.copy(state, host, at, id),
            Then::Hold => self.hold(state, host, at),
            Then::Dirty => self.send_dirty_chunk(state, host, at, true),
        }
    }

    fn offer(&self, state: &mut State, host: Code, at: usize) -> Option<()> {
        let pieces = job_mut(state, host, at).pieces;
        self.wait(state, host, at, Step::Offer, Content::Offer(pieces))
    }

    /// `Node::copy_piece`: pages of one entry, from the one at `id` on.
    fn copy(&self, state: &mut State, host: Code, at: usize, id: u8) -> Option<()> {
        let store = state.node(host).store;
        let job = job_mut(state, host, at);
        let Some(id) =
            (id..self.world.ids).find(|id| offered(&job.pieces, *id) && at_id(&store, *id).is_some())
        else {
            if job.decided {
                return self.install(state, host, at);
            }
            return self.send_dirty_chunk(state, host, at, false);
        };
        let mut entries = Entries::default();
        entries[usize::from(id)] = at_id(&store, id);
        self.send_chunk(state, host, at, entries, Then::Copy(id + 1))
    }

    fn hold(&self, state: &mut State, host: Code, at: usize) -> Option<()> {
        let busy = state.node(host).work.is_some();
        let job = job_mut(state, host, at);
        job.step = Step::Barrier { held: true };
        job.waits = busy;
        let transfer = self.world.transfer(host, job.number);
        self.world.change(state, host, |groups| groups.hold(transfer));
        Some(())
    }

    /// `Node::send_dirty_chunk`, of one key, and what `Node::copy` makes of it: so few keys are sent once
    /// before writes are held back, and then until there are none.
    fn send_dirty_chunk(&self, state: &mut State, host: Code, at: usize, held: bool) -> Option<()> {
        let job = job_mut(state, host, at);
        let keys = job.dirty & job.dirty.wrapping_neg();
        job.dirty &= !keys;
        match (keys, held) {
            (0, true) => self.install(state, host, at),
            (0, false) => self.hold(state, host, at),
            _ => {
                job.step = Step::Gather { keys, found: Entries::default(), held };
                self.gather(state, host, at, keys, Entries::default(), held);
                Some(())
            }
        }
    }

    /// Reads each of `keys` as its lock is free, then sends what it found.
    fn gather(
        &self,
        state: &mut State,
        host: Code,
        at: usize,
        keys: u8,
        mut found: Entries,
        held: bool,
    ) -> Option<()> {
        let locked = match state.node(host).work {
            Some(Work::Write { id, .. } | Work::Collect { id, .. }) => 1 << id,
            None => 0,
        };
        for id in (0..self.world.ids).filter(|id| keys & !locked & (1 << id) != 0) {
            found[usize::from(id)] = at_id(&state.node(host).store, id);
        }
        let left = keys & locked;
        if left != 0 {
            let step = Step::Gather { keys: left, found, held };
            let moved = job_mut(state, host, at).step != step;
            job_mut(state, host, at).step = step;
            return moved.then_some(());
        }
        let then = if held { Then::Dirty } else { Then::Hold };
        if found == Entries::default() {
            return self.then(state, host, at, then);
        }
        self.send_chunk(state, host, at, found, then)
    }

    fn send_chunk(
        &self,
        state: &mut State,
        host: Code,
        at: usize,
        entries: Entries,
        then: Then,
    ) -> Option<()> {
        self.wait(state, host, at, Step::Chunk { entries, then }, Content::Chunk(entries))
    }

    /// Accepts the next record, and has it installed.
    fn install(&self, state: &mut State, host: Code, at: usize) -> Option<()> {
        let Job { number, to, .. } = *job_mut(state, host, at);
        let transfer = self.world.transfer(host, number);
        let next = self.world.host(to).clone();
        let decided = if self.flaw == Some(Flaw::ReleaseAfterInstall) {
            self.world.known(state, host).groups.clone().accept(transfer, &next)
        } else {
            let job = job_mut(state, host, at);
            (job.decided, job.complete) = (true, true);
            self.world.change(state, host, |groups| groups.accept(transfer, &next))
        };
        let decided: Vec<_> = decided.into_iter().map(|(interval, group)| (interval, group.epoch)).collect();
        let epochs = self.world.epochs(&decided);
        self.wait(state, host, at, Step::Install(epochs), Content::Install(epochs))
    }

    /// Sends one message and waits for its answer: `Node::insist`.
    fn wait(&self, state: &mut State, host: Code, at: usize, step: Step, what: Content) -> Option<()> {
        let job = job_mut(state, host, at);
        job.step = step;
        job.reply = None;
        let message = Message { to: job.to, from: host, number: job.number, what };
        state.send(message);
        Some(())
    }

    /// `Interrupted::GiveUp`: undecided it ends; decided it goes on under the same name, with the installation if all else
    /// is confirmed.
    pub(crate) fn give_up(&self, state: &mut State, host: Code, at: usize) -> Option<()> {
        let job = job_mut(state, host, at);
        let (to, number) = (job.to, job.number);
        if job.decided {
            return if job.complete { self.install(state, host, at) } else { self.offer(state, host, at) };
        }
        let transfer = self.world.transfer(host, number);
        self.world.change(state, host, |groups| groups.release(transfer));
        state.node_mut(host).jobs.remove(at);
        state.send(Message { to, from: host, number, what: Content::Abort });
        Some(())
    }

    /// `Interrupted::Again`.
    fn again(&self, state: &mut State, host: Code, at: usize) -> Option<()> {
        let transfer = self.world.transfer(host, job_mut(state, host, at).number);
        let names = state.names;
        let Some((renewed, pieces)) = self.world.change(state, host, |groups| groups.renew(transfer)) else {
            return self.in_force(state, host, at);
        };
        state.names = names.checked_sub(1)?;
        let pieces = self.world.epochs(&pieces);
        let busy = state.node(host).work.is_some();
        let job = job_mut(state, host, at);
        *job = Job {
            number: renewed.number as u8,
            to: job.to,
            pieces,
            decided: job.decided,
            complete: false,
            step: Step::Barrier { held: false },
            waits: busy,
            reply: None,
            dirty: 0,
            confirmed: Entries::default(),
        };
        Some(())
    }

    /// `Interrupted::Declined`.
    fn ask_whether_installed(&self, state: &mut State, host: Code, at: usize) -> Option<()> {
        if self.flaw != Some(Flaw::InstallDeclined) {
            self.again(state, host, at)?;
        }
        match job_mut(state, host, at).step {
            Step::Dropping { .. } => Some(()),
            _ => self.install(state, host, at),
        }
    }

    /// The end of `Node::hand_over`; it takes `Node::clearing` first.
    fn in_force(&self, state: &mut State, host: Code, at: usize) -> Option<()> {
        if state.node(host).clearing != 0 || state.node(host).is_dropping() {
            return None;
        }
        let transfer = self.world.transfer(host, job_mut(state, host, at).number);
        if self.flaw == Some(Flaw::ReleaseAfterInstall) {
            let next = self.world.host(job_mut(state, host, at).to).clone();
            self.world.change(state, host, |groups| groups.accept(transfer, &next));
        }
        let dropped = self.world.change(state, host, |groups| groups.in_force(transfer));
        let ids = dropped.iter().fold(0, |ids, interval| ids | self.world.ids_in(interval));
        job_mut(state, host, at).step = Step::Dropping { ids };
        Some(())
    }
}

/// What the hand-off waits to be answered.
pub(crate) fn awaited(host: Code, job: &Job) -> Option<Message> {
    let what = match job.step {
        Step::Offer => Content::Offer(job.pieces),
        Step::Chunk { entries, .. } => Content::Chunk(entries),
        Step::Install(epochs) => Content::Install(epochs),
        Step::Barrier { .. } | Step::Gather { .. } | Step::Dropping { .. } => return None,
    };
    Some(Message { to: job.to, from: host, number: job.number, what })
}

/// Drops what is stored at these ids.
pub(crate) fn clear(state: &mut State, host: Code, ids: u8) {
    for (id, entry) in state.node_mut(host).store.iter_mut().enumerate() {
        if ids & 1 << id != 0 {
            *entry = None;
        }
    }
}

fn job_mut(state: &mut State, host: Code, at: usize) -> &mut Job {
    &mut state.node_mut(host).jobs[at]
}

fn offered(pieces: &[u8], id: u8) -> bool {
    pieces[usize::from(id)] > 0
}

fn at_id(store: &Entries, id: u8) -> Option<Stamp> {
    store[usize::from(id)]
}
