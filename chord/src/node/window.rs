//! Repeated updates are answered, not executed: a bounded memory of operation ids.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::protocol::message::{ItemReply, OperationId};
use crate::protocol::peer::Incarnation;

/// Operations remembered for each caller. A caller has fewer than this in flight to one host, or its oldest are
/// answered `Forgotten`.
const PER_CALLER: usize = 1024;
/// Callers remembered; beyond it the one that was silent for longest is forgotten.
const CALLERS: usize = 4096;
/// Longest value kept for a repetition; a repeated operation whose answer carried more is `Forgotten`.
const MAX_KEPT_BYTES: usize = 4096;

/// What the window knows of an operation.
pub(crate) enum Seen {
    /// Nothing: execute it, then [`Window::done`] or [`Window::undone`].
    New,
    /// It is being executed; whoever sent it first gets the answer.
    InProgress,
    /// It was executed, with this answer.
    Done(ItemReply, Bytes),
    /// It is older than what is remembered.
    Forgotten,
}

/// The memory of updates executed here.
#[derive(Default)]
pub(crate) struct Window {
    callers: BTreeMap<Incarnation, Caller>,
    clock: u64,
}

#[derive(Default)]
struct Caller {
    /// Nothing at or below it is remembered.
    floor: u64,
    operations: BTreeMap<u64, Option<(ItemReply, Bytes)>>,
    last_heard: u64,
}

impl Window {
    /// Looks `operation` up, and notes a new one as in progress.
    pub(crate) fn begin(&mut self, operation: OperationId) -> Seen {
        self.clock += 1;
        if !self.callers.contains_key(&operation.caller) && self.callers.len() >= CALLERS {
            let silent = self.callers.iter().min_by_key(|(_, caller)| caller.last_heard).map(|(key, _)| *key);
            silent.map(|caller| self.callers.remove(&caller));
        }
        let caller = self.callers.entry(operation.caller).or_default();
        caller.last_heard = self.clock;
        match caller.operations.get(&operation.counter) {
            Some(Some((reply, value))) => return Seen::Done(reply.clone(), value.clone()),
            Some(None) => return Seen::InProgress,
            None if operation.counter <= caller.floor => return Seen::Forgotten,
            None => {}
        }
        caller.operations.insert(operation.counter, None);
        while caller.operations.len() > PER_CALLER {
            if let Some((counter, _)) = caller.operations.pop_first() {
                caller.floor = counter;
            }
        }
        Seen::New
    }

    /// `operation` was executed with this answer.
    pub(crate) fn done(&mut self, operation: OperationId, reply: &ItemReply, value: &Bytes) {
        let kept = if value.len() <= MAX_KEPT_BYTES {
            (reply.clone(), Bytes::copy_from_slice(value))
        } else {
            (ItemReply::Forgotten, Bytes::new())
        };
        if let Some(slot) = self.slot(operation) {
            *slot = Some(kept);
        }
    }

    /// `operation` was certainly not executed; the same id may come again.
    pub(crate) fn undone(&mut self, operation: OperationId) {
        if let Some(caller) = self.callers.get_mut(&operation.caller) {
            caller.operations.remove(&operation.counter);
        }
    }

    fn slot(&mut self, operation: OperationId) -> Option<&mut Option<(ItemReply, Bytes)>> {
        self.callers.get_mut(&operation.caller)?.operations.get_mut(&operation.counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(counter: u64) -> OperationId {
        OperationId { caller: Incarnation(1), counter }
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
    fn an_operation_that_was_not_executed_may_come_again() {
        let mut window = Window::default();
        assert!(matches!(window.begin(operation(1)), Seen::New));
        window.undone(operation(1));
        assert!(matches!(window.begin(operation(1)), Seen::New));
    }

    #[test]
    fn what_falls_below_the_window_is_refused_and_the_window_is_bounded() {
        let mut window = Window::default();
        for counter in 1..=PER_CALLER as u64 + 1 {
            assert!(matches!(window.begin(operation(counter)), Seen::New));
        }
        assert!(matches!(window.begin(operation(1)), Seen::Forgotten));
        assert!(matches!(window.begin(operation(2)), Seen::InProgress));
        for caller in 0..CALLERS as u128 + 10 {
            window.begin(OperationId { caller: Incarnation(caller + 2), counter: 1 });
        }
        assert_eq!(window.callers.len(), CALLERS);
    }
}
