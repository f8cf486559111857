//! What is counted while hosts come and go.

use std::time::Duration;

use crate::statistics::Sample;
use crate::traffic::Traffic;

/// Hosts that ask equally often.
#[derive(Clone, Copy, Debug)]
pub struct Class {
    /// How many; they never leave. `None` is everybody.
    pub askers: Option<usize>,
    /// Lookups a second of each.
    pub rate: f64,
}

/// What lookups of one class came to.
#[derive(Clone, Debug, Default)]
pub struct Lookups {
    hops: Vec<u8>,
    /// Calls to hosts that had left.
    pub timeouts: u64,
    /// Lookups that paused and began another round.
    pub again: u64,
    /// Lookups that ended without an answer.
    pub failed: u64,
    /// The longest time to an answer.
    pub longest: Duration,
}

impl Lookups {
    /// Those that were answered.
    pub fn answered(&self) -> usize {
        self.hops.len()
    }

    /// Calls to other hosts, a lookup.
    pub fn hops(&self) -> Sample {
        Sample::new(self.hops.iter().map(|hops| u64::from(*hops)))
    }

    /// The share that needed one call at most: the first guess was right.
    pub fn at_once(&self) -> f64 {
        self.hops.iter().filter(|hops| **hops <= 1).count() as f64 / self.hops.len().max(1) as f64
    }

    /// First guesses that were wrong, a lookup.
    pub fn wrong(&self) -> f64 {
        1.0 - self.at_once()
    }

    /// Calls to hosts that had left, a lookup.
    pub fn mean_timeouts(&self) -> f64 {
        self.timeouts as f64 / self.hops.len().max(1) as f64
    }
}

/// Everything that is counted.
#[derive(Clone, Debug, Default)]
pub struct Tallies {
    /// By class.
    pub lookups: Vec<Lookups>,
    /// Rounds of Stabilize and of FixFingers of the hosts that are measured.
    pub rounds: [u64; 2],
    /// What these sent.
    pub traffic: [Traffic; 2],
    /// Offers and installations.
    pub hand_off_traffic: Traffic,
    /// Hosts that joined.
    pub joins: u64,
    /// Calls they made for it.
    pub join_calls: u64,
    /// Lookups that ended because their asker left.
    pub abandoned: u64,
    /// Hosts that found no place.
    pub refused_joins: u64,
    /// Hosts that left.
    pub leaves: u64,
    /// Hand-offs that were done.
    pub hand_offs: u64,
    /// Offers that were declined.
    pub declined: u64,
    /// Hand-offs that began again.
    pub renewed: u64,
    /// Hosts in the end.
    pub hosts: usize,
    /// How long it took.
    pub time: Duration,
}

impl Tallies {
    pub(super) fn new(classes: usize) -> Tallies {
        Tallies { lookups: vec![Lookups::default(); classes], ..Tallies::default() }
    }

    pub(super) fn answered(&mut self, class: usize, hops: u64, timeouts: u64, waited: Duration) {
        let lookups = &mut self.lookups[class];
        lookups.hops.push(u8::try_from(hops).unwrap_or(u8::MAX));
        lookups.timeouts += timeouts;
        lookups.longest = lookups.longest.max(waited);
    }

    pub(super) fn failed(&mut self, class: usize) {
        self.lookups[class].failed += 1;
    }

    pub(super) fn again(&mut self, class: usize) {
        self.lookups[class].again += 1;
    }

    /// Lookups of all classes.
    pub fn all(&self) -> u64 {
        self.lookups.iter().map(|lookups| lookups.answered() as u64 + lookups.failed).sum()
    }

    /// Lookups of all classes that failed.
    pub fn all_failed(&self) -> u64 {
        self.lookups.iter().map(|lookups| lookups.failed).sum()
    }

    /// Kilobits a second that a host's own rounds send and are answered, of either kind; `hosts` are measured.
    pub fn kbits(&self, kind: usize, hosts: f64) -> f64 {
        self.traffic[kind].bytes as f64 * 8.0 / 1_000.0 / self.time.as_secs_f64() / hosts
    }
}
