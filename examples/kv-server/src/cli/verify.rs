//! `verify`: is everything of a file there?

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::cli::show::{print, print_json};
use crate::cli::worker::{self, Task};
use crate::cli::{ClientArgs, Exit, file};

/// Options of `verify`.
#[derive(Debug, Args)]
#[command(
    after_help = "Prints `present P missing M different D`; of lines with one key the last counts. Exit status \
    1 unless M = D = 0 and every key could be read.\n\nExample:\n  chord-kv verify words.tsv --client 127.0.0.1:6382"
)]
pub struct VerifyArgs {
    /// The file: one KEY<TAB>VALUE a line.
    pub file: PathBuf,
    /// Where from.
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Serialize)]
struct Report {
    present: u64,
    missing: u64,
    different: u64,
    unreadable: u64,
}

/// `chord-kv verify`
pub(super) async fn run(args: VerifyArgs) -> Result<(), Exit> {
    let lines = file::last_of_each(file::read(&args.file)?);
    let tally =
        worker::run(&args.client.client, args.client.password()?, lines, Task::Compare, "verifying").await?;
    let (present, missing, different) = (tally.good, tally.missing, tally.different);
    if args.client.json {
        print_json(&Report { present, missing, different, unreadable: tally.failed })?;
    } else {
        print(&format!("present {present} missing {missing} different {different}"))?;
    }
    if tally.failed > 0 {
        tally.failures.iter().for_each(|failure| eprintln!("chord-kv: {failure}"));
        return Err(Exit::Failure(format!("{} keys could not be read", tally.failed)));
    }
    if missing == 0 && different == 0 { Ok(()) } else { Err(Exit::No) }
}
