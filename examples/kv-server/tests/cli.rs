//! The binary: what it refuses, what it prints, how it ends.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use serde_json::Value;

fn chord_kv(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chord-kv")).args(args).env_remove("CHORD_PASSWORD").output().unwrap()
}

fn status(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A node of its own process; killed when it is dropped.
struct Node {
    child: Child,
    /// Its client port.
    client: String,
    endpoint: String,
}

impl Node {
    fn start(args: &[&str]) -> Node {
        let mut child = Command::new(env!("CARGO_BIN_EXE_chord-kv"))
            .args(args)
            .args(["--client", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let field = |name: &str| {
            let (_, rest) = line.split_once(name).unwrap_or_else(|| panic!("no {name} in {line:?}"));
            rest.split([',', '\n']).next().unwrap().to_owned()
        };
        Node { client: field("clients "), endpoint: field("hosts "), child }
    }

    /// Runs a command against it; returns its standard output.
    fn run(&self, args: &[&str], expected_status: i32) -> String {
        let output = chord_kv(&[args, &["--client", &self.client]].concat());
        assert_eq!(status(&output), expected_status, "{args:?}: {}{}", out(&output), err(&output));
        out(&output)
    }

    fn json(&self, args: &[&str], expected_status: i32) -> Value {
        serde_json::from_str(&self.run(&[args, &["--json"]].concat(), expected_status)).unwrap()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Its exit status.
    fn wait(&mut self) -> i32 {
        let deadline = Instant::now() + support::PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().expect("it ended by itself");
            }
            assert!(Instant::now() < deadline, "the node did not end");
            std::thread::yield_now();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

/// The fields without brackets that docs/cli.md lists for `command`.
fn documented(command: &str) -> BTreeSet<String> {
    let docs = include_str!("../../../docs/cli.md");
    let (_, section) = docs.split_once(&format!("#### JSON of `{command}`\n")).unwrap();
    let rows = section.lines().take_while(|line| line.starts_with('|'));
    let names = rows.filter_map(|row| Some(row.strip_prefix("| `")?.split_once('`')?.0));
    names.map(|name| name.trim_end_matches("[]").to_owned()).collect()
}

#[test]
fn every_command_has_help_and_mistakes_are_status_2() {
    for command in [
        "demo", "create", "join", "shutdown", "put", "get", "del", "explain", "ring", "fingers", "status",
        "check", "load", "verify", "certs", "bench",
    ] {
        let output = chord_kv(&[command, "--help"]);
        assert_eq!(status(&output), 0);
        assert!(out(&output).contains("Usage: chord-kv "), "{command}: {}", out(&output));
    }
    for mistake in [
        &["frobnicate"][..],
        &[],
        &["create"],
        &["get"],
        &["get", "a", "--client", "127.0.0.1:1,127.0.0.1:2"],
        &["get", "a", "--client", "127.0.0.1"],
        &["load", "file", "--client", "127.0.0.1:6380,localhost"],
        &["put", "a", "b", "--expire", "0"],
        &["put", "a", "b", "--expire", "0.5ms"],
        &["put", "a", "--if-absnet"],
        &["check", "--wait", "1s"],
        &["bench", "--read-share", "2"],
        &["create", "--name", "bad name", "--listen", "zmq://127.0.0.1:0"],
        &["create", "--name", "n", "--listen", "127.0.0.1:0"],
        &["create", "--name", "n", "--listen", "tcp://127.0.0.1:0", "--client", "127.0.0.1:0"],
        &["create", "--name", "n", "--listen", "zmq://127.0.0.1:0", "--replicas", "3"],
        &["create", "--name", "n", "--listen", "zmq://127.0.0.1:0", "--bits", "200"],
        &["create", "--name", "n", "--listen", "zmq://127.0.0.1:0", "--bits", "8", "--virtual-node", "a:256"],
        &[
            "create",
            "--name",
            "n",
            "--listen",
            "zmq://127.0.0.1:0",
            "--virtual-node",
            "a:1",
            "--virtual-nodes",
            "2",
        ],
        &["put", "a", "b", "--password-file", "/nonexistent"],
    ] {
        let output = chord_kv(mistake);
        assert_eq!(status(&output), 2, "{mistake:?}: {}", err(&output));
        assert!(!err(&output).is_empty());
    }
    assert_eq!(status(&chord_kv(&["ring", "--client", "127.0.0.1:1"])), 1);
}

#[test]
fn what_would_be_open_to_others_is_refused_with_the_way_out() {
    let quic =
        chord_kv(&["create", "--name", "n1", "--listen", "quic://127.0.0.1:0", "--client", "127.0.0.1:0"]);
    assert_eq!(status(&quic), 2);
    for line in [
        "chord-kv certs ca --dir ca",
        "chord-kv certs node --ca ca --out certs/n1 --name n1 --host 127.0.0.1",
        "--certs certs/n1",
    ] {
        assert!(err(&quic).contains(line), "{}", err(&quic));
    }
    let zmq = chord_kv(&["create", "--name", "n1", "--listen", "zmq://0.0.0.0:0", "--client", "127.0.0.1:0"]);
    assert_eq!((status(&zmq), err(&zmq).contains("--trusted-network")), (2, true), "{}", err(&zmq));
    let open =
        chord_kv(&["create", "--name", "n1", "--listen", "zmq://127.0.0.1:0", "--client", "0.0.0.0:0"]);
    assert_eq!((status(&open), err(&open).contains("--password-file")), (2, true), "{}", err(&open));
}

#[test]
fn certificates_are_private_and_never_overwritten_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (ca, out_dir) = (path("ca"), path("n1"));
    let ca_args = ["certs", "ca", "--dir", &ca];
    let node_args = ["certs", "node", "--ca", &ca, "--out", &out_dir, "--name", "n1", "--host", "127.0.0.1"];
    for args in [&ca_args[..], &node_args[..]] {
        assert_eq!(status(&chord_kv(args)), 0);
        let again = chord_kv(args);
        assert_eq!((status(&again), err(&again).contains("--force")), (1, true), "{}", err(&again));
    }
    let forced: Value =
        serde_json::from_str(&out(&chord_kv(&[&node_args[..], &["--force", "--json"]].concat()))).unwrap();
    assert_eq!(keys(&forced), documented("certs"));
    for key in ["ca/ca.key", "n1/node.key"] {
        let mode = std::fs::metadata(dir.path().join(key)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
    assert!(!Path::new(&path("n1/ca.key")).exists());
    let one = path("one");
    assert_eq!(status(&chord_kv(&["certs", "ca", "--dir", &one])), 0);
    assert_eq!(
        status(&chord_kv(&["certs", "node", "--dir", &one, "--name", "n1", "--host", "localhost"])),
        0
    );
    let mut node =
        Node::start(&["create", "--name", "n1", "--listen", "quic://127.0.0.1:0", "--certs", &one]);
    node.run(&["shutdown"], 0);
    assert_eq!(node.wait(), 0);
}

#[test]
fn a_node_is_used_and_ended_from_the_command_line() {
    let mut node =
        Node::start(&["create", "--name", "n1", "--listen", "zmq://127.0.0.1:0", "--ring", "books"]);
    assert_eq!(node.run(&["put", "a", "1"], 0), "OK\n");
    assert_eq!(node.run(&["put", "a", "2", "--if-absent"], 1), "not stored\n");
    assert_eq!(node.run(&["get", "a"], 0), "1\n");
    assert_eq!(node.run(&["get", "a", "--raw"], 0), "1");
    assert_eq!(node.run(&["get", "nothing"], 1), "");
    assert_eq!(node.run(&["del", "a", "nothing"], 0), "1\n");
    assert_eq!(node.run(&["put", "-1", "-5", "--expire", "1h"], 0), "OK\n");
    assert_eq!(node.run(&["get", "-1"], 0), "-5\n");
    assert_eq!(node.run(&["put", "a", "-2.5e3"], 0), "OK\n");
    assert_eq!(node.run(&["del", "a", "-1"], 0), "2\n");

    for (command, expected) in [
        (&["put", "k", "v", "--expire", "1h"][..], "put"),
        (&["get", "k"], "get"),
        (&["del", "none"], "del"),
        (&["bench", "--rate", "500", "--duration", "100ms", "--keys", "10"], "bench"),
        (&["check", "--settled", "--wait", "20s"], "check"),
    ] {
        assert_eq!(keys(&node.json(command, 0)), documented(expected));
    }
    assert_eq!(node.json(&["status"], 0)["ring"], "books");
    assert_eq!(node.json(&["ring"], 0).as_array().unwrap().len(), 8);
    assert_eq!(node.json(&["explain", "k"], 0)["owner"], "n1");
    assert_eq!(node.json(&["fingers"], 0).as_array().unwrap().len(), 8 * 160);
    for command in [&["status"][..], &["ring"], &["fingers"], &["explain", "k"], &["check"]] {
        assert!(!node.run(command, 0).contains('\x1b'), "colours in a pipe");
    }

    let refused = chord_kv(&["shutdown", "--client", &node.client]);
    assert_eq!(status(&refused), 1);
    assert!(err(&refused).contains("last host") && err(&refused).contains("--force"), "{}", err(&refused));
    assert_eq!(keys(&node.json(&["shutdown", "--force"], 0)), documented("shutdown"));
    assert_eq!(node.wait(), 0);
}

#[test]
fn files_are_loaded_and_verified() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("data.tsv");
    let path = file.to_str().unwrap();
    let mut text: String = (0..3000).map(|i| format!("k{}\tv{i}\tand a tab\n", i % 2500)).collect();
    std::fs::write(&file, &text).unwrap();
    let node = Node::start(&["create", "--name", "n1", "--listen", "zmq://127.0.0.1:0"]);
    let report = node.json(&["load", path], 0);
    assert_eq!(keys(&report), documented("load"));
    assert_eq!((report["lines"].as_u64(), report["failed"].as_u64()), (Some(3000), Some(0)));
    assert_eq!(node.run(&["verify", path], 0), "present 2500 missing 0 different 0\n");
    assert_eq!(node.run(&["get", "k3"], 0), "v2503\tand a tab\n");
    node.run(&["del", "k7"], 0);
    node.run(&["put", "k8", "other"], 0);
    assert_eq!(node.run(&["verify", path], 1), "present 2498 missing 1 different 1\n");
    assert_eq!(keys(&node.json(&["verify", path], 1)), documented("verify"));
    text.push_str("no tab here\n");
    std::fs::write(&file, &text).unwrap();
    let output = chord_kv(&["load", path, "--client", &node.client]);
    assert_eq!(
        (status(&output), err(&output).contains("line 3001 has no TAB")),
        (1, true),
        "{}",
        err(&output)
    );
}

#[test]
fn nodes_join_and_leave_by_command_and_by_signal() {
    let mut first = Node::start(&["create", "--name", "n1", "--listen", "zmq://127.0.0.1:0", "--bits", "64"]);
    let known = first.endpoint.clone();
    let join =
        |name| Node::start(&["join", "--name", name, "--listen", "zmq://127.0.0.1:0", "--known", &known]);
    let (mut second, mut third) = (join("n2"), join("n3"));
    for i in 0..50 {
        second.run(&["put", &format!("k{i}"), "v"], 0);
    }
    let other = chord_kv(&[
        "join",
        "--name",
        "n4",
        "--listen",
        "zmq://127.0.0.1:0",
        "--known",
        &known,
        "--bits",
        "32",
        "--client",
        "127.0.0.1:0",
    ]);
    assert_eq!((status(&other), err(&other).contains("bits is 64, not 32")), (1, true), "{}", err(&other));
    second.run(&["shutdown"], 0);
    assert_eq!(second.wait(), 0);
    third.signal("-TERM");
    assert_eq!(third.wait(), 0);
    for i in 0..50 {
        assert_eq!(first.run(&["get", &format!("k{i}")], 0), "v\n");
    }
    first.signal("-INT");
    assert_eq!(first.wait(), 0);
}

#[test]
fn a_joiner_compares_each_of_what_it_is_given_and_takes_the_rest_over() {
    let create =
        ["create", "--name", "n1", "--listen", "zmq://127.0.0.1:0", "--hash", "md5", "--bits", "100"];
    let first = Node::start(&create);
    let known = first.endpoint.clone();
    let join = |listen: &'static str, known: &str, expected: &[&'static str]| -> Vec<String> {
        let join = ["join", "--name", "n2", "--listen", listen, "--known", known];
        [&join, expected].concat().iter().map(|arg| (*arg).to_owned()).collect()
    };
    for (expected, difference) in [
        (["--hash", "sha1"], "the ring's hash is md5, not sha1"),
        (["--bits", "128"], "the ring's number of bits is 100, not 128"),
        (["--ring", "another"], "the ring's name is chord, not another"),
    ] {
        let mut args = join("zmq://127.0.0.1:0", &known, &expected);
        args.extend(["--client", "127.0.0.1:0"].map(str::to_owned));
        let output = chord_kv(&args.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!((status(&output), err(&output).contains(difference)), (1, true), "{}", err(&output));
    }
    let args = join("zmq://127.0.0.1:0", &known, &["--hash", "md5"]);
    let second = Node::start(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(second.json(&["status"], 0)["bits"], 100);
}

#[test]
fn a_password_keeps_strangers_out() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "secret\n").unwrap();
    let file = file.to_str().unwrap();
    let node =
        Node::start(&["create", "--name", "n1", "--listen", "zmq://127.0.0.1:0", "--password-file", file]);
    let stranger = chord_kv(&["put", "a", "1", "--client", &node.client]);
    assert_eq!(
        (status(&stranger), err(&stranger).contains("CHORD_PASSWORD")),
        (1, true),
        "{}",
        err(&stranger)
    );
    assert_eq!(node.run(&["put", "a", "1", "--password-file", file], 0), "OK\n");
    let known = Command::new(env!("CARGO_BIN_EXE_chord-kv"))
        .args(["get", "a", "--client", &node.client])
        .env("CHORD_PASSWORD", "secret")
        .output()
        .unwrap();
    assert_eq!(out(&known), "1\n");
}

#[test]
fn the_demo_ends_with_its_verdict_in_memory_and_over_quic() {
    for transport in ["mem", "quic"] {
        let output = chord_kv(&["demo", "--transport", transport, "--nodes", "3"]);
        let text = out(&output);
        assert_eq!(status(&output), 0, "{transport}: {text}{}", err(&output));
        assert_eq!(
            text.lines().last(),
            Some("verified 6000 keys: 0 missing, 0 different"),
            "{transport}: {text}"
        );
        assert!(!text.contains('\x1b'));
    }
    let output = chord_kv(&["demo", "--transport", "mem", "--nodes", "1", "--json"]);
    let verdict: Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(keys(&verdict), documented("demo"));
}
