//! Waiting no longer than until a deadline, at no cost where there is nothing to wait for.

use std::task::Poll;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::node::Node;
use crate::transport::Transport;

/// What `future` comes to by `deadline`. `None`, and it is dropped, if it has come to nothing by then. One that is
/// ready at once costs neither a timer nor a look at the clock.
pub(crate) async fn by<F: Future + Unpin>(deadline: Instant, mut future: F) -> Option<F::Output> {
    match futures::poll!(&mut future) {
        Poll::Ready(output) => Some(output),
        // Boxed, so that who need not wait does not carry the timer.
        Poll::Pending => Box::pin(timeout_at(deadline, future)).await.ok(),
    }
}

impl<T: Transport> Node<T> {
    /// What `work` comes to by `deadline`. If it has to wait, a task of the node carries it to its end, whatever becomes
    /// of the caller. `None` when it has come to nothing by then, or the node has ended.
    pub(crate) async fn carry_out<R: Send + 'static>(
        &self,
        mut work: impl Future<Output = R> + Unpin + Send + 'static,
        deadline: Instant,
    ) -> Option<R> {
        match futures::poll!(&mut work) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => {
                let (result_tx, result_rx) = oneshot::channel();
                self.tasks.spawn(async move {
                    let _ = result_tx.send(work.await);
                });
                by(deadline, result_rx).await.and_then(Result::ok)
            }
        }
    }

    /// Until when one step of a hand-off waits for the store: half of an operation's deadline, so that most writes that are
    /// held back meanwhile have time left when they go on.
    pub(crate) fn store_patience(&self) -> Instant {
        Instant::now() + self.config.operation_deadline / 2
    }
}
