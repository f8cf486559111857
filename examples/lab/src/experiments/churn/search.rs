//! Lookups as the engine makes them: the driver's part of `chord/src/node/route.rs`.

use std::sync::Arc;
use std::time::Duration;

use chord::protocol::group::Verdict;
use chord::protocol::id::Id;
use chord::protocol::lookup::RoutingMode;
use chord::protocol::peer::{Host, Peer};
use chord::protocol::search::{
    FIRST_PAUSE, MAX_DENIALS, MAX_PAUSE, Search, SearchRound, learn_not_mine, not_mine,
};
use chord::protocol::simulate::index_of;

use super::world::{Event, World};
use crate::error::Error;
use crate::warm::{default_deadline, default_limits};

/// How soon a host that waits for a record looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// One lookup on its way.
pub(super) struct Lookup {
    class: usize,
    from: usize,
    id: Id,
    began: Duration,
    search: Search,
    round: Option<SearchRound>,
    /// Who was asked and waits for the record to arrive.
    asked: Option<(Option<Peer>, Arc<Host>)>,
    pause: Duration,
    timeouts: u64,
}

/// What one host made of the question.
enum Word {
    Serves,
    Waits,
    Elsewhere(Verdict),
}

impl Lookup {
    pub(super) fn new(class: usize, from: usize, id: Id, began: Duration) -> Lookup {
        Lookup {
            class,
            from,
            id,
            began,
            search: Search::default(),
            round: None,
            asked: None,
            pause: FIRST_PAUSE,
            timeouts: 0,
        }
    }
}

impl World {
    /// A lookup goes on until it has an answer, or waits.
    pub(super) fn go_on(&mut self, mut lookup: Box<Lookup>) -> Result<(), Error> {
        let from = lookup.from;
        if self.ring.host(from).is_none() {
            // The asker has left.
            self.tallies.abandoned += 1;
            return Ok(());
        }
        let me = self.host(from);
        let max_hops = default_limits().max_hops;
        if self.queue.now() >= lookup.began + default_deadline() {
            self.tallies.failed(lookup.class);
            return Ok(());
        }
        if lookup.round.is_none() {
            let verdict = match self.ask_here(&lookup, &me) {
                Word::Serves => return self.answered(&lookup, from),
                Word::Waits => {
                    self.queue.after(LOOK_AGAIN, Event::GoOn(lookup));
                    return Ok(());
                }
                Word::Elsewhere(verdict) => verdict,
            };
            let hint = lookup.search.note(verdict);
            let routing = self.ring.host(from).expect("it is live");
            let mode = RoutingMode::Contacts;
            lookup.round =
                Some(SearchRound::begin(&lookup.search, routing, &lookup.id, mode, hint, max_hops));
        }
        while lookup.search.hops < 4 * max_hops {
            let asked = match lookup.asked.take() {
                Some(asked) => Some(asked),
                None => {
                    let routing = self.ring.host(from).expect("it is live");
                    let Lookup { search, round, .. } = &mut *lookup;
                    round.as_mut().and_then(|round| round.next(search, |host| routing.is_lost(host)))
                }
            };
            let Some((peer, host)) = asked else { break };
            let number = index_of(&host);
            if self.ring.host(number).is_none() {
                lookup.timeouts += 1;
                if let Some(routing) = self.ring.host_mut(from) {
                    let news = !routing.is_lost(host.incarnation);
                    routing.fail(host.incarnation);
                    if news {
                        self.wake(from);
                    }
                }
                lookup.round.as_mut().expect("it has begun").unanswered(peer.as_ref(), true);
                continue;
            }
            match self.ask(number, &lookup.id, lookup.search.epoch_at(&host)) {
                Word::Serves => {
                    if let Some(peer) = &peer {
                        self.ring.host_mut(from).expect("it is live").learn([peer]);
                    }
                    return self.answered(&lookup, number);
                }
                Word::Waits => {
                    lookup.asked = Some((peer, host));
                    self.queue.after(LOOK_AGAIN, Event::GoOn(lookup));
                    return Ok(());
                }
                Word::Elsewhere(verdict) => {
                    let asked = self.ring.host(number).expect("it is live");
                    let said = not_mine(verdict, asked, &lookup.id, RoutingMode::Contacts);
                    learn_not_mine(self.ring.host_mut(from).expect("it is live"), &host, &said);
                    let Lookup { search, round, .. } = &mut *lookup;
                    let round = round.as_mut().expect("it has begun");
                    round.not_mine(search, peer.as_ref(), said, &me);
                    if search.epoch_at(&me) > 0 {
                        match self.ask_here(&lookup, &me) {
                            Word::Serves => return self.answered(&lookup, from),
                            Word::Waits => {
                                lookup.round = None;
                                self.queue.after(LOOK_AGAIN, Event::GoOn(lookup));
                                return Ok(());
                            }
                            Word::Elsewhere(verdict) => {
                                let hint = lookup.search.note(verdict);
                                lookup.round.as_mut().expect("it has begun").looked_here(hint);
                            }
                        }
                    }
                }
            }
        }
        if let Some(round) = lookup.round.take() {
            round.end(&mut lookup.search, &me);
        }
        let waited = self.queue.now() - lookup.began;
        let denied = lookup.search.denials >= MAX_DENIALS && waited >= default_deadline() / 4;
        if denied || waited + lookup.pause >= default_deadline() {
            self.tallies.failed(lookup.class);
            return Ok(());
        }
        let pause = self.jittered(lookup.pause);
        lookup.pause = (2 * lookup.pause).min(MAX_PAUSE);
        self.tallies.again(lookup.class);
        self.queue.after(pause, Event::GoOn(lookup));
        Ok(())
    }

    fn ask_here(&self, lookup: &Lookup, me: &Host) -> Word {
        self.ask(lookup.from, &lookup.id, lookup.search.epoch_at(me))
    }

    fn ask(&self, number: usize, id: &Id, epoch: u64) -> Word {
        let Some(Some(member)) = self.members.get(number) else { return Word::Elsewhere(Verdict::Unknown) };
        if member.groups.awaits(epoch, id) {
            return Word::Waits;
        }
        match member.groups.verdict(id) {
            Verdict::Serve { .. } => Word::Serves,
            elsewhere => Word::Elsewhere(elsewhere),
        }
    }

    /// The host `by` answers: it must hold the record, and nobody else.
    fn answered(&mut self, lookup: &Lookup, by: usize) -> Result<(), Error> {
        if !self.serving.serves(by, &lookup.id) {
            return Err(Error::Failed(format!("host {by} answered for {} without its record", lookup.id)));
        }
        let waited = self.queue.now() - lookup.began;
        self.tallies.answered(lookup.class, lookup.search.hops as u64, lookup.timeouts, waited);
        Ok(())
    }
}
