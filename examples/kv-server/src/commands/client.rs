//! `CLIENT`: what drivers tell about themselves when they connect, and who is connected.

use crate::commands::{Call, Failure};
use crate::server::Replies;

const HELP: &[&str] = &[
    "CLIENT <subcommand> [<arg> ...]. Subcommands are:",
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "LIST",
    "    Return information about client connections.",
    "NO-EVICT (ON|OFF)",
    "    Accepted and without effect.",
    "NO-TOUCH (ON|OFF)",
    "    Accepted and without effect.",
    "REPLY (ON|OFF|SKIP)",
    "    Send all replies, none, or all but the next one.",
    "SETINFO <LIB-NAME|LIB-VER> <value>",
    "    Set what is known of the client's library.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "TRACKING OFF",
    "    Keys are never tracked.",
    "HELP",
    "    Print this help.",
];

/// `CLIENT subcommand ...`
pub(super) fn client(call: &mut Call<'_>) -> Result<(), Failure> {
    let subcommand = call.args[1].to_ascii_lowercase();
    let arguments = &call.args[2..];
    let arity = || Failure::arity(&format!("client|{}", String::from_utf8_lossy(&subcommand)));
    match (subcommand.as_slice(), arguments) {
        (b"id", []) => call.reply.integer(call.session.client.id()),
        (b"getname", []) => {
            let name = call.session.client.details().name;
            call.reply.value((!name.is_empty()).then(|| name.into()));
        }
        (b"setname", [name]) => {
            let name = printable(name).ok_or_else(|| bad_name("Client names"))?;
            call.session.client.describe(|details| details.name = name);
            call.reply.ok();
        }
        (b"setinfo", [option, value]) => set_info(call, &option.to_ascii_lowercase(), value)?,
        (b"info", []) => call.reply.bulk(format!("{}\n", call.session.client.line())),
        (b"list", []) => {
            let lines: String = call.service.clients().iter().map(|client| client.line() + "\n").collect();
            call.reply.bulk(lines);
        }
        (b"no-evict" | b"no-touch", [switch])
            if switch.eq_ignore_ascii_case(b"on") || switch.eq_ignore_ascii_case(b"off") =>
        {
            call.reply.ok();
        }
        (b"reply", [switch]) => reply(call, &switch.to_ascii_lowercase())?,
        (b"tracking", [switch]) if switch.eq_ignore_ascii_case(b"off") => call.reply.ok(),
        (b"tracking", [_, ..]) => {
            return Err(Failure::text("ERR this mode of CLIENT TRACKING is not supported"));
        }
        (b"list", [_, ..]) | (b"no-evict" | b"no-touch", [_]) => return Err(Failure::SYNTAX),
        (b"help", []) => super::introspection::help(call.reply, HELP),
        (
            b"id" | b"getname" | b"setname" | b"setinfo" | b"info" | b"no-evict" | b"no-touch" | b"reply"
            | b"tracking" | b"help",
            _,
        ) => return Err(arity()),
        _ => return Err(Failure::subcommand("client", &call.args[1])),
    }
    Ok(())
}

/// `OFF` and `SKIP` are not answered themselves.
fn reply(call: &mut Call<'_>, switch: &[u8]) -> Result<(), Failure> {
    let replies = &mut call.session.replies;
    match switch {
        b"on" => {
            *replies = Replies::On;
            call.reply.ok();
        }
        b"off" => *replies = Replies::Off,
        b"skip" if *replies == Replies::Off => {}
        b"skip" => *replies = Replies::SkipNext,
        _ => return Err(Failure::SYNTAX),
    }
    Ok(())
}

fn set_info(call: &mut Call<'_>, option: &[u8], value: &[u8]) -> Result<(), Failure> {
    match option {
        b"lib-name" => {
            let name = printable(value).ok_or_else(|| bad_name("lib-name"))?;
            call.session.client.describe(|details| details.library = name);
        }
        b"lib-ver" => {
            let version = printable(value).ok_or_else(|| bad_name("lib-ver"))?;
            call.session.client.describe(|details| details.library_version = version);
        }
        other => {
            let option = String::from_utf8_lossy(&other[..other.len().min(128)]);
            return Err(Failure::text(format!("ERR Unrecognized option '{option}'")));
        }
    }
    call.reply.ok();
    Ok(())
}

/// `text` if all of it is printable ASCII without blanks and it is not longer than a name need be.
pub(super) fn printable(text: &[u8]) -> Option<String> {
    (text.len() <= 256 && text.iter().all(u8::is_ascii_graphic))
        .then(|| String::from_utf8_lossy(text).into_owned())
}

pub(super) fn bad_name(what: &str) -> Failure {
    Failure::text(format!("ERR {what} cannot contain spaces, newlines or special characters."))
}
