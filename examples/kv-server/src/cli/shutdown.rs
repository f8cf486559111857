//! `shutdown`: a node leaves, and its process ends.

use std::io;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::cli::show::{print, print_json};
use crate::cli::{ClientArgs, Exit};
use crate::client::{Client, ClientError};
use crate::resp::Value;

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
    let (address, password) = (args.client.address()?, args.client.password()?);
    let mut client = Client::connect(address, password.as_deref()).await?;
    client.set_reply_time(LEAVE_TIME);
    let command: &[&[u8]] = if args.force { &[b"CHORD", b"LEAVE", b"FORCE"] } else { &[b"CHORD", b"LEAVE"] };
    let result = tokio::select! {
        biased;
        result = client.call(command) => result.map(|_| ()),
        () = falls_silent(address, password) => Ok(()),
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
    if !is_gone(address).await {
        return Err(Exit::Failure("the node has not ended; see its log".into()));
    }
    if args.client.json { print_json(&Report { left: true }) } else { print("left the ring and ended") }
}

/// Returns when the node does not answer any more.
async fn falls_silent(address: &str, password: Option<Vec<u8>>) {
    loop {
        sleep(LOOK_INTERVAL).await;
        match ping(address, password.as_deref()).await {
            Err(error) if is_silence(&error) => return,
            _ => {}
        }
    }
}

async fn ping(address: &str, password: Option<&[u8]>) -> Result<Value, ClientError> {
    Client::connect(address, password).await?.call(&[b"PING"]).await
}

/// Whether nobody has answered. Who takes no more clients says so and hangs up, and is there.
fn is_silence(error: &ClientError) -> bool {
    match error {
        ClientError::Connect { .. } => true,
        ClientError::Lost(error) => error.kind() == io::ErrorKind::TimedOut,
        ClientError::Malformed(_) | ClientError::Reply(_) | ClientError::Unexpected(_) => false,
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_full_client_port_is_not_silence() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let full = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"-ERR max number of clients reached\r\n").await.unwrap();
        });
        let told = ping(&address, None).await.unwrap_err();
        assert!(!is_silence(&told), "{told}");
        full.await.unwrap();
        let refused = ping(&address, None).await.unwrap_err();
        assert!(is_silence(&refused), "{refused}");
    }
}
