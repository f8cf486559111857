//! chord-lab: see `chord-lab --help`.

use std::process::ExitCode;

use chord_lab::cli::Cli;
use clap::Parser;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && error.exit_code() == 2 => return refuse(&error),
        Err(help) => help.exit(),
    };
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chord-lab: {error}");
            error.exit_code()
        }
    }
}

/// Says in one line what is wrong with the command line; without a command, what there is.
fn refuse(error: &clap::Error) -> ExitCode {
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        eprint!("{error}");
    } else {
        let text = error.to_string();
        let lines: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
        let line = lines.join(" ");
        eprintln!("chord-lab: {}", line.strip_prefix("error: ").unwrap_or(&line));
    }
    ExitCode::from(2)
}
