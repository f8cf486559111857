//! What newcomers get wrong: each mistake ends with one line that says what it was, and the documented exit status.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

mod support;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use support::service;

/// Runs chord-kv, which must fail with `status` and one line that contains `text`.
#[track_caller]
fn fails(args: &[&str], status: i32, text: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chord-kv"));
    let output = command.args(args).env_remove("CHORD_PASSWORD").stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{args:?}: {said}");
    let is_one_line = said.starts_with("chord-kv: ") && said.lines().count() == 1;
    assert!(is_one_line && said.contains(text), "{args:?}: {said}");
}

/// A process that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An address where nobody listens.
fn nowhere() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

#[test]
fn a_wrong_port_and_a_ring_out_of_reach() {
    let (port, ring) = (nowhere(), format!("zmq://{}", nowhere()));
    let refused = format!("cannot connect to {port}: Connection refused");
    fails(&["get", "a", "--client", &port], 1, &refused);
    fails(&["status", "--client", &port], 1, &refused);
    let data = tempfile::NamedTempFile::new().unwrap();
    fails(&["load", data.path().to_str().unwrap(), "--client", &port], 1, &refused);
    let join = ["join", "--name", "n2", "--listen", "zmq://127.0.0.1:0", "--client", "127.0.0.1:0"];
    fails(
        &[&join[..], &["--known", &ring]].concat(),
        1,
        &format!("no ring reached: {ring} cannot be reached"),
    );
}

#[test]
fn a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let create = |listen: &str, client: &str, text: &str| {
        fails(&["create", "--name", "n1", "--listen", listen, "--client", client], 1, text);
    };
    create("zmq://127.0.0.1:0", &taken, &format!("--client {taken}: Address already in use"));
    let endpoint = format!("zmq://{taken}");
    create(&endpoint, "127.0.0.1:0", &format!("{endpoint}: Address already in use"));
}

#[test]
fn files_that_are_not_there_and_folders_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let (absent, file) = (path(folder.path(), "absent"), path(folder.path(), "file"));
    std::fs::write(&file, "").unwrap();
    let no_password = format!("--password-file {absent}: No such file");
    fails(&["get", "a", "--password-file", &absent], 2, &no_password);
    let create = ["create", "--name", "n1", "--listen", "zmq://127.0.0.1:0", "--client", "127.0.0.1:0"];
    fails(&[&create[..], &["--password-file", &absent]].concat(), 2, &no_password);
    fails(&["get", "a", "--password-file", &file], 2, "the first line, the password, is empty");
    // Permissions do not stop who runs tests as root; a file in the place of a folder stops everyone.
    let log = path(Path::new(&file), "log");
    fails(&[&create[..], &["--log-file", &log]].concat(), 2, &format!("--log-file {log}: Not a directory"));
    let authority = path(Path::new(&file), "ca");
    fails(&["certs", "ca", "--dir", &authority], 1, &format!("{authority}: Not a directory"));
    fails(&["load", &absent], 1, &format!("{absent}: No such file"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_above_the_limit() {
    let service = service().await;
    let address = service.address().to_string();
    // The longest argument that a process can be given is shorter than the limit of this ring.
    let data = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(data.path(), format!("key\t{}\n", "v".repeat((1 << 20) + 1))).unwrap();
    let put = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chord-kv"));
        command
            .args(["put", "key", "-", "--client", &address])
            .stdin(std::fs::File::open(data.path()).unwrap());
        command.output().unwrap()
    };
    let load = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chord-kv"));
        command.arg("load").arg(data.path()).args(["--client", &address]).output().unwrap()
    };
    for output in [put(), load()] {
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("the key or the value is longer than the ring allows"), "{said}");
    }
}

#[test]
fn certificates_of_another_authority() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| path(folder.path(), name);
    let certify = |ca: &str, name: &str| {
        for args in [
            vec!["certs", "ca", "--dir", ca],
            vec!["certs", "node", "--ca", ca, "--out", &at(name), "--name", name, "--host", "127.0.0.1"],
        ] {
            assert!(
                Command::new(env!("CARGO_BIN_EXE_chord-kv")).args(args).output().unwrap().status.success()
            );
        }
    };
    certify(&at("ca"), "n1");
    certify(&at("another"), "n2");
    let listen = ["--listen", "quic://127.0.0.1:0", "--client", "127.0.0.1:0"];
    let first = Command::new(env!("CARGO_BIN_EXE_chord-kv"))
        .args(["create", "--name", "n1", "--certs", &at("n1")])
        .args(listen)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut first = Killed(first.unwrap());
    let mut ready = String::new();
    BufReader::new(first.0.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let known = ready.rsplit(' ').next().unwrap().trim_end();
    let join = ["join", "--name", "n2", "--certs", &at("n2"), "--known", known];
    fails(&[&join[..], &listen].concat(), 1, "UnknownIssuer");
}

#[test]
fn no_clients_at_all() {
    let create = ["create", "--name", "n1", "--listen", "zmq://127.0.0.1:0", "--max-clients", "0"];
    let output = Command::new(env!("CARGO_BIN_EXE_chord-kv")).args(create).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("expected at least 1"), "{said}");
}

/// By then the node is a member, and what it holds would go with it.
#[test]
fn a_node_whose_ready_line_cannot_be_written_serves() {
    let client = nowhere();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let create = ["create", "--name", "n1", "--listen", "zmq://127.0.0.1:0", "--client", &client];
    let mut command = Command::new(env!("CARGO_BIN_EXE_chord-kv"));
    let child = command.args(create).stdout(full).stderr(Stdio::null()).spawn().unwrap();
    let _node = Killed(child);
    let deadline = std::time::Instant::now() + support::PATIENCE;
    loop {
        let put = ["put", "key", "value", "--client", &client];
        let output = Command::new(env!("CARGO_BIN_EXE_chord-kv")).args(put).output().unwrap();
        if output.status.success() {
            return;
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(std::time::Instant::now() < deadline, "it does not serve: {said}");
    }
}
