//! chord-lab: see `chord-lab --help`.

use std::process::ExitCode;

use chord_lab::cli::Cli;
use clap::Parser;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chord-lab: {error}");
            error.exit_code()
        }
    }
}
