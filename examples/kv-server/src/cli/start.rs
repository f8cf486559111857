//! `create` and `join`: a node and its client port, from start to end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chord::{Chord, Config, Error};
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::cli::farewell::farewell;
use crate::cli::show::print;
use crate::cli::signals::Signals;
use crate::cli::{CreateArgs, Exit, JoinArgs, NodeArgs, logging, read_password, transport};
use crate::node::Node;
use crate::server::{self, Service, Settings};

/// `chord-kv create`
pub(super) async fn create(args: CreateArgs) -> Result<(), Exit> {
    let config = args.node.creating()?;
    run(&args.node, config, async |transport, config| Chord::create(transport, config).await).await
}

/// `chord-kv join`
pub(super) async fn join(args: JoinArgs) -> Result<(), Exit> {
    let config = args.node.joining()?;
    run(&args.node, config, async |transport, config| Chord::join(transport, &args.known, config).await).await
}

/// Opens the client port, starts the node by `start`, and serves until the node has left.
async fn run(
    args: &NodeArgs,
    config: Config,
    start: impl AsyncFnOnce(Arc<dyn chord::transport::Transport>, Config) -> Result<Node, Error>,
) -> Result<(), Exit> {
    let address = client_address(args).await?;
    let password = args.password_file.as_ref().map(read_password).transpose()?.map(Bytes::from);
    logging::start(args)?;
    let mut signals = Signals::new()?;

    let listener =
        server::bind(address).map_err(|error| Exit::Failure(format!("--client {}: {error}", args.client)))?;
    let address = listener.local_addr().unwrap_or(address);
    let max_clients = server::allow_open_files(args.max_clients);
    if max_clients < args.max_clients {
        tracing::warn!(
            max_clients,
            "the limit on open files leaves room for so many clients only (ulimit -n)"
        );
    }
    let settings = Settings {
        password,
        max_clients,
        max_buffer_bytes: args.client_memory.saturating_mul(1 << 20),
        max_reply_bytes: args.reply_memory.saturating_mul(1 << 20),
        max_value_bytes: config.max_value_bytes,
    };
    let service = Service::new(settings, address);
    let serving = tokio::spawn(server::serve(listener, service.clone()));

    let started = async { Ok(start(transport::bind(args).await?, config).await?) };
    let outcome = tokio::select! {
        biased;
        node = started => match node {
            Ok(node) => {
                service.open(node.clone());
                announce(args, &node, address);
                serve_until_left(&service, &node, &mut signals).await
            }
            Err(exit) => Err(exit),
        },
        () = signals.next() => Err(Exit::Failure("interrupted before the node was part of a ring".into())),
    };
    service.stop();
    // The port closes with the process: `shutdown` waits for that.
    std::mem::forget(serving.await);
    outcome
}

/// Where clients connect: one address, and with a password if others than this host can reach it.
async fn client_address(args: &NodeArgs) -> Result<SocketAddr, Exit> {
    let resolved = lookup_host(&args.client).await;
    let mut addresses =
        resolved.map_err(|error| Exit::Usage(format!("--client {}: {error}", args.client)))?;
    let address =
        addresses.next().ok_or_else(|| Exit::Usage(format!("--client {}: no address", args.client)))?;
    if !address.ip().is_loopback() && args.password_file.is_none() {
        return Err(Exit::Usage(format!(
            "--client {} can be reached by others than this host: give --password-file as well",
            args.client
        )));
    }
    Ok(address)
}

/// Says that the node is ready. It holds keys by now: that nobody can read the line does not end it.
fn announce(args: &NodeArgs, node: &Node, address: SocketAddr) {
    let ring = &node.config().ring_name;
    tracing::info!(name = %args.name, %ring, endpoint = %node.endpoint(), clients = %address, "ready");
    let line = format!("{} is ready: clients {address}, ring {ring}, hosts {}", args.name, node.endpoint());
    if print(&line).is_err() {
        tracing::warn!("the line that says so could not be written to standard output");
    }
}

/// Serves until a client, a signal or the ring ends the node.
async fn serve_until_left(service: &Service, node: &Node, signals: &mut Signals) -> Result<(), Exit> {
    let mut stopping = service.stopping();
    tokio::select! {
        biased;
        () = stopping.wait() => return Ok(()),
        reason = node.closed() => return closed(service, reason).await,
        () = signals.next() => {}
    }
    tracing::info!("leaving the ring; a second signal ends this node at once");
    tokio::select! {
        biased;
        ended = farewell(service, node) => ended,
        () = signals.next() => {
            eprintln!("chord-kv: ended at once; what this node held is gone");
            std::process::exit(1)
        }
    }
}

/// The node has ended by itself, unless a client has asked it to leave: then the service stops a moment later.
async fn closed(service: &Service, reason: Error) -> Result<(), Exit> {
    match timeout(Duration::from_secs(1), service.stopping().wait()).await {
        Ok(()) => Ok(()),
        Err(_) => Err(Exit::Failure(reason.to_string())),
    }
}
