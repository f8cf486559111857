//! `chord-kv` as its users run it: several processes, files of keys, joins, leaves and crashes.

use std::fmt::Write as _;

use chord_tests::process::{Ring, Server, run, run_ok};

const KEYS: usize = 100_000;

fn data(keys: usize, round: &str) -> tempfile::NamedTempFile {
    let mut text = String::new();
    for i in 0..keys {
        writeln!(text, "user:{i}\tvalue {i} of {round}").expect("a string can be written to");
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("the file can be written");
    file
}

fn ports(servers: &[Server]) -> String {
    servers.iter().map(|server| server.client.as_str()).collect::<Vec<_>>().join(",")
}

/// 100,000 keys through three ports; a second load while one node joins and one leaves; nothing is missing.
fn a_load_survives_a_join_and_a_leave(ring: Ring) {
    let mut servers = vec![ring.create("n1")];
    for name in ["n2", "n3", "n4", "n5"] {
        let server = ring.join(name, &servers[0]);
        servers.push(server);
    }
    servers[0].await_settled_ring(5);
    let (first, second) = (data(KEYS, "the first load"), data(KEYS, "the second load"));
    let path = |file: &tempfile::NamedTempFile| file.path().display().to_string();
    run_ok(&["load", &path(&first), "--client", &ports(&servers[..3])]);
    run_ok(&["verify", &path(&first), "--client", &servers[4].client]);

    let (through, file) = (ports(&servers[..3]), path(&second));
    let load = std::thread::spawn(move || run_ok(&["load", &file, "--client", &through]));
    let joined = ring.join("n6", &servers[0]);
    let mut leaver = servers.remove(3);
    run_ok(&["shutdown", "--client", &leaver.client]);
    assert!(leaver.wait().success(), "a graceful leave is no failure\n{}", leaver.log());
    load.join().expect("the load succeeds");

    let verdict = run_ok(&["verify", &path(&second), "--client", &joined.client]);
    assert!(verdict.contains(&format!("present {KEYS} missing 0 different 0")), "{verdict}");
    joined.await_settled_ring(5);
}

#[test]
fn five_processes_over_quic_lose_nothing_while_one_joins_and_one_leaves() {
    a_load_survives_a_join_and_a_leave(Ring::quic());
}

#[test]
fn five_processes_over_zeromq_lose_nothing_while_one_joins_and_one_leaves() {
    a_load_survives_a_join_and_a_leave(Ring::zmq());
}

#[test]
fn a_terminated_node_hands_its_keys_over_before_it_goes() {
    let ring = Ring::zmq();
    let first = ring.create("n1");
    let mut second = ring.join("n2", &first);
    first.await_settled_ring(2);
    let file = data(2_000, "now");
    let path = file.path().display().to_string();
    run_ok(&["load", &path, "--client", &second.client]);
    second.signal("TERM");
    assert!(second.wait().success(), "{}", second.log());
    run_ok(&["verify", &path, "--client", &first.client]);
    first.await_settled_ring(1);
}

#[test]
fn the_ring_heals_around_a_killed_node_and_says_what_is_unavailable() {
    let ring = Ring::quic();
    let first = ring.create("n1");
    let second = ring.join("n2", &first);
    let mut third = ring.join("n3", &first);
    first.await_settled_ring(3);
    let file = data(1_000, "now");
    let path = file.path().display().to_string();
    run_ok(&["load", &path, "--client", &first.client]);
    third.signal("KILL");
    third.wait();
    let verdict = run(&["verify", &path, "--client", &second.client]);
    let text =
        String::from_utf8_lossy(&verdict.stdout).into_owned() + &String::from_utf8_lossy(&verdict.stderr);
    assert_eq!(verdict.status.code(), Some(1), "{text}");
    assert!(text.contains("CLUSTERDOWN"), "a dead owner's keys are unavailable, not absent: {text}");

    // Under its name it is let in again, empty; the ring's links are whole.
    let third = ring.join("n3", &first);
    let report = run_ok(&["check", "--client", &third.client]);
    assert!(report.contains("safe"), "{report}");
}

#[test]
fn the_last_host_with_keys_stays_unless_forced() {
    let mut only = Ring::zmq().create("n1");
    run_ok(&["put", "k", "v", "--client", &only.client]);
    let refused = run(&["shutdown", "--client", &only.client]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(only.is_running());
    run_ok(&["shutdown", "--force", "--client", &only.client]);
    assert!(only.wait().success());
}
