//! What can go wrong in the laboratory: [`Error`].

use std::path::Path;
use std::process::ExitCode;

/// Why there is no result, named by whose it is to mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line, or a file it names, is not what the experiment needs. Exit status 2.
    #[error("{0}")]
    Invalid(String),
    /// The experiment was run and something that must hold did not. Exit status 1.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// The caller's mistake, in one line.
    pub fn invalid(text: impl Into<String>) -> Error {
        Error::Invalid(text.into())
    }

    /// A file or directory cannot be used.
    pub fn file(path: &Path, error: impl std::fmt::Display) -> Error {
        Error::Invalid(format!("{}: {error}", path.display()))
    }

    /// The exit status of the process.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Error::Invalid(_) => ExitCode::from(2),
            Error::Failed(_) => ExitCode::FAILURE,
        }
    }
}
