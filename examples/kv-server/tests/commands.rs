//! Every command's replies, byte by byte.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

mod support;

use support::{Raw, service};

/// Runs each command and compares its reply; then makes sure that nothing else was said. `~N` stands for an integer
/// that was N a few seconds ago.
async fn table(cases: &[(&str, &str)]) {
    let service = service().await;
    let mut raw = Raw::connect(service.address()).await;
    for (command, reply) in cases {
        match reply.strip_prefix('~') {
            None => raw.check(command, reply).await,
            Some(most) => {
                let most: i64 = most.parse().unwrap();
                let left = raw.integer(command).await;
                assert!((most - 9..=most).contains(&left), "{command}: {left}");
            }
        }
    }
    raw.check("PING", "+PONG\r\n").await;
}

const SYNTAX: &str = "-ERR syntax error\r\n";
const NOT_AN_INTEGER: &str = "-ERR value is not an integer or out of range\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn connection_commands_answer_as_redis_does() {
    table(&[
        ("ping", "+PONG\r\n"),
        ("PING hello", "$5\r\nhello\r\n"),
        ("PING a b", "-ERR wrong number of arguments for 'ping' command\r\n"),
        ("ECHO x", "$1\r\nx\r\n"),
        ("ECHO", "-ERR wrong number of arguments for 'echo' command\r\n"),
        ("SELECT 0", "+OK\r\n"),
        ("SELECT 1", "-ERR DB index is out of range\r\n"),
        ("SELECT a", NOT_AN_INTEGER),
        ("HELLO 3", "-NOPROTO unsupported protocol version\r\n"),
        ("HELLO x", "-ERR Protocol version is not an integer or out of range\r\n"),
        ("HELLO 2 FOO", "-ERR Syntax error in HELLO option 'FOO'\r\n"),
        ("AUTH x", "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?\r\n"),
        ("AUTH default x", "+OK\r\n"),
        ("AUTH someone x", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"),
        ("AUTH a b c", SYNTAX),
        ("CLIENT ID", ":1\r\n"),
        ("CLIENT GETNAME", "$-1\r\n"),
        ("CLIENT SETNAME me", "+OK\r\n"),
        ("CLIENT GETNAME", "$2\r\nme\r\n"),
        ("CLIENT SETINFO LIB-NAME redis-py", "+OK\r\n"),
        ("CLIENT SETINFO LIB-FOO x", "-ERR Unrecognized option 'lib-foo'\r\n"),
        ("CLIENT SETNAME", "-ERR wrong number of arguments for 'client|setname' command\r\n"),
        ("CLIENT KILL 1", "-ERR unknown subcommand 'KILL'. Try CLIENT HELP.\r\n"),
        ("CLIENT", "-ERR wrong number of arguments for 'client' command\r\n"),
        ("CLIENT NO-EVICT on", "+OK\r\n"),
        ("RESET", "+RESET\r\n"),
        ("CLIENT GETNAME", "$-1\r\n"),
        ("CONFIG GET save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"),
        ("CONFIG GET append*", "*2\r\n$10\r\nappendonly\r\n$2\r\nno\r\n"),
        ("CONFIG GET nothing", "*0\r\n"),
        ("CONFIG SET save x", "-ERR CONFIG SET is not supported: settings are given when the node is started\r\n"),
        ("COMMAND COUNT", ":41\r\n"),
        ("COMMAND INFO nothing nothing", "*2\r\n$-1\r\n$-1\r\n"),
        ("COMMAND INFO get", "*1\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*0\r\n*0\r\n"),
        ("COMMAND GETKEYS mset a 1 b 2", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        ("COMMAND GETKEYS get", "-ERR wrong number of arguments for 'command|getkeys' command\r\n"),
        ("COMMAND GETKEYS ping a", "-ERR The command has no key arguments\r\n"),
        ("CONFIG HELP", "*5\r\n+CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n+GET <pattern> [<pattern> ...]\r\n+    Return parameters matching the glob-like <pattern> and their values.\r\n+HELP\r\n+    Print this help.\r\n"),
        ("CONFIG HELP x", "-ERR wrong number of arguments for 'config|help' command\r\n"),
        ("CONFIG FOO", "-ERR unknown subcommand 'FOO'. Try CONFIG HELP.\r\n"),
        ("COMMAND FOO", "-ERR unknown subcommand 'FOO'. Try COMMAND HELP.\r\n"),
    ])
    .await;
}

/// What `table` cannot show, since it reads a reply to each command: here `None` is a command without one.
#[tokio::test(flavor = "multi_thread")]
async fn client_reply_silences_commands_as_in_redis() {
    let service = service().await;
    let mut raw = Raw::connect(service.address()).await;
    for (command, reply) in [
        ("CLIENT REPLY", Some("-ERR wrong number of arguments for 'client|reply' command\r\n")),
        ("CLIENT REPLY FOO", Some(SYNTAX)),
        ("CLIENT REPLY ON", Some("+OK\r\n")),
        ("CLIENT REPLY OFF", None),
        ("SET a 1", None),
        ("FOO", None),
        ("CLIENT REPLY SKIP", None),
        ("CLIENT REPLY FOO", None),
        ("CLIENT REPLY ON", Some("+OK\r\n")),
        ("GET a", Some("$1\r\n1\r\n")),
        ("CLIENT REPLY SKIP", None),
        ("GET a", None),
        ("GET a", Some("$1\r\n1\r\n")),
        ("CLIENT REPLY SKIP", None),
        ("CLIENT REPLY SKIP", None),
        ("FOO", None),
        ("STRLEN a", Some(":1\r\n")),
        ("CLIENT REPLY SKIP", None),
        ("CLIENT REPLY ON", Some("+OK\r\n")),
        ("CLIENT REPLY SKIP", None),
        ("RESET", None),
        ("GET a", Some("$1\r\n1\r\n")),
        ("CLIENT REPLY OFF", None),
        ("RESET", Some("+RESET\r\n")),
        ("PING", Some("+PONG\r\n")),
    ] {
        raw.command(command).await;
        if let Some(reply) = reply {
            raw.expect(command, reply).await;
        }
    }
    // In one pipeline, too.
    for command in ["GET a", "CLIENT REPLY SKIP", "GET a", "STRLEN a", "CLIENT REPLY OFF", "GET a", "QUIT"] {
        raw.command(command).await;
    }
    assert_eq!(raw.rest().await, "$1\r\n1\r\n:1\r\n");
}

#[test]
fn commands_are_in_the_groups_of_redis() {
    let group = |name: &str| chord_kv::commands::find(name.as_bytes()).unwrap().group();
    for (expected, names) in [
        ("server", "command config dbsize info time"),
        ("connection", "auth client echo hello ping quit reset select"),
        ("generic", "del exists expire expireat persist pexpire pexpireat pttl ttl type unlink"),
        ("string", "append decr get getdel getex getset incrby mget mset psetex set setex setnx strlen"),
    ] {
        names.split(' ').for_each(|name| assert_eq!(group(name), expected, "{name}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_unsupported_commands_are_told_apart() {
    table(&[
        ("FOO", "-ERR unknown command 'FOO', with args beginning with: \r\n"),
        ("foo bar baz", "-ERR unknown command 'foo', with args beginning with: 'bar' 'baz' \r\n"),
        ("\"\"", "-ERR unknown command '', with args beginning with: \r\n"),
        ("MULTI", "-ERR MULTI is not supported: transactions are not there; every command on one key is atomic by itself\r\n"),
        ("keys *", "-ERR KEYS is not supported: the keys of a ring cannot be listed\r\n"),
        ("GET", "-ERR wrong number of arguments for 'get' command\r\n"),
        ("get a b", "-ERR wrong number of arguments for 'get' command\r\n"),
        ("DBSIZE x", "-ERR wrong number of arguments for 'dbsize' command\r\n"),
        ("CHORD", "-ERR wrong number of arguments for 'chord' command\r\n"),
        ("CHORD FOO", "-ERR unknown subcommand 'FOO'. Try CHORD HELP.\r\n"),
        ("CHORD EXPLAIN", "-ERR wrong number of arguments for 'chord|explain' command\r\n"),
        ("CHORD LEAVE now", SYNTAX),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn set_and_its_options_answer_as_redis_does() {
    table(&[
        ("GET a", "$-1\r\n"),
        ("SET a 1", "+OK\r\n"),
        ("GET a", "$1\r\n1\r\n"),
        ("SET a 2 NX", "$-1\r\n"),
        ("SET b 2 XX", "$-1\r\n"),
        ("SET a 2 xx", "+OK\r\n"),
        ("SET a 3 GET", "$1\r\n2\r\n"),
        ("SET a 4 NX GET", "$1\r\n3\r\n"),
        ("GET a", "$1\r\n3\r\n"),
        ("SET new 1 NX GET", "$-1\r\n"),
        ("GET new", "$1\r\n1\r\n"),
        ("SET a 3 EX 100", "+OK\r\n"),
        ("TTL a", "~100"),
        ("SET a 4 KEEPTTL", "+OK\r\n"),
        ("TTL a", "~100"),
        ("SET a 4", "+OK\r\n"),
        ("TTL a", ":-1\r\n"),
        ("SET a 1 PX 100000", "+OK\r\n"),
        ("TTL a", "~100"),
        ("SET a 1 PXAT 1", "+OK\r\n"),
        ("GET a", "$-1\r\n"),
        ("SET a 1 EXAT 99999999999", "+OK\r\n"),
        ("GET a", "$1\r\n1\r\n"),
        ("SET a 1 NX XX", SYNTAX),
        ("SET a 1 EX 1 PX 1", SYNTAX),
        ("SET a 1 KEEPTTL EX 1", SYNTAX),
        ("SET a 1 EX", SYNTAX),
        ("SET a 1 FOO", SYNTAX),
        ("SET a 1 PERSIST", SYNTAX),
        ("SET a 1 EX 0 FOO", SYNTAX),
        ("SET a 1 EX x FOO", SYNTAX),
        ("SET a 1 NX EX 0 XX", SYNTAX),
        ("SET a 1 EX 0 EX 100", "+OK\r\n"),
        ("SET a 1 EX 100 EX 0", "-ERR invalid expire time in 'set' command\r\n"),
        ("SET a 1 EX x", NOT_AN_INTEGER),
        ("SET a 1 EX 0", "-ERR invalid expire time in 'set' command\r\n"),
        ("SET a 1 EX -1", "-ERR invalid expire time in 'set' command\r\n"),
        ("SET a 1 EX 9223372036854775807", "-ERR invalid expire time in 'set' command\r\n"),
        ("SET a 1 PX 9223372036854775807", "-ERR invalid expire time in 'set' command\r\n"),
        ("SETNX a 9", ":0\r\n"),
        ("SETNX c 9", ":1\r\n"),
        ("SETEX d 100 v", "+OK\r\n"),
        ("TTL d", "~100"),
        ("SETEX d 0 v", "-ERR invalid expire time in 'setex' command\r\n"),
        ("PSETEX d 50000 v", "+OK\r\n"),
        ("TTL d", "~50"),
        ("PSETEX d x v", NOT_AN_INTEGER),
        ("GETSET c 10", "$1\r\n9\r\n"),
        ("GETSET fresh 1", "$-1\r\n"),
        ("GETDEL c", "$2\r\n10\r\n"),
        ("GETDEL c", "$-1\r\n"),
        ("GETEX d", "$1\r\nv\r\n"),
        ("TTL d", "~50"),
        ("GETEX d EX 200", "$1\r\nv\r\n"),
        ("TTL d", "~200"),
        ("GETEX d PERSIST", "$1\r\nv\r\n"),
        ("TTL d", ":-1\r\n"),
        ("GETEX d NX", SYNTAX),
        ("GETEX d EX 0", "-ERR invalid expire time in 'getex' command\r\n"),
        ("GETEX d EX x", NOT_AN_INTEGER),
        ("GETEX none EX 5", "$-1\r\n"),
        ("GETEX none EX 0", "$-1\r\n"),
        ("GETEX none EX x", "$-1\r\n"),
        ("GETEX none EX 0 FOO", SYNTAX),
        ("APPEND d 12", ":3\r\n"),
        ("APPEND e 12", ":2\r\n"),
        ("GET d", "$3\r\nv12\r\n"),
        ("STRLEN d", ":3\r\n"),
        ("STRLEN none", ":0\r\n"),
        ("SET a \"\"", "+OK\r\n"),
        ("GET a", "$0\r\n\r\n"),
        ("SET \"\" empty", "+OK\r\n"),
        ("GET \"\"", "$5\r\nempty\r\n"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_answer_as_redis_does() {
    table(&[
        ("INCR n", ":1\r\n"),
        ("INCRBY n 41", ":42\r\n"),
        ("DECR n", ":41\r\n"),
        ("DECRBY n 50", ":-9\r\n"),
        ("INCRBY n x", NOT_AN_INTEGER),
        ("SET n 9223372036854775807", "+OK\r\n"),
        ("INCR n", "-ERR increment or decrement would overflow\r\n"),
        ("DECRBY n -9223372036854775808", "-ERR decrement would overflow\r\n"),
        ("SET n 01", "+OK\r\n"),
        ("INCR n", NOT_AN_INTEGER),
        ("SET n 1 EX 100", "+OK\r\n"),
        ("INCR n", ":2\r\n"),
        ("TTL n", "~100"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn key_commands_answer_as_redis_does() {
    table(&[
        ("MSET a 1 b 2 c 3", "+OK\r\n"),
        ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command\r\n"),
        ("MSET a 1 a 2", "+OK\r\n"),
        ("MGET a b x c", "*4\r\n$1\r\n2\r\n$1\r\n2\r\n$-1\r\n$1\r\n3\r\n"),
        ("EXISTS a b x a", ":3\r\n"),
        ("TYPE a", "+string\r\n"),
        ("TYPE x", "+none\r\n"),
        ("DBSIZE", ":3\r\n"),
        ("DEL a x", ":1\r\n"),
        ("UNLINK b c c", ":2\r\n"),
        ("DBSIZE", ":0\r\n"),
        ("TTL a", ":-2\r\n"),
        ("PTTL a", ":-2\r\n"),
        ("EXPIRE a 10", ":0\r\n"),
        ("SET a 1", "+OK\r\n"),
        ("EXPIRE a 10", ":1\r\n"),
        ("TTL a", "~10"),
        ("EXPIRE a 20 NX", ":0\r\n"),
        ("EXPIRE a 5 GT", ":0\r\n"),
        ("EXPIRE a 50 GT", ":1\r\n"),
        ("EXPIRE a 60 LT", ":0\r\n"),
        ("EXPIRE a 40 lt", ":1\r\n"),
        ("TTL a", "~40"),
        ("PERSIST a", ":1\r\n"),
        ("PERSIST a", ":0\r\n"),
        ("EXPIRE a 10 XX", ":0\r\n"),
        ("EXPIRE a 10 GT", ":0\r\n"),
        ("EXPIRE a 10 LT", ":1\r\n"),
        ("EXPIRE a 10 NX XX", "-ERR NX and XX, GT or LT options at the same time are not compatible\r\n"),
        ("EXPIRE a 10 GT LT", "-ERR GT and LT options at the same time are not compatible\r\n"),
        ("EXPIRE a 10 FOO", "-ERR Unsupported option FOO\r\n"),
        ("EXPIRE a x", NOT_AN_INTEGER),
        ("EXPIRE a 9223372036854775807", "-ERR invalid expire time in 'expire' command\r\n"),
        ("PEXPIRE a 100000", ":1\r\n"),
        ("TTL a", "~100"),
        ("EXPIREAT a 99999999999", ":1\r\n"),
        ("PEXPIREAT a 1", ":1\r\n"),
        ("EXISTS a", ":0\r\n"),
        ("SET a 1", "+OK\r\n"),
        ("EXPIRE a -1", ":1\r\n"),
        ("EXISTS a", ":0\r\n"),
        ("SET a 1", "+OK\r\n"),
        ("EXPIRE a 0", ":1\r\n"),
        ("GET a", "$-1\r\n"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_beyond_the_limit_are_refused_one_by_one() {
    let service = service().await;
    let mut raw = Raw::connect(service.address()).await;
    let long = "k".repeat(1025);
    raw.check("SET a 1", "+OK\r\n").await;
    for command in [format!("GET {long}"), format!("SET {long} x"), format!("INCR {long}")] {
        raw.check(&command, "-ERR a key of 1025 bytes exceeds the limit of 1024\r\n").await;
    }
    // In a pipeline its neighbours are answered all the same.
    raw.command("GET a").await;
    raw.command(&format!("GET {long}")).await;
    raw.command("GET a").await;
    raw.expect("GET a", "$1\r\n1\r\n").await;
    raw.expect("GET long", "-ERR a key of 1025 bytes exceeds the limit of 1024\r\n").await;
    raw.expect("GET a", "$1\r\n1\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_cannot_be_appended_beyond_the_limit() {
    let service = service().await;
    let mut raw = Raw::connect(service.address()).await;
    let large = "v".repeat(1 << 20);
    raw.check(&format!("SET a {large}"), "+OK\r\n").await;
    raw.check("APPEND a x", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n").await;
    raw.check("STRLEN a", ":1048576\r\n").await;
    raw.check(&format!("SET a {large}x"), "-ERR Protocol error: invalid bulk length\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_expire() {
    let service = service().await;
    let mut raw = Raw::connect(service.address()).await;
    raw.check("SET a 1 PX 30", "+OK\r\n").await;
    let deadline = std::time::Instant::now() + support::PATIENCE;
    loop {
        raw.command("EXISTS a").await;
        let mut client =
            chord_kv::client::Client::connect(&service.address().to_string(), None).await.unwrap();
        raw.expect("EXISTS a", ":").await;
        let gone = client.call(&[b"GET", b"a"]).await.unwrap() == chord_kv::resp::Value::Null;
        if gone {
            break;
        }
        raw.expect("EXISTS a", "1\r\n").await;
        assert!(std::time::Instant::now() < deadline, "the value did not expire");
    }
}
