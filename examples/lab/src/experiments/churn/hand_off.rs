//! Hand-offs of group records, message by message: the driver's part of `chord/src/node/hand_off.rs`. There are no
//! entries: copying them, and sending the last of them, takes one exchange each.

use std::sync::Arc;
use std::time::Duration;

use chord::protocol::group::{Group, TransferId};
use chord::protocol::id::Interval;
use chord::protocol::message::{Request, Response};
use chord::protocol::peer::Host;
use chord::protocol::placement;
use chord::protocol::simulate::index_of;

use super::world::{Event, World};
use crate::error::Error;

/// Between tries; as in the engine.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

pub(super) struct HandOff {
    pub(super) transfer: TransferId,
    pieces: Vec<(Interval, u64)>,
    from: usize,
    to: Arc<Host>,
    leaving: bool,
    decided: Vec<(Interval, Group)>,
    next: Step,
}

/// What arrives next.
#[derive(Clone, Copy)]
enum Step {
    /// The offer, at the learner.
    Offer,
    /// The answer to it: whether it was taken.
    Answer(bool),
    /// The confirmation of all that was there when the copy began.
    Copied,
    /// The confirmation of the last writes.
    AllCopied,
    /// The decided records, at the learner.
    Install,
    /// The answer to them: whether they were installed.
    Installed(bool),
}

impl World {
    /// Begins to hand `interval` over, if there is anything of it to hand over and a place for it.
    pub(super) fn start_hand_off(&mut self, from: usize, interval: Interval, to: Arc<Host>, leaving: bool) {
        if !self.may_hand_off(from) {
            return;
        }
        let Some(member) = self.member(from) else { return };
        let Some((transfer, pieces)) = member.groups.begin(interval) else { return };
        member.hand_offs += 1;
        let hand_off =
            HandOff { transfer, pieces, from, to, leaving, decided: Vec::new(), next: Step::Offer };
        self.hand_offs.push(hand_off);
        self.queue.after(self.scenario.delay, Event::HandOff(self.hand_offs.len() - 1));
    }

    /// The next message of a hand-off arrives.
    pub(super) fn hand_off(&mut self, number: usize) -> Result<(), Error> {
        let (from, delay) = (self.hand_offs[number].from, self.scenario.delay);
        let to = index_of(&self.hand_offs[number].to);
        let receiver_lives = self.ring.host(to).is_some();
        let (next, wait) = match self.hand_offs[number].next {
            Step::Offer => (Step::Answer(receiver_lives && self.take_offer(number, to)), delay),
            Step::Answer(true) => (Step::Copied, 2 * delay),
            Step::Answer(false) if self.hand_offs[number].decided.is_empty() => {
                self.give_up(number, to);
                return Ok(());
            }
            // It has installed already, or will.
            Step::Answer(false) => (Step::Install, delay),
            Step::Copied if !receiver_lives => {
                self.give_up(number, to);
                return Ok(());
            }
            Step::Copied => {
                let transfer = self.hand_offs[number].transfer;
                if let Some(member) = self.member(from) {
                    member.groups.hold(transfer);
                }
                (Step::AllCopied, 2 * delay)
            }
            Step::AllCopied => {
                if !self.is_learning(number, to) {
                    return self.begin_again(number);
                }
                let (transfer, heir) = (self.hand_offs[number].transfer, self.hand_offs[number].to.clone());
                let Some(member) = self.member(from) else { return Ok(()) };
                self.hand_offs[number].decided = member.groups.accept(transfer, &heir);
                self.check(from)?;
                (Step::Install, delay)
            }
            Step::Install => (Step::Installed(self.install(number, to)?), delay),
            Step::Installed(true) => {
                self.end(number);
                return Ok(());
            }
            Step::Installed(false) => return self.begin_again(number),
        };
        self.hand_offs[number].next = next;
        self.queue.after(wait, Event::HandOff(number));
        Ok(())
    }

    fn take_offer(&mut self, number: usize, to: usize) -> bool {
        let hand_off = &self.hand_offs[number];
        let from = self.host(hand_off.from);
        let leaving = hand_off.leaving || !hand_off.decided.is_empty();
        let (transfer, pieces) = (hand_off.transfer, hand_off.pieces.clone());
        let Some(Some(member)) = self.members.get_mut(to) else { return false };
        let Some(routing) = self.ring.host(to) else { return false };
        let may = placement::may_take(routing, &from, &pieces, leaving, member.is_leaving);
        let taken = may.is_ok() && member.groups.offer(transfer, &from, &pieces).is_ok();
        let offer = Request::Offer { transfer, from: from.clone(), pieces, leaving };
        let answer = if taken { Response::Learning } else { Response::Declined(String::new()) };
        self.tallies.hand_off_traffic.call(&from, routing.host(), &offer, Some(&answer));
        self.tallies.declined += u64::from(!taken);
        taken
    }

    fn is_learning(&self, number: usize, to: usize) -> bool {
        let hand_off = &self.hand_offs[number];
        let Some(Some(member)) = self.members.get(to) else { return false };
        hand_off.pieces.iter().all(|(piece, _)| member.groups.is_learning(hand_off.transfer, &piece.upto))
    }

    fn install(&mut self, number: usize, to: usize) -> Result<bool, Error> {
        let (transfer, groups) = (self.hand_offs[number].transfer, self.hand_offs[number].decided.clone());
        let from = self.host(self.hand_offs[number].from);
        let Some(member) = self.member(to) else { return Ok(false) };
        let installed = member.groups.install(transfer, &groups);
        let receiver = self.host(to);
        let install = Request::Install { transfer, groups };
        self.tallies.hand_off_traffic.call(&from, &receiver, &install, Some(&Response::Installed));
        self.check(to)?;
        self.compare(to);
        Ok(installed)
    }

    /// The learner does not want it, or is gone: the owner serves on.
    fn give_up(&mut self, number: usize, to: usize) {
        let (from, transfer) = (self.hand_offs[number].from, self.hand_offs[number].transfer);
        if let Some(member) = self.member(from) {
            member.groups.release(transfer);
            member.hand_offs -= 1;
        }
        self.queue.after(self.scenario.delay, Event::Abort { to, hand_off: number });
        self.compare(from);
    }

    /// The learner has forgotten it: under a new name from the beginning.
    fn begin_again(&mut self, number: usize) -> Result<(), Error> {
        let (from, transfer) = (self.hand_offs[number].from, self.hand_offs[number].transfer);
        let Some(member) = self.member(from) else { return Ok(()) };
        match member.groups.renew(transfer) {
            Some((transfer, pieces)) => {
                let hand_off = &mut self.hand_offs[number];
                (hand_off.transfer, hand_off.pieces, hand_off.next) = (transfer, pieces, Step::Offer);
                let pause = self.jittered(RETRY_PAUSE) + self.scenario.delay;
                self.tallies.renewed += 1;
                self.queue.after(pause, Event::HandOff(number));
            }
            None => self.end(number),
        }
        Ok(())
    }

    fn end(&mut self, number: usize) {
        let (from, transfer) = (self.hand_offs[number].from, self.hand_offs[number].transfer);
        if let Some(member) = self.member(from) {
            member.groups.in_force(transfer);
            member.hand_offs -= 1;
        }
        self.tallies.hand_offs += 1;
        self.compare(from);
    }
}
