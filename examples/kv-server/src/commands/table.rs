//! The command table.

use crate::commands::{Command, KeyHandler, Keys, RingHandler, Run, SessionHandler};
use crate::commands::{
    chord, client, config, connection, counters, expiry, info, introspection, keys, strings,
};

const READ: &[&str] = &["readonly", "fast"];
const WRITE: &[&str] = &["write", "denyoom", "fast"];
const REMOVE: &[&str] = &["write", "fast"];
const CONNECTION: &[&str] = &["fast"];
const BEFORE_LOGIN: &[&str] = &["noscript", "loading", "stale", "fast", "no_auth"];
const ADMIN: &[&str] = &["admin", "noscript"];

/// Every command, in order of names.
pub static COMMANDS: &[Command] = &[
    key("append", 3, WRITE, |n, a, r| Box::pin(strings::append(n, a, r)), "Appends to a value"),
    session("auth", -2, BEFORE_LOGIN, connection::auth, "Authenticates the connection"),
    ring("chord", -2, ADMIN, |s, a, r| Box::pin(chord::chord(s, a, r)), "Tells about the ring; CHORD HELP"),
    session("client", -2, CONNECTION, client::client, "Tells and sets what is known of connections"),
    session("command", -1, CONNECTION, introspection::command, "Tells what commands there are"),
    session("config", -2, ADMIN, config::config, "Tells settings (GET only)"),
    ring("dbsize", 1, READ, |s, a, r| Box::pin(info::dbsize(s, a, r)), "Counts the keys of the whole ring"),
    key("decr", 2, WRITE, |n, a, r| Box::pin(counters::decr(n, a, r)), "Subtracts one"),
    key("decrby", 3, WRITE, |n, a, r| Box::pin(counters::decrby(n, a, r)), "Subtracts a number"),
    keyed("del", -2, REMOVE, Keys::ALL, |n, a, r| Box::pin(keys::del(n, a, r)), "Removes keys"),
    session("echo", 2, CONNECTION, connection::echo, "Answers its argument"),
    keyed("exists", -2, READ, Keys::ALL, |n, a, r| Box::pin(keys::exists(n, a, r)), "Counts keys that exist"),
    key(
        "expire",
        -3,
        REMOVE,
        |n, a, r| Box::pin(expiry::expire(n, a, r)),
        "Sets the time to live in seconds",
    ),
    key(
        "expireat",
        -3,
        REMOVE,
        |n, a, r| Box::pin(expiry::expireat(n, a, r)),
        "Sets the end in Unix seconds",
    ),
    command("get", 2, READ, Keys::ONE, Run::Get, "Reads a value"),
    key("getdel", 2, REMOVE, |n, a, r| Box::pin(strings::getdel(n, a, r)), "Reads and removes a value"),
    key(
        "getex",
        -2,
        REMOVE,
        |n, a, r| Box::pin(strings::getex(n, a, r)),
        "Reads a value and sets its expiry",
    ),
    key(
        "getset",
        3,
        WRITE,
        |n, a, r| Box::pin(strings::getset(n, a, r)),
        "Replaces a value, answers the old one",
    ),
    session("hello", -1, BEFORE_LOGIN, connection::hello, "Greets; authenticates; RESP2 only"),
    key("incr", 2, WRITE, |n, a, r| Box::pin(counters::incr(n, a, r)), "Adds one"),
    key("incrby", 3, WRITE, |n, a, r| Box::pin(counters::incrby(n, a, r)), "Adds a number"),
    ring(
        "info",
        -1,
        &["loading", "stale"],
        |s, a, r| Box::pin(info::info(s, a, r)),
        "Tells about the server",
    ),
    command(
        "mget",
        -2,
        READ,
        Keys::ALL,
        Run::Values(|n, a, c, r| Box::pin(strings::mget(n, a, c, r))),
        "Reads many values (not atomic)",
    ),
    keyed(
        "mset",
        -3,
        WRITE,
        Keys::PAIRS,
        |n, a, r| Box::pin(strings::mset(n, a, r)),
        "Writes many values (not atomic)",
    ),
    key("persist", 2, REMOVE, |n, a, r| Box::pin(expiry::persist(n, a, r)), "Removes the expiry"),
    key(
        "pexpire",
        -3,
        REMOVE,
        |n, a, r| Box::pin(expiry::pexpire(n, a, r)),
        "Sets the time to live in milliseconds",
    ),
    key(
        "pexpireat",
        -3,
        REMOVE,
        |n, a, r| Box::pin(expiry::pexpireat(n, a, r)),
        "Sets the end in Unix milliseconds",
    ),
    session("ping", -1, CONNECTION, connection::ping, "Answers PONG once the node is part of a ring"),
    key(
        "psetex",
        4,
        WRITE,
        |n, a, r| Box::pin(strings::psetex(n, a, r)),
        "Writes a value that expires, milliseconds",
    ),
    key("pttl", 2, READ, |n, a, r| Box::pin(expiry::pttl(n, a, r)), "Tells the time to live in milliseconds"),
    session("quit", -1, BEFORE_LOGIN, connection::quit, "Closes the connection"),
    session("reset", 1, BEFORE_LOGIN, connection::reset, "Forgets the connection's name and login"),
    session("select", 2, CONNECTION, connection::select, "Accepts database 0, the only one"),
    command(
        "set",
        -3,
        WRITE,
        Keys::ONE,
        Run::Set(|n, a, r| Box::pin(strings::set(n, a, r))),
        "Writes a value",
    ),
    key(
        "setex",
        4,
        WRITE,
        |n, a, r| Box::pin(strings::setex(n, a, r)),
        "Writes a value that expires, seconds",
    ),
    key("setnx", 3, WRITE, |n, a, r| Box::pin(strings::setnx(n, a, r)), "Writes a value unless there is one"),
    key("strlen", 2, READ, |n, a, r| Box::pin(strings::strlen(n, a, r)), "Tells the length of a value"),
    session("time", 1, CONNECTION, introspection::time, "Tells the time of this host"),
    key("ttl", 2, READ, |n, a, r| Box::pin(expiry::ttl(n, a, r)), "Tells the time to live in seconds"),
    key("type", 2, READ, |n, a, r| Box::pin(keys::kind(n, a, r)), "Tells string or none"),
    keyed(
        "unlink",
        -2,
        REMOVE,
        Keys::ALL,
        |n, a, r| Box::pin(keys::del(n, a, r)),
        "Removes keys, as DEL does",
    ),
];

const fn command(
    name: &'static str,
    arity: i32,
    flags: &'static [&'static str],
    keys: Keys,
    run: Run,
    summary: &'static str,
) -> Command {
    Command { name, arity, flags, keys, run, summary }
}

const fn key(
    name: &'static str,
    arity: i32,
    flags: &'static [&'static str],
    run: KeyHandler,
    summary: &'static str,
) -> Command {
    command(name, arity, flags, Keys::ONE, Run::Key(run), summary)
}

const fn keyed(
    name: &'static str,
    arity: i32,
    flags: &'static [&'static str],
    keys: Keys,
    run: KeyHandler,
    summary: &'static str,
) -> Command {
    command(name, arity, flags, keys, Run::Keys(run), summary)
}

const fn session(
    name: &'static str,
    arity: i32,
    flags: &'static [&'static str],
    run: SessionHandler,
    summary: &'static str,
) -> Command {
    command(name, arity, flags, Keys::NONE, Run::Session(run), summary)
}

const fn ring(
    name: &'static str,
    arity: i32,
    flags: &'static [&'static str],
    run: RingHandler,
    summary: &'static str,
) -> Command {
    command(name, arity, flags, Keys::NONE, Run::Ring(run), summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::find;

    #[test]
    fn the_table_is_sorted_so_that_every_command_is_found() {
        assert!(COMMANDS.windows(2).all(|pair| pair[0].name < pair[1].name));
        for command in COMMANDS {
            assert_eq!(find(command.name.to_uppercase().as_bytes()).unwrap().name, command.name);
        }
        assert!(find(b"").is_none());
        assert!(find(b"a-name-that-is-longer-than-any").is_none());
    }

    #[test]
    fn keys_are_found_among_the_arguments() {
        let args: Vec<bytes::Bytes> = ["mset", "a", "1", "b", "2"].into_iter().map(Into::into).collect();
        assert_eq!(Keys::PAIRS.of(&args), ["a", "b"]);
        assert_eq!(Keys::ALL.of(&args[..3]), ["a", "1"]);
        assert_eq!(Keys::ONE.of(&args), ["a"]);
        assert!(Keys::NONE.of(&args).is_empty());
    }
}
