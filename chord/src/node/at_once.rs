//! Several operations at once, in bounded numbers.

use std::future::poll_fn;
use std::task::Poll;

use futures::StreamExt;
use futures::stream::{self, FuturesUnordered};

/// Operations that wait for other hosts at once.
const CONCURRENT: usize = 64;
/// Operations on this host's own keys that wait at once.
const FEW: usize = 32;

/// Runs operations that seldom wait: each as far as it gets at once, which is mostly to its end; of those that have to
/// wait, [`FEW`] at once. They begin in order; results come in any order.
pub(crate) async fn few_at_once<I, R, F: Future<Output = R>>(items: Vec<I>, run: impl Fn(I) -> F) -> Vec<R> {
    let mut results = Vec::with_capacity(items.len());
    let mut waiting = FuturesUnordered::new();
    for item in items {
        let mut operation = Box::pin(run(item));
        match poll_fn(|context| Poll::Ready(operation.as_mut().poll(context))).await {
            Poll::Ready(result) => results.push(result),
            Poll::Pending => waiting.push(operation),
        }
        if waiting.len() >= FEW {
            results.extend(waiting.next().await);
        }
    }
    results.extend(waiting.collect::<Vec<R>>().await);
    results
}

/// Runs operations that wait for others, [`CONCURRENT`] at once. Results come in any order.
pub(crate) async fn many_at_once<R>(operations: impl IntoIterator<Item: Future<Output = R>>) -> Vec<R> {
    stream::iter(operations).buffer_unordered(CONCURRENT).collect().await
}
