//! The command line: what can be said ([`Cli`]), and the modules that do it.

mod args;
mod bench;
mod certs;
mod check;
mod data;
mod duration;
mod exit;
mod farewell;
pub(crate) mod file;
mod load;
mod logging;
pub(crate) mod show;
mod shutdown;
mod signals;
mod start;
mod style;
mod transport;
mod verify;
mod views;
mod worker;

use std::fmt::Display;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub use args::{ClientArgs, CreateArgs, JoinArgs, NodeArgs};
pub use exit::Exit;
pub use style::Style;

/// A key-value service on a Chord ring that speaks the Redis protocol.
#[derive(Debug, Parser)]
#[command(name = "chord-kv", version, max_term_width = 110, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  chord-kv demo                                   a ring in one process, on real data
  chord-kv certs ca --dir ca                      certificates: the authority once ...
  chord-kv certs node --ca ca --out n1 --name n1 --host 127.0.0.1
  chord-kv create --name n1 --listen quic://127.0.0.1:7001 --certs n1
  chord-kv join --name n2 --listen quic://127.0.0.1:7002 --certs n2 \\
                --known quic://n1@127.0.0.1:7001 --client 127.0.0.1:6381
  redis-cli -p 6380 set greeting hello            any client of Redis
  chord-kv ring --client 127.0.0.1:6381           who is where
  chord-kv shutdown --client 127.0.0.1:6381       n2 hands its keys over and ends

Exit status: 0 success; 1 failure, a missing key, a broken invariant; 2 a mistake in the command line.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows a ring at work on real data, in one process.
    Demo(crate::demo::DemoArgs),
    /// Starts a new ring with this host as its first.
    #[command(after_help = args::CREATE_EXAMPLES)]
    Create(Box<CreateArgs>),
    /// Joins a ring.
    #[command(after_help = args::JOIN_EXAMPLES)]
    Join(Box<JoinArgs>),
    /// Lets a node hand its keys over and end; returns when its process is gone.
    Shutdown(shutdown::ShutdownArgs),
    /// Stores a value.
    Put(data::PutArgs),
    /// Writes a value to standard output; exit status 1 if there is none.
    Get(data::GetArgs),
    /// Removes keys; prints how many there were.
    Del(data::DelArgs),
    /// Tells who owns a key, who holds it, and the path to it.
    Explain(data::ExplainArgs),
    /// Tells every virtual node of the ring.
    Ring(views::ViewArgs),
    /// Tells a node's finger tables.
    Fingers(views::ViewArgs),
    /// Tells about a node.
    Status(views::ViewArgs),
    /// Checks the ring's invariants; exit status 1 when one is broken.
    Check(check::CheckArgs),
    /// Stores every line of a file: a key, a tab, its value.
    Load(load::LoadArgs),
    /// Compares the ring with such a file; exit status 1 unless all of it is there.
    Verify(verify::VerifyArgs),
    /// Makes certificates for quic://.
    Certs(certs::CertsArgs),
    /// Measures a node under a load that does not wait for it.
    Bench(bench::BenchArgs),
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// [`Exit`]: what to tell, and the exit status.
    pub async fn run(self) -> Result<(), Exit> {
        match self {
            Command::Demo(args) => crate::demo::run(args).await,
            Command::Create(args) => start::create(*args).await,
            Command::Join(args) => start::join(*args).await,
            Command::Shutdown(args) => shutdown::run(args).await,
            Command::Put(args) => data::put(args).await,
            Command::Get(args) => data::get(args).await,
            Command::Del(args) => data::del(args).await,
            Command::Explain(args) => data::explain(args).await,
            Command::Ring(args) => views::ring(args).await,
            Command::Fingers(args) => views::fingers(args).await,
            Command::Status(args) => views::status(args).await,
            Command::Check(args) => check::run(args).await,
            Command::Load(args) => load::run(args).await,
            Command::Verify(args) => verify::run(args).await,
            Command::Certs(args) => certs::run(args),
            Command::Bench(args) => bench::run(args).await,
        }
    }
}

/// The default client address.
pub const DEFAULT_CLIENT: &str = "127.0.0.1:6380";

/// Reads a password file: its first line.
///
/// # Errors
/// [`Exit::Usage`] when it cannot be read or is empty.
pub fn read_password(path: &PathBuf) -> Result<Vec<u8>, Exit> {
    let mistake = |reason: &dyn Display| Exit::Usage(format!("--password-file {}: {reason}", path.display()));
    let text = std::fs::read(path).map_err(|error| mistake(&error))?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let password = line.strip_suffix(b"\r").unwrap_or(line);
    if password.is_empty() {
        return Err(mistake(&"the first line, the password, is empty"));
    }
    Ok(password.to_vec())
}
