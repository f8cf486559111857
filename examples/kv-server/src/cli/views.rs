//! `ring`, `fingers`, `status`: what a node tells, as tables.

use chord::view::{FingerRow, RingRow, Status};
use clap::Args;

use crate::cli::show::{parse_json, print, short, table};
use crate::cli::{ClientArgs, Exit, Style};

/// Finger tables with more rows than this are shown as runs of rows with one successor.
const SHOWN_FINGERS: usize = 32;

/// Options of the commands that only ask.
#[derive(Debug, Args)]
pub struct ViewArgs {
    /// Whom to ask.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `chord-kv ring`
pub(super) async fn ring(args: ViewArgs) -> Result<(), Exit> {
    view(args, b"RING", |text| Ok(ring_table(&parse_json::<Vec<RingRow>>(text)?))).await
}

/// `chord-kv fingers`
pub(super) async fn fingers(args: ViewArgs) -> Result<(), Exit> {
    view(args, b"FINGERS", |text| Ok(finger_table(&parse_json::<Vec<FingerRow>>(text)?))).await
}

/// `chord-kv status`
pub(super) async fn status(args: ViewArgs) -> Result<(), Exit> {
    view(args, b"STATUS", |text| Ok(status_lines(&parse_json(text)?, Style::of_stdout()))).await
}

async fn view(
    args: ViewArgs,
    subcommand: &[u8],
    show: impl Fn(&str) -> Result<String, Exit>,
) -> Result<(), Exit> {
    let text = args.client.connect().await?.text(&[b"CHORD", subcommand]).await?;
    if args.client.json { print(&text) } else { print(&show(&text)?) }
}

/// The ring as a table.
pub(crate) fn ring_table(rows: &[RingRow]) -> String {
    let row = |row: &RingRow| {
        vec![
            short(&row.id),
            row.label.clone(),
            row.host.clone(),
            row.predecessor.as_deref().map_or("-".into(), short),
            short(&row.successor),
            format!("{:.2} %", 100.0 * row.share),
            row.host_keys.to_string(),
            row.endpoint.clone(),
        ]
    };
    let headings =
        ["id", "virtual node", "host", "predecessor", "successor", "share", "host's keys", "endpoint"];
    table(&headings, &[0, 3, 4, 5, 6], rows.iter().map(row).collect())
}

fn finger_table(rows: &[FingerRow]) -> String {
    let mut shown: Vec<Vec<String>> = Vec::new();
    for node in rows.chunk_by(|a, b| a.node == b.node) {
        let as_runs = node.len() > SHOWN_FINGERS;
        for run in node.chunk_by(|a, b| as_runs && a.successor == b.successor) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            let k = if first.k == last.k { first.k.to_string() } else { format!("{}-{}", first.k, last.k) };
            shown.push(vec![
                short(&first.node),
                k,
                short(&first.start),
                short(&last.end),
                short(&first.successor),
                first.host.clone(),
            ]);
        }
    }
    table(&["node", "k", "start", "end", "successor", "host"], &[0, 1, 2, 3, 4], shown)
}

fn status_lines(status: &Status, style: Style) -> String {
    let counters = &status.counters;
    let lines = [
        ("name", style.cyan(&status.name)),
        ("state", status.state.clone()),
        ("endpoint", status.endpoint.clone()),
        (
            "ring",
            format!("{} ({}, {} bits, {} copies)", status.ring, status.hash, status.bits, status.replicas),
        ),
        ("ring id", status.ring_id.clone()),
        ("incarnation", status.incarnation.clone()),
        ("keys", format!("{} ({} bytes)", status.keys, status.bytes)),
        ("groups", status.groups.len().to_string()),
        ("transfers", status.transfers.to_string()),
        ("records", status.records.to_string()),
        ("contacts", status.contacts.to_string()),
        ("uptime", format!("{:.1} s", status.uptime_ms as f64 / 1000.0)),
        ("operations", format!("{} started here, {} served", counters.operations, counters.served)),
        ("calls", format!("{} sent, {} failed", counters.calls, counters.call_failures)),
        ("redirected", counters.redirected.to_string()),
        ("entries moved", format!("{} sent, {} received", counters.entries_sent, counters.entries_received)),
    ];
    let mut text: String = lines
        .iter()
        .map(|(name, value)| format!("{} {value}\n", style.dim(&format!("{name:<14}"))))
        .collect();
    let rows = status.virtual_nodes.iter().map(|node| {
        vec![
            short(&node.id),
            node.label.clone(),
            node.predecessor.as_deref().map_or("-".into(), short),
            short(&node.successor),
            node.successors.len().to_string(),
        ]
    });
    text.push_str(&table(
        &["id", "virtual node", "predecessor", "successor", "list"],
        &[0, 2, 3, 4],
        rows.collect(),
    ));
    text
}
