//! Where logs go.

use std::fs::OpenOptions;
use std::io::IsTerminal;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::cli::{Exit, NodeArgs};

/// Starts logging to standard error, or to a file that is appended to.
///
/// # Errors
/// [`Exit::Usage`] when the file cannot be opened.
pub(super) fn start(args: &NodeArgs) -> Result<(), Exit> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let (writer, terminal) = match &args.log_file {
        Some(path) => {
            let file = OpenOptions::new().create(true).append(true).open(path);
            let file =
                file.map_err(|error| Exit::Usage(format!("--log-file {}: {error}", path.display())))?;
            (BoxMakeWriter::new(Mutex::new(file)), false)
        }
        None => (BoxMakeWriter::new(std::io::stderr), std::io::stderr().is_terminal()),
    };
    let coloured = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let logger = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(coloured);
    let started = if args.log_json { logger.json().try_init() } else { logger.try_init() };
    started.map_err(|error| Exit::Failure(format!("logging cannot be started: {error}")))
}
