//! Garbage, floods and strangers on a ring's ports: it refuses them in bounded memory and goes on serving.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use chord_tests::process::{Ring, Server, allow_files, run_ok};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, TransportErrorCode};
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::task::JoinSet;

const MIB: u64 = 1 << 20;
/// How long any answer, and any closing, may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a stranger's own QUIC may take to give up: its idle timeout, or three probe timeouts on a busy machine.
const GIVING_UP: Duration = Duration::from_secs(60);
/// Strangers on the QUIC port.
const STRANGERS: usize = 2_000;

fn two_nodes(ring: &Ring) -> [Server; 2] {
    let first = ring.create("n1");
    let second = ring.join("n2", &first);
    first.await_settled_ring(2);
    [first, second]
}

fn assert_serves(servers: &[Server; 2], round: &str) {
    for (through, back) in [(0, 1), (1, 0)] {
        for i in 0..4 {
            let (key, value) = (format!("{round}:{through}:{i}"), format!("{round} {i}"));
            run_ok(&["put", &key, &value, "--client", &servers[through].client]);
            assert_eq!(run_ok(&["get", &key, "--client", &servers[back].client]).trim_end(), value);
        }
    }
    let report = run_ok(&["check", "--client", &servers[0].client]);
    assert!(report.contains("safe"), "{report}");
}

/// Runs `attack`, which may cost the first node `growth` bytes of memory, and nothing else.
fn survives(servers: &[Server; 2], round: &str, growth: u64, attack: impl FnOnce(&Server)) {
    assert_serves(servers, &format!("before {round}"));
    let before = servers[0].memory_bytes();
    attack(&servers[0]);
    let after = servers[0].memory_bytes();
    println!("{round}: {} KiB, then {} KiB", before / 1024, after / 1024);
    assert!(after < before + growth, "{round}: {before} bytes grew to {after}");
    assert_serves(servers, &format!("after {round}"));
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(&server.client).expect("the client port is open");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream
}

/// All that comes until the server closes. A reset is a closing too: it had not read everything.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => answer,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => answer,
        Err(error) => panic!("the connection stays open: {error}; so far {}", answer.escape_ascii()),
    }
}

/// Sends `bytes`, half-closes, and returns everything the server says.
fn say(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(server);
    // The server may have refused and closed before it has everything.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    rest(&mut stream)
}

fn set(key: &str, value: &str) -> Vec<u8> {
    format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${}\r\n{value}\r\n", key.len(), value.len()).into_bytes()
}

#[test]
fn what_breaks_the_protocol_gets_the_error_text_of_redis() {
    let long = |start: &[u8], byte: u8| [start, &vec![byte; 70_000]].concat();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"*1000000000\r\n".to_vec(), "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*99999999999999999999\r\n".to_vec(), "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\n$999999999999\r\n".to_vec(), "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n$-1\r\n".to_vec(), "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n*1\r\n".repeat(50_000), "-ERR Protocol error: expected '$', got '*'\r\n"),
        (long(b"*", b'1'), "-ERR Protocol error: too big mbulk count string\r\n"),
        (long(b"*1\r\n$", b'1'), "-ERR Protocol error: too big bulk count string\r\n"),
        (long(b"", b'x'), "-ERR Protocol error: too big inline request\r\n"),
        (b"SET a \"open\r\n".to_vec(), "-ERR Protocol error: unbalanced quotes in request\r\n"),
        (b"*-1\r\n*0\r\n\r\nPING\r\n".to_vec(), "+PONG\r\n"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), ""),
        (b"POST / HTTP/1.1\r\n\r\n".to_vec(), ""),
        (Vec::new(), ""),
    ];
    let servers = two_nodes(&Ring::quic());
    survives(&servers, "protocol errors", 64 * MIB, |server| {
        for (bytes, expected) in &cases {
            let (answer, start) = (say(server, bytes), bytes[..bytes.len().min(40)].escape_ascii());
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.starts_with(expected), "{start}: {answer}");
            assert_eq!(answer.is_empty(), expected.is_empty(), "{start}: {answer}");
        }
    });
}

#[test]
fn random_and_truncated_bytes_end_their_connection_and_nothing_else() {
    let servers = two_nodes(&Ring::quic());
    survives(&servers, "garbage", 64 * MIB, |server| {
        let mut rng = SmallRng::seed_from_u64(6);
        for i in 0..300 {
            let mut bytes = vec![0; rng.random_range(1..8_192)];
            rng.fill_bytes(&mut bytes);
            if i % 2 == 0 {
                bytes.splice(0..0, *b"*3\r\n$3\r\nSET\r\n");
            }
            say(server, &bytes);
        }
        let command = set("truncated", "value");
        for cut in 1..command.len() {
            assert_eq!(say(server, &command[..cut]), b"", "cut at {cut}");
        }
        let pipeline =
            [command.as_slice(), b"*2\r\n$3\r\nGET\r\n$9\r\ntruncated\r\n", &command[..20]].concat();
        assert_eq!(
            say(server, &pipeline),
            b"+OK\r\n$5\r\nvalue\r\n",
            "a half-closed client reads its replies"
        );
    });
}

#[test]
fn slow_writers_and_announced_giants_hold_up_nobody() {
    let servers = two_nodes(&Ring::quic());
    survives(&servers, "slow writers", 96 * MIB, |server| {
        let giants: Vec<TcpStream> = (0..200)
            .map(|_| {
                let mut stream = connect(server);
                stream.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$16777216\r\nonly the beginning").unwrap();
                stream
            })
            .collect();
        let mut slow: Vec<TcpStream> = (0..200).map(|_| connect(server)).collect();
        let command = set("slow", "value");
        let middle = command.len() / 2;
        for (i, byte) in command.iter().enumerate() {
            if i == middle {
                assert_serves(&servers, "meanwhile");
            }
            for stream in &mut slow {
                stream.set_nodelay(true).unwrap();
                stream.write_all(&[*byte]).unwrap();
            }
        }
        for stream in &mut slow {
            let mut answer = [0; 5];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"+OK\r\n");
        }
        drop(giants);
    });
}

#[test]
fn two_thousand_connections_are_served_in_bounded_memory() {
    let crowd = if std::env::var_os("CHORD_TEST_MANY").is_some() { 10_000 } else { 2_000 };
    allow_files(crowd + 500);
    let servers = two_nodes(&Ring::quic().with(&["--max-clients", &(crowd + 100).to_string()]));
    // A connection costs its task, its buffer for requests (4 KiB) and the same for replies.
    survives(&servers, "a crowd", 32 * MIB + crowd * (16 << 10), |server| {
        let mut streams: Vec<TcpStream> = (0..crowd).map(|_| connect(server)).collect();
        for stream in &mut streams {
            stream.write_all(b"PING\r\n").unwrap();
        }
        for stream in &mut streams {
            let mut answer = [0; 7];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"+PONG\r\n");
        }
        assert_serves(&servers, "in the crowd");
    });
}

#[test]
fn connections_beyond_the_limit_are_told_so_and_those_within_are_served() {
    let servers = two_nodes(&Ring::quic().with(&["--max-clients", "50"]));
    survives(&servers, "beyond the limit", 64 * MIB, |server| {
        let mut refused = 0;
        let mut admitted = Vec::new();
        for _ in 0..200 {
            let mut stream = connect(server);
            let _ = stream.write_all(b"PING\r\n");
            let mut answer = [0; 7];
            match stream.read_exact(&mut answer) {
                Ok(()) if &answer == b"+PONG\r\n" => admitted.push(stream),
                Ok(()) => {
                    let text = [answer.to_vec(), rest(&mut stream)].concat();
                    assert_eq!(text, b"-ERR max number of clients reached\r\n", "{}", text.escape_ascii());
                    refused += 1;
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => refused += 1,
                Err(error) => panic!("neither served nor refused: {error}"),
            }
        }
        assert!((49..=50).contains(&admitted.len()), "{} admitted, {refused} refused", admitted.len());
    });
}

/// A client's side of TLS without a certificate of its own, that trusts `roots`.
fn stranger(roots: RootCertStore) -> quinn::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3 is there")
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"chord/1".to_vec()];
    let tls = QuicClientConfig::try_from(tls).expect("it has QUIC's cipher suite");
    // Whom a refusal has not reached asks again, after 1, 3, 7 and 15 s, and is told again. Were it let in, it would
    // never be idle.
    let mut transport = quinn::TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_millis(500)));
    transport.max_idle_timeout(Some(Duration::from_secs(20).try_into().expect("it fits")));
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport));
    config
}

/// How a stranger learned that it is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Refusal {
    /// Too many knock: CONNECTION_REFUSED instead of a handshake.
    Busy,
    /// By TLS: it has no certificate, or does not accept the host's.
    Tls,
    /// Its handshake took longer than the host waits.
    TooSlow,
    /// The refusal was lost, and what it sent after that was disowned.
    Disowned,
    /// Every answer was lost: quinn gives up after the idle timeout, or three probe timeouts if that is longer.
    GaveUp,
}

/// Dials as a stranger, until it is refused.
async fn knock(
    endpoint: quinn::Endpoint,
    config: quinn::ClientConfig,
    address: std::net::SocketAddr,
) -> Refusal {
    // Without a certificate the dialler's own handshake succeeds; the host then closes the connection.
    let error = match endpoint.connect_with(config, address, "127.0.0.1").expect("it can dial").await {
        Ok(connection) => {
            let closed = tokio::time::timeout(GIVING_UP, connection.closed()).await;
            closed.expect("a stranger is neither let in nor refused")
        }
        Err(error) => error,
    };
    match error {
        ConnectionError::ConnectionClosed(close) => match close.error_code {
            TransportErrorCode::CONNECTION_REFUSED => Refusal::Busy,
            TransportErrorCode::APPLICATION_ERROR => Refusal::TooSlow,
            _ => Refusal::Tls,
        },
        ConnectionError::TransportError(_) => Refusal::Tls,
        ConnectionError::Reset => Refusal::Disowned,
        ConnectionError::TimedOut => Refusal::GaveUp,
        error => panic!("a stranger was let in: {error}"),
    }
}

/// An endpoint whose socket has room for the answers to all strangers: what does not fit is a lost refusal.
fn one_socket_for_all() -> quinn::Endpoint {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let options = quinn::udp::UdpSocketState::new((&socket).into()).expect("a socket");
    options.set_recv_buffer_size((&socket).into(), 4 * MIB as usize).expect("it may ask");
    let runtime = Arc::new(quinn::TokioRuntime);
    quinn::Endpoint::new(quinn::EndpointConfig::default(), None, socket, runtime).expect("an endpoint")
}

/// Knocks in great number and all at once; meanwhile the ring serves.
fn crowd_of_strangers(
    strangers: &[quinn::ClientConfig; 2],
    servers: &[Server; 2],
    address: std::net::SocketAddr,
) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let endpoint = runtime.block_on(async { one_socket_for_all() });
    let mut knocking = JoinSet::new();
    for i in 0..STRANGERS {
        let knock = knock(endpoint.clone(), strangers[i % 2].clone(), address);
        knocking.spawn_on(knock, runtime.handle());
    }
    assert_serves(servers, "among strangers");
    let mut refusals: HashMap<Refusal, usize> = HashMap::new();
    for refusal in runtime.block_on(knocking.join_all()) {
        *refusals.entry(refusal).or_default() += 1;
    }
    println!("{refusals:?}");
    let of = |refusal| refusals.get(&refusal).copied().unwrap_or(0);
    assert!(of(Refusal::Busy) > 0 && of(Refusal::Tls) > 0, "{refusals:?}");
    assert!(of(Refusal::GaveUp) <= STRANGERS / 10, "{refusals:?}");
}

#[test]
fn two_thousand_strangers_on_the_quic_port_are_refused() {
    let ring = Ring::quic();
    let servers = two_nodes(&ring);
    let mut trusting = RootCertStore::empty();
    trusting
        .add(CertificateDer::from_pem_file(ring.authority()).expect("a certificate"))
        .expect("an authority");
    let strangers = [stranger(trusting), stranger(RootCertStore::empty())];
    let address = servers[0].endpoint.trim_start_matches("quic://").parse().expect("HOST:PORT");
    // What the first crowd has cost serves the next one: it does not add up.
    for (round, growth) in [("strangers", 96 * MIB), ("more of them", 32 * MIB)] {
        survives(&servers, round, growth, |_| crowd_of_strangers(&strangers, &servers, address));
    }
    survives(&servers, "random datagrams", 24 * MIB, |_| {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let mut rng = SmallRng::seed_from_u64(7);
        for i in 0..10_000 {
            let mut datagram = vec![0; rng.random_range(1..1_400)];
            rng.fill_bytes(&mut datagram);
            if i % 2 == 0 {
                // A first packet of QUIC version 1, as far as its header goes.
                datagram.resize(1_200, 0);
                datagram[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]);
            }
            socket.send_to(&datagram, address).expect("loopback takes a datagram");
        }
    });
}
