//! Real processes of `chord-kv`, on loopback, ended when they are dropped.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use crate::binary::chord_kv;

/// How long a node is given to be ready, or to go.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `chord-kv` with `arguments` to its end.
pub fn run(arguments: &[&str]) -> Output {
    Command::new(chord_kv()).args(arguments).stdin(Stdio::null()).output().expect("chord-kv runs")
}

/// What `chord-kv` printed on standard output.
///
/// # Panics
/// Unless it exited with status 0.
pub fn run_ok(arguments: &[&str]) -> String {
    let output = run(arguments);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "chord-kv {arguments:?}: {}\n{stdout}\n{stderr}", output.status);
    stdout.into_owned()
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a listener has an address").port()
}

/// Lets this process, and those it starts from here on, open `files` files at once.
///
/// # Panics
/// When the system's hard limit is lower.
pub fn allow_files(files: u64) {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("a process can read its limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    let soft: u64 = line.split_whitespace().nth(3).and_then(|soft| soft.parse().ok()).unwrap_or(u64::MAX);
    if soft < files {
        let (process, limit) = (std::process::id().to_string(), format!("--nofile={files}:"));
        let raised = Command::new("prlimit").args(["--pid", &process, &limit]).status();
        assert!(raised.is_ok_and(|status| status.success()), "this test needs {files} open files: ulimit -n");
    }
}

/// What the nodes of one ring talk over, and the certificates they need.
pub struct Ring {
    scheme: &'static str,
    certificates: tempfile::TempDir,
    workplace: Option<PathBuf>,
    extra: Vec<String>,
}

impl Ring {
    /// Over ZeroMQ.
    pub fn zmq() -> Ring {
        Ring::over("zmq")
    }

    /// Over QUIC, with an authority of its own.
    pub fn quic() -> Ring {
        let ring = Ring::over("quic");
        let ca = ring.certificates.path().join("ca").display().to_string();
        run_ok(&["certs", "ca", "--dir", &ca]);
        ring
    }

    fn over(scheme: &'static str) -> Ring {
        let certificates = tempfile::tempdir().expect("a directory");
        Ring { scheme, certificates, workplace: None, extra: Vec::new() }
    }

    /// Every node gets these options too.
    pub fn with(mut self, options: &[&str]) -> Ring {
        self.extra.extend(options.iter().map(|option| (*option).to_owned()));
        self
    }

    /// Every node works in `folder`, and keeps its temporary files there.
    pub fn working_in(mut self, folder: &Path) -> Ring {
        self.workplace = Some(folder.to_owned());
        self
    }

    /// The certificate of the ring's authority, when it talks over QUIC.
    pub fn authority(&self) -> PathBuf {
        self.certificates.path().join("ca").join("ca.crt")
    }

    /// Starts a node that creates the ring.
    pub fn create(&self, name: &str) -> Server {
        self.start(name, None)
    }

    /// Starts a node that joins through `known`.
    pub fn join(&self, name: &str, known: &Server) -> Server {
        self.start(name, Some(&known.endpoint))
    }

    fn start(&self, name: &str, known: Option<&str>) -> Server {
        let (port, client) = (free_port(), format!("127.0.0.1:{}", free_port()));
        let endpoint = format!("{}://127.0.0.1:{port}", self.scheme);
        let mut command = Command::new(chord_kv());
        command.arg(if known.is_some() { "join" } else { "create" });
        command.args(["--name", name, "--listen", &endpoint, "--client", &client]);
        command.args(["--stabilize-interval", "500ms", "--fix-fingers-interval", "1s"]);
        command.args(&self.extra);
        if let Some(known) = known {
            command.args(["--known", known]);
        }
        if self.scheme == "quic" {
            let path = |part: &str| self.certificates.path().join(part).display().to_string();
            let (ca, node) = (path("ca"), path(name));
            run_ok(&[
                "certs",
                "node",
                "--ca",
                &ca,
                "--out",
                &node,
                "--name",
                name,
                "--host",
                "127.0.0.1",
                "--force",
            ]);
            command.args(["--certs", &node]);
        }
        if let Some(folder) = &self.workplace {
            command.current_dir(folder).env("TMPDIR", folder);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("chord-kv starts");
        let log = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take(), &log);
        collect(child.stderr.take(), &log);
        let server = Server { name: name.to_owned(), endpoint, client, child, log };
        server.await_ready();
        server
    }
}

/// A node in a process of its own. Killed when dropped.
pub struct Server {
    /// The host's name.
    pub name: String,
    /// Where other nodes reach it.
    pub endpoint: String,
    /// Where clients reach it.
    pub client: String,
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Server {
    /// The client port.
    pub fn port(&self) -> u16 {
        self.client.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("HOST:PORT")
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, for instance `KILL`, to this process.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([format!("-{signal}"), self.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits until the process has ended; its exit status.
    ///
    /// # Panics
    /// When it takes longer than a minute.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "{} does not end\n{}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether the process is still there.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_none()
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bytes of memory it holds (resident).
    pub fn memory_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// Most bytes of memory that it has ever held (resident).
    pub fn peak_memory_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
        let kib: u64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0);
        kib * 1024
    }

    /// Waits until `check --settled` is content.
    pub fn await_settled(&self) {
        run_ok(&["check", "--settled", "--wait", "60s", "--client", &self.client]);
    }

    /// Waits until `check --settled` is content with a ring of `hosts` hosts: one that has just joined may be unknown
    /// to this node yet.
    ///
    /// # Panics
    /// When it takes longer than a minute.
    pub fn await_settled_ring(&self, hosts: usize) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let report = run_ok(&["check", "--settled", "--wait", "60s", "--client", &self.client]);
            if report.contains(&format!(" {hosts} hosts")) {
                return;
            }
            assert!(Instant::now() < deadline, "not {hosts} hosts: {report}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn await_ready(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !run(&["status", "--client", &self.client]).status.success() {
            assert!(Instant::now() < deadline, "{} does not get ready\n{}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---- {} printed:\n{}", self.name, self.log());
        }
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>, log: &Arc<Mutex<String>>) {
    let (pipe, log) = (pipe.expect("the pipe was asked for"), log.clone());
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            if log.len() < 1 << 20 {
                log.push_str(&line);
                log.push('\n');
            }
        }
    });
}
