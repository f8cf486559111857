//! How far is explored, what has to be true, and what must come of it when nothing is lost any more.

use chord::protocol::group::Groups;

use crate::actions::Action;
use crate::model::{Code, Entries, HOSTS, Job, Node, Stamp, State, Step, Then};
use crate::search::Model;
use crate::source::Source;
use crate::world::{View, World};

/// How far is explored. Losses, delays, repetitions, suspicions, give-ups, reads and collections are free.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Ids, each with one key.
    pub(crate) ids: u8,
    /// Names for hand-offs, the renewed included.
    pub(crate) names: u8,
    pub(crate) writes: u8,
    pub(crate) reads: bool,
    pub(crate) flaw: Option<Flaw>,
}

/// A way to get it wrong, to prove that it would be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A repeated offer clears the copy.
    RepeatedOfferClears,
    /// A chunk is stored after the record was installed.
    ChunkAfterInstall,
    /// The record is installed whether or not the learner confirmed what was sent.
    InstallUnconfirmed,
    /// The owner fences itself only when the record is installed, and may serve on when nobody answers.
    ReleaseAfterInstall,
    /// A write during the copying is not noted.
    WriteNotNoted,
    /// A tombstone is collected during the copying.
    CollectWhileCopying,
    /// Entries that were handed over are dropped whatever is offered meanwhile.
    OfferWhileDropping,
    /// A repeated offer is answered before its ids are cleared.
    AnswerWhileClearing,
    /// What is decided and was declined is installed under the name that was offered.
    InstallDeclined,
    /// A learner that forgot the hand-off declines what was decided for it, if the ring names another owner by then.
    DecidedIsDeclined,
}

/// [`Rules`], explored.
pub(crate) struct Transfers {
    pub(crate) rules: Rules,
    pub(crate) world: World,
}

impl Transfers {
    pub(crate) fn new(rules: Rules) -> Transfers {
        Transfers { rules, world: World::new(rules.ids) }
    }

    pub(crate) fn source(&self) -> Source<'_> {
        Source { world: &self.world, flaw: self.rules.flaw }
    }

    /// Who serves `id`, and under which epoch.
    pub(crate) fn serving(&self, state: &State, id: u8) -> Vec<(u8, Code)> {
        let by = |host| match self.world.view(state, host, id) {
            View::Serve { epoch, .. } => Some((epoch, host)),
            _ => None,
        };
        self.world.codes().filter_map(by).collect()
    }

    /// At most one host serves an id, with all that was acknowledged and nothing older.
    fn serves_the_newest(&self, state: &State) -> Result<(), String> {
        for id in 0..self.rules.ids {
            let serving = self.serving(state, id);
            if serving.len() > 1 {
                return Err(format!("two hosts serve {id}"));
            }
            let newest = state.newest[usize::from(id)];
            for (_, host) in serving {
                let stored = state.node(host).store[usize::from(id)];
                let collected = stored.is_none() && newest.is_none_or(|newest| newest.tombstone);
                if stored != newest && !collected {
                    return Err(format!("{newest:?} was acknowledged, {stored:?} is served"));
                }
            }
        }
        Ok(())
    }

    /// What a learner confirmed is there for as long as it takes the hand-off for going on.
    fn keeps_what_was_confirmed(&self, state: &State) -> Result<(), String> {
        for (host, node) in (0..).zip(&state.nodes) {
            for job in &node.jobs {
                let transfer = self.world.transfer(host, job.number);
                for id in 0..self.rules.ids {
                    let (confirmed, stored) =
                        (job.confirmed[usize::from(id)], state.node(job.to).store[usize::from(id)]);
                    if confirmed > stored && self.world.is_learning(state, job.to, transfer, id) {
                        return Err(format!("{confirmed:?} was confirmed, {stored:?} is there"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes are held back only while the last ones are sent, and until the record is accepted.
    fn holds_back_only_at_the_end(&self, state: &State) -> Result<(), String> {
        for (host, id) in self.world.codes().flat_map(|host| (0..self.rules.ids).map(move |id| (host, id))) {
            let View::Serve { copying, held: true, .. } = self.world.view(state, host, id) else { continue };
            let last = |job: &Job| match job.step {
                Step::Barrier { held } | Step::Gather { held, .. } => held,
                Step::Chunk { then, .. } => then == Then::Dirty,
                Step::Install(_) => self.rules.flaw == Some(Flaw::ReleaseAfterInstall),
                Step::Offer | Step::Dropping { .. } => false,
            };
            if !state.node(host).jobs.iter().any(|job| Some(job.number) == copying && last(job)) {
                return Err(format!("writes of {id} are held back, but not for the last ones to be sent"));
            }
        }
        Ok(())
    }

    fn reads_the_newest(&self, state: &State) -> Result<(), String> {
        let Some(read) = state.read else { return Ok(()) };
        let Some(found) = read.found else { return Ok(()) };
        if !self.world.still_holds(state, read.host, read.id, read.epoch) {
            return Ok(());
        }
        let may_be_absent = read.removed || read.floor.is_none_or(|floor| floor.tombstone);
        if found < read.floor && !(found.is_none() && may_be_absent) {
            return Err(format!("{:?} was acknowledged, {found:?} is read", read.floor));
        }
        Ok(())
    }
}

impl Model for Transfers {
    type State = State;
    type Action = Action;

    /// A serves everything, with one value for each key.
    fn initial(&self) -> State {
        let value = Some(Stamp { epoch: 1, counter: 1, tombstone: false });
        let mut entries = Entries::default();
        entries[..usize::from(self.rules.ids)].fill(value);
        let node = |host: usize| {
            let me = self.world.hosts[host].clone();
            let first = host == 0;
            Node {
                groups: self.world.number(if first { Groups::genesis(me) } else { Groups::empty(me) }),
                store: if first { entries } else { Entries::default() },
                counter: u8::from(first),
                jobs: Vec::new(),
                work: None,
                clearing: 0,
            }
        };
        State {
            nodes: std::array::from_fn::<_, HOSTS, _>(node),
            sent: Vec::new(),
            read: None,
            newest: entries,
            served: Default::default(),
            names: self.rules.names,
            writes: self.rules.writes,
        }
    }

    fn steps(&self, state: &State) -> Vec<(Action, State)> {
        let source = self.source();
        let step = |action| {
            let mut to = source.act(state, action)?;
            for id in 0..self.rules.ids {
                let serving = self.serving(&to, id);
                let newest = &mut to.served[usize::from(id)];
                *newest = serving.into_iter().chain([*newest]).max_by_key(|(epoch, _)| *epoch)?;
            }
            Some((action, to))
        };
        source.actions(state, self.rules.reads, self.rules.names).into_iter().filter_map(step).collect()
    }

    fn check(&self, state: &State) -> Result<(), String> {
        self.serves_the_newest(state)?;
        self.keeps_what_was_confirmed(state)?;
        self.holds_back_only_at_the_end(state)
    }

    fn check_step(&self, from: &State, action: &Action, to: &State) -> Result<(), String> {
        if *action == Action::Answer {
            self.reads_the_newest(from)?;
        }
        for id in 0..self.rules.ids {
            let before = from.served[usize::from(id)];
            for serving in self.serving(to, id) {
                if serving.0 < before.0 || (serving.0 == before.0 && serving != before) {
                    return Err(format!("epoch {} of {id} was served, then {serving:?}", before.0));
                }
            }
            if to.newest[usize::from(id)] < from.newest[usize::from(id)] {
                return Err("a version is older than the one before".into());
            }
        }
        Ok(())
    }
}
