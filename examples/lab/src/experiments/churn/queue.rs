//! Simulated time: what happens next.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

use rand::Rng;

/// Events in the order of their time; of two at one time the one that was put first comes first.
#[derive(Debug)]
pub struct Queue<E> {
    now: Duration,
    count: u64,
    events: BinaryHeap<Entry<E>>,
}

#[derive(Debug)]
struct Entry<E> {
    at: Duration,
    number: u64,
    event: E,
}

impl<E> Default for Queue<E> {
    /// Nothing happens yet; it is time zero.
    fn default() -> Queue<E> {
        Queue { now: Duration::ZERO, count: 0, events: BinaryHeap::new() }
    }
}

impl<E> Queue<E> {
    /// The time.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Puts `event` so long from now.
    pub fn after(&mut self, pause: Duration, event: E) {
        self.count += 1;
        self.events.push(Entry { at: self.now + pause, number: self.count, event });
    }

    /// Lets time pass to `until`, before which nothing happens.
    pub fn wait(&mut self, until: Duration) {
        debug_assert!(self.events.peek().is_none_or(|entry| entry.at >= until));
        self.now = self.now.max(until);
    }

    /// The next event before `end`, at whose time it then is.
    pub fn next(&mut self, end: Duration) -> Option<E> {
        if self.events.peek()?.at >= end {
            return None;
        }
        let entry = self.events.pop()?;
        self.now = entry.at;
        Some(entry.event)
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<E> Eq for Entry<E> {}

/// The pause to the next of events that happen `rate` times a second, each independent of the others.
pub fn poisson(rate: f64, rng: &mut impl Rng) -> Duration {
    Duration::from_secs_f64(-(1.0 - rng.random::<f64>()).ln() / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_of_time_and_then_of_arrival() {
        let mut queue = Queue::default();
        for (seconds, event) in [(3, 'c'), (1, 'a'), (3, 'd'), (2, 'b'), (9, 'z')] {
            queue.after(Duration::from_secs(seconds), event);
        }
        let seen: String = std::iter::from_fn(|| queue.next(Duration::from_secs(9))).collect();
        assert_eq!((seen.as_str(), queue.now()), ("abcd", Duration::from_secs(3)));
    }
}
