//! The commands clients can send: one table (`table`) that names them, and a module for each family.

mod admission;
mod chord;
mod client;
mod config;
mod connection;
mod counters;
mod expiry;
mod failure;
mod info;
mod introspection;
mod keys;
mod reading;
mod strings;
mod table;
mod unsupported;
pub mod waves;

use ::bytes::Bytes;
use futures::future::BoxFuture;

use crate::node::Node;
use crate::resp::Reply;
use crate::server::{Charge, Service, Session};

pub use failure::Failure;
pub use table::COMMANDS;

/// A command: what `COMMAND` tells about it, and what it does.
#[derive(Debug)]
pub struct Command {
    /// Its name, lower case.
    pub name: &'static str,
    /// Arguments it takes, its name included; negative: at least so many.
    pub arity: i32,
    /// Redis's flags. `no_auth` and `loading` are acted upon; the rest informs clients.
    pub flags: &'static [&'static str],
    /// Which arguments are keys.
    pub keys: Keys,
    /// What it does.
    pub run: Run,
    /// One sentence for `COMMAND DOCS` and the documentation.
    pub summary: &'static str,
}

impl Command {
    /// The group of `COMMAND DOCS`, as Redis has them.
    pub fn group(&self) -> &'static str {
        match (self.name, self.run) {
            ("command" | "config" | "time", _) | (_, Run::Ring(_)) => "server",
            (_, Run::Session(_)) => "connection",
            ("del" | "exists" | "type" | "unlink", _) => "generic",
            ("expire" | "expireat" | "persist" | "pexpire" | "pexpireat" | "pttl" | "ttl", _) => "generic",
            _ => "string",
        }
    }
}

/// Which arguments are keys, as Redis counts: from `first` to `last` (negative: from the end) every `step`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The first key; 0 when there is none.
    pub first: i32,
    /// The last key.
    pub last: i32,
    /// From one key to the next.
    pub step: i32,
}

impl Keys {
    const NONE: Keys = Keys { first: 0, last: 0, step: 0 };
    const ONE: Keys = Keys { first: 1, last: 1, step: 1 };
    const ALL: Keys = Keys { first: 1, last: -1, step: 1 };
    const PAIRS: Keys = Keys { first: 1, last: -1, step: 2 };

    /// The keys among `args`.
    pub fn of(self, args: &[Bytes]) -> Vec<&Bytes> {
        let (Ok(first @ 1..), Ok(step)) = (usize::try_from(self.first), usize::try_from(self.step)) else {
            return Vec::new();
        };
        let last = match usize::try_from(self.last) {
            Ok(last) => last.min(args.len() - 1),
            Err(_) => args.len() - 1,
        };
        args.get(first..=last).unwrap_or_default().iter().step_by(step).collect()
    }
}

/// What a command works on decides how it runs beside others of its connection.
#[derive(Clone, Copy)]
pub enum Run {
    /// The connection only: runs at once.
    Session(SessionHandler),
    /// `GET`: runs of them are read together.
    Get,
    /// `SET`: runs of plain ones are written together; with options it runs as `Key`.
    Set(KeyHandler),
    /// One key: overlaps with commands on other keys.
    Key(KeyHandler),
    /// Many keys: runs alone and fans out by itself.
    Keys(KeyHandler),
    /// Many values: runs alone, within the memory that its connection can get.
    Values(ValuesHandler),
    /// The node or the ring: runs alone.
    Ring(RingHandler),
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Run::Session(_) => "Session",
            Run::Get => "Get",
            Run::Set(_) => "Set",
            Run::Key(_) => "Key",
            Run::Keys(_) => "Keys",
            Run::Values(_) => "Values",
            Run::Ring(_) => "Ring",
        })
    }
}

/// A command under way. It writes its reply last, and nothing when it fails.
pub type Running<'a> = BoxFuture<'a, Result<(), Failure>>;

/// Runs a command on keys; `args[0]` is its name.
pub type KeyHandler = for<'a> fn(&'a Node, &'a [Bytes], &'a mut Reply) -> Running<'a>;

/// Runs a command that answers by many values, each charged; `args[0]` is its name.
pub type ValuesHandler = for<'a> fn(&'a Node, &'a [Bytes], &'a mut Charge, &'a mut Reply) -> Running<'a>;

/// Runs a command on the node or the ring; `args[0]` is its name.
pub type RingHandler = for<'a> fn(&'a Service, &'a [Bytes], &'a mut Reply) -> Running<'a>;

/// Runs a command on its connection.
pub type SessionHandler = fn(&mut Call<'_>) -> Result<(), Failure>;

/// A command that works on its connection.
#[derive(Debug)]
pub struct Call<'a> {
    /// The service it came to.
    pub service: &'a Service,
    /// The connection it came on.
    pub session: &'a mut Session,
    /// Its name and arguments.
    pub args: &'a [Bytes],
    /// Where its reply goes.
    pub reply: &'a mut Reply,
}

/// The command called `name`, in any case.
pub fn find(name: &[u8]) -> Option<&'static Command> {
    let mut lower = [0; 16];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    COMMANDS.binary_search_by(|command| command.name.as_bytes().cmp(lower)).ok().map(|at| &COMMANDS[at])
}
