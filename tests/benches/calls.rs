//! A call over each transport beside the bare library doing the same work in the same run.
//!
//! `cargo bench -p chord-tests --bench calls [-- --json --rounds N]`. Frames of 64 bytes there and back. Two
//! limits for ZeroMQ and QUIC: the library with concurrent callers, their deadlines and a handler behind a queue (the
//! same work), and the library in one loop with a window and no callers (less work than any transport can do). Caller
//! and server share a thread, or have a thread each.

mod bare;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod support;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bare::{FRAME_BYTES, Serving, quic, zmq};
use bytes::Bytes;
use chord::Endpoint;
use chord::transport::{CallOptions, Frame, Lane, Transport};
use chord_tests::ring::Wires;
use support::{Arguments, Better, Figure, Goal, one_by_one, print, runtime};
use tokio::sync::{mpsc, oneshot};

const IN_FLIGHT: usize = 64;
const BODY: Bytes = Bytes::from_static(&[5; FRAME_BYTES]);

/// Whether the server has a thread of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Threads {
    Shared,
    OneEach,
}

fn main() {
    let arguments = Arguments::parse(25);
    let mut figures = Vec::new();
    for threads in [Threads::Shared, Threads::OneEach] {
        runtime().block_on(async {
            figures.extend(zmq_calls(threads, &arguments).await);
            figures.extend(quic_calls(threads, &arguments).await);
        });
    }
    runtime().block_on(async { figures.push(mem_calls(&arguments).await) });
    print(&figures, &arguments);
}

/// Starts `server`, which says where it is.
async fn start<A, F>(threads: Threads, server: impl FnOnce(oneshot::Sender<A>) -> F + Send + 'static) -> A
where
    A: Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (address_tx, address_rx) = oneshot::channel();
    match threads {
        Threads::Shared => drop(tokio::spawn(server(address_tx))),
        Threads::OneEach => drop(std::thread::spawn(move || runtime().block_on(server(address_tx)))),
    }
    address_rx.await.expect("the server starts")
}

async fn answer(transport: Arc<dyn Transport>, address_tx: oneshot::Sender<Endpoint>) {
    let _ = address_tx.send(transport.endpoint().clone());
    while let Some(incoming) = transport.accept().await {
        let reply = incoming.frame.clone();
        incoming.reply(reply);
    }
}

/// Our side: a transport and whom it calls.
#[derive(Clone)]
struct Ours {
    transport: Arc<dyn Transport>,
    to: Endpoint,
}

impl Ours {
    async fn start(threads: Threads, wires: Wires) -> Ours {
        let wires = Arc::new(wires);
        let theirs = wires.clone();
        let serve = |address_tx| async move { answer(theirs.listen("server").await, address_tx).await };
        let to = start(threads, serve).await;
        Ours { transport: wires.listen("caller").await, to }
    }

    async fn call(&self) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        let options = CallOptions { deadline, lane: Lane::Request };
        let frame = Frame { head: BODY, body: Bytes::new() };
        let reply = self.transport.call(&self.to, frame, options).await.expect("a reply");
        assert_eq!(reply.len(), FRAME_BYTES);
    }
}

/// `count` calls by `IN_FLIGHT` callers; calls in a second.
async fn rate<F>(count: usize, call: impl Fn() -> F + Clone + Send + 'static) -> f64
where
    F: Future<Output = ()> + Send + 'static,
{
    let started = Instant::now();
    let callers: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let call = call.clone();
            tokio::spawn(async move {
                for _ in 0..count / IN_FLIGHT {
                    call().await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("no call fails");
    }
    (count / IN_FLIGHT * IN_FLIGHT) as f64 / started.elapsed().as_secs_f64()
}

/// `count` replies with a window of `IN_FLIGHT`; replies in a second. The two libraries differ in types only.
macro_rules! window_rate {
    ($window:expr, $count:expr) => {{
        let (started, mut sent, mut received) = (Instant::now(), IN_FLIGHT, 0);
        $window.send(sent).await;
        while received < $count {
            let replies = $window.receive().await;
            received += replies;
            let more = replies.min($count - sent);
            if more > 0 {
                $window.send(more).await;
                sent += more;
            }
        }
        received as f64 / started.elapsed().as_secs_f64()
    }};
}

fn figures(name: &str, threads: Threads) -> [Figure; 4] {
    let place = if threads == Threads::Shared { "one thread" } else { "a thread each" };
    let (callers, window) = ("bare, same work", "bare, one loop");
    let latency = |limit, goal| {
        Figure::new(format!("{name}, {place}: p50, 1 in flight"), "us", Better::Lower, limit, goal)
    };
    let rate = |limit, goal| {
        let name = format!("{name}, {place}: calls, {IN_FLIGHT} in flight");
        Figure::new(name, "/s", Better::Higher, limit, goal)
    };
    [
        latency(callers, Goal::Cost(1.3)),
        latency(window, Goal::None),
        rate(callers, Goal::Cost(1.5)),
        rate(window, Goal::None),
    ]
}

/// Defines the measurement of one library; the two differ in types only.
macro_rules! measure {
    ($function:ident, $library:ident, $name:literal, $wires:expr) => {
        async fn $function(threads: Threads, arguments: &Arguments) -> [Figure; 4] {
            let ours = Ours::start(threads, $wires).await;
            let by_handler = start(threads, |address_tx| $library::serve(Serving::Handler, address_tx)).await;
            let callers = Arc::new($library::Callers::connect(&by_handler).await);
            let one_loop = start(threads, |address_tx| $library::serve(Serving::OneLoop, address_tx)).await;
            let mut window = $library::Window::connect(&one_loop).await;
            let (single, many) = if arguments.full { (2_000, 20_000) } else { (50, 640) };
            let mut figures = figures($name, threads);
            let [by_callers, by_window, rate_callers, rate_window] = &mut figures;
            // The first turn warms up and is not counted.
            for turn in 0..=arguments.rounds {
                let our_p50 = one_by_one(single, || ours.call()).await;
                let callers_p50 = one_by_one(single, || async { drop(callers.call(BODY).await) }).await;
                let mut took = Vec::with_capacity(single);
                for _ in 0..single {
                    let started = Instant::now();
                    window.send(1).await;
                    window.receive().await;
                    took.push(started.elapsed().as_secs_f64() * 1e6);
                }
                let window_p50 = support::median(took.into_iter());
                let caller = ours.clone();
                let our_rate = rate(many, move || {
                    let caller = caller.clone();
                    async move { caller.call().await }
                });
                let our_rate = our_rate.await;
                let caller = callers.clone();
                let callers_rate = rate(many, move || {
                    let caller = caller.clone();
                    async move { drop(caller.call(BODY).await) }
                });
                let callers_rate = callers_rate.await;
                let window_rate = window_rate!(window, many);
                if turn > 0 {
                    by_callers.add(our_p50, callers_p50);
                    by_window.add(our_p50, window_p50);
                    rate_callers.add(our_rate, callers_rate);
                    rate_window.add(our_rate, window_rate);
                }
            }
            figures
        }
    };
}

measure!(zmq_calls, zmq, "zmq", Wires::zmq());
measure!(quic_calls, quic, "quic", Wires::quic());

/// In memory: beside the two channels that a call cannot do without.
async fn mem_calls(arguments: &Arguments) -> Figure {
    let ours = Ours::start(Threads::Shared, Wires::mem()).await;
    let (requests_tx, mut requests_rx) = mpsc::channel::<(Bytes, oneshot::Sender<Bytes>)>(IN_FLIGHT);
    tokio::spawn(async move {
        while let Some((body, reply_tx)) = requests_rx.recv().await {
            let _ = reply_tx.send(body);
        }
    });
    let goal = Goal::AtMost(5.0);
    let mut figure = Figure::new("mem: p50, 1 in flight", "us", Better::Lower, "mpsc and oneshot", goal);
    let single = if arguments.full { 5_000 } else { 50 };
    for turn in 0..=arguments.rounds {
        let our_p50 = one_by_one(single, || ours.call()).await;
        let channels = one_by_one(single, || async {
            let (reply_tx, reply_rx) = oneshot::channel();
            requests_tx.send((BODY, reply_tx)).await.expect("the server runs");
            reply_rx.await.expect("a reply");
        });
        let channels = channels.await;
        if turn > 0 {
            figure.add(our_p50, channels);
        }
    }
    figure
}
