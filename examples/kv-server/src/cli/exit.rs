//! How a command ends when it does not succeed: [`Exit`].

use std::process::ExitCode;

use crate::client::ClientError;

/// Why the exit status is not 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Status 1: it did not work, for this reason.
    Failure(String),
    /// Status 1: the answer is no, and all that is to be said was printed.
    No,
    /// Status 2: a mistake in the command line.
    Usage(String),
}

impl Exit {
    /// Prints the reason to standard error and gives the status.
    pub fn report(&self) -> ExitCode {
        match self {
            Exit::Failure(reason) => {
                eprintln!("chord-kv: {reason}");
                ExitCode::from(1)
            }
            Exit::No => ExitCode::from(1),
            Exit::Usage(reason) => {
                eprintln!("chord-kv: {reason}");
                ExitCode::from(2)
            }
        }
    }
}

impl From<ClientError> for Exit {
    fn from(error: ClientError) -> Exit {
        Exit::Failure(match error.code() {
            "NOAUTH" => format!("{error} Give --password-file, or set CHORD_PASSWORD."),
            _ => error.to_string(),
        })
    }
}

impl From<chord::Error> for Exit {
    fn from(error: chord::Error) -> Exit {
        match error {
            chord::Error::Invalid(reason) => Exit::Usage(reason),
            error => Exit::Failure(error.to_string()),
        }
    }
}
