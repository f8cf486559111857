//! A bound on the memory of all connections together: [`Budget`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A growing buffer is charged for in steps of so many bytes, as long as the budget has them.
const STEP: usize = 16 << 10;

/// Bytes that connections may hold together in buffers that have outgrown what each has for free.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Arc<Budget> {
        Arc::new(Budget { limit, used: AtomicUsize::new(0) })
    }

    /// Bytes charged.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes that can be charged.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes that can still be charged.
    pub fn left(&self) -> usize {
        self.limit.saturating_sub(self.used())
    }

    fn take(&self, bytes: usize) -> bool {
        let grow = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow).is_ok()
    }
}

/// What one buffer has charged to a budget; given back when dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    free: usize,
    bytes: usize,
}

impl Charge {
    /// Nothing charged yet; the first `free` bytes never will be.
    pub fn new(budget: Arc<Budget>, free: usize) -> Charge {
        Charge { budget, free, bytes: 0 }
    }

    /// Charges for a buffer that holds `held` bytes. False when the budget does not have them: nothing is changed.
    #[must_use]
    pub fn set(&mut self, held: usize) -> bool {
        let bytes = if held > self.free { held } else { 0 };
        if bytes > self.bytes {
            if !self.budget.take(bytes - self.bytes) {
                return false;
            }
        } else if bytes < self.bytes {
            self.budget.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
        true
    }

    /// Charges for a buffer that is about to hold `held` bytes, and never gives anything back: most calls for a few bytes
    /// more leave the budget alone. False when it does not have them: nothing is changed.
    #[must_use]
    pub fn grow(&mut self, held: usize) -> bool {
        held <= self.bytes.max(self.free) || self.set(held.next_multiple_of(STEP)) || self.set(held)
    }

    /// Bytes charged.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_never_exceeded_and_comes_back_in_full() {
        let budget = Budget::new(100);
        let (mut one, mut two) = (Charge::new(budget.clone(), 10), Charge::new(budget.clone(), 10));
        assert!(one.set(10) && budget.used() == 0);
        assert!(one.set(60) && budget.used() == 60);
        assert!(!two.set(41) && budget.used() == 60);
        assert!(two.set(40) && budget.used() == 100);
        assert!(one.set(30) && budget.used() == 70);
        assert!(!one.set(usize::MAX));
        drop((one, two));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_buffer_grows_in_steps_and_to_the_last_byte() {
        let budget = Budget::new(STEP + 10);
        let mut charge = Charge::new(budget.clone(), 10);
        assert!(charge.grow(10) && budget.used() == 0);
        assert!(charge.grow(11) && budget.used() == STEP);
        assert!(charge.grow(STEP) && charge.grow(5) && budget.used() == STEP);
        assert!(charge.grow(STEP + 10) && budget.used() == STEP + 10);
        assert!(!charge.grow(STEP + 11) && charge.bytes() == STEP + 10);
    }
}
