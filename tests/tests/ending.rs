//! What is left of a node that has ended: no task, no socket, no file; and of one that was only frozen: everything.

use std::collections::HashMap;
use std::net::{TcpListener, UdpSocket};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chord::Endpoint;
use chord_tests::process::{Ring, Server, run, run_ok};
use chord_tests::ring::{Node, Wires, quick, settled, start};
use tokio::runtime::Runtime;

/// How long what ends in its own time may take.
const SOON: Duration = Duration::from_secs(10);
/// `leave` and `stop` have joined every task when they return. But tokio wakes who joins a task before it takes the
/// task off the list that it counts by, and its thread may lose the processor in between.
const A_MOMENT: Duration = Duration::from_secs(1);

/// Sockets are counted for the whole process, so one test runs at a time.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sockets that this process has open.
fn sockets() -> usize {
    let files = std::fs::read_dir("/proc/self/fd").expect("a process can list its files");
    let is_socket = |file: &std::fs::DirEntry| {
        std::fs::read_link(file.path()).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    };
    files.filter_map(Result::ok).filter(is_socket).count()
}

fn assert_soon(what: &str, holds: impl FnMut() -> bool) {
    assert_within(SOON, what, holds);
}

fn assert_within(patience: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {patience:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether nobody listens at `endpoint`, so that it can be listened on again.
fn is_free(endpoint: &str) -> bool {
    match endpoint.split_once("://") {
        Some(("quic", address)) => UdpSocket::bind(address).is_ok(),
        Some(("mem", _)) => true,
        Some((_, address)) => TcpListener::bind(address).is_ok(),
        None => TcpListener::bind(endpoint).is_ok(),
    }
}

fn scheme_and_address(endpoint: &Endpoint) -> String {
    format!("{}://{}", endpoint.scheme(), endpoint.address())
}

/// A node on a runtime of its own, so that the tasks there are its own.
struct Alone {
    runtime: Runtime,
    node: Node,
}

impl Alone {
    fn start(runtime: Runtime, wires: &Wires, known: &[Endpoint], name: &str) -> Alone {
        let node = runtime.block_on(start(wires, known, quick(name)));
        Alone { runtime, node }
    }

    fn tasks(&self) -> usize {
        self.runtime.metrics().num_alive_tasks()
    }
}

/// Three nodes with keys: one leaves, one is stopped, one is dropped.
fn nothing_is_left(wires: &Wires) {
    let _turn = alone();
    let runtimes = [(); 3].map(|()| Runtime::new().expect("a runtime"));
    let before = sockets();
    let [one, two, three] = runtimes;
    let first = Alone::start(one, wires, &[], "first");
    let known = [first.node.endpoint().clone()];
    let second = Alone::start(two, wires, &known, "second");
    let third = Alone::start(three, wires, &known, "third");
    first.runtime.block_on(settled(&first.node, 3));
    first.runtime.block_on(async {
        for i in 0..500 {
            first.node.put(format!("key {i}"), format!("value {i}")).await.expect("the ring serves");
        }
    });
    for node in [&first, &second, &third] {
        assert!(node.tasks() > 0, "a node has tasks to count");
    }

    third.runtime.block_on(third.node.leave()).expect("two hosts take what it had");
    assert_within(A_MOMENT, "no task after leave", || third.tasks() == 0);
    assert!(is_free(&scheme_and_address(third.node.endpoint())), "after leave");
    first.runtime.block_on(async {
        for i in 0..500 {
            let value = first.node.get(format!("key {i}")).await.expect("the ring serves");
            assert_eq!(value.as_deref(), Some(format!("value {i}").as_bytes()));
        }
    });

    second.runtime.block_on(second.node.stop());
    assert_within(A_MOMENT, "no task after stop", || second.tasks() == 0);
    assert!(is_free(&scheme_and_address(second.node.endpoint())), "after stop");

    let Alone { runtime, node } = first;
    let endpoint = scheme_and_address(node.endpoint());
    let clone = node.clone();
    drop(node);
    assert!(runtime.metrics().num_alive_tasks() > 0, "a node lives as long as one of its handles");
    drop(clone);
    assert_soon("the last drop ends every task", || runtime.metrics().num_alive_tasks() == 0);
    assert_soon("the last drop frees the address", || is_free(&endpoint));
    assert_soon("every socket is closed", || sockets() == before);
}

#[test]
fn in_memory_nothing_is_left_of_a_node() {
    nothing_is_left(&Wires::mem());
}

#[test]
fn over_zeromq_nothing_is_left_of_a_node() {
    nothing_is_left(&Wires::zmq());
}

#[test]
fn over_quic_nothing_is_left_of_a_node() {
    nothing_is_left(&Wires::quic());
}

fn entries(folder: &tempfile::TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path()).expect("the folder is there");
    entries.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned()).collect()
}

/// One node leaves on Ctrl-C, then the last one ends on Ctrl-C.
fn ctrl_c_leaves_nothing_behind(ring: Ring) {
    let _turn = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let ring = ring.working_in(folder.path());
    let (mut first, mut second) = pair(&ring);
    run_ok(&["put", "kept", "value", "--client", &second.client]);
    for server in [&mut second, &mut first] {
        assert!(!is_free(&server.endpoint) && !is_free(&server.client), "it listens");
        server.signal("INT");
        let status = server.wait();
        assert!(status.success(), "Ctrl-C is a wish, not a failure: {status}\n{}", server.log());
        assert!(is_free(&server.endpoint) && is_free(&server.client), "{} left a socket", server.name);
        assert_eq!(entries(&folder), Vec::<String>::new(), "{} left files", server.name);
    }
}

#[test]
fn ctrl_c_leaves_no_socket_and_no_file_over_zeromq() {
    ctrl_c_leaves_nothing_behind(Ring::zmq());
}

#[test]
fn ctrl_c_leaves_no_socket_and_no_file_over_quic() {
    ctrl_c_leaves_nothing_behind(Ring::quic());
}

#[test]
fn a_second_ctrl_c_ends_a_node_at_once() {
    let _turn = alone();
    let ring = Ring::zmq();
    let (first, mut second) = pair(&ring);
    for i in 0..20 {
        run_ok(&["put", &format!("key {i}"), "value", "--client", &first.client]);
    }
    // Nobody takes what it wants to hand over, so its leave lasts.
    first.signal("STOP");
    second.signal("INT");
    assert_soon("it leaves", || second.log().contains("leaving the ring"));
    assert!(second.is_running(), "{}", second.log());
    // One that comes within moments of the first counts as the same.
    assert_soon("it ends", || {
        second.signal("INT");
        !second.is_running()
    });
    assert_eq!(second.wait().code(), Some(1), "{}", second.log());
    assert!(second.log().contains("ended at once"), "{}", second.log());
    first.signal("CONT");
}

/// A terminal and a supervisor that pass on one Ctrl-C.
#[test]
fn two_signals_at_the_same_moment_are_one() {
    let _turn = alone();
    let ring = Ring::zmq();
    let (first, mut second) = pair(&ring);
    let file = keys(200);
    let path = file.path().display().to_string();
    run_ok(&["load", &path, "--client", &first.client]);
    // Nobody takes what it wants to hand over, so its leave lasts.
    first.signal("STOP");
    let id = second.id();
    let both = Command::new("sh").args(["-c", &format!("kill -INT {id}; kill -TERM {id}")]).status();
    assert!(both.expect("kill runs").success());
    assert_soon("it leaves", || second.log().contains("leaving the ring"));
    first.signal("CONT");
    assert!(second.wait().success(), "{}", second.log());
    run_ok(&["verify", &path, "--client", &first.client]);
}

/// Two hosts that form a ring.
fn pair(ring: &Ring) -> (Server, Server) {
    let first = ring.create("n1");
    let second = ring.join("n2", &first);
    first.await_settled_ring(2);
    (first, second)
}

/// Keys and their values, as `load` takes them.
fn keys(count: usize) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text: String = (0..count).map(|i| format!("key:{i}\tvalue {i}\n")).collect();
    std::fs::write(file.path(), text).expect("the file can be written");
    file
}

/// Whether `server` knows no virtual node but its own.
fn misses_all_others(server: &Server) -> bool {
    let json = run_ok(&["status", "--json", "--client", &server.client]);
    let status: serde_json::Value = serde_json::from_str(&json).expect("status prints JSON");
    let nodes = status["virtual_nodes"].as_array().expect("a list");
    let own: Vec<&serde_json::Value> = nodes.iter().map(|node| &node["id"]).collect();
    let is_own = |id: &serde_json::Value| id.is_null() || own.contains(&id);
    nodes.iter().all(|node| {
        let successors = node["successors"].as_array().expect("a list");
        successors.iter().all(is_own) && is_own(&node["predecessor"])
    })
}

/// The only other host pauses until it is taken for dead, then the signal comes, then the other one goes on.
fn a_node_waits_for_a_silent_heir(ring: Ring) {
    let _turn = alone();
    let (first, mut second) = pair(&ring);
    let file = keys(500);
    let path = file.path().display().to_string();
    run_ok(&["load", &path, "--client", &first.client]);
    first.signal("STOP");
    assert_soon("the silent host is missed", || misses_all_others(&second));
    second.signal("TERM");
    assert_soon("it tries to leave", || second.log().contains("no other host answers"));
    assert!(second.is_running(), "{}", second.log());
    first.signal("CONT");
    assert!(second.wait().success(), "{}", second.log());
    run_ok(&["verify", &path, "--client", &first.client]);
}

#[test]
fn a_node_told_to_end_waits_for_its_only_heir_over_zeromq() {
    a_node_waits_for_a_silent_heir(Ring::zmq());
}

#[test]
fn a_node_told_to_end_waits_for_its_only_heir_over_quic() {
    a_node_waits_for_a_silent_heir(Ring::quic());
}

#[test]
fn a_node_whose_only_heir_is_dead_ends_with_a_failure() {
    let _turn = alone();
    let ring = Ring::zmq();
    let (mut first, mut second) = pair(&ring);
    run_ok(&["load", &keys(500).path().display().to_string(), "--client", &first.client]);
    first.signal("KILL");
    first.wait();
    second.signal("TERM");
    assert_eq!(second.wait().code(), Some(1), "{}", second.log());
    let log = second.log();
    let told = log.lines().find(|line| line.starts_with("chord-kv: ended without")).unwrap_or_default();
    assert!(told.contains(" entries that it held are gone"), "{log}");
}

/// The last one is left the whole circle by the others, in order, and waits for nobody.
#[test]
fn hosts_that_are_all_told_to_end_end() {
    let _turn = alone();
    let ring = Ring::zmq();
    let (mut first, mut second) = pair(&ring);
    run_ok(&["load", &keys(500).path().display().to_string(), "--client", &first.client]);
    first.signal("TERM");
    second.signal("TERM");
    for server in [&mut first, &mut second] {
        let status = server.wait();
        assert!(status.success(), "{status}\n{}", server.log());
    }
}

fn owner(key: &str, server: &Server) -> String {
    let json = run_ok(&["explain", key, "--json", "--client", &server.client]);
    let explanation: serde_json::Value = serde_json::from_str(&json).expect("explain prints JSON");
    let explanation = explanation.get(0).unwrap_or(&explanation);
    explanation["owner"].as_str().unwrap_or_else(|| panic!("an owner: {json}")).to_owned()
}

/// One of three is frozen for some seconds: its keys alone are unavailable, and only as long.
fn a_frozen_node_comes_back(ring: Ring) {
    let _turn = alone();
    let first = ring.create("n1");
    let second = ring.join("n2", &first);
    let frozen = ring.join("n3", &first);
    first.await_settled_ring(3);
    let mut owned: HashMap<String, Vec<String>> = HashMap::new();
    for i in 0..40 {
        let key = format!("key:{i}");
        run_ok(&["put", &key, &format!("value of {key}"), "--client", &second.client]);
        owned.entry(owner(&key, &first)).or_default().push(key);
    }
    let of = |host: &str| owned.get(host).cloned().unwrap_or_default();
    assert!(of("n3").len() > 1, "each of three hosts owns some of 40 keys: {owned:?}");
    let assert_readable = |key: &str, server: &Server| {
        let value = run_ok(&["get", key, "--client", &server.client]);
        assert_eq!(value.trim_end(), format!("value of {key}"));
    };

    frozen.signal("STOP");
    // The first round comes while it is missed, the second once it is taken for dead.
    for key in of("n3").iter().take(2) {
        std::thread::scope(|scope| {
            for server in [&first, &second] {
                scope.spawn(move || assert_unavailable(key, server));
            }
            for key in of("n1").iter().chain(&of("n2")) {
                assert_readable(key, &first);
                assert_readable(key, &second);
            }
        });
    }
    frozen.signal("CONT");

    first.await_settled_ring(3);
    for key in owned.values().flatten() {
        for server in [&first, &second, &frozen] {
            assert_readable(key, server);
        }
    }
}

fn assert_unavailable(key: &str, server: &Server) {
    let output = run(&["get", key, "--client", &server.client]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{key}: {said}");
    assert!(said.contains("CLUSTERDOWN") || said.contains("TIMEOUT"), "{key}: {said:?}");
}

#[test]
fn a_frozen_node_takes_its_keys_up_again_over_zeromq() {
    a_frozen_node_comes_back(Ring::zmq());
}

#[test]
fn a_frozen_node_takes_its_keys_up_again_over_quic() {
    a_frozen_node_comes_back(Ring::quic());
}
