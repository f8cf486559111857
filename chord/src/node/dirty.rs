//! What was written during a hand-off and is still to be sent.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::protocol::id::Id;

/// Keys written during one hand-off that may wait to be sent; past that, writes to it wait.
const MAX_DIRTY: usize = 4096;
/// Bytes of them that may wait to be sent, but for one write more under each of the keys' locks.
const MAX_DIRTY_BYTES: usize = 16 << 20;
/// So few waiting bytes are sent while writes are held back, unless more are written in the time that sending takes.
pub(crate) const FEW_DIRTY_BYTES: usize = 64 << 10;
/// What an entry counts for beside its key and value.
const ENTRY_BYTES: usize = 64;

/// Keys written during a hand-off and not sent since.
pub(crate) struct Dirty {
    /// The keys, and what each counts for in bytes.
    keys: BTreeMap<(Id, Bytes), usize>,
    /// The sum of that.
    bytes: usize,
    /// With so many bytes, writes wait.
    max_bytes: usize,
}

impl Default for Dirty {
    fn default() -> Dirty {
        Dirty { keys: BTreeMap::new(), bytes: 0, max_bytes: MAX_DIRTY_BYTES }
    }
}

impl Dirty {
    /// Notes a key to which a value of `value_bytes` is written.
    pub(crate) fn note(&mut self, id: Id, key: Bytes, value_bytes: usize) {
        let bytes = key.len() + value_bytes + ENTRY_BYTES;
        let before = self.keys.insert((id, key), bytes).unwrap_or(0);
        self.bytes = self.bytes + bytes - before;
    }

    /// Whether writes wait until some of it is sent.
    pub(crate) fn is_full(&self) -> bool {
        self.keys.len() >= MAX_DIRTY || self.bytes >= self.max_bytes
    }

    /// What the waiting keys count for.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Lets writes wait from `max_bytes` on, but not for what is few.
    pub(crate) fn set_bound(&mut self, max_bytes: usize) {
        self.max_bytes = max_bytes.clamp(FEW_DIRTY_BYTES, MAX_DIRTY_BYTES);
    }

    /// Takes out keys that count for at most `max_bytes`, at least one if there is one: the first, because
    /// the copy has passed them most likely, and comes to the others by itself. Returns also what they count for.
    pub(crate) fn take(&mut self, max_bytes: usize) -> (Vec<(Id, Bytes)>, usize) {
        let (mut keys, mut taken) = (Vec::new(), 0);
        while let Some(first) = self.keys.first_entry()
            && (keys.is_empty() || taken + first.get() <= max_bytes)
        {
            let (key, bytes) = first.remove_entry();
            keys.push(key);
            taken += bytes;
        }
        self.bytes -= taken;
        (keys, taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> Id {
        Id::from_u128(n)
    }

    #[test]
    fn what_is_taken_fits_a_chunk_unless_one_write_is_larger_alone() {
        let mut dirty = Dirty::default();
        for n in 1..=3 {
            dirty.note(id(n), Bytes::new(), 100 - ENTRY_BYTES);
        }
        dirty.note(id(4), Bytes::new(), 1000 - ENTRY_BYTES);
        let mut take = || {
            let (keys, bytes) = dirty.take(250);
            (keys.into_iter().map(|(id, _)| id).collect::<Vec<Id>>(), bytes, dirty.bytes())
        };
        assert_eq!(take(), (vec![id(1), id(2)], 200, 1100));
        assert_eq!(take(), (vec![id(3)], 100, 1000));
        assert_eq!(take(), (vec![id(4)], 1000, 0));
        assert_eq!(take(), (vec![], 0, 0));
    }

    #[test]
    fn a_key_that_is_written_again_counts_once_and_writes_wait_from_the_bound_on() {
        let mut dirty = Dirty::default();
        for bytes in [FEW_DIRTY_BYTES, 10, FEW_DIRTY_BYTES] {
            dirty.note(id(1), Bytes::new(), bytes);
            assert_eq!(dirty.bytes(), bytes + ENTRY_BYTES);
            assert!(!dirty.is_full());
        }
        dirty.set_bound(0);
        assert!(dirty.is_full());
        dirty.note(id(1), Bytes::new(), 10);
        assert!(!dirty.is_full(), "little may always wait");
    }
}
