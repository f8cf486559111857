//! Commands on values that are numbers: `INCR` and its relatives.

use bytes::Bytes;
use chord::{Action, Condition, Outcome, Update};

use crate::commands::Failure;
use crate::node::Node;
use crate::resp::Reply;
use crate::resp::number::parse_i64;

/// `INCR key`
pub(super) async fn incr(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    add(node, &args[1], 1, reply).await
}

/// `DECR key`
pub(super) async fn decr(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    add(node, &args[1], -1, reply).await
}

/// `INCRBY key number`
pub(super) async fn incrby(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    add(node, &args[1], integer(&args[2])?, reply).await
}

/// `DECRBY key number`
pub(super) async fn decrby(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    let by = integer(&args[2])?.checked_neg().ok_or(Failure::text("ERR decrement would overflow"))?;
    add(node, &args[1], by, reply).await
}

async fn add(node: &Node, key: &Bytes, by: i64, reply: &mut Reply) -> Result<(), Failure> {
    let update = Update { action: Action::Add(by), condition: Condition::Always, return_previous: false };
    let receipt = node.update(key, update).await?;
    match receipt.outcome {
        Outcome::Applied => reply.integer(receipt.number.unwrap_or(0)),
        Outcome::Overflow => return Err(Failure::text("ERR increment or decrement would overflow")),
        _ => return Err(Failure::NOT_AN_INTEGER),
    }
    Ok(())
}

/// The decimal i64 that `arg` is.
pub(super) fn integer(arg: &[u8]) -> Result<i64, Failure> {
    parse_i64(arg).ok_or(Failure::NOT_AN_INTEGER)
}
