//! `check`: the ring's invariants.

use std::time::Duration;

use chord::view::CheckReport;
use clap::Args;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::cli::duration::parse_duration;
use crate::cli::show::{parse_json, print, print_json};
use crate::cli::{ClientArgs, Exit, Style};
use crate::client::{Client, ClientError};

/// Pause between two walks over a ring that is not settled yet.
const PAUSE: Duration = Duration::from_millis(200);

/// Options of `check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  chord-kv check                       is the ring safe?\n  \
    chord-kv check --settled --wait 30s  wait until links and fingers are ideal and nothing is under way")]
pub struct CheckArgs {
    /// Demands ideal links and fingers, too, every host reached, and no transfer under way.
    #[arg(long)]
    pub settled: bool,
    /// Waits so long for the ring to settle, and for a node that is still starting or joining.
    #[arg(long, value_name = "D", value_parser = parse_duration, requires = "settled", default_value = "0s")]
    pub wait: Duration,
    /// Whom to ask.
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Serialize)]
struct Report<'a> {
    safe: bool,
    settled: bool,
    #[serde(flatten)]
    report: &'a CheckReport,
}

/// `chord-kv check`
pub(super) async fn run(args: CheckArgs) -> Result<(), Exit> {
    let (address, password) = (args.client.address()?, args.client.password()?);
    let deadline = Instant::now() + args.wait;
    let report = loop {
        let answer = ask(address, password.as_deref()).await;
        let in_time = Instant::now() < deadline;
        match answer {
            Err(error) if in_time && error.is_retryable() => {}
            answer => {
                let report: CheckReport = parse_json(&answer?)?;
                if !args.settled || report.is_settled() || !in_time {
                    break report;
                }
            }
        }
        sleep(PAUSE).await;
    };
    if args.client.json {
        print_json(&Report { safe: report.is_safe(), settled: report.is_settled(), report: &report })?;
    } else {
        print(&show(&report, Style::of_stdout()))?;
    }
    let holds = if args.settled { report.is_settled() } else { report.is_safe() };
    if holds { Ok(()) } else { Err(Exit::No) }
}

/// What the node finds, in JSON.
async fn ask(address: &str, password: Option<&[u8]>) -> Result<String, ClientError> {
    Client::connect(address, password).await?.text(&[b"CHORD", b"CHECK"]).await
}

/// The report for people.
pub(crate) fn show(report: &CheckReport, style: Style) -> String {
    let verdict = match (report.is_safe(), report.is_settled()) {
        (true, true) => style.green("safe and settled"),
        (true, false) => format!("{}, not settled", style.green("safe")),
        (false, _) => style.red("NOT SAFE"),
    };
    let mut text = format!("{verdict}: {} hosts, {} virtual nodes", report.hosts, report.virtual_nodes);
    let findings = [
        ("broken", &report.violations),
        ("not settled", &report.unsettled),
        ("does not answer", &report.unreachable),
    ];
    for (kind, lines) in findings {
        lines.iter().for_each(|line| text.push_str(&format!("\n  {kind}: {line}")));
    }
    text
}
