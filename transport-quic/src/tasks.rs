//! The tasks of a transport, kept together so that none outlives it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A set of tasks that can be ended and waited for.
#[derive(Default)]
pub(crate) struct Tasks {
    /// Never held across an await.
    set: Mutex<Set>,
}

#[derive(Default)]
struct Set {
    tasks: JoinSet<()>,
    refuses: bool,
}

impl Tasks {
    /// Runs `task`, unless the set was aborted: then `task` is dropped.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut set = self.lock();
        while set.tasks.try_join_next().is_some() {}
        if !set.refuses {
            set.tasks.spawn(task);
        }
    }

    /// Ends all tasks at their next await and lets no other begin.
    pub(crate) fn abort(&self) {
        let mut set = self.lock();
        set.refuses = true;
        set.tasks.abort_all();
    }

    /// Waits until no task is left, at most `patience`; says whether that is so.
    pub(crate) async fn joined(&self, patience: Duration) -> bool {
        let all = poll_fn(|cx| {
            let mut set = self.lock();
            loop {
                match set.tasks.poll_join_next(cx) {
                    Poll::Ready(Some(_)) => {}
                    Poll::Ready(None) => break Poll::Ready(()),
                    Poll::Pending => break Poll::Pending,
                }
            }
        });
        timeout(patience, all).await.is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, Set> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among a bounded number, kept by several tasks: free again when the last of them has ended, or before.
pub(crate) struct Place {
    /// Never held across an await.
    permit: Mutex<Option<OwnedSemaphorePermit>>,
}

tokio::task_local! {
    /// Kept by the drivers that quinn starts in this scope.
    static PLACE: Arc<Place>;
}

impl Place {
    pub(crate) fn new(permit: OwnedSemaphorePermit) -> Arc<Place> {
        Arc::new(Place { permit: Mutex::new(Some(permit)) })
    }

    /// Runs `accept`; the drivers that quinn starts in it keep `place` until quinn has forgotten their connection.
    /// Only the driver's end tells when that is.
    pub(crate) fn of_driver<R>(place: &Arc<Place>, accept: impl FnOnce() -> R) -> R {
        PLACE.sync_scope(place.clone(), accept)
    }

    /// Frees the place for another.
    pub(crate) fn give_back(&self) {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Tokio for quinn, with quinn's own tasks (one for the socket, one for each connection) in a [`Tasks`].
pub(crate) struct TrackedRuntime(pub(crate) Arc<Tasks>);

impl fmt::Debug for TrackedRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrackedRuntime")
    }
}

impl Runtime for TrackedRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        match PLACE.try_with(Arc::clone) {
            Ok(place) => self.0.spawn(async move {
                future.await;
                drop(place);
            }),
            Err(_) => self.0.spawn(future),
        }
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }
}
