//! Commands of Redis that are not there on purpose, with the reason.

const REASONS: &[(&str, &[&str])] = &[
    (
        "transactions are not there; every command on one key is atomic by itself",
        &["multi", "exec", "discard", "watch", "unwatch", "msetnx"],
    ),
    (
        "publish and subscribe are not there",
        &[
            "subscribe",
            "psubscribe",
            "ssubscribe",
            "unsubscribe",
            "punsubscribe",
            "sunsubscribe",
            "publish",
            "spublish",
            "pubsub",
        ],
    ),
    (
        "scripts are not there",
        &["eval", "evalsha", "eval_ro", "evalsha_ro", "fcall", "fcall_ro", "function", "script"],
    ),
    ("the keys of a ring cannot be listed", &["keys", "scan", "randomkey"]),
    ("a ring cannot be emptied by one command", &["flushall", "flushdb", "swapdb"]),
    (
        "the ring copies and stores its data by itself",
        &["save", "bgsave", "bgrewriteaof", "lastsave", "replicaof", "slaveof", "psync", "sync"],
    ),
    ("use CHORD LEAVE to end a node", &["shutdown"]),
    (
        "this is not a Redis Cluster: any node answers for any key; see CHORD RING",
        &["cluster", "asking", "readonly"],
    ),
];

/// Why the command `name` (lower case) is not there, if that is on purpose.
pub(super) fn reason(name: &str) -> Option<&'static str> {
    REASONS.iter().find(|(_, names)| names.contains(&name)).map(|(reason, _)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_of_the_table_is_called_unsupported() {
        for command in crate::commands::COMMANDS {
            assert_eq!(reason(command.name), None);
        }
    }
}
