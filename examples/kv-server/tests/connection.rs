//! What a connection promises beside its commands: order, bounds, a clean end.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

mod support;

use std::time::{Duration, Instant};

use chord_kv::client::Client;
use chord_kv::resp::Value;
use chord_kv::server::Settings;
use support::{PATIENCE, Raw, key_of, loading, service, service_of_two, service_with};

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_is_answered_in_order_and_one_keys_commands_take_effect_in_order() {
    let service = service().await;
    let mut client = Client::connect(&service.address().to_string(), None).await.unwrap();
    let mut expected = Vec::new();
    for i in 0..500_i64 {
        let (key, value) = (format!("k{}", i % 7), i.to_string());
        client.push(&[b"SET", key.as_bytes(), value.as_bytes()]);
        client.push(&[b"GET", key.as_bytes()]);
        client.push(&[b"INCR", key.as_bytes()]);
        client.push(&[b"ECHO", value.as_bytes()]);
        client.push(&[b"INCR", b"counter"]);
        client.push(&[b"GET", key.as_bytes()]);
        expected.extend([
            Value::Simple("OK".into()),
            Value::Bulk(value.clone().into()),
            Value::Integer(i + 1),
            Value::Bulk(value.into()),
            Value::Integer(i + 1),
            Value::Bulk((i + 1).to_string().into()),
        ]);
    }
    client.flush().await.unwrap();
    for (i, expected) in expected.into_iter().enumerate() {
        assert_eq!(client.receive().await.unwrap(), expected, "reply {i}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inline_commands_work_and_broken_ones_end_the_connection() {
    let service = service().await;
    let mut raw = Raw::connect(service.address()).await;
    raw.send(b"set greeting \"hello world\"\r\nget greeting\n\r\nPING\r\n").await;
    raw.expect("inline", "+OK\r\n$11\r\nhello world\r\n+PONG\r\n").await;
    raw.send(b"get \"unbalanced\r\n").await;
    assert_eq!(raw.rest().await, "-ERR Protocol error: unbalanced quotes in request\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_answered_after_what_came_before_it_and_ends_the_connection() {
    let service = service().await;
    for (garbage, reply) in [
        (&b"*1\r\n*1\r\n$4\r\nPING\r\n"[..], "-ERR Protocol error: expected '$', got '*'\r\n"),
        (b"*1\r\n$2000000\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*2000000\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
    ] {
        let mut raw = Raw::connect(service.address()).await;
        raw.send(&[b"PING\r\n", garbage, &[b'x'; 100_000]].concat()).await;
        assert_eq!(raw.rest().await, format!("+PONG\r\n{reply}"));
    }
    Raw::connect(service.address()).await.check("PING", "+PONG\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browsers_request_is_not_answered() {
    let service = service().await;
    let mut raw = Raw::connect(service.address()).await;
    raw.send(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(raw.rest().await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn quit_is_answered_and_what_follows_is_not() {
    let service = service().await;
    let mut raw = Raw::connect(service.address()).await;
    raw.send(b"PING\r\nQUIT\r\nPING\r\n").await;
    assert_eq!(raw.rest().await, "+PONG\r\n+OK\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_password_nothing_but_the_login_runs() {
    const NOAUTH: &str = "-NOAUTH Authentication required.\r\n";
    const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    let service = service_with(Settings { password: Some("secret".into()), ..Settings::default() }).await;
    let mut raw = Raw::connect(service.address()).await;
    for command in ["PING", "GET a", "INFO", "CHORD STATUS", "CLIENT ID", "COMMAND"] {
        raw.check(command, NOAUTH).await;
    }
    raw.check("FOO", "-ERR unknown command 'FOO', with args beginning with: \r\n").await;
    raw.check("AUTH", "-ERR wrong number of arguments for 'auth' command\r\n").await;
    for command in
        ["AUTH wrong", "AUTH secre", "AUTH secrets", "AUTH other secret", "HELLO 2 AUTH default wrong"]
    {
        raw.check(command, WRONG).await;
    }
    raw.command("HELLO 2").await;
    raw.expect("HELLO 2", "-NOAUTH HELLO must be called with the client already authenticated").await;
    let mut raw = Raw::connect(service.address()).await;
    // The login and what follows it may come in one packet, beyond the limits for strangers.
    let twelve = format!("*12\r\n$4\r\nMGET\r\n{}", "$1\r\na\r\n".repeat(11));
    raw.send(format!("*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n{twelve}").as_bytes()).await;
    raw.expect("AUTH, MGET", &format!("+OK\r\n*11\r\n{}", "$-1\r\n".repeat(11))).await;
    raw.check("RESET", "+RESET\r\n").await;
    raw.check("PING", NOAUTH).await;
    raw.command("HELLO 2 AUTH default secret SETNAME me").await;
    raw.expect("HELLO", "*14\r\n$6\r\nserver\r\n").await;
    let mut stranger = Raw::connect(service.address()).await;
    stranger.send(b"*11\r\n").await;
    assert_eq!(stranger.rest().await, "-ERR Protocol error: unauthenticated multibulk length\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_node_has_joined_only_login_greeting_and_info_run() {
    const LOADING: &str = "-LOADING this node is not yet part of a ring\r\n";
    let service = loading(Settings::default());
    let mut raw = Raw::connect(service.address()).await;
    for command in
        ["PING", "GET a", "SET a 1", "DBSIZE", "CHORD STATUS", "CLIENT ID", "COMMAND COUNT", "MGET a b"]
    {
        raw.check(command, LOADING).await;
    }
    raw.check("AUTH default x", "+OK\r\n").await;
    raw.command("HELLO 2").await;
    raw.expect("HELLO 2", "*14\r\n").await;
    let mut client = Client::connect(&service.address().to_string(), None).await.unwrap();
    let info = client.text(&[b"INFO"]).await.unwrap();
    assert!(info.contains("loading:1\r\n") && info.contains("# Chord\r\nstate:joining\r\n"), "{info}");
    assert!(
        client.text(&[b"INFO", b"server"]).await.unwrap().starts_with("# Server\r\nredis_version:7.0.15\r\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_too_many_is_told_so() {
    let service = service_with(Settings { max_clients: 2, ..Settings::default() }).await;
    let (mut one, mut two) = (Raw::connect(service.address()).await, Raw::connect(service.address()).await);
    one.check("PING", "+PONG\r\n").await;
    two.check("PING", "+PONG\r\n").await;
    assert_eq!(Raw::connect(service.address()).await.rest().await, "-ERR max number of clients reached\r\n");
    assert_eq!(service.counters().rejected(), 1);
    drop(two);
    let deadline = Instant::now() + PATIENCE;
    while service.connected() > 1 {
        assert!(Instant::now() < deadline, "a closed connection still counts");
        tokio::task::yield_now().await;
    }
    Raw::connect(service.address()).await.check("PING", "+PONG\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_memory_for_clients_are_refused() {
    let service = service_with(Settings { max_buffer_bytes: 300 << 10, ..Settings::default() }).await;
    let mut hog = Raw::connect(service.address()).await;
    hog.send(&[&b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1000000\r\n"[..], &[b'x'; 250 << 10]].concat()).await;
    let deadline = Instant::now() + PATIENCE;
    while service.budget().used() < 250 << 10 {
        assert!(Instant::now() < deadline, "the buffer was not charged");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut next = Raw::connect(service.address()).await;
    next.send(&[&b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1000000\r\n"[..], &[b'x'; 100 << 10]].concat()).await;
    let reply = next.rest().await;
    assert!(reply.starts_with("-BUSY "), "{reply}");
    Raw::connect(service.address()).await.check("SET small 1", "+OK\r\n").await;
    drop(hog);
    while service.budget().used() > 0 {
        assert!(Instant::now() < deadline, "a closed connection is still charged");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mget_beyond_the_memory_for_replies_is_refused_and_one_within_is_answered() {
    let service = service_with(Settings { max_reply_bytes: 2 << 20, ..Settings::default() }).await;
    let mut client = Client::connect(&service.address().to_string(), None).await.unwrap();
    let large = vec![b'v'; 1 << 20];
    client.call(&[b"SET", b"large", &large]).await.unwrap();
    let value = Value::Bulk(large.into());
    let two = client.call(&[b"MGET", b"large", b"large"]).await.unwrap();
    assert_eq!(two, Value::Array(vec![value.clone(), value]));
    let three = client.call(&[b"MGET", b"large", b"large", b"large"]).await.unwrap_err();
    assert!(three.to_string().contains("exceed 2097152 bytes: ask for fewer keys at once"), "{three}");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_beyond_the_memory_for_clients_are_refused_one_by_one_and_the_connection_stays() {
    let (service, other) =
        service_of_two(Settings { max_buffer_bytes: 512 << 10, ..Settings::default() }).await;
    for owner in ["n1", "n2"] {
        let large = key_of(&other, owner).await;
        other.put(&large, vec![b'v'; 1 << 20]).await.unwrap();
        other.put("small", "1").await.unwrap();
        let mut client = Client::connect(&service.address().to_string(), None).await.unwrap();
        for round in 0..3 {
            for command in [&b"GET"[..], b"MGET"] {
                client.push(&[b"GET", b"small"]);
                client.push(&[command, large.as_bytes()]);
                client.push(&[b"GET", b"small"]);
            }
            client.push(&[b"STRLEN", large.as_bytes()]);
            client.flush().await.unwrap();
            for command in ["GET", "MGET"] {
                assert_eq!(client.receive().await.unwrap(), Value::Bulk("1".into()));
                let refused = client.receive().await.unwrap();
                let is_busy = matches!(&refused, Value::Error(text) if text.starts_with("BUSY "));
                assert!(is_busy, "{command} of a key of {owner}, round {round}: {refused:?}");
                assert_eq!(client.receive().await.unwrap(), Value::Bulk("1".into()));
            }
            assert_eq!(client.receive().await.unwrap(), Value::Integer(1 << 20));
        }
    }
    assert_eq!(service.budget().used(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_another_host_are_removed_together() {
    let (service, other) = service_of_two(Settings::default()).await;
    let keys: Vec<String> = (0..400).map(|i| format!("key{i}")).collect();
    for key in &keys {
        other.put(key, "v").await.unwrap();
    }
    let node = service.node().unwrap();
    let before = node.status().await.counters.calls;
    let mut client = Client::connect(&service.address().to_string(), None).await.unwrap();
    let del = |keys: &[String]| -> Vec<Vec<u8>> {
        let names = keys.iter().map(|key| key.clone().into_bytes());
        std::iter::once(b"DEL".to_vec()).chain(names).collect()
    };
    let args = del(&keys);
    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    assert_eq!(client.call(&args).await.unwrap(), Value::Integer(400));
    // Beside maintenance, which goes on.
    let calls = node.status().await.counters.calls - before;
    assert!(calls < 50, "{calls} calls");
    // A key that is too long does not keep the others.
    other.put("key1", "v").await.unwrap();
    let args = del(&["k".repeat(2000), "key1".to_owned()]);
    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    let refused = client.call(&args).await.unwrap_err();
    assert!(refused.to_string().contains("a key of 2000 bytes exceeds the limit of 1024"), "{refused}");
    assert_eq!(other.get("key1").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_leaves_memory_for_those_that_do() {
    let service = service_with(Settings { max_buffer_bytes: 8 << 20, ..Settings::default() }).await;
    let mut client = Client::connect(&service.address().to_string(), None).await.unwrap();
    let large = vec![b'v'; 1 << 20];
    client.call(&[b"SET", b"large", &large]).await.unwrap();
    let mut deaf = Raw::connect(service.address()).await;
    deaf.send(&b"GET large\r\n".repeat(64)).await;
    let deadline = Instant::now() + PATIENCE;
    while service.budget().used() < 1 << 20 {
        assert!(Instant::now() < deadline, "the replies were not charged");
        tokio::task::yield_now().await;
    }
    let value = Value::Bulk(large.into());
    for _ in 0..64 {
        client.push(&[b"GET", b"large"]);
        client.push(&[b"STRLEN", b"large"]);
    }
    client.flush().await.unwrap();
    for i in 0..64 {
        assert_eq!(client.receive().await.unwrap(), value, "value {i}");
        assert_eq!(client.receive().await.unwrap(), Value::Integer(1 << 20), "length {i}");
    }
    assert!(service.budget().used() >= 1 << 20, "the deaf client was dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_not_read_from() {
    let service = service().await;
    let mut writer = Client::connect(&service.address().to_string(), None).await.unwrap();
    writer.call(&[b"SET", b"large", &vec![b'v'; 1 << 20]]).await.unwrap();
    let before = service.counters().commands();
    let mut deaf = Raw::connect(service.address()).await;
    deaf.send(&b"GET large\r\n".repeat(200)).await;
    // The replies fill both sockets' buffers; then the connection waits, with a bounded number of values in hand.
    let mut seen = (service.counters().commands(), Instant::now());
    while seen.1.elapsed() < Duration::from_millis(300) {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let commands = service.counters().commands();
        if commands != seen.0 {
            seen = (commands, Instant::now());
        }
    }
    assert!(seen.0 - before < 200, "all 200 MiB of replies were made for a client that reads none");
    writer.call(&[b"PING"]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_host_refuses_to_leave_with_data_unless_forced() {
    let service = service().await;
    let mut client = Client::connect(&service.address().to_string(), None).await.unwrap();
    client.call(&[b"SET", b"a", b"1"]).await.unwrap();
    let refused = client.call(&[b"CHORD", b"LEAVE"]).await.unwrap_err();
    assert_eq!(refused.code(), "LASTHOST", "{refused}");
    assert_eq!(client.call(&[b"GET", b"a"]).await.unwrap(), Value::Bulk("1".into()));
    assert_eq!(client.call(&[b"CHORD", b"LEAVE", b"FORCE"]).await.unwrap(), Value::Simple("OK".into()));
    assert!(client.receive().await.is_err(), "the connection is still open");
    let deadline = Instant::now() + PATIENCE;
    while Client::connect(&service.address().to_string(), None).await.is_ok() {
        assert!(Instant::now() < deadline, "the port is still open");
    }
}
