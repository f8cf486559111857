//! `CHORD`: what Redis has no command for. Replies are JSON in a bulk string (docs/cli.md).

use bytes::Bytes;
use serde::Serialize;

use crate::commands::{Failure, introspection};
use crate::resp::Reply;
use crate::server::Service;

const HELP: &[&str] = &[
    "CHORD <subcommand> [<arg> ...]. Replies are JSON. Subcommands are:",
    "CHECK",
    "    Walk the whole ring and check its invariants.",
    "EXPLAIN <key>",
    "    Tell who owns the key, who holds it, and the path to it.",
    "FINGERS",
    "    Tell this node's finger tables.",
    "LEAVE [FORCE]",
    "    Hand everything over and end this node. FORCE: even if its data is lost, as it is the last host.",
    "RING",
    "    Tell every virtual node of the ring.",
    "STATUS",
    "    Tell about this node.",
    "HELP",
    "    Print this help.",
];

/// `CHORD subcommand ...`
pub(super) async fn chord(service: &Service, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    let node = service.ready()?;
    let subcommand = args[1].to_ascii_lowercase();
    match (subcommand.as_slice(), &args[2..]) {
        (b"ring", []) => json(reply, &node.ring().await?),
        (b"status", []) => json(reply, &node.status().await),
        (b"fingers", []) => json(reply, &node.fingers()),
        (b"explain", [key]) => json(reply, &node.explain(key).await?),
        (b"check", []) => json(reply, &node.check().await?),
        (b"leave", []) => {
            service.leave(false).await?;
            reply.ok();
            Ok(())
        }
        (b"leave", [force]) if force.eq_ignore_ascii_case(b"force") => {
            service.leave(true).await?;
            reply.ok();
            Ok(())
        }
        (b"leave", [_]) => Err(Failure::SYNTAX),
        (b"help", []) => {
            introspection::help(reply, HELP);
            Ok(())
        }
        (b"ring" | b"status" | b"fingers" | b"explain" | b"check" | b"leave" | b"help", _) => {
            Err(Failure::arity(&format!("chord|{}", String::from_utf8_lossy(&subcommand))))
        }
        _ => Err(Failure::subcommand("chord", &args[1])),
    }
}

fn json(reply: &mut Reply, view: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_vec(view).map_err(|error| Failure::text(format!("ERR {error}")))?;
    reply.bulk(text);
    Ok(())
}
