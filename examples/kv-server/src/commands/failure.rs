//! Errors as clients read them: [`Failure`].

use std::borrow::Cow;

use chord::Error;

use crate::resp::Reply;

/// Why a command has no other reply.
#[derive(Clone, Debug)]
pub enum Failure {
    /// A text in Redis's form: a code, a blank, a sentence.
    Text(Cow<'static, str>),
    /// The engine's error, mapped by [`Failure::write`].
    Engine(Error),
}

impl Failure {
    /// An option that is not there, or not together with another.
    pub const SYNTAX: Failure = Failure::fixed("ERR syntax error");
    /// An argument that must be a decimal i64.
    pub const NOT_AN_INTEGER: Failure = Failure::fixed("ERR value is not an integer or out of range");
    /// A value that grew beyond the ring's limit.
    pub const STRING_TOO_LONG: Failure =
        Failure::fixed("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    /// A bound on memory was reached.
    pub const OUT_OF_BUFFERS: Failure =
        Failure::fixed("BUSY the memory for clients' requests and replies is used up, nothing was done");
    /// The node has not joined its ring yet.
    pub const LOADING: Failure = Failure::fixed("LOADING this node is not yet part of a ring");

    const fn fixed(text: &'static str) -> Failure {
        Failure::Text(Cow::Borrowed(text))
    }

    /// A text of its own.
    pub fn text(text: impl Into<Cow<'static, str>>) -> Failure {
        Failure::Text(text.into())
    }

    /// Wrong number of arguments; `name` is the command, or command|subcommand, in lower case.
    pub fn arity(name: &str) -> Failure {
        Failure::text(format!("ERR wrong number of arguments for '{name}' command"))
    }

    /// A subcommand that is not there.
    pub fn subcommand(command: &str, subcommand: &[u8]) -> Failure {
        let shown = String::from_utf8_lossy(&subcommand[..subcommand.len().min(128)]).into_owned();
        Failure::text(format!("ERR unknown subcommand '{shown}'. Try {} HELP.", command.to_uppercase()))
    }

    /// Writes it as an error reply. The codes tell what the client can do (docs/cli.md).
    pub fn write(&self, reply: &mut Reply) {
        match self {
            Failure::Text(text) => reply.error(text.as_bytes()),
            Failure::Engine(Error::Indeterminate { copies, reason }) => {
                reply.error(format!(
                    "INDETERMINATE may still become visible ({copies} copies known; {reason})"
                ));
            }
            Failure::Engine(error) => reply.error(format!("{} {error}", code(error))),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Text(text) => f.write_str(text),
            Failure::Engine(error) => error.fmt(f),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Engine(error)
    }
}

fn code(error: &Error) -> &'static str {
    match error {
        Error::Timeout { .. } => "TIMEOUT",
        Error::Indeterminate { .. } => "INDETERMINATE",
        Error::TryAgain { .. } | Error::Unreachable(_) => "TRYAGAIN",
        Error::Unavailable { .. } => "CLUSTERDOWN",
        Error::Overloaded { .. } => "BUSY",
        Error::LastHost { .. } => "LASTHOST",
        _ => "ERR",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_of_the_engine_has_its_code() {
        let reason = || "why".to_owned();
        let cases = [
            (Error::Timeout { reason: reason() }, "-TIMEOUT no answer within the deadline (why)\r\n"),
            (
                Error::Indeterminate { copies: 0, reason: reason() },
                "-INDETERMINATE may still become visible (0 copies known; why)\r\n",
            ),
            (Error::TryAgain { reason: reason() }, "-TRYAGAIN not executed, try again (why)\r\n"),
            (
                Error::Unavailable { have: 0, need: 1, hosts: vec![] },
                "-CLUSTERDOWN unavailable: 0 of 1 needed hosts answer for this key\r\n",
            ),
            (Error::Overloaded { what: "operations" }, "-BUSY overloaded: operations\r\n"),
            (
                Error::TooLarge { what: "key", len: 9, max: 8 },
                "-ERR key of 9 bytes exceeds the limit of 8\r\n",
            ),
            (Error::Invalid("bad\nline".into()), "-ERR bad line\r\n"),
            (
                Error::LastHost { entries: 3 },
                "-LASTHOST this is the last host of the ring that answers; leaving would destroy 3 entries and its part\r\n",
            ),
        ];
        for (error, expected) in cases {
            let mut reply = Reply::new(usize::MAX);
            Failure::from(error).write(&mut reply);
            let text = reply.pieces().map(String::from_utf8_lossy).collect::<String>();
            assert_eq!(text, expected);
        }
    }
}
