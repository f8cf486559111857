//! What can happen: messages arrive, hand-offs go on, keys are written, read and collected, hosts are suspected.

use std::fmt;

use crate::model::{Code, Content, Entries, Job, MOST_IDS, Message, Read, Reply, Stamp, State, Work, name};
use crate::rules::Flaw;
use crate::source::{Source, awaited, clear};
use crate::world::View;

/// One step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// `host` begins to hand these ids over.
    Begin { host: Code, ids: u8, to: Code },
    /// A request arrives; its answer does as well, or never.
    Deliver { message: Message, answered: bool },
    /// An offer arrives and is declined, because its receiver leaves, say, or its store fails.
    Decline { message: Message },
    /// The `at`-th hand-off of `host` goes on.
    Go { host: Code, at: usize },
    /// The `at`-th hand-off of `host` waits no longer for an answer.
    GiveUp { host: Code, at: usize },
    /// `host` takes another for dead, rightly or not.
    Suspect { host: Code, failed: Code },
    /// A write looks at the verdict, under its key's lock.
    Write { host: Code, id: u8, tombstone: bool },
    /// The sweep looks at an entry that is over.
    Collect { host: Code, id: u8 },
    /// What was begun under a key's lock is stored.
    Finish { host: Code },
    /// `host` drops what it held of the ids that it begins to learn.
    Clear { host: Code },
    /// A read looks at the verdict.
    Read { host: Code, id: u8 },
    /// It looks at the store.
    Look,
    /// It looks at the record again, and answers.
    Answer,
}

impl Source<'_> {
    /// The state behind `action`; `None` when it cannot happen, or changes nothing.
    pub(crate) fn act(&self, state: &State, action: Action) -> Option<State> {
        let mut to = self.may(state, action).then(|| state.clone())?;
        match action {
            Action::Begin { host, ids, to: next } => self.begin(&mut to, host, ids, next)?,
            Action::Deliver { message, answered } => self.deliver(&mut to, message, answered)?,
            Action::Decline { message } => answer(&mut to, message, Reply::Declined)?,
            Action::Go { host, at } => self.go(&mut to, host, at)?,
            Action::GiveUp { host, at } => {
                awaited(host, &state.node(host).jobs[at])?;
                self.give_up(&mut to, host, at)?;
            }
            Action::Suspect { host, failed } => {
                let failed = self.world.host(failed).incarnation;
                self.world.change(&mut to, host, |groups| groups.source_failed(failed));
            }
            Action::Write { host, id, tombstone } => self.write(&mut to, host, id, tombstone)?,
            Action::Collect { host, id } => self.collect(&mut to, host, id)?,
            Action::Finish { host } => self.finish(&mut to, host)?,
            Action::Clear { host } => {
                let ids = std::mem::take(&mut to.node_mut(host).clearing);
                clear(&mut to, host, ids);
            }
            Action::Read { host, id } => self.read(&mut to, host, id)?,
            Action::Look => {
                let read = to.read.as_mut().filter(|read| read.found.is_none())?;
                read.found = Some(state.node(read.host).store[usize::from(read.id)]);
            }
            Action::Answer => to.read = None,
        }
        (to != *state).then_some(to)
    }

    /// Rules out most of what cannot happen, for less than trying costs.
    fn may(&self, state: &State, action: Action) -> bool {
        match action {
            Action::Go { host, at } => {
                let job = &state.node(host).jobs[at];
                let unconfirmed = self.flaw == Some(Flaw::InstallUnconfirmed);
                !job.waits && (awaited(host, job).is_none() || job.reply.is_some() || unconfirmed)
            }
            Action::Collect { host, id } => state.node(host).store[usize::from(id)].is_some(),
            Action::Read { host, id } => {
                state.read.is_none() && matches!(self.world.view(state, host, id), View::Serve { .. })
            }
            Action::Look => state.read.is_some_and(|read| read.found.is_none()),
            Action::Answer => state.read.is_some_and(|read| read.found.is_some()),
            _ => true,
        }
    }

    /// Whatever may happen next.
    pub(crate) fn actions(&self, state: &State, reads: bool, most_names: u8) -> Vec<Action> {
        let world = self.world;
        let mut all = Vec::new();
        for &message in &state.sent {
            let jobs = &state.node(message.from).jobs;
            let wanted =
                jobs.iter().any(|job| job.reply.is_none() && awaited(message.from, job) == Some(message));
            all.push(Action::Deliver { message, answered: false });
            if wanted {
                all.push(Action::Deliver { message, answered: true });
            }
            // Of what is not decided, the same comes when nobody answers.
            if wanted && matches!(message.what, Content::Offer(_)) && jobs.iter().any(|job| job.decided) {
                all.push(Action::Decline { message });
            }
        }
        for host in world.codes() {
            let node = state.node(host);
            all.push(Action::Clear { host });
            for (at, job) in node.jobs.iter().enumerate() {
                all.push(Action::Go { host, at });
                if awaited(host, job).is_some() {
                    all.push(Action::GiveUp { host, at });
                }
            }
            let others = || world.codes().filter(move |other| *other != host);
            let views = || (0..world.ids).map(|id| (id, world.view(state, host, id)));
            if views().any(|(_, view)| view == View::Learning) {
                all.extend(others().map(|failed| Action::Suspect { host, failed }));
            }
            if state.names > 0 {
                let free = views().filter(|(_, view)| matches!(view, View::Serve { copying: None, .. }));
                let free = free.fold(0, |ids, (id, _)| ids | 1 << id);
                // B and C differ by name only: whoever is named first stands for both.
                let first = state.names == most_names;
                for ids in (1..1u8 << world.ids).filter(|ids| ids & free != 0) {
                    let others = others().filter(|other| *other != 2 || !first);
                    all.extend(others.map(|to| Action::Begin { host, ids, to }));
                }
            }
            if node.work.is_some() {
                all.push(Action::Finish { host });
                continue;
            }
            for (id, view) in views() {
                all.push(Action::Collect { host, id });
                if matches!(view, View::Serve { held: false, .. }) && state.writes > 0 {
                    all.extend([false, true].map(|tombstone| Action::Write { host, id, tombstone }));
                }
            }
        }
        if !reads {
            return all;
        }
        for (host, id) in world.codes().flat_map(|host| (0..world.ids).map(move |id| (host, id))) {
            all.push(Action::Read { host, id });
        }
        all.extend([Action::Look, Action::Answer]);
        all
    }

    fn deliver(&self, state: &mut State, message: Message, answered: bool) -> Option<()> {
        let host = message.to;
        let node = state.node(host);
        // What `Node::clearing` and `Node::learning` make wait.
        let waits = match message.what {
            Content::Offer(_) => {
                (node.is_dropping() && self.flaw != Some(Flaw::OfferWhileDropping))
                    || (node.clearing != 0 && self.flaw != Some(Flaw::AnswerWhileClearing))
                    || node.is_collecting()
            }
            Content::Install(_) => node.is_collecting(),
            Content::Chunk(_) | Content::Abort => false,
        };
        if waits {
            return None;
        }
        let transfer = self.world.transfer(message.from, message.number);
        let reply = match message.what {
            Content::Offer(pieces) => match self.take_offer(state, message, &pieces) {
                Some(reply) => reply,
                None => return Some(()),
            },
            Content::Chunk(entries) => self.take_chunk(state, message, &entries),
            Content::Install(epochs) => {
                // `Node::take_install`.
                let records = self.world.records(&epochs, host);
                let installed = self.world.change(state, host, |groups| groups.install(transfer, &records));
                if installed { Reply::Installed } else { Reply::NoSuchTransfer }
            }
            Content::Abort => {
                self.world.change(state, host, |groups| groups.abort(transfer));
                return Some(());
            }
        };
        if answered { answer(state, message, reply) } else { Some(()) }
    }

    /// `Node::take_offer`. No answer while there is something to be cleared: a repetition comes when that is done.
    fn take_offer(&self, state: &mut State, message: Message, pieces: &[u8; MOST_IDS]) -> Option<Reply> {
        let transfer = self.world.transfer(message.from, message.number);
        let (from, offered) = (self.world.host(message.from), self.world.pieces(pieces));
        match self.world.change(state, message.to, |groups| groups.offer(transfer, from, &offered)) {
            Err(_) => Some(Reply::Declined),
            Ok(mut cleared) => {
                if self.flaw == Some(Flaw::RepeatedOfferClears) {
                    cleared = offered.into_iter().map(|(piece, _)| piece).collect();
                }
                let ids = cleared.iter().fold(0, |ids, interval| ids | self.world.ids_in(interval));
                let node = state.node_mut(message.to);
                let is_stored = |id: u8| ids & 1 << id != 0 && node.store[usize::from(id)].is_some();
                if (0..self.world.ids).any(is_stored) {
                    node.clearing = ids;
                    return None;
                }
                Some(Reply::Learning)
            }
        }
    }

    /// `Node::take_chunk`. Its look at the records and its store are under the gate.
    fn take_chunk(&self, state: &mut State, message: Message, entries: &Entries) -> Reply {
        let host = message.to;
        let transfer = self.world.transfer(message.from, message.number);
        let expected = (0..self.world.ids).filter(|id| entries[usize::from(*id)].is_some()).all(|id| {
            let installed = matches!(self.world.view(state, host, id), View::Serve { .. });
            self.world.is_learning(state, host, transfer, id)
                || (installed && self.flaw == Some(Flaw::ChunkAfterInstall))
        });
        if !expected {
            return Reply::NoSuchTransfer;
        }
        for (stored, entry) in state.node_mut(host).store.iter_mut().zip(entries) {
            *stored = (*entry).max(*stored);
        }
        Reply::Stored
    }

    /// `Node::write_here`, up to its decision.
    fn write(&self, state: &mut State, host: Code, id: u8, tombstone: bool) -> Option<()> {
        let View::Serve { epoch, copying, held: false } = self.world.view(state, host, id) else {
            return None;
        };
        let node = state.node_mut(host);
        (node.work.is_none()).then_some(())?;
        node.work = Some(Work::Write { id, epoch, copying, tombstone });
        state.writes = state.writes.checked_sub(1)?;
        Some(())
    }

    /// `Node::collect`, up to its decision.
    fn collect(&self, state: &mut State, host: Code, id: u8) -> Option<()> {
        let view = self.world.view(state, host, id);
        let node = state.node(host);
        node.work.is_none().then_some(())?;
        let stamp = node.store[usize::from(id)]?;
        let flawed = self.flaw == Some(Flaw::CollectWhileCopying) && matches!(view, View::Serve { .. });
        let over = self.world.lets_collect(state, host, id, stamp.tombstone) || (flawed && stamp.tombstone);
        state.node_mut(host).work = over.then_some(Work::Collect { id, stamp });
        Some(())
    }

    /// The rest of `Node::write_here` or `Node::collect`.
    fn finish(&self, state: &mut State, host: Code) -> Option<()> {
        let node = state.node_mut(host);
        match node.work.take()? {
            Work::Write { id, epoch, copying, tombstone } => {
                let noted =
                    |job: &&mut Job| Some(job.number) == copying && self.flaw != Some(Flaw::WriteNotNoted);
                if let Some(job) = node.jobs.iter_mut().find(noted) {
                    job.dirty |= 1 << id;
                }
                node.counter += 1;
                let stamp = Stamp { epoch, counter: node.counter, tombstone };
                let place = &mut node.store[usize::from(id)];
                *place = (*place).max(Some(stamp));
                state.newest[usize::from(id)] = Some(stamp);
                if let Some(read) = state.read.as_mut().filter(|read| read.id == id) {
                    read.removed |= tombstone;
                }
            }
            Work::Collect { id, stamp } => {
                let place = &mut node.store[usize::from(id)];
                *place = place.filter(|stored| *stored != stamp);
            }
        }
        for job in &mut state.node_mut(host).jobs {
            job.waits = false;
        }
        Some(())
    }

    /// `Node::read_here`, up to its look at the store.
    fn read(&self, state: &mut State, host: Code, id: u8) -> Option<()> {
        let View::Serve { epoch, .. } = self.world.view(state, host, id) else { return None };
        state.read.is_none().then_some(())?;
        let floor = state.newest[usize::from(id)];
        state.read = Some(Read { host, id, epoch, floor, removed: false, found: None });
        Some(())
    }
}

/// The answer comes to who waits for it.
fn answer(state: &mut State, message: Message, reply: Reply) -> Option<()> {
    let jobs = &mut state.node_mut(message.from).jobs;
    let job = jobs.iter_mut().find(|job| awaited(message.from, job) == Some(message))?;
    job.reply = Some(reply);
    Some(())
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Action::Begin { host, ids, to } => {
                write!(f, "{} begins to hand {ids:b} to {}", name(host), name(to))
            }
            Action::Deliver { message, answered: true } => write!(f, "{message:?} arrives and is answered"),
            Action::Deliver { message, answered: false } => write!(f, "{message:?} arrives"),
            Action::Decline { message } => write!(f, "{message:?} is declined"),
            Action::Go { host, at } => write!(f, "hand-off {at} of {} goes on", name(host)),
            Action::GiveUp { host, at } => write!(f, "hand-off {at} of {} waits no longer", name(host)),
            Action::Suspect { host, failed } => write!(f, "{} takes {} for dead", name(host), name(failed)),
            Action::Write { host, id, tombstone: false } => write!(f, "{} begins to write {id}", name(host)),
            Action::Write { host, id, tombstone: true } => write!(f, "{} begins to remove {id}", name(host)),
            Action::Collect { host, id } => write!(f, "{} begins to collect {id}", name(host)),
            Action::Finish { host } => write!(f, "{} stores it", name(host)),
            Action::Clear { host } => write!(f, "{} clears what it learns", name(host)),
            Action::Read { host, id } => write!(f, "a read of {id} comes to {}", name(host)),
            Action::Look => f.write_str("the read looks"),
            Action::Answer => f.write_str("the read is answered"),
        }
    }
}
