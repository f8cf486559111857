//! `shutdown`: a node leaves, and its process ends.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::cli::show::{print, print_json};
use crate::cli::{ClientArgs, Exit};
use crate::client::ClientError;

/// How long handing over may take: longer than any does, because the node itself gives up when it does not get on.
const LEAVE_TIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// How often the node is asked whether it is there while it hands over.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// How long the process may take to end after it has left.
const END_TIME: Duration = Duration::from_secs(10);
/// Pause between two looks at the port.
const PAUSE: Duration = Duration::from_millis(20);

/// Options of `shutdown`.
#[derive(Debug, Args)]
#[command(
    after_help = "The last host of a ring that holds data refuses: there is nobody to hand it to. --force drops it."
)]
pub struct ShutdownArgs {
    /// Ends even the ring's last host; its data is lost.
    #[arg(long)]
    pub force: bool,
    /// Whom to shut down.
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Serialize)]
struct Report {
    left: bool,
}

/// `chord-kv shutdown`
pub(super) async fn run(args: ShutdownArgs) -> Result<(), Exit> {
    let mut client = args.client.connect().await?;
    client.set_reply_time(LEAVE_TIME);
    let command: &[&[u8]] = if args.force { &[b"CHORD", b"LEAVE", b"FORCE"] } else { &[b"CHORD", b"LEAVE"] };
    let result = tokio::select! {
        biased;
        result = client.call(command) => result.map(|_| ()),
        () = falls_silent(&args.client) => Ok(()),
    };
    match result {
        // The connection may end before its reply: whether the node has gone shows at its port.
        Ok(()) | Err(ClientError::Lost(_)) => {}
        Err(error) if error.code() == "LASTHOST" => {
            return Err(Exit::Failure(format!(
                "{error}. Let another host join first, or give --force to drop them. The node goes on."
            )));
        }
        Err(error) => return Err(error.into()),
    }
    if !is_gone(args.client.address()?).await {
        return Err(Exit::Failure("the node has not ended; see its log".into()));
    }
    if args.client.json { print_json(&Report { left: true }) } else { print("left the ring and ended") }
}

/// Returns when the node does not answer any more.
async fn falls_silent(node: &ClientArgs) {
    loop {
        sleep(LOOK_INTERVAL).await;
        let Ok(mut client) = node.connect().await else { return };
        if client.call(&[b"PING"]).await.is_err() {
            return;
        }
    }
}

/// Waits until nobody listens at `address` any more; false if somebody still does in the end.
async fn is_gone(address: &str) -> bool {
    let deadline = Instant::now() + END_TIME;
    while Instant::now() < deadline {
        match timeout(PAUSE * 10, TcpStream::connect(address)).await {
            Ok(Err(_)) => return true,
            Ok(Ok(_)) | Err(_) => sleep(PAUSE).await,
        }
    }
    false
}
