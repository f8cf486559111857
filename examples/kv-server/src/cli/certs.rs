//! `certs`: an authority and certificates for `quic://`.

use std::path::PathBuf;

use chord_transport_quic::certs::{Authority, CertError};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::cli::Exit;
use crate::cli::show::{print, print_json};

/// Options of `certs`.
#[derive(Debug, Args)]
pub struct CertsArgs {
    /// What to make.
    #[command(subcommand)]
    pub command: CertsCommand,
}

/// What certificates can be made.
#[derive(Debug, Subcommand)]
pub enum CertsCommand {
    /// Makes the ring's certificate authority: ca.crt for every host, ca.key to be kept where it is made.
    Ca {
        /// Where to write ca.crt and ca.key.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Overwrites what is there.
        #[arg(long)]
        force: bool,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Makes the certificate of one host: ca.crt, node.crt and node.key are all it needs.
    #[command(after_help = "Examples:\n  chord-kv certs node --ca ca --out n1 --name n1 --host 10.0.0.1\n  \
        chord-kv certs node --dir certs --name n1 --host 127.0.0.1 --host localhost")]
    Node {
        /// Directory of the authority (ca.crt, ca.key).
        #[arg(long, value_name = "DIR", required_unless_present = "dir", conflicts_with = "dir")]
        ca: Option<PathBuf>,
        /// Where to write ca.crt, node.crt and node.key.
        #[arg(long, value_name = "DIR", required_unless_present = "dir", conflicts_with = "dir")]
        out: Option<PathBuf>,
        /// One directory for both.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
        /// The host's name, as it is given to create and join.
        #[arg(long)]
        name: String,
        /// An address or DNS name the host is dialled at without its name; may be repeated.
        #[arg(long, required = true, value_delimiter = ',')]
        host: Vec<String>,
        /// Overwrites what is there.
        #[arg(long)]
        force: bool,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Serialize)]
struct Report {
    /// Where they were written.
    dir: PathBuf,
    files: &'static [&'static str],
}

/// `chord-kv certs`
pub(super) fn run(args: CertsArgs) -> Result<(), Exit> {
    let (dir, files, json): (_, &[&str], _) = match args.command {
        CertsCommand::Ca { dir, force, json } => {
            Authority::create(&dir, force)?;
            (dir, &["ca.crt", "ca.key"], json)
        }
        CertsCommand::Node { ca, out, dir, name, host, force, json } => {
            let (Some(ca), Some(out)) = (ca.or_else(|| dir.clone()), out.or(dir)) else {
                return Err(Exit::Usage("give --ca and --out, or --dir for both".into()));
            };
            Authority::open(&ca)?.issue(&name, &host)?.write(&out, force)?;
            (out, &["ca.crt", "node.crt", "node.key"], json)
        }
    };
    if json {
        return print_json(&Report { dir, files });
    }
    print(&format!("{}: {}", dir.display(), files.join(", ")))
}

impl From<CertError> for Exit {
    fn from(error: CertError) -> Exit {
        match error {
            CertError::InvalidName { .. } | CertError::InvalidHost { .. } => Exit::Usage(error.to_string()),
            CertError::Exists { .. } => Exit::Failure(format!("{error} (--force)")),
            error => Exit::Failure(error.to_string()),
        }
    }
}
