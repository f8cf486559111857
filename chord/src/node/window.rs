//! Repeated updates are answered, not executed: a bounded memory of operation ids.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::protocol::message::{ItemReply, OperationId};
use crate::protocol::peer::Incarnation;

/// So many of a caller's newer ids may be seen before one that was not is refused: what takes it longer than an
/// operation's deadline to count up. Of a refused one it is not known whether it was executed.
const SPAN: u64 = 1 << 20;
/// Ids whose being seen is noted together.
const BLOCK: u64 = u64::BITS as u64;
/// Such blocks noted for all callers; beyond it the caller that was silent for longest is forgotten.
const BLOCKS: usize = 1 << 20;
/// Callers remembered; beyond it the one that was silent for longest is forgotten.
const CALLERS: usize = 4096;
/// Answers kept, refusals among them; a repeated operation whose answer is kept no more is `Forgotten`.
const ANSWERS: usize = 1 << 16;
/// Bytes of values in all answers kept.
const ANSWER_BYTES: usize = 16 << 20;
/// Longest value kept for a repetition; a repeated operation whose answer carried more is `Forgotten`.
const MAX_KEPT_BYTES: usize = 4096;

/// What the window knows of an operation.
pub(crate) enum Seen {
    /// Nothing: execute it, then [`Window::done`] or [`Window::refused`].
    New,
    /// It is being executed; whoever sent it first gets the answer.
    InProgress,
    /// It was certainly not executed here, which its sender was told, and never will be: who asks again does so under
    /// another id, and what comes under this one is a copy that was long on its way.
    Refused,
    /// It was executed, with this answer.
    Done(ItemReply, Bytes),
    /// It was executed and the answer is not kept, or it is older than what is remembered.
    Forgotten,
}

/// What came of an operation.
enum Kept {
    Done(ItemReply, Bytes),
    Refused,
}

/// The memory of updates executed here, and of those that were refused.
#[derive(Default)]
pub(crate) struct Window {
    callers: BTreeMap<Incarnation, Caller>,
    /// Blocks of all callers.
    blocks: usize,
    clock: u64,
    /// What is being executed: as much as this host serves at once.
    running: BTreeSet<OperationId>,
    answers: BTreeMap<OperationId, Kept>,
    /// The keys of `answers`, oldest first.
    order: VecDeque<OperationId>,
    answer_bytes: usize,
}

/// Which ids of a caller were seen: a bit for each, by block. Blocks that are [`SPAN`] behind the newest are dropped,
/// and nothing in them is executed any more.
#[derive(Default)]
struct Caller {
    seen: BTreeMap<u64, u64>,
    /// The first block that is remembered.
    floor: u64,
    last_heard: u64,
}

impl Caller {
    /// Notes an id as seen; whether it certainly was not before.
    fn see(&mut self, counter: u64) -> bool {
        let (block, bit) = (counter / BLOCK, 1 << (counter % BLOCK));
        if block < self.floor {
            return false;
        }
        let bits = self.seen.entry(block).or_default();
        let is_new = *bits & bit == 0;
        *bits |= bit;
        self.floor = self.floor.max(block.saturating_sub(SPAN / BLOCK));
        while self.seen.first_key_value().is_some_and(|(first, _)| *first < self.floor) {
            self.seen.pop_first();
        }
        is_new
    }
}

impl Window {
    /// [`Window::begin`] for each operation of one message. `None`, and nothing is noted, if one of them is in progress or
    /// was refused: the message is a copy of one that has an answer, or gets it.
    pub(crate) fn begin_all(
        &mut self,
        operations: impl Iterator<Item = OperationId> + Clone,
    ) -> Option<Vec<Seen>> {
        let is_copy = |operation: OperationId| {
            self.running.contains(&operation) || matches!(self.answers.get(&operation), Some(Kept::Refused))
        };
        if operations.clone().any(is_copy) {
            return None;
        }
        Some(operations.map(|operation| self.begin(operation)).collect())
    }

    /// Looks `operation` up, and notes a new one as in progress.
    pub(crate) fn begin(&mut self, operation: OperationId) -> Seen {
        if self.running.contains(&operation) {
            return Seen::InProgress;
        }
        match self.answers.get(&operation) {
            Some(Kept::Done(reply, value)) => return Seen::Done(reply.clone(), value.clone()),
            Some(Kept::Refused) => return Seen::Refused,
            None => {}
        }
        self.clock += 1;
        let is_known = self.callers.contains_key(&operation.caller);
        if self.blocks >= BLOCKS || (!is_known && self.callers.len() >= CALLERS) {
            self.forget_silent(operation.caller);
        }
        let caller = self.callers.entry(operation.caller).or_default();
        caller.last_heard = self.clock;
        let before = caller.seen.len();
        let is_new = caller.see(operation.counter);
        self.blocks = self.blocks + caller.seen.len() - before;
        if !is_new {
            return Seen::Forgotten;
        }
        self.running.insert(operation);
        Seen::New
    }

    /// `operation` was executed with this answer.
    pub(crate) fn done(&mut self, operation: OperationId, reply: &ItemReply, value: &Bytes) {
        if !self.running.remove(&operation) || value.len() > MAX_KEPT_BYTES {
            return;
        }
        self.answer_bytes += value.len();
        self.keep(operation, Kept::Done(reply.clone(), Bytes::copy_from_slice(value)));
    }

    /// `operation` was certainly not executed, and will not be.
    pub(crate) fn refused(&mut self, operation: OperationId) {
        if self.running.remove(&operation) {
            self.keep(operation, Kept::Refused);
        }
    }

    fn keep(&mut self, operation: OperationId, kept: Kept) {
        self.answers.insert(operation, kept);
        self.order.push_back(operation);
        while self.answers.len() > ANSWERS || self.answer_bytes > ANSWER_BYTES {
            match self.order.pop_front().map(|oldest| self.answers.remove(&oldest)) {
                Some(Some(Kept::Done(_, value))) => self.answer_bytes -= value.len(),
                Some(_) => {}
                None => break,
            }
        }
    }

    /// Forgets the caller that was silent for longest, other than `but`.
    fn forget_silent(&mut self, but: Incarnation) {
        let others = self.callers.iter().filter(|(name, _)| **name != but);
        let silent = others.min_by_key(|(_, caller)| caller.last_heard).map(|(name, _)| *name);
        if let Some(caller) = silent.and_then(|name| self.callers.remove(&name)) {
            self.blocks -= caller.seen.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(counter: u64) -> OperationId {
        OperationId { caller: Incarnation(1), counter }
    }

    fn execute(window: &mut Window, operation: OperationId, value: &Bytes) {
        assert!(matches!(window.begin(operation), Seen::New));
        window.done(operation, &ItemReply::Absent, value);
    }

    #[test]
    fn a_repeated_operation_is_answered_from_memory() {
        let mut window = Window::default();
        assert!(matches!(window.begin(operation(1)), Seen::New));
        assert!(matches!(window.begin(operation(1)), Seen::InProgress));
        window.done(operation(1), &ItemReply::Absent, &Bytes::new());
        assert!(matches!(window.begin(operation(1)), Seen::Done(ItemReply::Absent, _)));
    }

    #[test]
    fn an_operation_that_was_refused_is_never_executed_afterwards() {
        let mut window = Window::default();
        assert!(matches!(window.begin(operation(1)), Seen::New));
        window.refused(operation(1));
        assert!(matches!(window.begin(operation(1)), Seen::Refused));
        let many = ANSWERS as u64 + 2;
        (2..=many).for_each(|counter| execute(&mut window, operation(counter), &Bytes::new()));
        assert!(matches!(window.begin(operation(1)), Seen::Forgotten), "the refusal is kept no more");
        assert_eq!(window.answers.len(), window.order.len());
    }

    #[test]
    fn a_message_of_which_a_part_is_known_to_be_a_copy_begins_nothing() {
        let mut window = Window::default();
        assert!(matches!(window.begin(operation(1)), Seen::New));
        assert!(window.begin_all([2, 1].map(operation).into_iter()).is_none(), "1 is in progress");
        window.refused(operation(1));
        assert!(window.begin_all([2, 1].map(operation).into_iter()).is_none(), "1 was refused");
        let seen = window.begin_all([2, 3, 3].map(operation).into_iter()).expect("they are new");
        assert!(matches!(seen[..], [Seen::New, Seen::New, Seen::InProgress]));
    }

    #[test]
    fn an_operation_overtaken_by_many_is_executed_and_none_twice() {
        let mut window = Window::default();
        let many = ANSWERS as u64 + 100;
        (2..many).for_each(|counter| execute(&mut window, operation(counter), &Bytes::new()));
        assert!(matches!(window.begin(operation(2)), Seen::Forgotten), "its answer is kept no more");
        assert!(matches!(window.begin(operation(1)), Seen::New), "it was never seen");
        assert!(matches!(window.begin(operation(many - 1)), Seen::Done(..)));
    }

    #[test]
    fn what_falls_below_the_window_is_refused() {
        let mut window = Window::default();
        assert!(matches!(window.begin(operation(1)), Seen::New));
        assert!(matches!(window.begin(operation(SPAN + BLOCK)), Seen::New));
        assert!(matches!(window.begin(operation(1)), Seen::InProgress));
        assert!(matches!(window.begin(operation(2)), Seen::Forgotten));
        assert!(matches!(window.begin(operation(BLOCK)), Seen::New));
    }

    #[test]
    fn the_window_is_bounded_in_callers_ids_and_bytes() {
        let mut window = Window::default();
        for caller in 0..CALLERS as u128 + 10 {
            execute(&mut window, OperationId { caller: Incarnation(caller), counter: 1 }, &Bytes::new());
        }
        assert_eq!(window.callers.len(), CALLERS);
        let mut window = Window::default();
        for caller in 0..BLOCKS as u64 * BLOCK / SPAN + 2 {
            let caller = Incarnation(u128::from(caller) + (1 << 100));
            for block in 0..SPAN / BLOCK {
                window.begin(OperationId { caller, counter: block * BLOCK });
            }
        }
        let blocks: usize = window.callers.values().map(|caller| caller.seen.len()).sum();
        assert!(blocks == window.blocks && blocks <= BLOCKS, "{blocks} blocks");
        let value = Bytes::from(vec![0; MAX_KEPT_BYTES]);
        let name = |counter| OperationId { caller: Incarnation(u128::MAX), counter };
        (0..5000).for_each(|counter| execute(&mut window, name(counter), &value));
        assert!(window.answer_bytes <= ANSWER_BYTES && window.order.len() == window.answers.len());
    }
}
