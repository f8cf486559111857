//! `demo`: a ring in one process, each node on sockets of its own, on real data.

mod cluster;
mod report;
mod traffic;

use std::time::{Duration, Instant};

use bytes::Bytes;
use chord::view::RingRow;
use clap::{Args, ValueEnum};
use serde::Serialize;
use tokio::sync::watch;

use crate::cli::file::{self, Line};
use crate::cli::show::{print, print_json};
use crate::cli::{Exit, Style};
use crate::demo::cluster::Cluster;
use crate::demo::traffic::Traffic;
use crate::node::Node;

/// 6,000 characters of Unicode and their names; data/README.md tells where they come from.
static DATA: &[u8] = include_bytes!("../../data/unicode.tsv");
/// Entries stored or read at once.
const BATCH: usize = 200;
/// Keys whose hops are counted.
const HOP_SAMPLE: usize = 1_000;
/// How long load runs before, between and after the changes.
const BREATH: Duration = Duration::from_millis(300);
/// The key that is explained: BLACK HEART SUIT.
const EXPLAINED: &str = "U+2665";

/// Options of `demo`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  chord-kv demo\n  chord-kv demo --nodes 9 --transport zmq\n  \
    chord-kv demo --stay       and then, from another terminal: redis-cli -p 6380 get U+2665")]
pub struct DemoArgs {
    /// Nodes to begin with.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub nodes: u16,
    /// What the nodes talk over.
    #[arg(long, value_enum, default_value_t = Network::Quic)]
    pub transport: Network,
    /// Keeps the ring up afterwards, with a client port for redis-cli on each node, until Ctrl-C.
    #[arg(long)]
    pub stay: bool,
    /// Prints one JSON object at the end, and nothing else.
    #[arg(long, conflicts_with = "stay")]
    pub json: bool,
}

/// What the nodes talk over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Network {
    /// QUIC with mutual TLS, certificates made for the occasion.
    Quic,
    /// ZeroMQ.
    Zmq,
    /// Channels in memory.
    Mem,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Verdict {
    nodes: usize,
    keys: usize,
    missing: usize,
    different: usize,
    operations_under_change: u64,
    failed_operations: u64,
    wrong_answers: u64,
    longest_operation_ms: f64,
    mean_hops: f64,
    seconds: f64,
}

/// `chord-kv demo`
///
/// # Errors
/// [`Exit::Failure`] when a node cannot be started, [`Exit::No`] when anything is missing or wrong.
pub async fn run(args: DemoArgs) -> Result<(), Exit> {
    let style = if args.json { Style::plain() } else { Style::of_stdout() };
    let say = |text: String| if args.json { Ok(()) } else { print(&text) };
    let began = Instant::now();
    let lines =
        file::parse(Bytes::from_static(DATA)).map_err(|line| Exit::Failure(format!("data: line {line}")))?;

    let start = Instant::now();
    let mut cluster = Cluster::new(args.transport)?;
    for _ in 0..args.nodes {
        cluster.add().await?;
    }
    cluster.settle().await?;
    say(step(style, &format!("{} nodes over {} form a ring", args.nodes, cluster.network()), start))?;

    let start = Instant::now();
    store(cluster.nodes(), &lines).await?;
    say(step(style, &format!("{} keys stored through all of them", lines.len()), start))?;

    let (stop_tx, stop_rx) = watch::channel(false);
    let traffic = Traffic::start(cluster.nodes(), &lines, stop_rx);
    tokio::time::sleep(BREATH).await;
    let start = Instant::now();
    let newcomer = cluster.add().await?;
    say(step(style, &format!("{newcomer} joins under load"), start))?;
    tokio::time::sleep(BREATH).await;
    if args.nodes > 1 {
        let start = Instant::now();
        let leaver = cluster.remove(1).await?;
        say(step(style, &format!("{leaver} leaves under load, its keys handed over"), start))?;
        tokio::time::sleep(BREATH).await;
    }
    let _ = stop_tx.send(true);
    let traffic = traffic.finish(cluster.last()).await?;
    say(step(style, &traffic.to_string(), began))?;
    cluster.settle().await?;

    let reader = cluster.last();
    let (missing, different) = compare(reader, &lines).await?;
    let hops = hops(reader, &lines).await?;
    let rows: Vec<RingRow> = reader.ring().await?;
    let mut loads = Vec::new();
    for node in cluster.nodes() {
        loads.push(node.status().await);
    }
    say(report::ring(&rows, &loads, style))?;
    say(report::hops(&hops, style))?;
    say(report::explanation(&cluster.nodes()[0].explain(EXPLAINED).await?, style))?;

    let verdict = Verdict {
        nodes: cluster.nodes().len(),
        keys: lines.len(),
        missing,
        different,
        operations_under_change: traffic.operations,
        failed_operations: traffic.failed,
        wrong_answers: traffic.wrong,
        longest_operation_ms: traffic.longest.as_secs_f64() * 1e3,
        mean_hops: hops.iter().sum::<usize>() as f64 / hops.len().max(1) as f64,
        seconds: began.elapsed().as_secs_f64(),
    };
    let well = missing == 0 && different == 0 && verdict.wrong_answers == 0;
    if args.json {
        print_json(&verdict)?;
    } else {
        let line = format!("verified {} keys: {missing} missing, {different} different", lines.len());
        print(&if well { style.green(&line) } else { style.red(&line) })?;
    }
    if args.stay {
        cluster.stay(style).await?;
    }
    cluster.stop().await;
    if well { Ok(()) } else { Err(Exit::No) }
}

fn step(style: Style, text: &str, start: Instant) -> String {
    let took = format!("{:.2} s", start.elapsed().as_secs_f64());
    format!("{} {text} {}", style.green("*"), style.dim(&took))
}

/// Stores every line, a batch through each node in turn.
async fn store(nodes: &[Node], lines: &[Line]) -> Result<(), Exit> {
    let batches = lines.chunks(BATCH).zip(nodes.iter().cycle()).map(|(batch, node)| async move {
        let entries: Vec<(&Bytes, Bytes)> =
            batch.iter().map(|line| (&line.key, line.value.clone())).collect();
        node.put_many(&entries).await.into_iter().find_map(Result::err)
    });
    match futures::future::join_all(batches).await.into_iter().flatten().next() {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

/// Reads every key through `node`; counts those that are missing and different.
async fn compare(node: &Node, lines: &[Line]) -> Result<(usize, usize), Exit> {
    let (mut missing, mut different) = (0, 0);
    for batch in lines.chunks(BATCH) {
        let keys: Vec<&Bytes> = batch.iter().map(|line| &line.key).collect();
        for (line, value) in batch.iter().zip(node.get_many(&keys).await) {
            match value? {
                None => missing += 1,
                Some(value) if value != line.value => different += 1,
                Some(_) => {}
            }
        }
    }
    Ok((missing, different))
}

/// The hops that single reads take.
async fn hops(node: &Node, lines: &[Line]) -> Result<Vec<usize>, Exit> {
    let mut hops = Vec::with_capacity(HOP_SAMPLE);
    for line in lines.iter().step_by((lines.len() / HOP_SAMPLE).max(1)) {
        if let Some(record) = node.get_record(&line.key).await? {
            hops.push(record.hops);
        }
    }
    Ok(hops)
}
