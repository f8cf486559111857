//! Running what a connection has sent: in waves of commands that may overlap.
//!
//! A wave is a run of commands on single keys of which no two are in each other's way. `GET`s of a wave are read
//! by one `get_many` and plain `SET`s written by one `put_many`, so that keys of one owner travel together; the
//! rest of the wave runs beside them. Replies come in the order of the requests. A command of any other kind waits
//! for the wave before it and runs alone.
//!
//! How large a value is shows only when it has been read. So a wave has no more commands that answer by a value than
//! there is room for if each is as large as the ring allows. The large ones are charged before they come
//! (`reading.rs`).

use bytes::Bytes;
use chord::ShortRead;
use futures::future::{join, join_all, join3};

use crate::commands::admission::admit;
use crate::commands::strings::fits;
use crate::commands::{Call, Command, Failure, KeyHandler, Run, reading};
use crate::node::Node;
use crate::resp::{Mark, Reply, Request};
use crate::server::{Charge, Replies, Service, Session};

/// Most commands that are worth a wave.
pub const MAX_WAVE: usize = 64;

/// Runs the first commands of `requests`, as many as make a wave or else one on its own, and appends their replies.
/// At most `most_values` of them answer by a value; those that are read are charged. Returns how many ran: at least one,
/// if there is one.
pub async fn run(
    service: &Service,
    session: &mut Session,
    requests: &[Request],
    most_values: usize,
    charge: &mut Charge,
    reply: &mut Reply,
) -> usize {
    let Some((first, rest)) = requests.split_first() else { return 0 };
    let start = reply.mark();
    session.replies = session.replies.before();
    // Whether a command is answered depends on the one before it, unless all are.
    let rest = if session.replies == Replies::On { rest } else { &[] };
    let (ran, errors) = match admit(service, session, first) {
        Err(failure) => (1, finish(Err(failure), reply.mark(), reply)),
        Ok(command) => match service.node().and_then(|node| Some((node, Member::new(node, command, first)?)))
        {
            None => (1, alone(service, session, command, first, charge, reply).await),
            Some((node, head)) if rest.is_empty() => (1, run_one(node, &head, charge, reply).await),
            Some((node, head)) => {
                let wave = gather(service, session, node, head, rest, most_values);
                (wave.len(), run_wave(node, &wave, charge, reply).await)
            }
        },
    };
    if session.replies != Replies::On {
        reply.cut_back(start);
        session.replies = session.replies.after();
    }
    service.counters().ran(ran, errors);
    ran
}

/// `head` and the members of its wave that follow it.
fn gather<'a>(
    service: &Service,
    session: &Session,
    node: &Node,
    head: Member<'a>,
    rest: &'a [Request],
    most_values: usize,
) -> Vec<Member<'a>> {
    let mut wave = Vec::with_capacity(1 + rest.len());
    let mut values = usize::from(head.answers_by_value());
    wave.push(head);
    for request in rest {
        let command = admit(service, session, request).ok();
        match command.and_then(|command| Member::new(node, command, request)) {
            Some(member) if !wave.iter().any(|earlier| member.conflicts(earlier)) => {
                values += usize::from(member.answers_by_value());
                if values > most_values {
                    break;
                }
                wave.push(member);
            }
            _ => break,
        }
    }
    wave
}

/// A command of a wave.
struct Member<'a> {
    args: &'a Request,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Get,
    Set,
    Other(KeyHandler),
}

impl<'a> Member<'a> {
    /// `None` for a command that must run alone. So does one beyond the ring's limits, of which nothing is executed.
    fn new(node: &Node, command: &Command, args: &'a Request) -> Option<Member<'a>> {
        let limits = node.config();
        if args[1..].iter().any(|arg| arg.len() > limits.max_value_bytes)
            || args.get(1).is_some_and(|key| key.len() > limits.max_key_bytes)
        {
            return None;
        }
        let kind = match command.run {
            Run::Get => Kind::Get,
            Run::Set(_) if args.len() == 3 => Kind::Set,
            Run::Set(handler) | Run::Key(handler) => Kind::Other(handler),
            Run::Session(_) | Run::Keys(_) | Run::Values(_) | Run::Ring(_) => return None,
        };
        Some(Member { args, kind })
    }

    /// Whether its reply may be as large as a value.
    fn answers_by_value(&self) -> bool {
        !matches!(self.kind, Kind::Set)
    }

    /// Whether it must wait for `earlier`: both on one key, unless both read it or `put_many` keeps their order.
    fn conflicts(&self, earlier: &Member<'_>) -> bool {
        match (self.kind, earlier.kind) {
            (Kind::Get, Kind::Get) | (Kind::Set, Kind::Set) => false,
            _ => self.args[1] == earlier.args[1],
        }
    }
}

/// Runs a command that does not overlap with others; returns 1 if it failed, else 0.
async fn alone(
    service: &Service,
    session: &mut Session,
    command: &Command,
    args: &Request,
    charge: &mut Charge,
    reply: &mut Reply,
) -> usize {
    let start = reply.mark();
    let result = match (command.run, service.node()) {
        (Run::Session(handler), _) => handler(&mut Call { service, session, args, reply }),
        (Run::Ring(handler), _) => handler(service, args, reply).await,
        (_, None) => Err(Failure::LOADING),
        (Run::Get, Some(node)) => get(node, &args[1], charge, reply).await,
        (Run::Values(handler), Some(node)) => handler(node, args, charge, reply).await,
        (Run::Keys(handler) | Run::Key(handler) | Run::Set(handler), Some(node)) => {
            handler(node, args, reply).await
        }
    };
    finish(result, start, reply)
}

/// Runs a wave of one; returns 1 if it failed, else 0.
async fn run_one(node: &Node, member: &Member<'_>, charge: &mut Charge, reply: &mut Reply) -> usize {
    let (args, start) = (member.args, reply.mark());
    let result = match member.kind {
        Kind::Get => get(node, &args[1], charge, reply).await,
        Kind::Set => write_receipt(node.put(&args[1], args[2].clone()).await, reply),
        Kind::Other(handler) => handler(node, args, reply).await,
    };
    finish(result, start, reply)
}

/// Runs the commands of a wave and returns how many of them failed.
async fn run_wave(node: &Node, wave: &[Member<'_>], charge: &mut Charge, reply: &mut Reply) -> usize {
    if let [member] = wave {
        return run_one(node, member, charge, reply).await;
    }
    let (mut keys, mut entries, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for Member { args, kind } in wave {
        match kind {
            Kind::Get => keys.push(&args[1]),
            Kind::Set => entries.push((&args[1], args[2].clone())),
            Kind::Other(handler) => others.push(other(node, *handler, args)),
        }
    }
    let held = reply.len();
    let (values, receipts, replies) = match (keys.is_empty(), entries.is_empty(), others.is_empty()) {
        (false, true, true) => (reading::read_many(node, &keys, held, charge).await, Vec::new(), Vec::new()),
        (true, false, true) => (Vec::new(), node.put_many(&entries).await, Vec::new()),
        (false, false, true) => {
            let (values, receipts) =
                join(reading::read_many(node, &keys, held, charge), node.put_many(&entries)).await;
            (values, receipts, Vec::new())
        }
        _ => join3(get_some(node, &keys, held, charge), put_some(node, &entries), join_all(others)).await,
    };
    let (mut values, mut receipts, mut replies) =
        (values.into_iter(), receipts.into_iter(), replies.into_iter());
    let mut errors = 0;
    for Member { kind, .. } in wave {
        let start = reply.mark();
        let result = match kind {
            Kind::Get => values.next().map(|found| reading::write(found, charge, reply)),
            Kind::Set => receipts.next().map(|receipt| write_receipt(receipt, reply)),
            Kind::Other(_) => replies.next().map(|(result, written)| {
                reply.append(written);
                result
            }),
        };
        errors += finish(result.unwrap_or(Err(NO_RESULT)), start, reply);
    }
    errors
}

/// The engine promises one result for each key; a missing one must not shift the replies after it.
const NO_RESULT: Failure =
    Failure::Text(std::borrow::Cow::Borrowed("ERR internal error: no result for this key"));

async fn get_some(
    node: &Node,
    keys: &[&Bytes],
    held: usize,
    charge: &mut Charge,
) -> Vec<Result<ShortRead, chord::Error>> {
    if keys.is_empty() { Vec::new() } else { reading::read_many(node, keys, held, charge).await }
}

async fn put_some(node: &Node, entries: &[(&Bytes, Bytes)]) -> Vec<Result<chord::Receipt, chord::Error>> {
    if entries.is_empty() { Vec::new() } else { node.put_many(entries).await }
}

async fn other(node: &Node, handler: KeyHandler, args: &Request) -> (Result<(), Failure>, Reply) {
    let mut reply = Reply::new(usize::MAX);
    let result = handler(node, args, &mut reply).await;
    (result, reply)
}

async fn get(node: &Node, key: &Bytes, charge: &mut Charge, reply: &mut Reply) -> Result<(), Failure> {
    reading::write(reading::read(node, key, reply.len(), charge).await, charge, reply)
}

fn write_receipt(receipt: Result<chord::Receipt, chord::Error>, reply: &mut Reply) -> Result<(), Failure> {
    fits(receipt?.outcome)?;
    reply.ok();
    Ok(())
}

/// Replaces what a failed command wrote since `start` by its error; returns 1 for a failure, else 0.
fn finish(result: Result<(), Failure>, start: Mark, reply: &mut Reply) -> usize {
    match result {
        Ok(()) => 0,
        Err(failure) => {
            reply.cut_back(start);
            failure.write(reply);
            1
        }
    }
}
