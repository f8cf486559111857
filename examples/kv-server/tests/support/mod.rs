//! A service on a ring of one, and a connection that shows the bytes.

#![allow(dead_code, reason = "each test file uses a part")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chord::transport::Transport;
use chord::{Chord, Config};
use chord_kv::node::Node;
use chord_kv::server::{self, Service, Settings};
use chord_transport_mem::Network;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A node's configuration with limits that tests can reach.
pub(crate) fn config(name: &str) -> Config {
    Config { max_key_bytes: 1 << 10, max_value_bytes: 1 << 20, ..Config::named(name) }
}

/// A service whose node is not yet part of a ring.
pub(crate) fn loading(settings: Settings) -> Arc<Service> {
    let listener = server::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let service = Service::new(settings, listener.local_addr().unwrap());
    tokio::spawn(server::serve(listener, service.clone()));
    service
}

/// A service on a ring of one.
pub(crate) async fn service_with(settings: Settings) -> Arc<Service> {
    let service = loading(settings);
    let transport: Arc<dyn Transport> = Arc::new(Network::new(1).listen("n1"));
    service.open(Chord::create(transport, config("n1")).await.unwrap());
    service
}

/// A service on a ring of two, and the other host, which has no service.
pub(crate) async fn service_of_two(settings: Settings) -> (Arc<Service>, Node) {
    let service = loading(settings);
    let network = Network::new(1);
    let listen = |name: &str| -> Arc<dyn Transport> { Arc::new(network.listen(name)) };
    let first = Chord::create(listen("n1"), config("n1")).await.unwrap();
    let known = [first.endpoint().clone()];
    let second = Chord::join(listen("n2"), &known, config("n2")).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !first.check().await.is_ok_and(|report| report.hosts == 2 && report.is_settled()) {
        assert!(Instant::now() < deadline, "the ring does not settle");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    service.open(first);
    (service, second)
}

/// A key that the host `owner` owns.
pub(crate) async fn key_of(node: &Node, owner: &str) -> String {
    for i in 0..1000 {
        let key = format!("key{i}");
        if node.explain(&key).await.unwrap().owner == owner {
            return key;
        }
    }
    panic!("{owner} owns no key")
}

/// A service on a ring of one with the default settings.
pub(crate) async fn service() -> Arc<Service> {
    service_with(Settings::default()).await
}

/// A connection that compares bytes.
pub(crate) struct Raw {
    stream: TcpStream,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Raw {
        Raw { stream: TcpStream::connect(address).await.unwrap() }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends a command whose arguments are separated by blanks; `""` is an empty one.
    pub(crate) async fn command(&mut self, command: &str) {
        let args: Vec<&[u8]> =
            command.split(' ').map(|arg| if arg == "\"\"" { b"" } else { arg.as_bytes() }).collect();
        let mut out = Vec::new();
        chord_kv::client::encode(&mut out, &args);
        self.send(&out).await;
    }

    /// Reads as many bytes as `expected` has and compares them.
    #[track_caller]
    pub(crate) fn expect<'a>(
        &'a mut self,
        what: &'a str,
        expected: &'a str,
    ) -> impl Future<Output = ()> + 'a {
        let at = std::panic::Location::caller();
        async move {
            let mut got = Vec::new();
            let complete = timeout(PATIENCE, async {
                while got.len() < expected.len() {
                    let mut piece = vec![0; expected.len() - got.len()];
                    match self.stream.read(&mut piece).await {
                        Ok(0) | Err(_) => break,
                        Ok(read) => got.extend_from_slice(&piece[..read]),
                    }
                    if !expected.as_bytes().starts_with(&got) {
                        // What else has come shows what went wrong.
                        let mut rest = vec![0; 400];
                        if let Ok(Ok(read)) =
                            timeout(Duration::from_millis(100), self.stream.read(&mut rest)).await
                        {
                            got.extend_from_slice(&rest[..read]);
                        }
                        break;
                    }
                }
            });
            let _ = complete.await;
            assert_eq!(String::from_utf8_lossy(&got), expected, "reply to {what:?} at {at}");
        }
    }

    /// Runs a command and compares its reply.
    pub(crate) async fn check(&mut self, command: &str, expected: &str) {
        self.command(command).await;
        self.expect(command, expected).await;
    }

    /// Runs a command that answers by an integer.
    pub(crate) async fn integer(&mut self, command: &str) -> i64 {
        self.command(command).await;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let byte = timeout(PATIENCE, self.stream.read_u8()).await;
            line.push(byte.expect("a reply comes in time").expect("the connection stays open"));
        }
        let text = String::from_utf8_lossy(&line);
        let number = text.trim_end().strip_prefix(':').and_then(|number| number.parse().ok());
        number.unwrap_or_else(|| panic!("{command}: {text}"))
    }

    /// Everything until the server closes the connection.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let read = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await;
        assert!(
            read.is_ok(),
            "the server did not close the connection after {}",
            String::from_utf8_lossy(&rest)
        );
        String::from_utf8_lossy(&rest).into_owned()
    }
}
