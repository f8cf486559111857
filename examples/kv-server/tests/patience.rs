//! Commands that wait for a node: to be ready, to answer.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Instant;

use chord::Chord;
use chord::transport::Transport;
use chord_kv::server::Settings;
use chord_transport_mem::Network;
use support::{config, loading};

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

#[test]
fn bench_stores_values_of_a_megabyte_beforehand() {
    let node = Node::start();
    let few = ["bench", "--connections", "1", "--rate", "10", "--duration", "1s"];
    let large = ["--value-size", "1000000", "--keys", "100"];
    assert_success(&command(&[&few[..], &large[..]].concat(), &node.client).output().unwrap());
}
