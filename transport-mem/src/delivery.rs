//! Requests on their way: one queue and, while there are any, one task for the whole network.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use chord::transport::{Incoming, Lane};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use crate::host::Host;
use crate::state::Shared;

/// A request on its way. Its place in the host's queue is reserved, which bounds how many there are.
struct Delayed {
    at: Instant,
    sequence: u64,
    host: Arc<Host>,
    lane: Lane,
    incoming: Incoming,
}

/// Requests on their way, in the order of their arrival; of two that arrive at once, the one sent first.
#[derive(Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Delayed>,
    sequence: u64,
    task: Option<AbortHandle>,
}

impl Shared {
    /// Delivers `incoming` to `host` at `at`.
    pub(crate) fn schedule(self: &Arc<Self>, at: Instant, host: &Arc<Host>, lane: Lane, incoming: Incoming) {
        let mut state = self.lock();
        let queue = &mut state.delayed;
        queue.sequence += 1;
        let sequence = queue.sequence;
        queue.heap.push(Delayed { at, sequence, host: Arc::clone(host), lane, incoming });
        // A task that ended with its runtime has not cleared the entry.
        if queue.task.as_ref().is_none_or(AbortHandle::is_finished) {
            queue.task = Some(tokio::spawn(deliver(Arc::clone(self))).abort_handle());
        } else if queue.heap.peek().is_some_and(|first| first.sequence == sequence) {
            self.rescheduled.notify_one();
        }
    }

    /// Takes out the first request if it is due; else says when that will be; `Err(None)` ends the task.
    fn due(&self) -> Result<Delayed, Option<Instant>> {
        let mut state = self.lock();
        let queue = &mut state.delayed;
        match queue.heap.peek().map(|first| first.at) {
            Some(at) if at <= Instant::now() => queue.heap.pop().ok_or(None),
            Some(at) => Err(Some(at)),
            None => {
                queue.task = None;
                Err(None)
            }
        }
    }
}

/// Delivers until nothing is on its way.
async fn deliver(network: Arc<Shared>) {
    loop {
        match network.due() {
            Ok(delayed) => delayed.host.push(delayed.lane, delayed.incoming),
            Err(Some(at)) => tokio::select! {
                biased;
                () = network.rescheduled.notified() => {}
                () = sleep_until(at) => {}
            },
            Err(None) => return,
        }
    }
}

impl Ord for Delayed {
    /// The earliest is the greatest, because a [`BinaryHeap`] gives the greatest first.
    fn cmp(&self, other: &Delayed) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl PartialOrd for Delayed {
    fn partial_cmp(&self, other: &Delayed) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Delayed {
    fn eq(&self, other: &Delayed) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Delayed {}
