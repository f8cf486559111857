//! Commands on values: `SET` and its relatives.

use bytes::Bytes;
use chord::{Action, Condition, Expiry, Outcome, Update};

use crate::commands::expiry::{Unit, expiry_at, expiry_in};
use crate::commands::{Failure, reading};
use crate::node::Node;
use crate::resp::Reply;
use crate::server::Charge;

/// Most keys of one command that are read at once.
const MAX_AT_ONCE: usize = 128;

/// `SET key value [NX | XX] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]`
pub(super) async fn set(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    let options = Options::parse(&args[3..], true)?;
    let expiry = options.expiry.map(|given| given.expiry("set")).transpose()?.unwrap_or_default();
    let update = Update {
        action: Action::Set { value: args[2].clone(), expiry },
        condition: options.condition,
        return_previous: options.get,
    };
    let receipt = node.update(&args[1], update).await?;
    fits(receipt.outcome)?;
    match receipt.outcome {
        _ if options.get => reply.value(receipt.previous),
        Outcome::Applied => reply.ok(),
        _ => reply.null(),
    }
    Ok(())
}

/// `SETNX key value`
pub(super) async fn setnx(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    let action = Action::Set { value: args[2].clone(), expiry: Expiry::Never };
    let update = Update { action, condition: Condition::Absent, return_previous: false };
    let receipt = node.update(&args[1], update).await?;
    fits(receipt.outcome)?;
    reply.integer((receipt.outcome == Outcome::Applied).into());
    Ok(())
}

/// `SETEX key seconds value`
pub(super) async fn setex(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    set_expiring(node, args, expiry_in("setex", Unit::Seconds, &args[2])?, reply).await
}

/// `PSETEX key milliseconds value`
pub(super) async fn psetex(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    set_expiring(node, args, expiry_in("psetex", Unit::Millis, &args[2])?, reply).await
}

async fn set_expiring(node: &Node, args: &[Bytes], expiry: Expiry, reply: &mut Reply) -> Result<(), Failure> {
    let action = Action::Set { value: args[3].clone(), expiry };
    let update = Update { action, condition: Condition::Always, return_previous: false };
    fits(node.update(&args[1], update).await?.outcome)?;
    reply.ok();
    Ok(())
}

/// `GETSET key value`
pub(super) async fn getset(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    let action = Action::Set { value: args[2].clone(), expiry: Expiry::Never };
    let update = Update { action, condition: Condition::Always, return_previous: true };
    let receipt = node.update(&args[1], update).await?;
    fits(receipt.outcome)?;
    reply.value(receipt.previous);
    Ok(())
}

/// `GETDEL key`
pub(super) async fn getdel(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    let update = Update { action: Action::Remove, condition: Condition::Present, return_previous: true };
    reply.value(node.update(&args[1], update).await?.previous);
    Ok(())
}

/// `GETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST]`
pub(super) async fn getex(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    let given = Options::parse(&args[2..], false)?.expiry;
    let value = match given.map(|given| given.expiry("getex")).transpose() {
        Ok(None) => node.get(&args[1]).await?,
        Ok(Some(expiry)) => {
            let action = Action::Expire(expiry);
            let update = Update { action, condition: Condition::Present, return_previous: true };
            node.update(&args[1], update).await?.previous
        }
        // Redis looks for the key first.
        Err(_) if reading::length(node, &args[1]).await?.is_none() => None,
        Err(failure) => return Err(failure),
    };
    reply.value(value);
    Ok(())
}

/// `APPEND key value`
pub(super) async fn append(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    let action = Action::Append(args[2].clone());
    let update = Update { action, condition: Condition::Always, return_previous: false };
    let receipt = node.update(&args[1], update).await?;
    fits(receipt.outcome)?;
    reply.integer(receipt.number.unwrap_or(0));
    Ok(())
}

/// `STRLEN key`
pub(super) async fn strlen(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    let bytes = reading::length(node, &args[1]).await?.unwrap_or(0);
    reply.integer(i64::try_from(bytes).unwrap_or(i64::MAX));
    Ok(())
}

/// `MGET key ...`: fails as a whole when one key cannot be read, for a null would say that it is not there.
pub(super) async fn mget(
    node: &Node,
    args: &[Bytes],
    charge: &mut Charge,
    reply: &mut Reply,
) -> Result<(), Failure> {
    let limit = reply.limit();
    let mut values = Vec::with_capacity(args.len() - 1);
    let (mut bytes, mut rest) = (0, &args[1..]);
    while !rest.is_empty() {
        let chunk = values_at_once(limit.saturating_sub(bytes), node.config().max_value_bytes);
        let (keys, later) = rest.split_at(chunk.min(rest.len()));
        let held = reply.len() + bytes;
        for found in reading::read_many(node, keys, held, charge).await {
            let value = reading::charged(found, reply.len() + bytes, charge)?;
            bytes += value.as_ref().map_or(0, Bytes::len);
            // One value alone is sent whatever its size, as by GET.
            if bytes > limit && !values.is_empty() {
                return Err(Failure::text(format!(
                    "ERR the values of this MGET exceed {limit} bytes: ask for fewer keys at once"
                )));
            }
            values.push(value);
        }
        rest = later;
    }
    reply.array(values.len());
    for value in values {
        reply.value(value);
    }
    Ok(())
}

/// How many values may be read at once when there is room for `room` bytes and each may have `max_value_bytes`: one, if
/// only to find out.
fn values_at_once(room: usize, max_value_bytes: usize) -> usize {
    (room / max_value_bytes.max(1)).clamp(1, MAX_AT_ONCE)
}

/// `MSET key value ...`
pub(super) async fn mset(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    if args.len().is_multiple_of(2) {
        return Err(Failure::arity("mset"));
    }
    let entries: Vec<(&Bytes, Bytes)> =
        args[1..].chunks_exact(2).map(|pair| (&pair[0], pair[1].clone())).collect();
    let max = node.config().max_key_bytes;
    if let Some((key, _)) = entries.iter().find(|(key, _)| key.len() > max) {
        // Of a mistake like this nothing is executed.
        Err(chord::Error::TooLarge { what: "a key", len: key.len(), max })?;
    }
    for receipt in node.put_many(&entries).await {
        fits(receipt?.outcome)?;
    }
    reply.ok();
    Ok(())
}

/// Refuses a value that the owner found too large.
pub(super) fn fits(outcome: Outcome) -> Result<(), Failure> {
    match outcome {
        Outcome::TooLarge(_) => Err(Failure::STRING_TOO_LONG),
        _ => Ok(()),
    }
}

/// The options of `SET` and `GETEX`.
struct Options<'a> {
    condition: Condition,
    get: bool,
    /// `None`: none was given.
    expiry: Option<Given<'a>>,
}

/// An option about expiry as it was given: a number is looked at once all options are known to be in order.
#[derive(Clone, Copy)]
enum Given<'a> {
    Keep,
    Never,
    In(Unit, &'a Bytes),
    At(Unit, &'a Bytes),
}

impl Given<'_> {
    fn expiry(self, command: &str) -> Result<Expiry, Failure> {
        match self {
            Given::Keep => Ok(Expiry::Keep),
            Given::Never => Ok(Expiry::Never),
            Given::In(unit, amount) => expiry_in(command, unit, amount),
            Given::At(unit, amount) => expiry_at(command, unit, amount),
        }
    }
}

impl<'a> Options<'a> {
    fn parse(args: &'a [Bytes], set: bool) -> Result<Options<'a>, Failure> {
        let mut options = Options { condition: Condition::Always, get: false, expiry: None };
        // Two options about expiry exclude each other, but the same one may be repeated, as in Redis.
        let mut chosen: Option<&[u8]> = None;
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            let name = arg.to_ascii_uppercase();
            match name.as_slice() {
                b"NX" if set && options.condition != Condition::Present => {
                    options.condition = Condition::Absent
                }
                b"XX" if set && options.condition != Condition::Absent => {
                    options.condition = Condition::Present
                }
                b"GET" if set => options.get = true,
                kind => {
                    if chosen.is_some_and(|earlier| !earlier.eq_ignore_ascii_case(kind)) {
                        return Err(Failure::SYNTAX);
                    }
                    let mut amount = || rest.next().ok_or(Failure::SYNTAX);
                    options.expiry = Some(match kind {
                        b"KEEPTTL" if set => Given::Keep,
                        b"PERSIST" if !set => Given::Never,
                        b"EX" => Given::In(Unit::Seconds, amount()?),
                        b"PX" => Given::In(Unit::Millis, amount()?),
                        b"EXAT" => Given::At(Unit::Seconds, amount()?),
                        b"PXAT" => Given::At(Unit::Millis, amount()?),
                        _ => return Err(Failure::SYNTAX),
                    });
                    chosen = Some(arg);
                }
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_mget_holds_at_most_one_value_more_than_its_reply_may_have() {
        let limit: usize = 512 << 20;
        assert_eq!(values_at_once(limit, 1 << 20), MAX_AT_ONCE);
        for max_value_bytes in [1 << 20, 16 << 20, 100 << 20, 1 << 30] {
            let mut bytes = 0;
            while bytes <= limit {
                bytes += values_at_once(limit.saturating_sub(bytes), max_value_bytes) * max_value_bytes;
                assert!(bytes <= limit + max_value_bytes, "{max_value_bytes}: {bytes}");
            }
        }
    }
}
