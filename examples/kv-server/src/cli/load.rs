//! `load`: a file into the ring.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use crate::cli::show::{print, print_json};
use crate::cli::worker::{self, Task};
use crate::cli::{ClientArgs, Exit, file};

/// Options of `load`.
#[derive(Debug, Args)]
#[command(
    after_help = "A line is split at its first TAB; of two lines with one key the later wins. What did not go \
    through is sent again for 30 s.\n\nExample:\n  chord-kv load words.tsv --client 127.0.0.1:6380,127.0.0.1:6381"
)]
pub struct LoadArgs {
    /// The file: one KEY<TAB>VALUE a line.
    pub file: PathBuf,
    /// Where to.
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Serialize)]
struct Report {
    lines: usize,
    stored: u64,
    failed: u64,
    seconds: f64,
    lines_per_second: f64,
}

/// `chord-kv load`
pub(super) async fn run(args: LoadArgs) -> Result<(), Exit> {
    let lines = file::read(&args.file)?;
    let count = lines.len();
    let start = Instant::now();
    let tally =
        worker::run(&args.client.client, args.client.password()?, lines, Task::Store, "loading").await?;
    let seconds = start.elapsed().as_secs_f64();
    let rate = count as f64 / seconds.max(1e-9);
    if args.client.json {
        print_json(&Report {
            lines: count,
            stored: tally.good,
            failed: tally.failed,
            seconds,
            lines_per_second: rate,
        })?;
    } else {
        print(&format!("stored {} of {count} lines in {seconds:.1} s, {rate:.0} a second", tally.good))?;
    }
    tally.failures.iter().for_each(|failure| eprintln!("chord-kv: {failure}"));
    if tally.failed == 0 { Ok(()) } else { Err(Exit::Failure(format!("{} lines failed", tally.failed))) }
}
