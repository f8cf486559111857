//! One connection of the load: a writer and a reader side by side.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use crate::cli::bench::report::Sample;
use crate::client::{Client, REPLY_TIME, encode};
use crate::resp::Value;

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;

/// What requests are made of.
pub(super) struct Plan {
    pub(super) keys: u32,
    pub(super) read_share: f64,
    pub(super) value: Vec<u8>,
    /// Most requests of a connection that wait for replies.
    pub(super) pipeline: usize,
}

impl Plan {
    pub(super) fn key(number: u32) -> String {
        format!("bench:{number:010}")
    }
}

pub(super) struct Drive {
    client: Client,
    plan: Arc<Plan>,
    rng: SmallRng,
}

impl Drive {
    pub(super) fn new(client: Client, plan: Arc<Plan>, seed: u64) -> Drive {
        Drive { client, plan, rng: SmallRng::seed_from_u64(seed) }
    }

    /// Sends what is due until there is no more, and waits for the replies.
    pub(super) async fn run(self, due_rx: mpsc::Receiver<Instant>) -> Sample {
        let (read, write) = self.client.into_stream().into_split();
        let window = Arc::new(Semaphore::new(self.plan.pipeline));
        // Each entry stands for a permit of the window, so there is always room.
        let (sent_tx, sent_rx) = mpsc::channel(self.plan.pipeline);
        let writer =
            tokio::spawn(write_requests(write, self.plan, self.rng, due_rx, sent_tx, window.clone()));
        let mut sample = read_replies(read, sent_rx, &window).await;
        window.close();
        match writer.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => sample.error(error.to_string()),
            Err(error) => sample.error(error.to_string()),
        }
        sample
    }
}

async fn write_requests(
    mut write: OwnedWriteHalf,
    plan: Arc<Plan>,
    mut rng: SmallRng,
    mut due_rx: mpsc::Receiver<Instant>,
    sent_tx: mpsc::Sender<Instant>,
    window: Arc<Semaphore>,
) -> io::Result<()> {
    let (mut due, mut out) = (Vec::new(), Vec::new());
    while due_rx.recv_many(&mut due, plan.pipeline).await > 0 {
        for at in due.drain(..) {
            let permit = match window.try_acquire() {
                Ok(permit) => permit,
                Err(_) => {
                    send(&mut write, &mut out).await?;
                    match window.acquire().await {
                        Ok(permit) => permit,
                        // The reader has ended, and says why.
                        Err(_) => return Ok(()),
                    }
                }
            };
            permit.forget();
            let key = Plan::key(rng.random_range(0..plan.keys));
            if rng.random_bool(plan.read_share) {
                encode(&mut out, &[b"GET", key.as_bytes()]);
            } else {
                encode(&mut out, &[b"SET", key.as_bytes(), &plan.value]);
            }
            let _ = sent_tx.send(at).await;
        }
        send(&mut write, &mut out).await?;
    }
    Ok(())
}

/// Sends and empties `out`.
async fn send(write: &mut OwnedWriteHalf, out: &mut Vec<u8>) -> io::Result<()> {
    let mut rest = out.as_slice();
    while !rest.is_empty() {
        let sent = timeout(REPLY_TIME, write.write_buf(&mut rest)).await;
        sent.map_err(|_| too_late("requests were not read"))??;
    }
    out.clear();
    Ok(())
}

fn too_late(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} within {REPLY_TIME:?}"))
}

async fn read_replies(
    mut read: OwnedReadHalf,
    mut sent_rx: mpsc::Receiver<Instant>,
    window: &Semaphore,
) -> Sample {
    let (mut sample, mut input) = (Sample::new(), BytesMut::new());
    while let Some(due) = sent_rx.recv().await {
        let reply = loop {
            match Value::next(&mut input) {
                Ok(Some(value)) => break value,
                Ok(None) => {}
                Err(error) => {
                    sample.error(error.to_string());
                    return sample;
                }
            }
            input.reserve(READ_BYTES);
            let arrived = timeout(REPLY_TIME, read.read_buf(&mut input)).await;
            match arrived.unwrap_or_else(|_| Err(too_late("no reply"))) {
                Ok(0) => {
                    sample.error("the connection was closed".into());
                    return sample;
                }
                Ok(_) => {}
                Err(error) => {
                    sample.error(error.to_string());
                    return sample;
                }
            }
        };
        window.add_permits(1);
        match reply {
            Value::Error(text) => sample.error(text),
            _ => sample.latency(due.elapsed()),
        }
    }
    sample
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;

    /// The operating system answers for a process that was stopped: it takes connections, and bytes until it is full.
    #[tokio::test]
    async fn a_node_that_has_stopped_ends_the_load() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        for (value_size, read_share) in [(1, 1.0), (64 << 20, 0.0)] {
            let client = Client::connect(&address, None).await.unwrap();
            let plan = Plan { keys: 1, read_share, value: vec![b'x'; value_size], pipeline: 1 };
            let (due_tx, due_rx) = mpsc::channel(2);
            for _ in 0..2 {
                due_tx.send(Instant::now()).await.unwrap();
            }
            drop(due_tx);
            tokio::time::pause();
            let load = Drive::new(client, Arc::new(plan), 1).run(due_rx);
            let sample = timeout(Duration::from_secs(3600), load).await.expect("it ends");
            tokio::time::resume();
            let error = sample.first_error.expect("nobody answered");
            assert!(error.contains("no reply within"), "{error}");
        }
    }
}
