//! Clients that ask for much and read slowly: the service holds a bounded part of what they asked for.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use chord_tests::process::{Ring, Server};

const MIB: usize = 1 << 20;
/// The largest value that a ring takes unless told otherwise.
const VALUE_BYTES: usize = 16 * MIB;
/// Keys of large values. On a ring of two hosts each owns some of them.
const KEYS: usize = 8;
/// Commands that a client sends before it reads: four times the largest group that is run at once.
const COMMANDS: usize = 64;
/// How long any answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client that reads as little as it wants to.
struct Client {
    requests: TcpStream,
    replies: BufReader<TcpStream>,
}

impl Client {
    fn connect(server: &Server) -> Client {
        let requests = TcpStream::connect(&server.client).expect("the client port is open");
        requests.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let replies =
            BufReader::with_capacity(16 << 10, requests.try_clone().expect("a stream has two ends"));
        Client { requests, replies }
    }

    fn send(&mut self, request: &[u8]) {
        self.requests.write_all(request).expect("requests are taken");
    }

    fn expect(&mut self, expected: &str) {
        let mut reply = vec![0; expected.len()];
        self.replies.read_exact(&mut reply).expect("a reply comes");
        assert_eq!(String::from_utf8_lossy(&reply), expected);
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.replies.read_line(&mut line).expect("a reply comes");
        line
    }

    /// Reads a value of nothing but `byte`, piece by piece.
    fn expect_value(&mut self, byte: u8) {
        self.expect(&format!("${VALUE_BYTES}\r\n"));
        self.expect_bytes(byte);
    }

    fn expect_bytes(&mut self, byte: u8) {
        let mut piece = [0; 16 << 10];
        for _ in 0..VALUE_BYTES / piece.len() {
            self.replies.read_exact(&mut piece).expect("the value goes on");
            assert!(piece.iter().all(|read| *read == byte), "another key's value");
        }
        self.expect("\r\n");
    }
}

/// Stores the keys of large values.
fn store_large(client: &mut Client) {
    for key in 0..KEYS {
        client.send(format!("*3\r\n$3\r\nSET\r\n$6\r\nlarge{key}\r\n${VALUE_BYTES}\r\n").as_bytes());
        client.send(&vec![byte_of(key); VALUE_BYTES]);
        client.send(b"\r\n");
        client.expect("+OK\r\n");
    }
}

fn byte_of(key: usize) -> u8 {
    b'a' + (key % KEYS) as u8
}

/// Pipelines `COMMANDS` reads of large values, and returns how much more memory the server held at most than before.
fn cost_of_large_reads(server: &Server) -> usize {
    let mut client = Client::connect(server);
    store_large(&mut client);
    // Replies that are small let the groups grow in which commands are run.
    for _ in 0..4 {
        client.send(&b"GET absent\r\n".repeat(COMMANDS));
        client.expect(&"$-1\r\n".repeat(COMMANDS));
    }
    let before = server.peak_memory_bytes();
    let gets: String = (0..COMMANDS).map(|key| format!("GET large{}\r\n", key % KEYS)).collect();
    client.send(gets.as_bytes());
    for key in 0..COMMANDS {
        client.expect_value(byte_of(key));
    }
    // The kernel counts pages a little late.
    let growth = server.peak_memory_bytes().saturating_sub(before) as usize;
    println!("{} MiB, then {} MiB more", before as usize / MIB, growth / MIB);
    growth
}

#[test]
fn large_values_of_this_host_cost_no_memory_while_they_are_read() {
    let server = Ring::zmq().create("n1");
    let growth = cost_of_large_reads(&server);
    assert!(growth < 2 * VALUE_BYTES, "{} MiB", growth / MIB);
}

#[test]
fn large_values_of_another_host_cost_what_one_connection_may_hold() {
    let ring = Ring::zmq().with(&["--reply-memory", "64"]);
    let first = ring.create("n1");
    let _second = ring.join("n2", &first);
    first.await_settled_ring(2);
    let growth = cost_of_large_reads(&first);
    // On its way from the other host a value is held twice: in the transport's buffer and as a message.
    assert!(growth < 3 * 64 * MIB, "{} MiB", growth / MIB);
}

#[test]
fn many_clients_that_ask_for_large_values_of_another_host_share_the_memory_for_clients() {
    const CLIENT_MEMORY: usize = 64 * MIB;
    const CLIENTS: usize = 40;
    let ring = Ring::zmq().with(&["--client-memory", "64"]);
    let first = ring.create("n1");
    let second = ring.join("n2", &first);
    first.await_settled_ring(2);
    store_large(&mut Client::connect(&second));
    let before = first.peak_memory_bytes();
    let gets: String = (0..4).map(|key| format!("GET large{key}\r\n")).collect();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(&first)).collect();
    for client in &mut clients {
        client.send(gets.as_bytes());
    }
    let (mut values, mut refused) = (0, 0);
    for client in &mut clients {
        for key in 0..4 {
            match client.line().as_str() {
                line if line.starts_with("-BUSY ") => refused += 1,
                line => {
                    assert_eq!(line, format!("${VALUE_BYTES}\r\n"));
                    client.expect_bytes(byte_of(key));
                    values += 1;
                }
            }
        }
        client.send(b"PING\r\n");
        client.expect("+PONG\r\n");
    }
    let growth = first.peak_memory_bytes().saturating_sub(before) as usize;
    println!("{values} values, {refused} refused, {} MiB more", growth / MIB);
    assert!(values > 0 && refused > 0, "{values} values, {refused} refused");
    // On its way from the other host a value is held twice: in the transport's buffer and as a message.
    assert!(growth < 3 * CLIENT_MEMORY, "{} MiB", growth / MIB);
}
