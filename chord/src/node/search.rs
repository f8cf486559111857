//! What an operation has learnt about its key while [`crate::node::route`] looks for the owner.

use std::sync::Arc;

use crate::error::Error;
use crate::node::route::Operation;
use crate::protocol::group::Verdict;
use crate::protocol::message::NotMine;
use crate::protocol::peer::{Host, HostName, Incarnation, Peer};

/// What is known about where a key is, while an operation looks for it.
#[derive(Default)]
pub(crate) struct Search {
    pub(crate) hops: usize,
    /// Who is said to hold the record, and under which epoch.
    promised: Option<(Incarnation, u64)>,
    /// This host has handed the key over, and that is in force.
    pub(crate) is_moved: bool,
    /// This host has no record of the key, nor was one promised to it.
    pub(crate) is_unknown: bool,
    /// Hosts that were asked once more because the record was promised there, with the epoch.
    retold: Vec<(Incarnation, u64)>,
    /// This host said that it answers for the key.
    pub(crate) sure_of: Option<Incarnation>,
    /// Hosts that count as dead and gave no sign of life when asked for one.
    pub(crate) silent: Vec<Arc<Host>>,
    pub(crate) denials: u32,
    asked: Vec<HostName>,
    pub(crate) reason: String,
}

impl Search {
    /// Notes what this host itself knows, and says whom to ask.
    pub(crate) fn note(&mut self, verdict: Verdict) -> Option<Arc<Host>> {
        self.is_moved = matches!(verdict, Verdict::Moved(_));
        self.is_unknown = matches!(verdict, Verdict::Unknown);
        match verdict {
            Verdict::Fenced(next) | Verdict::Moved(next) => {
                let owner = next.owner()?.clone();
                self.promised = Some((owner.incarnation, next.epoch));
                Some(owner)
            }
            Verdict::Learning(source) => Some(source),
            Verdict::Serve { .. } | Verdict::Unknown => None,
        }
    }

    /// Notes who is said to hold the record, and says whom to ask.
    pub(crate) fn follow(&mut self, said: NotMine, me: &Arc<Host>) -> Option<Arc<Host>> {
        let (holder, epoch) = said.holder?;
        if epoch > 0 {
            self.promised = Some((holder.incarnation, epoch));
        }
        (holder.incarnation != me.incarnation).then_some(holder)
    }

    /// The epoch under which `host` is said to hold the record, 0 if it is not.
    pub(crate) fn epoch_at(&self, host: &Host) -> u64 {
        self.promised.filter(|(holder, _)| *holder == host.incarnation).map_or(0, |(_, epoch)| epoch)
    }

    /// Whether there is no reason to ask `host` once more: a host is asked again once for each epoch promised there.
    pub(crate) fn told_twice(&mut self, host: &Host) -> bool {
        let told = (host.incarnation, self.epoch_at(host));
        if told.1 == 0 || self.retold.contains(&told) {
            return true;
        }
        self.retold.push(told);
        false
    }

    pub(crate) fn names<'a>(
        &mut self,
        asked: &[Incarnation],
        me: &Host,
        peers: impl Iterator<Item = &'a Peer>,
    ) {
        self.asked = peers
            .filter(|peer| asked.contains(&peer.host.incarnation))
            .map(|peer| peer.host.name.clone())
            .chain(self.silent.iter().map(|host| host.name.clone()))
            .chain([me.name.clone()])
            .collect();
        self.asked.sort_unstable();
        self.asked.dedup();
    }

    /// What an operation that was answered by nobody ends with. None of it was executed.
    pub(crate) fn into_error(self, operation: &Operation) -> Error {
        if self.denials > 0 {
            return Error::Unavailable { have: 0, need: 1, hosts: self.asked };
        }
        match operation {
            Operation::Update { .. } => Error::TryAgain { reason: self.reason },
            _ => Error::Timeout { reason: self.reason },
        }
    }
}
