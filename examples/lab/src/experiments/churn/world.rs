//! Hosts with the engine's defaults that join and leave in order while others look keys up.
//!
//! Everything that is decided is decided by the engine's pure code: rounds and routing, group records, placement, the
//! search. What stands here is the driver, in the place of `chord/src/node`: when what runs, and how long messages of
//! hand-offs are under way. A hand-off's messages take one one-way delay each; questions about the ring and lookups
//! take no time, except where they wait, so that lookups meet hand-offs in every phase. A host that has left refuses
//! connections at once.

use std::sync::Arc;
use std::time::Duration;

use chord::Config;
use chord::protocol::group::Groups;
use chord::protocol::id::{Id, Interval};
use chord::protocol::invariants::Snapshot;
use chord::protocol::lookup::{Route, RoutingMode};
use chord::protocol::peer::{Host, Peer};
use chord::protocol::placement;
use chord::protocol::routing::Routing;
use chord::protocol::routing::rounds::Round;
use chord::protocol::simulate::{Simulation, index_of};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::hand_off::HandOff;
use super::queue::{Queue, poisson};
use super::scenario::Scenario;
use super::search::Lookup;
use super::serving::Serving;
use super::tally::{Class, Tallies};
use crate::cli::Setting;
use crate::error::Error;
use crate::network::random_id;
use crate::progress::Progress;
use crate::traffic::Traffic;
use crate::warm::{self, default_deadline, host_ids};

/// How often group records are compared with the ring, when nothing calls for it; as in the engine.
const HAND_OFF_INTERVAL: Duration = Duration::from_secs(1);
/// From a call for it to the comparison; as in the engine.
const HAND_OFF_PAUSE: Duration = Duration::from_millis(10);
/// How often a leaver looks for something to hand over; as in the engine.
const LEAVE_INTERVAL: Duration = Duration::from_millis(100);
/// Of so many hosts the traffic of one is measured.
const METERED: usize = 8;

pub(super) enum Event {
    Join,
    Leave,
    Leaving { host: usize, attempt: usize },
    Round { host: usize, kind: Round, token: u64 },
    Pass { host: usize, regular: bool },
    HandOff(usize),
    Abort { to: usize, hand_off: usize },
    LookUp { class: usize, from: usize },
    GoOn(Box<Lookup>),
}

/// One host, beside its routing view.
pub(super) struct Member {
    pub(super) groups: Groups,
    pub(super) is_leaving: bool,
    /// An asker of a class; it never leaves.
    stays: bool,
    pub(super) hand_offs: usize,
    pauses: [Duration; 2],
    /// The round that is scheduled; others are void.
    tokens: [u64; 2],
    pass_is_due: bool,
}

/// The hosts, and what is under way between them.
pub struct World {
    pub(super) scenario: Scenario,
    pub(super) setting: Setting,
    pub(super) rng: StdRng,
    pub(super) ring: Simulation,
    /// By number; `None` once it has left.
    pub(super) members: Vec<Option<Member>>,
    live: Vec<usize>,
    pub(super) queue: Queue<Event>,
    pub(super) hand_offs: Vec<HandOff>,
    pub(super) serving: Serving,
    classes: Vec<Class>,
    config: Config,
    names: usize,
    /// What was found.
    pub tallies: Tallies,
}

impl World {
    /// A settled ring of hosts that have heard of each other, each with its records.
    ///
    /// # Errors
    /// [`Error::Invalid`] when two virtual nodes have one id.
    pub fn new(setting: &Setting, scenario: Scenario, classes: &[Class]) -> Result<World, Error> {
        let ids: Vec<Vec<Id>> = (0..scenario.hosts)
            .map(|host| host_ids(setting.space, &format!("host-{host}"), scenario.virtual_nodes))
            .collect();
        let ring = warm::warm(setting.space, scenario.limits, &ids)?;
        let host = |number: usize| ring.host(number).expect("nobody has left").host().clone();
        let mut groups: Vec<Groups> = (0..scenario.hosts)
            .map(|number| if number == 0 { Groups::genesis(host(0)) } else { Groups::empty(host(number)) })
            .collect();
        let mut places: Vec<(Id, usize)> =
            ids.iter().enumerate().flat_map(|(host, ids)| ids.iter().map(move |id| (*id, host))).collect();
        places.sort_unstable();
        let last = places.last().expect("there is a host").0;
        deal(&mut groups, &host, &places, last, 0);
        let mut config = Config::named("lab");
        config.stabilize.ceiling = scenario.ceilings[0];
        config.fix_fingers.ceiling = scenario.ceilings[1];
        let mut world = World {
            scenario,
            setting: *setting,
            rng: setting.rng(),
            members: Vec::new(),
            live: (0..scenario.hosts).collect(),
            queue: Queue::default(),
            hand_offs: Vec::new(),
            serving: Serving::default(),
            classes: classes.to_vec(),
            config,
            names: scenario.hosts,
            tallies: Tallies::new(classes.len()),
            ring,
        };
        for (host, groups) in groups.into_iter().enumerate() {
            world.members.push(Some(Member::new(groups)));
            world.check(host)?;
            world.start(host, true);
        }
        world.start_lookups();
        world.queue.after(poisson(scenario.rate, &mut world.rng), Event::Join);
        world.queue.after(poisson(scenario.rate, &mut world.rng), Event::Leave);
        Ok(world)
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// [`Error::Failed`] when two hosts serve one id, or one answers that does not hold the record.
    pub fn run(&mut self) -> Result<(), Error> {
        let mut progress = Progress::new("simulated seconds", self.scenario.time.as_secs() as usize);
        let mut seconds = 0;
        // Lookups that have begun may take their time.
        let end = self.scenario.time + default_deadline();
        while let Some(event) = self.queue.next(end) {
            if matches!(event, Event::LookUp { .. }) && self.queue.now() >= self.scenario.time {
                continue;
            }
            self.handle(event)?;
            let now = self.queue.now().as_secs() as usize;
            progress.steps(now - seconds);
            seconds = now;
        }
        self.tallies.hosts = self.live.len();
        self.tallies.time = end;
        Ok(())
    }

    /// One host joins a settled ring in which nothing else happens. How long it takes until every pointer is ideal
    /// again, to half a second; `None` when that is longer than `patience`.
    ///
    /// # Errors
    /// As [`World::run`].
    pub fn settling_time(&mut self, patience: Duration) -> Result<Option<Duration>, Error> {
        let began = self.queue.now();
        self.join();
        while self.queue.now() < began + patience {
            let look = self.queue.now() + Duration::from_millis(500);
            while let Some(event) = self.queue.next(look) {
                self.handle(event)?;
            }
            self.queue.wait(look);
            let ideal = |snapshot: Snapshot| snapshot.ideal(self.scenario.limits.successors);
            if self.ring.snapshot().and_then(ideal).is_ok() {
                return Ok(Some(self.queue.now() - began));
            }
        }
        Ok(None)
    }

    fn handle(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Join => {
                self.queue.after(poisson(self.scenario.rate, &mut self.rng), Event::Join);
                self.join();
            }
            Event::Leave => {
                self.queue.after(poisson(self.scenario.rate, &mut self.rng), Event::Leave);
                let may_leave = |host: &usize| {
                    let member = self.members.get(*host).and_then(Option::as_ref);
                    member.is_some_and(|member| !member.is_leaving && !member.stays)
                };
                let leavers: Vec<usize> = self.live.iter().copied().filter(may_leave).collect();
                if let Some(host) = leavers.choose(&mut self.rng).copied() {
                    self.member(host).expect("it is live").is_leaving = true;
                    self.queue.after(Duration::ZERO, Event::Leaving { host, attempt: 0 });
                }
            }
            Event::Leaving { host, attempt } => self.leave(host, attempt),
            Event::Round { host, kind, token } => self.round(host, kind, token),
            Event::Pass { host, regular } => self.pass(host, regular),
            Event::HandOff(number) => self.hand_off(number)?,
            Event::Abort { to, hand_off } => {
                let transfer = self.hand_offs[hand_off].transfer;
                if let Some(member) = self.member(to) {
                    member.groups.abort(transfer);
                }
            }
            Event::LookUp { class, from } => {
                let wait = poisson(self.classes[class].rate, &mut self.rng);
                let from_now = match self.classes[class].askers {
                    Some(_) => from,
                    None => self.live[self.rng.random_range(0..self.live.len())],
                };
                self.queue.after(wait, Event::LookUp { class, from });
                let id = random_id(self.setting.space, &mut self.rng);
                let lookup = Lookup::new(class, from_now, id, self.queue.now());
                self.go_on(Box::new(lookup))?;
            }
            Event::GoOn(lookup) => self.go_on(lookup)?,
        }
        Ok(())
    }

    pub(super) fn member(&mut self, host: usize) -> Option<&mut Member> {
        self.members.get_mut(host)?.as_mut()
    }

    /// Checks that nobody else serves what `host` serves now.
    pub(super) fn check(&mut self, host: usize) -> Result<(), Error> {
        let Some(Some(member)) = self.members.get(host) else { return Ok(()) };
        self.serving.update(host, &member.groups).map_err(Error::Failed)
    }

    /// The ring changed at `host`, or it has a doubt: it stabilizes soon, and compares its records with the ring.
    pub(super) fn wake(&mut self, host: usize) {
        let floor = self.config.stabilize.floor;
        if let Some(member) = self.member(host) {
            member.pauses[Round::Stabilize as usize] = floor;
            self.schedule(host, Round::Stabilize, floor / 4);
            self.compare(host);
        }
    }

    /// `host` compares its records with the ring soon.
    pub(super) fn compare(&mut self, host: usize) {
        if let Some(member) = self.member(host)
            && !std::mem::replace(&mut member.pass_is_due, true)
        {
            self.queue.after(HAND_OFF_PAUSE, Event::Pass { host, regular: false });
        }
    }

    /// A duration between half of `about` and one and a half of it.
    pub(super) fn jittered(&mut self, about: Duration) -> Duration {
        about.mul_f64(self.rng.random_range(0.5..1.5))
    }

    pub(super) fn may_hand_off(&self, host: usize) -> bool {
        self.members[host].as_ref().is_some_and(|member| member.hand_offs < 8)
    }

    fn start_lookups(&mut self) {
        for (class, settings) in self.classes.clone().into_iter().enumerate() {
            match settings.askers {
                // Everybody asks, as one stream.
                None => {
                    self.classes[class].rate = settings.rate * self.scenario.hosts as f64;
                    self.queue.after(Duration::ZERO, Event::LookUp { class, from: 0 });
                }
                Some(askers) => {
                    for _ in 0..askers {
                        let from = self.live[self.rng.random_range(0..self.live.len())];
                        self.members[from].as_mut().expect("it is live").stays = true;
                        self.queue.after(Duration::ZERO, Event::LookUp { class, from });
                    }
                }
            }
        }
    }

    /// Schedules what a host does from time to time.
    fn start(&mut self, host: usize, settled: bool) {
        for (kind, interval) in
            [(Round::Stabilize, self.config.stabilize), (Round::FixFingers, self.config.fix_fingers)]
        {
            let pause = if settled { interval.ceiling } else { interval.floor };
            self.member(host).expect("it has just begun").pauses[kind as usize] = pause;
            self.schedule(host, kind, pause);
        }
        let pause = self.jittered(HAND_OFF_INTERVAL);
        self.queue.after(pause, Event::Pass { host, regular: true });
    }

    fn schedule(&mut self, host: usize, kind: Round, about: Duration) {
        let pause = self.jittered(about);
        if let Some(member) = self.member(host) {
            member.tokens[kind as usize] += 1;
            let token = member.tokens[kind as usize];
            self.queue.after(pause, Event::Round { host, kind, token });
        }
    }

    fn join(&mut self) {
        let name = format!("host-{}", self.names);
        self.names += 1;
        let ids = host_ids(self.setting.space, &name, self.scenario.virtual_nodes);
        let known = self.live[self.rng.random_range(0..self.live.len())];
        let messages = self.ring.messages();
        let Ok(host) = self.ring.join(&ids, known) else {
            self.tallies.refused_joins += 1;
            self.members.resize_with(self.members.len() + 1, || None);
            return;
        };
        self.tallies.joins += 1;
        self.tallies.join_calls += self.ring.messages() - messages;
        let groups = Groups::empty(self.host(host));
        self.members.push(Some(Member::new(groups)));
        self.live.push(host);
        self.start(host, false);
        let rings = self.ring.host(host).into_iter().flat_map(Routing::rings);
        let told: Vec<usize> = rings.map(|ring| index_of(&ring.successor().host)).collect();
        told.into_iter().chain([host]).for_each(|host| self.wake(host));
    }

    /// A leaver hands everything over, and goes when it has nothing left and nothing comes.
    fn leave(&mut self, host: usize, attempt: usize) {
        let Some(Some(member)) = self.members.get(host) else { return };
        if member.groups.held().is_empty() && member.groups.transfers() == 0 && member.hand_offs == 0 {
            let farewell = self.ring.host(host).map(Routing::farewell).unwrap_or_default();
            self.ring.leave(host);
            self.members[host] = None;
            self.live.retain(|other| *other != host);
            self.tallies.leaves += 1;
            farewell.into_iter().for_each(|(told, _)| self.wake(index_of(&told)));
            return;
        }
        for piece in member.groups.idle() {
            let Some(routing) = self.ring.host(host) else { return };
            let heirs = placement::heirs(routing, &piece);
            if let Some(heir) = heirs.get(attempt % heirs.len().max(1)).cloned() {
                self.start_hand_off(host, piece, heir, true);
            }
        }
        self.queue.after(LEAVE_INTERVAL, Event::Leaving { host, attempt: attempt + 1 });
    }

    fn round(&mut self, host: usize, kind: Round, token: u64) {
        if self.member(host).is_none_or(|member| member.tokens[kind as usize] != token) {
            return;
        }
        let Some(routing) = self.ring.host_mut(host) else { return };
        let (me, before) = (routing.host().clone(), routing.changed());
        let batches = routing.start_round(kind);
        let mut news = Vec::new();
        let mut traffic = Traffic::default();
        self.ring.finish_round(host, batches, |call| {
            if call.news {
                news.push(call.to);
            }
            if host.is_multiple_of(METERED) {
                traffic.round(&me, call);
            }
        });
        let changed = self.ring.host(host).is_some_and(|routing| routing.changed() != before);
        if host.is_multiple_of(METERED) {
            self.tallies.traffic[kind as usize].add(traffic);
            self.tallies.rounds[kind as usize] += 1;
        }
        news.into_iter().for_each(|host| self.wake(host));
        let interval = match kind {
            Round::Stabilize => self.config.stabilize,
            Round::FixFingers => self.config.fix_fingers,
        };
        let member = self.member(host).expect("it runs a round");
        member.pauses[kind as usize] = interval.next_pause(member.pauses[kind as usize], changed);
        let pause = member.pauses[kind as usize];
        self.schedule(host, kind, pause);
        if changed && kind == Round::Stabilize {
            self.compare(host);
        }
    }

    /// A host hands over what it serves and the ring says is another's.
    fn pass(&mut self, host: usize, regular: bool) {
        if regular {
            let pause = self.jittered(HAND_OFF_INTERVAL);
            self.queue.after(pause, Event::Pass { host, regular: true });
        }
        let Some(Some(member)) = self.members.get_mut(host) else { return };
        if !regular {
            member.pass_is_due = false;
        }
        let (idle, is_leaving) = (member.groups.idle(), member.is_leaving);
        let Some(routing) = self.ring.host(host).filter(|_| !is_leaving) else { return };
        for piece in placement::foreign_pieces(routing, idle) {
            if let Some(owner) = self.owner_of(host, &piece) {
                self.start_hand_off(host, placement::part_of(&piece, &owner), owner.host, false);
            }
        }
    }

    /// The owner of a foreign piece by the ring, on another host.
    fn owner_of(&self, host: usize, piece: &Interval) -> Option<Peer> {
        let routing = self.ring.host(host)?;
        let (space, mode) = (self.setting.space, RoutingMode::Fingers);
        let first = space.add(&piece.after, &Id::from_u128(1));
        let max_hops = routing.limits().max_hops;
        let foreign = |peer: &Peer| peer.host.incarnation != routing.host().incarnation;
        let owner = self.ring.lookup(host, &first, mode, max_hops).owner.ok()?;
        if foreign(&owner) {
            return Some(owner);
        }
        let before = Route::Closer(vec![placement::node_before(routing, piece)?]);
        self.ring.lookup_from(host, before, &first, mode, max_hops).owner.ok().filter(foreign)
    }

    pub(super) fn host(&self, number: usize) -> Arc<Host> {
        self.ring.host(number).expect("it is live").host().clone()
    }
}

impl Member {
    fn new(groups: Groups) -> Member {
        Member {
            groups,
            is_leaving: false,
            stays: false,
            hand_offs: 0,
            pauses: [Duration::ZERO; 2],
            tokens: [0; 2],
            pass_is_due: false,
        }
    }
}

/// Deals the records out before time begins: `holder` has everything from behind `after` up to the last of `places`,
/// keeps or hands over one half after the other, each by the steps of a hand-off.
fn deal(
    groups: &mut [Groups],
    host: &impl Fn(usize) -> Arc<Host>,
    places: &[(Id, usize)],
    after: Id,
    holder: usize,
) {
    let Some((last, rest)) = places.split_last() else { return };
    let (upto, to) = *last;
    if to != holder {
        let begun = groups[holder].begin(Interval::new(after, upto));
        let (transfer, pieces) = begun.expect("the holder serves it");
        groups[to].offer(transfer, &host(holder), &pieces).expect("it has never had it");
        groups[holder].hold(transfer);
        let decided = groups[holder].accept(transfer, &host(to));
        assert!(groups[to].install(transfer, &decided), "it has just learnt it");
        groups[holder].in_force(transfer);
    }
    if rest.is_empty() {
        return;
    }
    let (low, high) = places.split_at(places.len() / 2);
    let middle = low.last().expect("a half of two or more").0;
    deal(groups, host, low, after, to);
    deal(groups, host, high, middle, to);
}
