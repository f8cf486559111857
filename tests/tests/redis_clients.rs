//! Redis's own tools and drivers work against a ring, whichever of its nodes they are connected to.

use std::process::{Command, Stdio};

use chord_tests::process::{Ring, Server};
use redis::Commands;

/// Three nodes over ZeroMQ, settled.
fn ring_of_three() -> Vec<Server> {
    let ring = Ring::zmq();
    let first = ring.create("n1");
    let second = ring.join("n2", &first);
    let third = ring.join("n3", &first);
    first.await_settled_ring(3);
    vec![first, second, third]
}

/// Whether `program arguments` runs; says that a test is skipped when it does not.
fn has(tool: &str, program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let found = status.is_ok_and(|status| status.success());
    if !found {
        println!("skipped: {tool} is not installed");
    }
    found
}

/// Runs a program that must succeed; what it printed on both of its outputs.
fn printed(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).stdin(Stdio::null()).output().expect("the program runs");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{text}", output.status);
    text
}

fn redis_cli(server: &Server, command: &[&str]) -> String {
    let port = server.port().to_string();
    let mut arguments = vec!["-h", "127.0.0.1", "-p", &port, "--no-raw"];
    arguments.extend(command);
    printed("redis-cli", &arguments).trim_end().to_owned()
}

#[test]
fn redis_cli_works_on_every_node() {
    if !has("redis-cli", "redis-cli", &["--version"]) {
        return;
    }
    let servers = ring_of_three();
    let dialogue: &[(usize, &[&str], &str)] = &[
        (0, &["ping"], "PONG"),
        (1, &["set", "greeting", "hello world"], "OK"),
        (2, &["get", "greeting"], "\"hello world\""),
        (0, &["get", "absent"], "(nil)"),
        (1, &["mset", "a", "1", "b", "2", "c", "3"], "OK"),
        (2, &["mget", "a", "b", "absent", "c"], "1) \"1\"\n2) \"2\"\n3) (nil)\n4) \"3\""),
        (0, &["incrby", "a", "41"], "(integer) 42"),
        (1, &["set", "brief", "x", "ex", "100"], "OK"),
        (2, &["ttl", "brief"], "(integer) 100"),
        (0, &["exists", "a", "b", "absent"], "(integer) 2"),
        (1, &["del", "a", "b", "absent"], "(integer) 2"),
        (2, &["get", "a"], "(nil)"),
        (0, &["set", "word", "text"], "OK"),
        (1, &["incr", "word"], "(error) ERR value is not an integer or out of range"),
        (2, &["get"], "(error) ERR wrong number of arguments for 'get' command"),
    ];
    for (node, command, expected) in dialogue {
        let answer = redis_cli(&servers[*node], command);
        // A second may pass between a SET and its TTL.
        let answer = if answer == "(integer) 99" { "(integer) 100".to_owned() } else { answer };
        assert_eq!(&answer, expected, "{command:?} on {}", servers[*node].name);
    }
}

#[test]
fn redis_benchmark_runs_without_an_error() {
    if !has("redis-benchmark", "redis-benchmark", &["--version"]) {
        return;
    }
    let servers = ring_of_three();
    for (server, pipeline) in servers.iter().zip(["1", "16", "4"]) {
        let port = server.port().to_string();
        let options =
            ["-q", "-t", "get,set,incr,mset", "-n", "2000", "-c", "20", "-r", "500", "-P", pipeline];
        let text = printed("redis-benchmark", &[&["-h", "127.0.0.1", "-p", &port], &options[..]].concat());
        for test in ["SET", "GET", "INCR", "MSET (10 keys)"] {
            let line = text.split(['\n', '\r']).rfind(|line| line.starts_with(&format!("{test}:")));
            let line = line.unwrap_or_else(|| panic!("no result of {test}: {text}"));
            assert!(line.contains("requests per second"), "{line}");
        }
        assert!(!text.to_lowercase().contains("err") && !text.contains("WARNING"), "{text}");
    }
}

/// What a program in Python does with redis-py; it gets the three ports as arguments. RESP2 is asked for because
/// redis-py asks for RESP3 by itself from version 8 on, and a node says plainly that it does not have that.
const PYTHON: &str = r#"
import sys, redis
a, b, c = (redis.Redis(host="127.0.0.1", port=int(port), protocol=2) for port in sys.argv[1:])
try:
    redis.Redis(host="127.0.0.1", port=int(sys.argv[1]), protocol=3).ping()
    raise SystemExit("RESP3 was taken")
except redis.ResponseError as error:
    assert "NOPROTO" in str(error), error
assert a.ping() and b.ping() and c.ping()
assert a.set("py", "value") and b.get("py") == b"value"
assert b.mset({"py:%d" % i: i for i in range(100)})
assert c.mget(["py:%d" % i for i in range(100)]) == [b"%d" % i for i in range(100)]
assert a.incr("py:counter") == 1 and b.incr("py:counter", 9) == 10 and c.decr("py:counter") == 9
assert a.expire("py", 100) and 90 < b.ttl("py") <= 100 and c.persist("py") and a.ttl("py") == -1
assert b.set("py", "other", nx=True) is None and b.set("py", "other", xx=True, get=True) == b"value"
pipe = c.pipeline(transaction=False)
for i in range(200):
    pipe.set("pipe:%d" % (i % 50), i)
    pipe.get("pipe:%d" % (i % 50))
answers = pipe.execute()
assert answers[0::2] == [True] * 200 and answers[1::2] == [b"%d" % i for i in range(200)], answers
assert a.delete("py", "py:1", "absent") == 2 and b.exists("py") == 0
blob = bytes(range(256)) * 4096
assert a.set(blob[:64], blob) and b.get(blob[:64]) == blob
try:
    c.execute_command("NONSENSE", "x")
    raise SystemExit("an unknown command was taken")
except redis.ResponseError as error:
    assert "unknown command" in str(error), error
print("redis-py is content")
"#;

/// Ends well where redis-py is that knows of `protocol`.
const HAS_REDIS_PY: &str = "import redis; assert int(redis.__version__.split('.')[0]) >= 5";

#[test]
fn redis_py_works_on_every_node() {
    if !has("redis-py 5 or later", "python3", &["-c", HAS_REDIS_PY]) {
        return;
    }
    let servers = ring_of_three();
    let ports: Vec<String> = servers.iter().map(|server| server.port().to_string()).collect();
    let text = printed("python3", &["-c", PYTHON, &ports[0], &ports[1], &ports[2]]);
    assert_eq!(text.trim_end(), "redis-py is content");
}

#[test]
fn the_redis_crate_works_on_every_node() {
    let servers = ring_of_three();
    let connect = |server: &Server| {
        let client =
            redis::Client::open(format!("redis://{}/", server.client)).expect("the address is valid");
        client.get_connection().expect("the node answers")
    };
    let [mut a, mut b, mut c] = [0, 1, 2].map(|i| connect(&servers[i]));

    let () = a.set("rs", "value").unwrap();
    assert_eq!(b.get::<_, Option<String>>("rs").unwrap().as_deref(), Some("value"));
    assert_eq!(c.get::<_, Option<String>>("absent").unwrap(), None);

    let pairs: Vec<(String, i64)> = (0..100).map(|i| (format!("rs:{i}"), i)).collect();
    let () = b.mset(&pairs).unwrap();
    let keys: Vec<&str> = pairs.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(c.mget::<_, Vec<i64>>(&keys).unwrap(), (0..100).collect::<Vec<_>>());

    assert_eq!(a.incr::<_, _, i64>("rs:counter", 5).unwrap(), 5);
    assert_eq!(b.incr::<_, _, i64>("rs:counter", -2).unwrap(), 3);
    assert!(c.expire::<_, bool>("rs:counter", 100).unwrap());
    assert!((90..=100).contains(&a.ttl::<_, i64>("rs:counter").unwrap()));

    let mut pipe = redis::pipe();
    for i in 0..100 {
        pipe.set(format!("pipe:{}", i % 10), i).ignore().get(format!("pipe:{}", i % 10));
    }
    assert_eq!(pipe.query::<Vec<i64>>(&mut b).unwrap(), (0..100).collect::<Vec<_>>());

    assert_eq!(c.del::<_, i64>(&["rs", "rs:1", "absent"]).unwrap(), 2);
    assert!(!a.exists::<_, bool>("rs").unwrap());
    let error = redis::cmd("NONSENSE").arg("x").query::<()>(&mut a).unwrap_err();
    assert!(error.to_string().contains("unknown command"), "{error}");
}
