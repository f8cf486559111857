//! The model behind the advice.
//!
//! N hosts with V virtual nodes each; R joins a second, and as many leaves; r hosts in a successor list.
//!
//! - **Load.** Arcs are exponential, a host's share is the sum of V of them: a gamma distribution. Its 99th percentile
//!   over its mean is (1 - 1/9V + 2.326/(3 sqrt V))^3 (Wilson and Hilferty, 1931): 4.6 at V = 1, 2.0 at 8, 1.6 at 20.
//! - **Staleness.** A pointer's host has changed after t seconds with probability about 2Rt/N. The ceiling of
//!   stabilization is where that is one in a hundred; that of fixing fingers is where a finger is dead, Rt/N, in one of
//!   a hundred cases.
//! - **Lists.** A list is lost when all its r hosts end without a word between two rounds, each with probability
//!   q = R(S + detection)/N; N V q^r lists of each such time.
//! - **Rounds.** Pauses double from the floor f to the ceiling S, and a change sets them back. Changes that a host sees
//!   come g times a second. Stabilization is woken by them: of the rounds at t_1 = f, t_2 = 3f, t_3 = 7f, ... after a
//!   change those take place before which no other comes: g * sum exp(-g t_k) rounds a second. Fixing fingers is not
//!   woken but finds out: a chain over its pauses p_k, set back with probability 1 - exp(-g p_k).
//! - **Changes seen.** Each join and each leave touches V places; at each the lists of about L nodes before it, L the
//!   entries of a list, and one predecessor: of these a host has V(L + 1)/N on average, so that it is touched with
//!   probability 1 - exp(-V(L + 1)/N), and twice: when somebody comes or goes, and when the end of the list follows.
//!   A finger changes when its node goes, or another comes before it: 1 - exp(-VD/N), with D distinct fingers of each
//!   virtual node. There are 2R such events a second.
//! - **Bytes** are those of the messages, encoded by the engine.
//! - **Settling.** News of a join go back one node a round: L rounds, at three quarters of the ceiling, since the last of
//!   all the joiner's places counts; every finger is looked at within one and a half ceilings. The later of the two.

use std::sync::Arc;
use std::time::Duration;

use chord::protocol::id::Id;
use chord::protocol::message::{Request, Response};
use chord::protocol::peer::{Host, HostName, Incarnation, Peer};
use chord::protocol::ring::Neighbours;
use chord::protocol::routing::{Answer, Ask};
use chord::{Config, Interval};

use crate::traffic::Traffic;

/// A year, in seconds.
const YEAR: f64 = 31_557_600.0;
/// A host that is not heard of is taken for dead after about so many seconds, when the network is not slow.
const DETECTION: f64 = 2.0;
/// The 99th percentile of the load that is aimed at, times the mean.
const LOAD: f64 = 2.01;

/// What is advised, and what it is expected to cost.
#[derive(Clone, Copy, Debug)]
pub struct Advice {
    /// Hosts.
    pub hosts: f64,
    /// Joins a second, and leaves.
    pub rate: f64,
    /// Virtual nodes of a host.
    pub virtual_nodes: usize,
    /// Hosts in a successor list.
    pub successors: usize,
    /// How often to stabilize.
    pub stabilize: Interval,
    /// How often to fix fingers.
    pub fix_fingers: Interval,
}

/// The 99th percentile of hosts' loads over the mean, with so many virtual nodes.
pub fn load_percentile(virtual_nodes: usize) -> f64 {
    let nodes = virtual_nodes as f64;
    (1.0 - 1.0 / (9.0 * nodes) + 2.326 / (3.0 * nodes.sqrt())).powi(3)
}

impl Advice {
    /// For `hosts` hosts of which `per_hour` join in an hour, and as many leave.
    pub fn new(hosts: usize, per_hour: f64, round_trip: Duration) -> Advice {
        let (hosts, rate) = (hosts as f64, per_hour / 3_600.0);
        let virtual_nodes = (1..).find(|nodes| load_percentile(*nodes) <= LOAD).unwrap_or(1);
        let defaults = Config::default();
        let between = |share: f64, floor: Duration, longest: f64| {
            let shortest = floor.as_secs_f64().max(4.0 * round_trip.as_secs_f64());
            let ceiling = (share * hosts / rate).clamp(2.0 * shortest, longest.max(2.0 * shortest));
            Interval::new(Duration::from_secs_f64(shortest), Duration::from_secs_f64(ceiling))
        };
        let stabilize = between(0.005, defaults.stabilize.floor, 60.0);
        let fix_fingers = between(0.01, defaults.fix_fingers.floor, 600.0);
        let mut advice = Advice { hosts, rate, virtual_nodes, successors: 4, stabilize, fix_fingers };
        advice.successors = (2..=32).find(|hosts| advice.lists_lost(*hosts) <= 1e-3).unwrap_or(32).max(4);
        advice
    }

    /// Successor lists of so many hosts that are lost in a year, if every leave is a failure.
    pub fn lists_lost(&self, successors: usize) -> f64 {
        let window = self.stabilize.ceiling.as_secs_f64() + DETECTION;
        let one = (self.rate * window / self.hosts).min(1.0);
        self.hosts * self.virtual_nodes as f64 * one.powi(successors as i32) * YEAR / window
    }

    /// Entries of a list until it spans its hosts: each entry is a new one's with the part of the hosts not in it yet.
    pub fn list_entries(&self) -> f64 {
        let others = (self.hosts - 1.0).max(1.0);
        let wanted = (self.successors as f64).min(others) as usize;
        (0..wanted).map(|known| self.hosts / (others - known as f64).max(1.0)).sum()
    }

    /// Distinct fingers of a virtual node beside its successor.
    pub fn fingers(&self) -> f64 {
        ((self.hosts * self.virtual_nodes as f64).log2() - 0.67).max(0.0)
    }

    /// Rounds of stabilization of a host a second.
    pub fn stabilize_rounds(&self) -> f64 {
        let nodes = self.virtual_nodes as f64;
        let touched = 1.0 - (-nodes * (self.list_entries() + 1.0) / self.hosts).exp();
        let changes = 2.0 * 2.0 * self.rate * touched;
        let (floor, ceiling) = seconds(self.stabilize);
        if changes * ceiling < 1e-6 {
            return 1.0 / ceiling;
        }
        let (mut at, mut pause, mut rounds) = (floor / 4.0, floor, 0.0);
        while changes * at < 30.0 {
            rounds += (-changes * at).exp();
            at += pause;
            pause = (2.0 * pause).min(ceiling);
        }
        changes * rounds
    }

    /// Rounds of fixing fingers of a host a second.
    pub fn fix_fingers_rounds(&self) -> f64 {
        let touched = 1.0 - (-(self.virtual_nodes as f64) * self.fingers() / self.hosts).exp();
        let changes = 2.0 * self.rate * touched;
        let (floor, ceiling) = seconds(self.fix_fingers);
        // The chance that a row of quiet rounds comes as far as each pause, and the time it takes there.
        let (mut pause, mut reached, mut visits, mut time) = (floor, 1.0, 0.0, 0.0);
        loop {
            let quiet = (-changes * pause).exp();
            if pause >= ceiling {
                // It stays at the ceiling until a change.
                let stays = reached / (1.0 - quiet).max(1e-12);
                return (visits + stays) / (time + stays * ceiling);
            }
            visits += reached;
            time += reached * pause;
            reached *= quiet;
            pause = (2.0 * pause).min(ceiling);
        }
    }

    /// Bytes of one round of stabilization of a host: each virtual node asks its successor and notifies it.
    pub fn stabilize_bytes(&self) -> f64 {
        let list = vec![example(1); self.list_entries().round() as usize];
        let said = Neighbours { predecessor: Some(example(2)), successors: list };
        let ask = Ask::Neighbours { of: Id::ZERO };
        let notify = Ask::Notify { to: Id::ZERO, from: example(1) };
        let calls = distinct(self.hosts, self.virtual_nodes as f64);
        calls * 2.0 * call(None)
            + self.virtual_nodes as f64
                * (question(&ask, Answer::Neighbours(said)) + question(&notify, Answer::Notified))
    }

    /// Bytes of one round of fixing fingers of a host: each finger is asked whether it owns its start.
    pub fn fix_fingers_bytes(&self) -> f64 {
        let ask = Ask::Owns { node: Id::ZERO, id: Id::ZERO };
        let asks = self.virtual_nodes as f64 * self.fingers();
        distinct(self.hosts, asks) * call(None) + asks * question(&ask, Answer::Owns)
    }

    /// Kilobits a second of a host: stabilization, and fixing fingers.
    pub fn kbits(&self) -> (f64, f64) {
        let kbits = |rounds: f64, bytes: f64| rounds * bytes * 8.0 / 1_000.0;
        (
            kbits(self.stabilize_rounds(), self.stabilize_bytes()),
            kbits(self.fix_fingers_rounds(), self.fix_fingers_bytes()),
        )
    }

    /// Seconds from a join until every pointer is right again.
    pub fn settling(&self) -> f64 {
        let list = self.list_entries() * self.stabilize.ceiling.as_secs_f64() * 0.75;
        list.max(1.5 * self.fix_fingers.ceiling.as_secs_f64())
    }
}

fn seconds(interval: Interval) -> (f64, f64) {
    (interval.floor.as_secs_f64(), interval.ceiling.as_secs_f64())
}

/// How many of `hosts` are hit by so many questions to hosts at random.
fn distinct(hosts: f64, questions: f64) -> f64 {
    hosts * (1.0 - (1.0 - 1.0 / hosts.max(1.0)).powf(questions))
}

/// Bytes that a question adds to a call that is made anyway.
fn question(ask: &Ask, answer: Answer) -> f64 {
    call(Some((ask.clone(), answer))) - call(None)
}

/// Bytes of a call with one question, or none.
fn call(question: Option<(Ask, Answer)>) -> f64 {
    let (from, to) = (example(1).host, example(2).host);
    let (asks, answers) = question.into_iter().unzip();
    let mut traffic = Traffic::default();
    let request = Request::Round { host: from.clone(), asks };
    traffic.call(&from, &to, &request, Some(&Response::Round(answers)));
    traffic.bytes as f64
}

fn example(number: u128) -> Peer {
    let name = format!("host-{}", 400 + number);
    let host = Host {
        endpoint: format!("mem://{name}@{name}:1").parse().expect("a well-formed endpoint"),
        name: HostName::new(&name).expect("a well-formed name"),
        incarnation: Incarnation(number),
    };
    Peer::new(Id::ZERO, Arc::new(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_are_those_of_the_paper() {
        let near = |nodes, published: f64| (load_percentile(nodes) - published).abs() < 0.25;
        assert!(near(1, 4.8) && near(20, 1.6), "{} {}", load_percentile(1), load_percentile(20));
    }

    #[test]
    fn a_thousand_hosts_with_a_change_a_second_are_what_the_defaults_suit() {
        let advice = Advice::new(1_000, 3_600.0, Duration::from_millis(50));
        let defaults = Config::default();
        assert_eq!(advice.stabilize, defaults.stabilize);
        assert_eq!(advice.fix_fingers, defaults.fix_fingers);
        assert_eq!(advice.virtual_nodes, 8);
        assert!(advice.lists_lost(advice.successors) <= 1e-3 && advice.lists_lost(4) > 1e-3, "{advice:?}");
        let calm = Advice::new(1_000, 10.0, Duration::from_millis(50));
        assert_eq!(calm.successors, defaults.successor_hosts);
    }

    #[test]
    fn without_changes_rounds_come_at_the_ceiling() {
        let advice = Advice::new(100, 1e-9, Duration::ZERO);
        assert!((advice.stabilize_rounds() * 60.0 - 1.0).abs() < 1e-3, "{}", advice.stabilize_rounds());
        assert!((advice.fix_fingers_rounds() * 600.0 - 1.0).abs() < 1e-3, "{}", advice.fix_fingers_rounds());
    }
}
