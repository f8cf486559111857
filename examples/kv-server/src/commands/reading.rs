//! Reading values into the memory for clients: how long a value of another host is shows before there is room for it, so
//! that is asked first unless it is short.

use bytes::Bytes;
use chord::{Error, ShortRead};

use crate::commands::Failure;
use crate::node::Node;
use crate::resp::Reply;
use crate::server::Charge;

/// Values of other hosts up to so many bytes come without being charged before.
const SHORT_BYTES: usize = 64 << 10;

/// The value of `key`, beside `held` bytes of replies; only its length if there is no room for it.
pub(super) async fn read(
    node: &Node,
    key: &Bytes,
    held: usize,
    charge: &mut Charge,
) -> Result<ShortRead, Error> {
    match node.get_short(key, SHORT_BYTES).await? {
        ShortRead::Long(bytes) if charge.grow(held + bytes) => Ok(ShortRead::Value(node.get(key).await?)),
        found => Ok(found),
    }
}

/// The values of `keys`, beside `held` bytes of replies; of those for which there is no room only the lengths.
pub(super) async fn read_many<K: AsRef<[u8]>>(
    node: &Node,
    keys: &[K],
    mut held: usize,
    charge: &mut Charge,
) -> Vec<Result<ShortRead, Error>> {
    let mut found = node.get_many_short(keys, SHORT_BYTES).await;
    let mut fitting = Vec::new();
    for (i, found) in found.iter().enumerate() {
        if let Ok(ShortRead::Long(bytes)) = found
            && charge.grow(held + bytes)
        {
            held += bytes;
            fitting.push(i);
        }
    }
    if !fitting.is_empty() {
        let keys: Vec<&K> = fitting.iter().map(|i| &keys[*i]).collect();
        for (i, value) in fitting.into_iter().zip(node.get_many(&keys).await) {
            found[i] = value.map(ShortRead::Value);
        }
    }
    found
}

/// What was read, if there is room for it beside `held` bytes of replies.
pub(super) fn charged(
    found: Result<ShortRead, Error>,
    held: usize,
    charge: &mut Charge,
) -> Result<Option<Bytes>, Failure> {
    match found? {
        ShortRead::Value(value) if charge.grow(held + value.as_ref().map_or(0, Bytes::len)) => Ok(value),
        ShortRead::Value(_) | ShortRead::Long(_) => Err(Failure::OUT_OF_BUFFERS),
    }
}

/// Writes what was read.
pub(super) fn write(
    found: Result<ShortRead, Error>,
    charge: &mut Charge,
    reply: &mut Reply,
) -> Result<(), Failure> {
    reply.value(charged(found, reply.len(), charge)?);
    Ok(())
}

/// How long the value of `key` is, if there is one. No value of another host comes for that.
pub(super) async fn length(node: &Node, key: &Bytes) -> Result<Option<usize>, Error> {
    Ok(length_of(&node.get_short(key, 0).await?))
}

/// How long a value is, if there is one.
pub(super) fn length_of(found: &ShortRead) -> Option<usize> {
    match found {
        ShortRead::Value(value) => value.as_ref().map(Bytes::len),
        ShortRead::Long(bytes) => Some(*bytes),
    }
}
