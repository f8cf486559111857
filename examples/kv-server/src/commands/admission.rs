//! Whether a request may run: the checks Redis makes before any command, in its order.

use bytes::Bytes;

use crate::commands::{Command, Failure, find, unsupported};
use crate::server::{Service, Session};

/// Longest list of arguments quoted by an error.
const MAX_QUOTED_BYTES: usize = 128;

/// The command that `args` calls, if it may run on this connection now.
pub(super) fn admit(
    service: &Service,
    session: &Session,
    args: &[Bytes],
) -> Result<&'static Command, Failure> {
    let command = find(&args[0]).ok_or_else(|| unknown(args))?;
    let enough = match usize::try_from(command.arity) {
        Ok(exactly) => args.len() == exactly,
        Err(_) => args.len() >= command.arity.unsigned_abs() as usize,
    };
    if !enough {
        return Err(Failure::arity(command.name));
    }
    if !session.authenticated && !command.flags.contains(&"no_auth") {
        return Err(Failure::text("NOAUTH Authentication required."));
    }
    if service.node().is_none() && !command.flags.contains(&"loading") {
        return Err(Failure::LOADING);
    }
    Ok(command)
}

/// The error for a command that is not in the table.
fn unknown(args: &[Bytes]) -> Failure {
    let shown =
        |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_QUOTED_BYTES)]).into_owned();
    let name = shown(&args[0]);
    if let Some(reason) = unsupported::reason(&name.to_ascii_lowercase()) {
        return Failure::text(format!("ERR {} is not supported: {reason}", name.to_ascii_uppercase()));
    }
    let mut quoted = String::new();
    for arg in &args[1..] {
        if quoted.len() >= MAX_QUOTED_BYTES {
            break;
        }
        let room = MAX_QUOTED_BYTES - quoted.len();
        quoted.push_str(&format!("'{}' ", String::from_utf8_lossy(&arg[..arg.len().min(room)])));
    }
    Failure::text(format!("ERR unknown command '{name}', with args beginning with: {quoted}"))
}
