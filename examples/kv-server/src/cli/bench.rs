//! `bench`: an open loop. Requests are due at fixed times, whether or not earlier ones were answered, and each
//! latency counts from the time the request was due: a server that stalls cannot slow its own measurement down.

mod connection;
mod report;

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::sync::mpsc;

use crate::cli::bench::connection::{Drive, Plan};
use crate::cli::bench::report::{Report, Sample};
use crate::cli::duration::parse_duration;
use crate::cli::show::{print, print_json};
use crate::cli::{ClientArgs, Exit};
use crate::client::Client;

/// Requests that may be due on one connection and not sent yet; further ones are counted as not sent.
const MAX_BACKLOG: usize = 65_536;
/// Most keys stored at once before the measurement.
const PREPARE_KEYS: usize = 100;
/// Most bytes of values stored at once, unless one value is larger.
const PREPARE_BYTES: usize = 1 << 20;

/// Options of `bench`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  chord-kv bench --rate 50000 --duration 10s\n  \
    chord-kv bench --client 127.0.0.1:6380,127.0.0.1:6381 --rate 20000 --read-share 1 --value-size 1024")]
pub struct BenchArgs {
    /// Requests a second, over all connections together.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub rate: u32,
    /// Connections, spread over the nodes.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub connections: u16,
    /// Most requests of one connection that wait for their replies.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub pipeline: u32,
    /// Bytes of a value.
    #[arg(long, default_value_t = 128)]
    pub value_size: usize,
    /// Share of requests that read, 0 to 1.
    #[arg(long, default_value_t = 0.5, value_parser = parse_share)]
    pub read_share: f64,
    /// Different keys; they are stored before the measurement.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub keys: u32,
    /// How long to measure.
    #[arg(long, value_name = "D", value_parser = parse_duration, default_value = "10s")]
    pub duration: Duration,
    /// Seed of the choice of keys.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where to.
    #[command(flatten)]
    pub client: ClientArgs,
}

fn parse_share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "expected 0 to 1".to_owned())
}

/// `chord-kv bench`
pub(super) async fn run(args: BenchArgs) -> Result<(), Exit> {
    let password = args.client.password()?;
    let plan = Arc::new(Plan {
        keys: args.keys,
        read_share: args.read_share,
        value: vec![b'x'; args.value_size],
        pipeline: args.pipeline as usize,
    });
    let mut clients = Vec::new();
    for i in 0..usize::from(args.connections) {
        let address = &args.client.client[i % args.client.client.len()];
        clients.push(Client::connect(address, password.as_deref()).await?);
    }
    prepare(&mut clients[0], &plan).await?;

    let (mut due, mut drives) = (Vec::new(), Vec::new());
    for (i, client) in clients.into_iter().enumerate() {
        let (due_tx, due_rx) = mpsc::channel(MAX_BACKLOG);
        due.push(due_tx);
        drives.push(tokio::spawn(Drive::new(client, plan.clone(), args.seed + i as u64).run(due_rx)));
    }
    let (rate, duration) = (args.rate, args.duration);
    let start = Instant::now();
    let unsent = tokio::task::spawn_blocking(move || pace(start, rate, duration, &due));
    let unsent = unsent.await.map_err(|error| Exit::Failure(error.to_string()))?;
    let mut sample = Sample::new();
    for drive in drives {
        sample.add(drive.await.map_err(|error| Exit::Failure(error.to_string()))?);
    }
    let report = Report::new(&args, &sample, unsent, start.elapsed());
    if args.client.json {
        print_json(&report)?
    } else {
        print(&report.to_string())?
    }
    match sample.first_error {
        None => Ok(()),
        Some(error) => Err(Exit::Failure(format!("{} errors, the first: {error}", report.errors))),
    }
}

/// Stores every key, so that reads find something.
async fn prepare(client: &mut Client, plan: &Plan) -> Result<(), Exit> {
    let keys: Vec<String> = (0..plan.keys).map(Plan::key).collect();
    let at_once = (PREPARE_BYTES / plan.value.len().max(1)).clamp(1, PREPARE_KEYS);
    for keys in keys.chunks(at_once) {
        let mut command: Vec<&[u8]> = vec![b"MSET"];
        keys.iter().for_each(|key| command.extend([key.as_bytes(), &plan.value]));
        client.call(&command).await?;
    }
    Ok(())
}

/// Tells each connection in turn when its next request is due. On a thread of its own, since the runtime's timers
/// count in whole milliseconds. Returns how many requests found their connection's backlog full.
fn pace(start: Instant, rate: u32, duration: Duration, due: &[mpsc::Sender<Instant>]) -> u64 {
    let mut unsent = 0;
    for i in 0_u64.. {
        let offset = Duration::from_secs_f64(i as f64 / f64::from(rate));
        if offset >= duration {
            break;
        }
        let at = start + offset;
        if let Some(early) =
            at.checked_duration_since(Instant::now()).filter(|early| *early > Duration::from_micros(20))
        {
            std::thread::sleep(early);
        }
        if due[(i % due.len() as u64) as usize].try_send(at).is_err() {
            unsent += 1;
        }
    }
    unsent
}
