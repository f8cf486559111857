//! A node of chord-kv beside redis-server under the same load of redis-benchmark, in turns; then a ring of three
//! nodes, where two keys of three are one hop away.
//!
//! `cargo bench -p chord-tests --bench resp [-- --json --rounds N]`. Needs `redis-server` and `redis-benchmark`
//! (Debian: redis-server, redis-tools) in the path; says so and ends well without them. Keys of 16 bytes, values of 128,
//! every key stored before it is read.

#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod support;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chord_tests::process::{Ring, free_port};
use support::{Arguments, Better, Figure, Goal, print};

const CONNECTIONS: usize = 50;
const KEYS: usize = 100_000;
const PATIENCE: Duration = Duration::from_secs(10);

fn main() {
    let arguments = Arguments::parse(7);
    if !is_installed("redis-server") || !is_installed("redis-benchmark") {
        println!("resp: skipped, redis-server and redis-benchmark are not installed");
        return;
    }
    if !arguments.full {
        println!("resp: skipped, it runs under cargo bench only");
        return;
    }
    let redis = Redis::start();
    let mut figures = Vec::new();
    let alone = Ring::zmq().create("alone");
    compare("one node", alone.port(), redis.port, &arguments, &mut figures);
    drop(alone);

    let ring = Ring::zmq();
    let first = ring.create("n1");
    let _others = [ring.join("n2", &first), ring.join("n3", &first)];
    first.await_settled();
    compare("three nodes, one asked", first.port(), redis.port, &arguments, &mut figures);
    print(&figures, &arguments);
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// redis-server without persistence, ended when dropped.
struct Redis {
    port: u16,
    process: Child,
}

impl Redis {
    fn start() -> Redis {
        let port = free_port();
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        let process = command.stdout(Stdio::null()).spawn().expect("redis-server starts");
        let deadline = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not get ready");
            std::thread::yield_now();
        }
        Redis { port, process }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn compare(place: &str, ours: u16, redis: u16, arguments: &Arguments, figures: &mut Vec<Figure>) {
    for port in [ours, redis] {
        load(port, "set", 16, 8 * KEYS);
    }
    let goals = if place == "one node" { [Goal::Cost(1.0 / 0.9), Goal::Cost(1.0)] } else { [Goal::None; 2] };
    for ((pipeline, requests), goal) in [(1, KEYS), (16, 8 * KEYS)].into_iter().zip(goals) {
        for command in ["set", "get"] {
            let name = format!("{command}, pipeline {pipeline}, {place}");
            let mut figure = Figure::new(name, "/s", Better::Higher, "redis", goal);
            for _ in 0..arguments.rounds {
                let ours = load(ours, command, pipeline, requests);
                figure.add(ours, load(redis, command, pipeline, requests));
            }
            figures.push(figure);
        }
    }
}

/// Operations in a second.
fn load(port: u16, command: &str, pipeline: usize, requests: usize) -> f64 {
    let mut benchmark = Command::new("redis-benchmark");
    benchmark.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-t", command, "--csv", "-d", "128"]);
    let numbers = [("-c", CONNECTIONS), ("-P", pipeline), ("-n", requests), ("-r", KEYS)];
    for (option, number) in numbers {
        benchmark.args([option, &number.to_string()]);
    }
    let output = benchmark.output().expect("redis-benchmark runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let row = text.lines().find(|line| line.to_lowercase().starts_with(&format!("\"{command}\"")));
    let rate = row.and_then(|row| row.split(',').nth(1)?.trim_matches('"').parse().ok());
    rate.unwrap_or_else(|| panic!("redis-benchmark: {text}\n{}", String::from_utf8_lossy(&output.stderr)))
}
