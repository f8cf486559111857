//! Dropping many entries without holding up those who read and write: [`clear_some`].

use super::{Batch, Storage, StorageError};
use crate::protocol::id::Interval;

/// Bytes of entries that are dropped at once: at most 4,096 entries, a few milliseconds of a store in memory.
const PIECE_BYTES: usize = 256 << 10;

/// Drops the entries at the start of `interval`, clockwise, about 256 KiB of them in one batch; keys that share an
/// id go together. Returns the rest of the interval, which may still hold entries; `None` when nothing is left.
///
/// One batch that clears a large interval ([`Batch::clear`]) is atomic, and so readers and writers wait for all of
/// it. Who does not need that, because nobody is served from the interval, goes on with the rest until there is
/// none.
///
/// # Errors
/// The store's. All of the entries at the start are gone or none; trying again is harmless.
///
/// # Cancel safety
/// As after an error.
pub async fn clear_some(storage: &dyn Storage, interval: Interval) -> Result<Option<Interval>, StorageError> {
    let page = storage.scan(interval, None, PIECE_BYTES).await?;
    if page.entries.is_empty() {
        return Ok(None);
    }
    // What lies at the interval's last id is the end of it, whichever key the page ends with.
    let end = page.next.map(|cursor| cursor.id).filter(|id| *id != interval.upto);
    let piece = Interval::new(interval.after, end.unwrap_or(interval.upto));
    storage.apply(Batch { clear: vec![piece], ..Batch::default() }).await?;
    Ok(end.map(|end| Interval::new(end, interval.upto)))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::FutureExt as _;

    use super::*;
    use crate::protocol::entry::{Entry, Version};
    use crate::protocol::id::Id;
    use crate::storage::{MemoryStorage, StorageStats, Stored};

    fn now<T>(future: impl Future<Output = T>) -> T {
        future.now_or_never().expect("memory never waits")
    }

    /// A store with `count` entries at as many ids all around the circle, and a second key at the last id there is.
    fn filled(count: u64) -> MemoryStorage {
        let store = MemoryStorage::new();
        let at = |id: Id, key: String| {
            let entry = Entry {
                version: Version { epoch: 1, counter: 1 },
                value: Some(Bytes::from_static(b"value")),
                expires_at: None,
            };
            now(store.apply(Batch::one(Stored { id, key: key.into(), entry }))).unwrap();
        };
        for i in 0..count {
            let mut bytes = [0; 20];
            bytes[..8].copy_from_slice(&(u64::MAX / count * i).to_be_bytes());
            bytes[19] = i as u8;
            at(Id::from_bytes(bytes), format!("key {i}"));
        }
        at(Id::from_bytes([0xff; 20]), "one".to_owned());
        at(Id::from_bytes([0xff; 20]), "two".to_owned());
        store
    }

    fn entries(store: &MemoryStorage, interval: Interval) -> usize {
        now(store.scan(interval, None, usize::MAX)).unwrap().entries.len()
    }

    #[test]
    fn a_large_interval_is_cleared_in_pieces_and_nothing_else_is() {
        let id = |first: u8| Id::from_bytes([[first; 1].as_slice(), &[0; 19]].concat().try_into().unwrap());
        let last = Id::from_bytes([0xff; 20]);
        for interval in [
            Interval::new(id(10), id(200)),
            Interval::new(id(200), id(10)),
            Interval::new(id(10), last),
            Interval::new(last, id(10)),
            Interval::new(id(7), id(7)),
            Interval::whole(),
        ] {
            let store = filled(10_000);
            let (all, inside) = (entries(&store, Interval::whole()), entries(&store, interval));
            let (mut rest, mut pieces) = (Some(interval), 0);
            while let Some(left) = rest {
                let before = entries(&store, interval);
                rest = now(clear_some(&store, left)).unwrap();
                let gone = before - entries(&store, interval);
                assert!(gone <= PIECE_BYTES / 64 + 1, "{gone} at once");
                pieces += 1;
            }
            assert!(pieces > inside / (PIECE_BYTES / 64), "{inside} entries in {pieces} pieces");
            assert_eq!(entries(&store, interval), 0, "{interval:?}");
            assert_eq!(entries(&store, Interval::whole()), all - inside, "{interval:?}");
        }
        let empty = MemoryStorage::new();
        assert_eq!(now(clear_some(&empty, Interval::whole())).unwrap(), None);
        assert_eq!(now(empty.stats()), StorageStats::default());
    }
}
