//! What a call over a perfect network costs: the engine's own cost is what it takes beyond this.

use std::sync::Arc;
use std::time::Duration;

use chord::transport::{CallOptions, Frame, Lane, Transport};
use chord_transport_mem::Network;
use criterion::{Criterion, criterion_group, criterion_main};
use tokio::time::Instant;

fn call(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
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

criterion_group!(benches, call);
criterion_main!(benches);
