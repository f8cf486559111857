//! Tasks that a node cannot do without: it ends with them. One that is deaf, or has forgotten a hand-off, must not look
//! alive, least of all to its own handles.

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::error::Error;
use crate::node::Node;
use crate::transport::Transport;

/// Ends its node when it is dropped by a panic, or without one if it says why.
struct EndsNode<T: Transport> {
    node: Arc<Node<T>>,
    what: &'static str,
    otherwise: Option<&'static str>,
}

impl<T: Transport> Drop for EndsNode<T> {
    fn drop(&mut self) {
        let reason = match self.otherwise {
            _ if self.node.check_open().is_err() => return,
            _ if std::thread::panicking() => format!("{} failed: a bug", self.what),
            Some(reason) => reason.into(),
            None => return,
        };
        let reason = format!("{reason}; what this node owned is gone");
        tracing::error!(name = %self.node.me.name, reason, "the node ends");
        self.node.abandon(Error::Closed(reason));
        // What the transport listens on goes with it, not with the last handle. Without a runtime all has ended.
        if let Ok(runtime) = Handle::try_current() {
            let node = self.node.clone();
            runtime.spawn(async move { node.transport.close().await });
        }
    }
}

impl<T: Transport> Node<T> {
    /// Starts a task that does `what`. Should it panic, the node ends.
    pub(crate) fn spawn_vital<F>(self: &Arc<Self>, what: &'static str, run: impl FnOnce(Arc<Self>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let ends = EndsNode { node: self.clone(), what, otherwise: None };
        self.spawn_guarded(ends, run(self.clone()));
    }

    /// Starts the task that serves others. The node ends with it.
    pub(crate) fn start_serving(self: &Arc<Self>) {
        let node = self.clone();
        let ends = EndsNode { node: self.clone(), what: "serving", otherwise: Some("the transport closed") };
        self.spawn_guarded(ends, async move { node.serve().await });
    }

    fn spawn_guarded(&self, ends: EndsNode<T>, run: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(async move {
            let _ends = ends;
            run.await;
        });
    }
}
