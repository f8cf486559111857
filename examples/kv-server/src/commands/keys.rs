//! Commands on keys: `DEL`, `EXISTS`, `TYPE`.

use bytes::Bytes;
use chord::{Action, Condition, Outcome, Update};

use crate::commands::{Failure, reading};
use crate::node::Node;
use crate::resp::Reply;

/// Keys of one command that are worked on at once.
const AT_ONCE: usize = 512;

/// `DEL key ...`: when it fails, some of the keys may be gone.
pub(super) async fn del(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    let mut removed = 0;
    let remove = Update { action: Action::Remove, condition: Condition::Always, return_previous: false };
    for keys in args[1..].chunks(AT_ONCE) {
        let updates: Vec<(&Bytes, Update)> = keys.iter().map(|key| (key, remove.clone())).collect();
        for receipt in node.update_many(&updates).await {
            removed += i64::from(receipt?.outcome == Outcome::Applied);
        }
    }
    reply.integer(removed);
    Ok(())
}

/// `EXISTS key ...`: a key named twice counts twice.
pub(super) async fn exists(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    let mut there = 0;
    for keys in args[1..].chunks(AT_ONCE) {
        for found in node.get_many_short(keys, 0).await {
            there += i64::from(reading::length_of(&found?).is_some());
        }
    }
    reply.integer(there);
    Ok(())
}

/// `TYPE key`
pub(super) async fn kind(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    let is_there = reading::length(node, &args[1]).await?.is_some();
    reply.simple(if is_there { "string" } else { "none" });
    Ok(())
}
