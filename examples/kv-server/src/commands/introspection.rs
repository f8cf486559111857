//! `COMMAND`, which drivers and redis-cli ask for, and `TIME`.

use crate::commands::{COMMANDS, Call, Command, Failure, find};
use crate::node::now_micros;
use crate::resp::Reply;

const HELP: &[&str] = &[
    "COMMAND [<subcommand> [<arg> [value] [opt] ...]]. Subcommands are:",
    "(no subcommand)",
    "    Return details about all commands.",
    "COUNT",
    "    Return the total number of commands in this server.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about commands.",
    "GETKEYS <full-command>",
    "    Return the keys from a full command.",
    "INFO [<command-name> ...]",
    "    Return details about multiple commands.",
    "LIST",
    "    Return a list of all commands in this server.",
    "HELP",
    "    Print this help.",
];

/// `COMMAND [COUNT | DOCS [name ...] | INFO [name ...] | GETKEYS command ... | LIST | HELP]`
pub(super) fn command(call: &mut Call<'_>) -> Result<(), Failure> {
    let Some(subcommand) = call.args.get(1) else {
        call.reply.array(COMMANDS.len());
        COMMANDS.iter().for_each(|command| describe(call.reply, command));
        return Ok(());
    };
    let (lower, names) = (subcommand.to_ascii_lowercase(), &call.args[2..]);
    let reply = &mut *call.reply;
    match (lower.as_slice(), names) {
        (b"count", []) => reply.integer(COMMANDS.len() as i64),
        (b"list", []) => {
            reply.array(COMMANDS.len());
            COMMANDS.iter().for_each(|command| reply.bulk(command.name));
        }
        (b"info", []) => {
            reply.array(COMMANDS.len());
            COMMANDS.iter().for_each(|command| describe(reply, command));
        }
        (b"info", names) => {
            reply.array(names.len());
            for name in names {
                match find(name) {
                    Some(command) => describe(reply, command),
                    None => reply.null(),
                }
            }
        }
        (b"docs", names) => {
            let wanted: Vec<&Command> = match names {
                [] => COMMANDS.iter().collect(),
                names => names.iter().filter_map(|name| find(name)).collect(),
            };
            reply.array(2 * wanted.len());
            wanted.iter().for_each(|command| document(reply, command));
        }
        (b"getkeys", [name, _, ..]) => {
            let command = find(name).ok_or(Failure::text("ERR Invalid command specified"))?;
            let keys = command.keys.of(names);
            if keys.is_empty() {
                return Err(Failure::text("ERR The command has no key arguments"));
            }
            reply.array(keys.len());
            keys.iter().for_each(|key| reply.bulk(key));
        }
        (b"help", []) => help(reply, HELP),
        (b"count" | b"list" | b"getkeys" | b"help", _) => {
            return Err(Failure::arity(&format!("command|{}", String::from_utf8_lossy(&lower))));
        }
        _ => return Err(Failure::subcommand("command", subcommand)),
    }
    Ok(())
}

fn describe(reply: &mut Reply, command: &Command) {
    reply.array(10);
    reply.bulk(command.name);
    reply.integer(command.arity.into());
    reply.array(command.flags.len());
    command.flags.iter().for_each(|flag| reply.simple(flag));
    for position in [command.keys.first, command.keys.last, command.keys.step] {
        reply.integer(position.into());
    }
    // ACL categories, tips, key specifications, subcommands.
    for _ in 0..4 {
        reply.array(0);
    }
}

fn document(reply: &mut Reply, command: &Command) {
    reply.bulk(command.name);
    reply.array(4);
    for (field, text) in [("summary", command.summary), ("group", command.group())] {
        reply.bulk(field);
        reply.bulk(text);
    }
}

/// The reply to a HELP subcommand.
pub(super) fn help(reply: &mut Reply, lines: &[&'static str]) {
    reply.array(lines.len());
    lines.iter().for_each(|line| reply.simple(line));
}

/// `TIME`
pub(super) fn time(call: &mut Call<'_>) -> Result<(), Failure> {
    let micros = now_micros();
    call.reply.array(2);
    call.reply.bulk((micros / 1_000_000).to_string());
    call.reply.bulk((micros % 1_000_000).to_string());
    Ok(())
}
