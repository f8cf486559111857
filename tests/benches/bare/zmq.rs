//! zeromq: a DEALER and a ROUTER, the correlation id as a part of its own.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use zeromq::{DealerSocket, RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

use super::{FRAME_BYTES, Serving, Waiting, handler, reply};

const QUEUE: usize = 64;

/// Sends every message back, for ever.
pub(crate) async fn serve(serving: Serving, address_tx: oneshot::Sender<String>) {
    let mut router = RouterSocket::new();
    let bound = router.bind("tcp://127.0.0.1:0").await.expect("loopback has a free port");
    let _ = address_tx.send(bound.to_string());
    if serving == Serving::OneLoop {
        while let Ok(message) = router.recv().await {
            router.send(message).await.expect("the client is there");
        }
        return;
    }
    let (mut send, mut receive) = router.split();
    let (asked_tx, mut answers_rx) = handler();
    tokio::spawn(async move {
        while let Some(message) = answers_rx.recv().await {
            send.send(message).await.expect("the client is there");
        }
    });
    while let Ok(message) = receive.recv().await {
        asked_tx.send(message).await.expect("the handler runs");
    }
}

async fn connect(address: &str) -> DealerSocket {
    let mut dealer = DealerSocket::new();
    dealer.connect(address).await.expect("the server lets us in");
    dealer
}

fn message(correlation: u64, body: Bytes) -> ZmqMessage {
    let mut message = ZmqMessage::from(Bytes::copy_from_slice(&correlation.to_be_bytes()));
    message.push_back(body);
    message
}

/// Concurrent callers over one connection.
pub(crate) struct Callers {
    waiting: Arc<Waiting>,
    messages_tx: mpsc::Sender<ZmqMessage>,
}

impl Callers {
    /// Connects to the server.
    pub(crate) async fn connect(address: &str) -> Callers {
        let (mut send, mut receive) = connect(address).await.split();
        let waiting = Arc::new(Waiting::default());
        let (messages_tx, mut messages_rx) = mpsc::channel::<ZmqMessage>(QUEUE);
        tokio::spawn(async move {
            while let Some(message) = messages_rx.recv().await {
                if send.send(message).await.is_err() {
                    return;
                }
            }
        });
        let replies = waiting.clone();
        tokio::spawn(async move {
            while let Ok(message) = receive.recv().await {
                let (correlation, body) = (message.get(0), message.get(1));
                let correlation = correlation.and_then(|bytes| bytes[..].try_into().ok());
                let correlation = u64::from_be_bytes(correlation.expect("it comes back as it was sent"));
                replies.end(correlation, body.expect("a body").clone());
            }
        });
        Callers { waiting, messages_tx }
    }

    /// One call.
    pub(crate) async fn call(&self, body: Bytes) -> Bytes {
        let (correlation, reply_rx) = self.waiting.begin();
        self.messages_tx.send(message(correlation, body)).await.expect("the writer runs");
        reply(reply_rx).await
    }
}

/// A window of messages and no callers: one loop, the least that the library can do.
pub(crate) struct Window {
    dealer: DealerSocket,
    sent: u64,
}

impl Window {
    /// Connects to the server.
    pub(crate) async fn connect(address: &str) -> Window {
        Window { dealer: connect(address).await, sent: 0 }
    }

    /// Sends `count` messages.
    pub(crate) async fn send(&mut self, count: usize) {
        for _ in 0..count {
            self.sent += 1;
            let message = message(self.sent, Bytes::from_static(&[5; FRAME_BYTES]));
            self.dealer.send(message).await.expect("the connection holds");
        }
    }

    /// Waits for a reply; how many came.
    pub(crate) async fn receive(&mut self) -> usize {
        self.dealer.recv().await.expect("the connection holds");
        1
    }
}
