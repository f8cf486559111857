//! Commands on keys: `DEL`, `EXISTS`, `TYPE`.

use bytes::Bytes;
use chord::Outcome;
use futures::future::join_all;

use crate::commands::Failure;
use crate::commands::strings::values_at_once;
use crate::node::Node;
use crate::resp::Reply;

/// Keys of one command that are worked on at once.
const FAN_OUT: usize = 64;

/// `DEL key ...`: when it fails, some of the keys may be gone.
pub(super) async fn del(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    let mut removed = 0;
    for keys in args[1..].chunks(FAN_OUT) {
        for receipt in join_all(keys.iter().map(|key| node.delete(key))).await {
            removed += i64::from(receipt?.outcome == Outcome::Applied);
        }
    }
    reply.integer(removed);
    Ok(())
}

/// `EXISTS key ...`: a key named twice counts twice.
pub(super) async fn exists(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    let mut found = 0;
    // Whether a key is there shows when its value is read.
    let at_once = values_at_once(reply.limit(), node.config().max_value_bytes).min(FAN_OUT);
    for keys in args[1..].chunks(at_once) {
        for exists in join_all(keys.iter().map(|key| node.contains(key))).await {
            found += i64::from(exists?);
        }
    }
    reply.integer(found);
    Ok(())
}

/// `TYPE key`
pub(super) async fn kind(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    reply.simple(if node.contains(&args[1]).await? { "string" } else { "none" });
    Ok(())
}
