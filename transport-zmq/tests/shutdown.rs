//! After the end of a transport no task and no socket is left: counted, each time in a runtime of its own.
#![cfg(target_os = "linux")]

mod common;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chord::transport::{Endpoint, Frame, Lane, Transport};
use chord_transport_zmq::{ZmqConfig, ZmqTransport};
use common::{call, config, echo, open, until, within};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use zeromq::{RouterSocket, Socket};

/// One test at a time: the sockets of the process are counted.
static ALONE: Mutex<()> = Mutex::new(());

fn sockets() -> usize {
    let is_socket = |entry: std::io::Result<std::fs::DirEntry>| {
        let target = entry.and_then(|entry| std::fs::read_link(entry.path()));
        target.is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    };
    std::fs::read_dir("/proc/self/fd").expect("Linux has it").map(is_socket).filter(|&is| is).count()
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Runs the test that `make` makes on both kinds of runtime, with the number of sockets before it. A runtime that
/// handles signals has sockets of its own.
fn on_each_runtime<F: Future<Output = ()>>(make: impl Fn(usize) -> F) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let multi_thread = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    multi_thread.block_on(make(sockets()));
    drop(multi_thread);
    let current_thread = Builder::new_current_thread().enable_all().build().expect("a runtime");
    current_thread.block_on(make(sockets()));
}

/// Two hosts with connections on all lanes both ways, a failed dial behind them, and calls in flight to the
/// second, which nobody answers.
async fn busy() -> (Arc<ZmqTransport>, Arc<ZmqTransport>) {
    let (left, right) = (open(config("left")).await, open(config("right")).await);
    let served = (echo(&left), echo(&right));
    for lane in [Lane::Control, Lane::Request, Lane::Bulk] {
        let options = chord::transport::CallOptions { lane, ..within(Duration::from_secs(10)) };
        left.call(right.endpoint(), Frame::new("q", vec![1; 100_000]), options).await.expect("a reply");
        right.call(left.endpoint(), Frame::new("q", "body"), options).await.expect("a reply");
    }
    let absent: Endpoint = "zmq://absent@127.0.0.1:1".parse().expect("an endpoint");
    left.call(&absent, Frame::default(), within(Duration::from_secs(10))).await.expect_err("nobody listens");
    served.0.abort();
    served.1.abort();
    let _ = (served.0.await, served.1.await);
    (left, right)
}

#[test]
fn close_leaves_no_task_and_no_socket() {
    on_each_runtime(|before| async move {
        let (left, right) = busy().await;
        assert!(sockets() >= before + 14, "two listeners and six connections with both their ends");
        let asking: Vec<_> = (0..8)
            .map(|_| {
                let (left, right) = (left.clone(), right.clone());
                tokio::spawn(async move { call(&left, &right, Frame::default()).await })
            })
            .collect();
        let held = right.accept().await.unwrap();
        tokio::join!(left.close(), left.close(), right.close());
        for call in asking {
            call.await.unwrap().unwrap_err();
        }
        // On several threads the last bookkeeping of a task that has ended may be a moment behind.
        until("no task is left", || tasks() == 0).await;
        assert_eq!(sockets(), before);
        assert_eq!((left.stats().stuck_sockets, right.stats().stuck_sockets), (0, 0));
        held.reply(Frame::default());
        left.close().await;
        let again = ZmqConfig { listen: left.endpoint().clone(), ..config("left") };
        open(again).await.close().await;
    });
}

#[test]
fn dropping_leaves_no_task_and_no_socket() {
    on_each_runtime(|before| async move {
        drop(busy().await);
        until("no task is left", || tasks() == 0).await;
        assert_eq!(sockets(), before);
    });
}

#[test]
fn closing_ends_a_dial_that_is_under_way() {
    on_each_runtime(|before| async move {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint: Endpoint = format!("zmq://silent@{}", silent.local_addr().unwrap()).parse().unwrap();
        let caller = open(config("caller")).await;
        let asking = {
            let caller = caller.clone();
            tokio::spawn(async move {
                caller.call(&endpoint, Frame::default(), within(Duration::from_secs(10))).await
            })
        };
        let accepted = (silent.accept().await.unwrap(), silent.accept().await.unwrap());
        let begun = Instant::now();
        caller.close().await;
        assert!(begun.elapsed() < Duration::from_secs(1));
        asking.await.unwrap().unwrap_err();
        drop((accepted, silent));
        until("no task is left", || tasks() == 0).await;
        assert_eq!(sockets(), before);
    });
}

#[test]
fn a_stranger_who_never_shakes_hands_delays_closing_but_briefly() {
    on_each_runtime(|before| async move {
        let host = open(config("host")).await;
        let stranger = TcpStream::connect(host.local_addr()).await.unwrap();
        stranger.readable().await.unwrap();
        let begun = Instant::now();
        host.close().await;
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!(host.stats().stuck_sockets, 1, "the library cannot be told to let go of it");
        drop(stranger);
        until("its task ended with its connection", || tasks() == 0).await;
        assert_eq!(sockets(), before);
    });
}

#[test]
fn a_peer_that_does_not_read_delays_closing_but_briefly() {
    on_each_runtime(|before| async move {
        let mut deaf = RouterSocket::new();
        let bound = deaf.bind("tcp://127.0.0.1:0").await.unwrap().to_string();
        let endpoint: Endpoint = bound.replace("tcp://", "zmq://deaf@").parse().unwrap();
        let caller = open(config("caller")).await;
        let large = Frame::new("", vec![0; 17 << 20]);
        for _ in 0..2 {
            let unanswered = caller.call(&endpoint, large.clone(), within(Duration::from_millis(100)));
            unanswered.await.unwrap_err();
        }
        let begun = Instant::now();
        caller.close().await;
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!(caller.stats().stuck_sockets, 1, "the library goes on writing");
        drop(deaf.close().await);
        until("its task ended with its connection", || tasks() == 0).await;
        assert_eq!(sockets(), before);
    });
}
