//! chord-kv: see `chord-kv --help`.

use std::process::ExitCode;
use std::time::Duration;

use chord_kv::cli::Cli;
use clap::Parser;

/// The service makes and drops small buffers all the time, on several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long threads that wait for the operating system may keep the process.
const END_TIME: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("chord-kv: {error}");
            return ExitCode::from(1);
        }
    };
    let outcome = runtime.block_on(cli.command.run());
    runtime.shutdown_timeout(END_TIME);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => exit.report(),
    }
}
