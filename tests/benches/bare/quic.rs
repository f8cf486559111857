//! quinn: frames on one long-lived stream, those that are ready together written together.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, ServerConfig};
use tokio::sync::{mpsc, oneshot};

use super::{FRAME_BYTES, Serving, Waiting, decode, encode, handler, reply};

const CHUNK_BYTES: usize = 64 << 10;
const BATCH: usize = 64;

/// Where the server is, and its certificate.
pub(crate) struct Address {
    socket: SocketAddr,
    certificate: rustls::pki_types::CertificateDer<'static>,
}

/// Answers every frame with one of its size, for ever.
pub(crate) async fn serve(serving: Serving, address_tx: oneshot::Sender<Address>) {
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let certificate = issued.cert.der().clone();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der());
    let config = ServerConfig::with_single_cert(vec![certificate.clone()], key.into()).expect("it fits");
    let endpoint = Endpoint::server(config, ([127, 0, 0, 1], 0).into()).expect("loopback has a free port");
    let socket = endpoint.local_addr().expect("a socket has an address");
    let _ = address_tx.send(Address { socket, certificate });
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let connection = incoming.await.expect("the client shakes hands");
            while let Ok((send, receive)) = connection.accept_bi().await {
                match serving {
                    Serving::Handler => serve_by_handler(send, receive),
                    Serving::OneLoop => drop(tokio::spawn(answer(send, receive))),
                }
            }
        });
    }
}

fn serve_by_handler(send: SendStream, mut receive: RecvStream) {
    let (asked_tx, answers_rx) = handler();
    tokio::spawn(write(send, answers_rx));
    tokio::spawn(async move {
        let mut received = BytesMut::new();
        while let Ok(Some(chunk)) = receive.read_chunk(CHUNK_BYTES, true).await {
            received.extend_from_slice(&chunk.bytes);
            while let Some(request) = decode(&mut received) {
                asked_tx.send(request).await.expect("the handler runs");
            }
        }
    });
}

/// Writes frames, those that are ready together at once.
async fn write(mut send: SendStream, mut frames_rx: mpsc::Receiver<(u64, Bytes)>) {
    let (mut batch, mut out) = (Vec::new(), BytesMut::new());
    while frames_rx.recv_many(&mut batch, BATCH).await > 0 {
        batch.drain(..).for_each(|(correlation, body)| encode(correlation, &body, &mut out));
        if send.write_chunk(out.split().freeze()).await.is_err() {
            return;
        }
    }
}

async fn answer(mut send: SendStream, mut receive: RecvStream) {
    let (mut received, mut out) = (BytesMut::new(), BytesMut::new());
    while let Ok(Some(chunk)) = receive.read_chunk(CHUNK_BYTES, true).await {
        received.extend_from_slice(&chunk.bytes);
        while let Some((correlation, body)) = decode(&mut received) {
            encode(correlation, &body, &mut out);
        }
        if send.write_chunk(out.split().freeze()).await.is_err() {
            return;
        }
    }
}

async fn connect(address: &Address) -> (Endpoint, Connection) {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(address.certificate.clone()).expect("a certificate");
    let mut endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).expect("loopback has a free port");
    endpoint.set_default_client_config(ClientConfig::with_root_certificates(Arc::new(roots)).expect("roots"));
    let connecting = endpoint.connect(address.socket, "localhost").expect("an address");
    (endpoint, connecting.await.expect("the server lets us in"))
}

/// Concurrent callers over one connection.
pub(crate) struct Callers {
    waiting: Arc<Waiting>,
    frames_tx: mpsc::Sender<(u64, Bytes)>,
    _endpoint: Endpoint,
}

impl Callers {
    /// Connects to the server.
    pub(crate) async fn connect(address: &Address) -> Callers {
        let (endpoint, connection) = connect(address).await;
        let (send, mut receive) = connection.open_bi().await.expect("a stream");
        let waiting = Arc::new(Waiting::default());
        let (frames_tx, frames_rx) = mpsc::channel(BATCH);
        tokio::spawn(write(send, frames_rx));
        let replies = waiting.clone();
        tokio::spawn(async move {
            let mut received = BytesMut::new();
            while let Ok(Some(chunk)) = receive.read_chunk(CHUNK_BYTES, true).await {
                received.extend_from_slice(&chunk.bytes);
                while let Some((correlation, body)) = decode(&mut received) {
                    replies.end(correlation, body);
                }
            }
        });
        Callers { waiting, frames_tx, _endpoint: endpoint }
    }

    /// One call.
    pub(crate) async fn call(&self, body: Bytes) -> Bytes {
        let (correlation, reply_rx) = self.waiting.begin();
        self.frames_tx.send((correlation, body)).await.expect("the writer runs");
        reply(reply_rx).await
    }
}

/// A window of frames and no callers: one loop, the least that the library can do.
pub(crate) struct Window {
    send: SendStream,
    receive: RecvStream,
    received: BytesMut,
    _endpoint: Endpoint,
}

impl Window {
    /// Connects to the server.
    pub(crate) async fn connect(address: &Address) -> Window {
        let (endpoint, connection) = connect(address).await;
        let (send, receive) = connection.open_bi().await.expect("a stream");
        Window { send, receive, received: BytesMut::new(), _endpoint: endpoint }
    }

    /// Sends `count` frames at once.
    pub(crate) async fn send(&mut self, count: usize) {
        let mut out = BytesMut::new();
        (0..count).for_each(|i| encode(i as u64, &[5; FRAME_BYTES], &mut out));
        self.send.write_chunk(out.freeze()).await.expect("the connection holds");
    }

    /// Waits for replies; how many came.
    pub(crate) async fn receive(&mut self) -> usize {
        let mut count = 0;
        while count == 0 {
            let chunk = self.receive.read_chunk(CHUNK_BYTES, true).await.expect("the connection holds");
            self.received.extend_from_slice(&chunk.expect("the stream goes on").bytes);
            while decode(&mut self.received).is_some() {
                count += 1;
            }
        }
        count
    }
}
