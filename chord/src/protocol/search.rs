//! The search for whoever answers for a key: the believed owner first, then whom its answers name, then the ring.
//!
//! A [`Search`] is what an operation has learnt about its key so far; it goes on in rounds. A [`SearchRound`] says
//! whom to ask next, each host once; it makes no call itself. A host that does not answer for the key says who may
//! ([`NotMine`]), which corrects the contact table and is followed; beside that a [`Lookup`] walks the ring.

use std::sync::Arc;
use std::time::Duration;

use crate::protocol::group::Verdict;
use crate::protocol::id::Id;
use crate::protocol::lookup::{Lookup, Next};
use crate::protocol::message::NotMine;
use crate::protocol::peer::{Host, HostName, Incarnation, Peer};
use crate::protocol::routing::{Routing, RoutingMode};

/// Rounds in which every host that could hold the record denied it or was gone, before the key counts as unavailable: these,
/// and a quarter of the operation's deadline, since records lag behind the ring while many hosts join.
pub const MAX_DENIALS: u32 = 4;
/// The pause after the first round without an answer; it doubles.
pub const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause.
pub const MAX_PAUSE: Duration = Duration::from_millis(250);

/// What is known about where a key is, while an operation looks for it.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Hosts that were asked, those included that did not answer.
    pub hops: usize,
    /// Who is said to hold the record, and under which epoch.
    promised: Option<(Incarnation, u64)>,
    /// This host has handed the key over, and that is in force.
    is_moved: bool,
    /// This host has no record of the key, nor was one promised to it.
    is_unknown: bool,
    /// Hosts that were asked once more because the record was promised there, with the epoch.
    retold: Vec<(Incarnation, u64)>,
    /// This host said that it answers for the key.
    pub sure_of: Option<Incarnation>,
    /// Hosts that count as dead and gave no sign of life when asked for one.
    pub silent: Vec<Arc<Host>>,
    /// Rounds in which every host that could hold the record denied it or was gone.
    pub denials: u32,
    /// The hosts of the last round, by name.
    pub asked: Vec<HostName>,
    /// Why the last host that could have answered did not.
    pub reason: String,
}

impl Search {
    /// Notes what this host itself knows, and says whom to ask.
    pub fn note(&mut self, verdict: Verdict) -> Option<Arc<Host>> {
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
    fn follow(&mut self, said: NotMine, me: &Arc<Host>) -> Option<Arc<Host>> {
        let (holder, epoch) = said.holder?;
        if epoch > 0 {
            self.promised = Some((holder.incarnation, epoch));
        }
        (holder.incarnation != me.incarnation).then_some(holder)
    }

    /// The epoch under which `host` is said to hold the record, 0 if it is not.
    pub fn epoch_at(&self, host: &Host) -> u64 {
        self.promised.filter(|(holder, _)| *holder == host.incarnation).map_or(0, |(_, epoch)| epoch)
    }

    /// Whether there is no reason to ask `host` once more: a host is asked again once for each epoch promised there.
    fn told_twice(&mut self, host: &Host) -> bool {
        let told = (host.incarnation, self.epoch_at(host));
        if told.1 == 0 || self.retold.contains(&told) {
            return true;
        }
        self.retold.push(told);
        false
    }

    fn names<'a>(&mut self, asked: &[Incarnation], me: &Host, peers: impl Iterator<Item = &'a Peer>) {
        self.asked = peers
            .filter(|peer| asked.contains(&peer.host.incarnation))
            .map(|peer| peer.host.name.clone())
            .chain(self.silent.iter().map(|host| host.name.clone()))
            .chain([me.name.clone()])
            .collect();
        self.asked.sort_unstable();
        self.asked.dedup();
    }
}

/// One round of a search: every host that may answer for the id, each asked once.
#[derive(Clone, Debug)]
pub struct SearchRound {
    asked: Vec<Incarnation>,
    /// Who is said to hold the record.
    hint: Option<Arc<Host>>,
    /// The contact table's guess.
    guess: Option<Peer>,
    /// Whom this host handed the key to long ago: it may have handed it on since.
    former: Option<Arc<Host>>,
    lookup: Lookup,
    /// Hosts that count as dead: asked when nobody else is left.
    dead: Vec<Arc<Host>>,
    /// Nobody who could answer for the key said that it cannot now ...
    denied: bool,
    /// ... and nobody is left to be asked.
    complete: bool,
}

impl SearchRound {
    /// A round from what a host knows. `hint` is what [`Search::note`] made of its own verdict; it itself is not asked.
    pub fn begin(
        search: &Search,
        routing: &Routing,
        id: &Id,
        mode: RoutingMode,
        mut hint: Option<Arc<Host>>,
        max_hops: usize,
    ) -> SearchRound {
        let me = routing.host();
        let guess = if mode == RoutingMode::Contacts { routing.believed_owner(id) } else { None };
        let guess = guess.filter(|guess| guess.host.incarnation != me.incarnation);
        let former = if search.is_moved && guess.is_some() { hint.take() } else { None };
        SearchRound {
            asked: vec![me.incarnation],
            hint,
            guess,
            former,
            lookup: Lookup::new(*id, mode, routing.route(id, mode), me, max_hops),
            dead: Vec::new(),
            denied: true,
            complete: false,
        }
    }

    /// Whom to ask next, and which of its virtual nodes led there. `None` when nobody is left.
    pub fn next(
        &mut self,
        search: &mut Search,
        is_lost: impl Fn(Incarnation) -> bool,
    ) -> Option<(Option<Peer>, Arc<Host>)> {
        let by_name = |host| (None, host);
        let by_place = |peer: Peer| (Some(peer.clone()), peer.host);
        loop {
            let next = self
                .hint
                .take()
                .map(by_name)
                .or_else(|| self.guess.take().map(by_place))
                .or_else(|| self.former.take().map(by_name))
                .or_else(|| next_peer(&self.lookup, &self.asked).map(by_place));
            let (peer, host) = match next {
                Some((peer, host)) if is_lost(host.incarnation) => {
                    if let Some(peer) = &peer {
                        self.lookup.failed(peer);
                    }
                    if !self.dead.contains(&host) {
                        self.dead.push(host);
                    }
                    continue;
                }
                Some(next) => next,
                None => match self.dead.pop() {
                    Some(host) => (None, host),
                    None => {
                        self.complete = true;
                        return None;
                    }
                },
            };
            // A host may be asked again only when its group record is known to have arrived there.
            let again = self.asked.contains(&host.incarnation);
            if again && (peer.is_some() || search.told_twice(&host)) {
                if let Some(peer) = &peer {
                    self.lookup.failed(peer);
                }
                continue;
            }
            self.asked.push(host.incarnation);
            search.hops += 1;
            return Some((peer, host));
        }
    }

    /// The host asked does not answer for the key, and said who may: who holds the record by its word is asked next.
    pub fn not_mine(&mut self, search: &mut Search, peer: Option<&Peer>, said: NotMine, me: &Arc<Host>) {
        if let Some(peer) = peer {
            self.lookup.answered(peer, &said.route);
        }
        self.hint = search.follow(said, me);
    }

    /// The asker looked at its own record again; this is what [`Search::note`] made of it.
    pub fn looked_here(&mut self, hint: Option<Arc<Host>>) {
        self.hint = hint;
    }

    /// The host asked did not answer: it is gone, or it may answer for the key and cannot now.
    pub fn unanswered(&mut self, peer: Option<&Peer>, is_gone: bool) {
        self.denied &= is_gone;
        if let Some(peer) = peer {
            self.lookup.failed(peer);
        }
    }

    /// The round has ended without an answer.
    pub fn end(self, search: &mut Search, me: &Host) {
        search.names(&self.asked, me, self.lookup.path().iter().map(|hop| &hop.peer));
        // A round that asked nobody denies nothing, unless the ring says that this host alone should know.
        let own = search.is_unknown && matches!(self.lookup.next(), Next::Done { .. });
        if self.denied && self.complete && (self.asked.len() > 1 || own) {
            search.denials += 1;
        }
    }
}

/// What a host that does not answer for `id` says.
pub fn not_mine(verdict: Verdict, routing: &Routing, id: &Id, mode: RoutingMode) -> NotMine {
    let holder = match verdict {
        Verdict::Fenced(next) | Verdict::Moved(next) => next.owner().map(|owner| (owner.clone(), next.epoch)),
        Verdict::Learning(source) => Some((source, 0)),
        Verdict::Serve { .. } | Verdict::Unknown => None,
    };
    NotMine { holder, owner: routing.believed_owner(id), route: routing.route(id, mode) }
}

/// What an asker learns from that, beside where the key is.
pub fn learn_not_mine(routing: &mut Routing, host: &Host, said: &NotMine) {
    if said.route.peers().next().is_none() {
        routing.departed(host.incarnation);
    }
    routing.learn(said.route.peers());
    routing.learn(&said.owner);
}

/// The next peer of the lookup, or of the owners it found, whose host was not asked yet.
fn next_peer(lookup: &Lookup, asked: &[Incarnation]) -> Option<Peer> {
    match lookup.next() {
        Next::Ask(peer) => Some(peer),
        Next::Done { owners, .. } => owners.into_iter().find(|peer| !asked.contains(&peer.host.incarnation)),
        Next::Failed(_) => None,
    }
}
