//! What a call over a perfect network costs, beside the bare channels that it could not do without. The engine's
//! own cost is what its operations take beyond this.

use std::sync::Arc;
use std::time::Duration;

use chord::transport::{CallOptions, Frame, Lane, Transport};
use chord_transport_mem::Network;
use criterion::{Criterion, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn channels(criterion: &mut Criterion) {
    let runtime = runtime();
    let (request_tx, mut request_rx) = mpsc::channel::<(Frame, oneshot::Sender<Frame>)>(16);
    runtime.spawn(async move {
        while let Some((frame, reply_tx)) = request_rx.recv().await {
            let _ = reply_tx.send(frame);
        }
    });
    criterion.bench_function("an mpsc and a oneshot channel", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let (reply_tx, reply_rx) = oneshot::channel();
            request_tx.send((Frame::default(), reply_tx)).await.expect("the server runs");
            reply_rx.await.expect("a reply")
        });
    });
}

fn call(criterion: &mut Criterion) {
    let runtime = runtime();
    let network = Network::new(1);
    let (caller, peer) = (network.listen("caller"), Arc::new(network.listen("peer")));
    let server = Arc::clone(&peer);
    runtime.spawn(async move {
        while let Some(incoming) = server.accept().await {
            incoming.reply(Frame::new(&b"reply"[..], &[0; 100][..]));
        }
    });
    criterion.bench_function("a call of 100 bytes on one thread", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let frame = Frame::new(&b"request"[..], &[0; 100][..]);
            let options =
                CallOptions { deadline: Instant::now() + Duration::from_secs(5), lane: Lane::Request };
            caller.call(peer.endpoint(), frame, options).await.expect("a reply")
        });
    });
}

criterion_group!(benches, channels, call);
criterion_main!(benches);
