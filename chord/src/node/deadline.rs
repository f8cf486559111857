//! Waiting no longer than until a deadline, at no cost where there is nothing to wait for.

use std::task::Poll;

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
    /// Until when the store is waited for while writes are held back. They have time left when they go on.
    pub(crate) fn store_patience(&self) -> Instant {
        Instant::now() + self.config.operation_deadline / 2
    }
}
