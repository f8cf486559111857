//! How the tasks of a transport end, and how `close` knows that they have.

use std::convert::Infallible;
use std::sync::Mutex;

use tokio::sync::{mpsc, watch};

/// Owned by the transport. Dropping it tells every task to end, as [`Lifetime::close`] does.
pub(crate) struct Lifetime {
    closing_tx: watch::Sender<bool>,
    /// Guards what new tasks get; `None` once closing. Never held across an await.
    lifeline: Mutex<Option<Lifeline>>,
    /// Ends when every task has dropped its lifeline.
    ended_rx: tokio::sync::Mutex<mpsc::Receiver<Infallible>>,
}

/// Held by every task for as long as it lives.
#[derive(Clone)]
pub(crate) struct Lifeline {
    closing_rx: watch::Receiver<bool>,
    _alive_tx: mpsc::Sender<Infallible>,
}

impl Lifetime {
    pub(crate) fn new() -> Lifetime {
        let (closing_tx, closing_rx) = watch::channel(false);
        let (alive_tx, ended_rx) = mpsc::channel(1);
        Lifetime {
            closing_tx,
            lifeline: Mutex::new(Some(Lifeline { closing_rx, _alive_tx: alive_tx })),
            ended_rx: tokio::sync::Mutex::new(ended_rx),
        }
    }

    /// What a new task must hold; `None` once closing, when no task may start.
    pub(crate) fn lifeline(&self) -> Option<Lifeline> {
        self.lifeline.lock().expect("no holder panics").clone()
    }

    pub(crate) fn is_closing(&self) -> bool {
        *self.closing_tx.borrow()
    }

    /// Tells every task to end and waits until all have. Cancel safe: calling it again goes on waiting.
    pub(crate) async fn close(&self) {
        self.lifeline.lock().expect("no holder panics").take();
        self.closing_tx.send_replace(true);
        let ended = self.ended_rx.lock().await.recv().await;
        debug_assert!(ended.is_none(), "nothing is ever sent");
    }
}

impl Lifeline {
    /// Returns when the task is to end: the transport is closing or was dropped. Cancel safe.
    pub(crate) async fn cut(&mut self) {
        // An error means that the transport was dropped.
        let _ = self.closing_rx.wait_for(|closing| *closing).await;
    }
}
