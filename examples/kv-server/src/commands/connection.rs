//! Commands on the connection: greeting, login, farewell.

use crate::commands::{Call, Failure};
use crate::resp::number::parse_i64;
use crate::server::{Replies, Service};

/// The version of Redis whose behaviour clients may expect.
pub(super) const REDIS_VERSION: &str = "7.0.15";

/// `PING [message]`
pub(super) fn ping(call: &mut Call<'_>) -> Result<(), Failure> {
    match call.args {
        [_] => call.reply.simple("PONG"),
        [_, message] => call.reply.bulk(message),
        _ => return Err(Failure::arity("ping")),
    }
    Ok(())
}

/// `ECHO message`
pub(super) fn echo(call: &mut Call<'_>) -> Result<(), Failure> {
    call.reply.bulk(&call.args[1]);
    Ok(())
}

/// `SELECT 0`
pub(super) fn select(call: &mut Call<'_>) -> Result<(), Failure> {
    match parse_i64(&call.args[1]) {
        Some(0) => call.reply.ok(),
        Some(_) => return Err(Failure::text("ERR DB index is out of range")),
        None => return Err(Failure::NOT_AN_INTEGER),
    }
    Ok(())
}

/// `QUIT`
pub(super) fn quit(call: &mut Call<'_>) -> Result<(), Failure> {
    call.session.closing = true;
    call.reply.ok();
    Ok(())
}

/// `RESET`
pub(super) fn reset(call: &mut Call<'_>) -> Result<(), Failure> {
    call.session.authenticated = !call.service.needs_password();
    call.session.client.describe(|details| details.name.clear());
    if call.session.replies == Replies::Off {
        call.session.replies = Replies::On;
    }
    call.reply.simple("RESET");
    Ok(())
}

/// `AUTH [username] password`
pub(super) fn auth(call: &mut Call<'_>) -> Result<(), Failure> {
    match call.args {
        [_, password] if call.service.needs_password() => login(call.service, b"default", password)?,
        [_, _] => {
            return Err(Failure::text(
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?",
            ));
        }
        [_, user, password] => login(call.service, user, password)?,
        _ => return Err(Failure::SYNTAX),
    }
    call.session.authenticated = true;
    call.reply.ok();
    Ok(())
}

/// Without a password the default user may log in with any, as in Redis.
fn login(service: &Service, user: &[u8], password: &[u8]) -> Result<(), Failure> {
    if user == b"default" && service.password_is(password) {
        Ok(())
    } else {
        Err(Failure::text("WRONGPASS invalid username-password pair or user is disabled."))
    }
}

/// `HELLO [2 [AUTH username password] [SETNAME name]]`
pub(super) fn hello(call: &mut Call<'_>) -> Result<(), Failure> {
    let (version, mut options) = match call.args {
        [_, version, options @ ..] => (Some(version), options),
        _ => (None, &[][..]),
    };
    if let Some(version) = version {
        let version = parse_i64(version)
            .ok_or(Failure::text("ERR Protocol version is not an integer or out of range"))?;
        if version != 2 {
            return Err(Failure::text("NOPROTO unsupported protocol version"));
        }
    }
    let (mut authenticated, mut name) = (call.session.authenticated, None);
    while let [option, rest @ ..] = options {
        options = match (option.to_ascii_uppercase().as_slice(), rest) {
            (b"AUTH", [user, password, rest @ ..]) => {
                login(call.service, user, password)?;
                authenticated = true;
                rest
            }
            (b"SETNAME", [chosen, rest @ ..]) => {
                name = Some(super::client::printable(chosen).ok_or(super::client::bad_name("Client names"))?);
                rest
            }
            _ => {
                let option = String::from_utf8_lossy(&option[..option.len().min(128)]);
                return Err(Failure::text(format!("ERR Syntax error in HELLO option '{option}'")));
            }
        };
    }
    if !authenticated {
        return Err(Failure::text(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP \
             protocol version at the same time",
        ));
    }
    call.session.authenticated = true;
    if let Some(name) = name {
        call.session.client.describe(|details| details.name = name);
    }
    let reply = &mut *call.reply;
    reply.array(14);
    for (field, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        reply.bulk(field);
        reply.bulk(value);
    }
    reply.bulk("proto");
    reply.integer(2);
    reply.bulk("id");
    reply.integer(call.session.client.id());
    for (field, value) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk(field);
        reply.bulk(value);
    }
    reply.bulk("modules");
    reply.array(0);
    Ok(())
}
