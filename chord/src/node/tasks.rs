//! The node's tasks: every one is known, and all of them end with the node.

use std::sync::{Mutex, PoisonError};

use tokio::task::JoinSet;

/// A set of tasks that ends with its owner.
#[derive(Default)]
pub(crate) struct Tasks {
    /// `None` once closed. Guards the set only; never held across an await.
    set: Mutex<Option<JoinSet<()>>>,
}

impl Tasks {
    /// An open set.
    pub(crate) fn new() -> Tasks {
        Tasks { set: Mutex::new(Some(JoinSet::new())) }
    }

    /// Starts a task, or drops the future when the set is closed.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        if let Some(set) = self.set.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            while set.try_join_next().is_some() {}
            set.spawn(future);
        }
    }

    /// Aborts every task without waiting; later ones are not started.
    pub(crate) fn abort(&self) {
        drop(self.set.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Aborts every task and waits until all have ended.
    pub(crate) async fn close(&self) {
        let set = self.set.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut set) = set {
            set.shutdown().await;
        }
    }
}
