//! Commands that wait for a node: to be ready, to answer, to be gone.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chord::Chord;
use chord::transport::Transport;
use chord_kv::server::Settings;
use chord_transport_mem::Network;
use support::{config, loading};

const MIB: usize = 1 << 20;

fn command(args: &[&str], address: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chord-kv"));
    command.args(args).args(["--client", address]).env_remove("CHORD_PASSWORD").stdin(Stdio::null());
    command
}

#[track_caller]
fn assert_success(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stdout));
}

/// A node of its own process, alone in its ring; killed when it is dropped.
struct Node {
    child: Child,
    client: String,
}

impl Node {
    fn start() -> Node {
        let create = ["create", "--name", "n1", "--listen", "zmq://127.0.0.1:0"];
        let mut command = command(&create, "127.0.0.1:0");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (_, rest) = line.split_once("clients ").unwrap_or_else(|| panic!("not ready: {line:?}"));
        Node { client: rest.split(',').next().unwrap().to_owned(), child }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_waits_for_a_node_that_is_joining() {
    let service = loading(Settings::default());
    let address = service.address().to_string();
    let mut check = command(&["check", "--settled", "--wait", "20s"], &address);
    let check = check.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + support::PATIENCE;
    while service.counters().errors() == 0 {
        assert!(Instant::now() < deadline, "nobody asks");
        tokio::task::yield_now().await;
    }
    let transport: Arc<dyn Transport> = Arc::new(Network::new(1).listen("n1"));
    service.open(Chord::create(transport, config("n1")).await.unwrap());
    let output = tokio::task::spawn_blocking(move || check.wait_with_output().unwrap()).await.unwrap();
    assert_success(&output);
}

/// A client that does not read its replies keeps the process for up to two seconds.
#[test]
fn shutdown_returns_when_the_process_has_gone() {
    let mut node = Node::start();
    let mut client = TcpStream::connect(&node.client).unwrap();
    client.write_all(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", 8 * MIB).as_bytes()).unwrap();
    client.write_all(&vec![b'v'; 8 * MIB]).unwrap();
    client.write_all(b"\r\n").unwrap();
    client.write_all(&b"GET k\r\n".repeat(8)).unwrap();
    // A reply has begun, and the rest does not fit into what the sockets hold.
    let mut begun = [0; 6];
    client.read_exact(&mut begun).unwrap();
    assert_eq!(&begun, b"+OK\r\n$");
    assert_success(&command(&["shutdown", "--force"], &node.client).output().unwrap());
    let deadline = Instant::now() + Duration::from_secs(1);
    while node.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "the process is still there");
        std::thread::yield_now();
    }
}

#[test]
fn bench_stores_values_of_a_megabyte_beforehand() {
    let node = Node::start();
    let few = ["bench", "--connections", "1", "--rate", "10", "--duration", "1s"];
    let large = ["--value-size", "1000000", "--keys", "100"];
    assert_success(&command(&[&few[..], &large[..]].concat(), &node.client).output().unwrap());
}
