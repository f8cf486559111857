//! Keeps the ring: rounds of maintenance, each a function; the loops only schedule them.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::error::Error;
use crate::node::Node;
use crate::node::call::CallError;
use crate::protocol::message::{MAX_ASKS, Request, Response};
use crate::protocol::peer::{Host, Peer};
use crate::protocol::routing::rounds::{Failed, Round};
use crate::protocol::routing::{Answer, Ask};
use crate::transport::Transport;

/// How often group records are compared with the ring, when nothing calls for it.
const HAND_OFF_INTERVAL: Duration = Duration::from_secs(1);
/// Between comparisons that are called for: one may find a dead host, and so call for the next.
const HAND_OFF_PAUSE: Duration = Duration::from_millis(10);

impl<T: Transport> Node<T> {
    /// Starts the loops that keep the node going.
    pub(crate) fn start_maintenance(self: &Arc<Self>) {
        self.spawn_vital("stabilisation", Self::stabilize_loop);
        self.spawn_vital("fixing fingers", Self::fix_fingers_loop);
        self.spawn_vital("looking for hand-offs", Self::hand_off_loop);
        self.spawn_vital("the sweep", Self::sweep_loop);
    }

    async fn stabilize_loop(self: Arc<Self>) {
        let mut pause = self.config.stabilize.floor;
        loop {
            let changed = self.maintain(Round::Stabilize).await;
            if changed {
                self.hand_off_due.notify_one();
            }
            self.settle_rivalries().await;
            self.rejoin_stranded().await;
            pause = self.config.stabilize.next_pause(pause, changed);
            tokio::select! {
                biased;
                () = self.ring_changed.notified() => pause = self.config.stabilize.floor,
                () = tokio::time::sleep(self.jittered(pause)) => continue,
            }
            // News come in bursts: wait a moment for the rest of one.
            tokio::time::sleep(self.jittered(pause / 4)).await;
        }
    }

    async fn fix_fingers_loop(self: Arc<Self>) {
        let mut pause = self.config.fix_fingers.floor;
        loop {
            tokio::time::sleep(self.jittered(pause)).await;
            let changed = self.maintain(Round::FixFingers).await;
            pause = self.config.fix_fingers.next_pause(pause, changed);
        }
    }

    async fn hand_off_loop(self: Arc<Self>) {
        loop {
            tokio::select! {
                biased;
                () = self.hand_off_due.notified() => {}
                () = tokio::time::sleep(self.jittered(HAND_OFF_INTERVAL)) => {}
            }
            if !self.is_leaving() {
                self.hand_off_pass().await;
            }
            tokio::time::sleep(HAND_OFF_PAUSE).await;
        }
    }

    /// Two hosts that joined at the same moment may claim one id. Of two that live, the one with the larger (name,
    /// incarnation) hands over what it has and goes; the other is made known to it.
    async fn settle_rivalries(self: &Arc<Self>) {
        let rivals: Vec<Peer> = self.routing().rivals().cloned().collect();
        for rival in rivals {
            let me = Peer::new(rival.id, self.me.clone());
            let asks = vec![Ask::Neighbours { of: rival.id }, Ask::Notify { to: rival.id, from: me }];
            let request = Request::Round { host: self.me.clone(), asks };
            let Ok(Response::Round(answers)) = self.control(&rival.host, &request).await else { continue };
            if !matches!(answers.first(), Some(Answer::Neighbours(_))) {
                self.routing().forget_rival(&rival);
                continue;
            }
            let ours = (&self.me.name, self.me.incarnation);
            if ours > (&rival.host.name, rival.host.incarnation) {
                self.step_down(&rival);
                return;
            }
        }
    }

    fn step_down(self: &Arc<Self>, rival: &Peer) {
        if self.is_leaving() {
            // It does already.
            return;
        }
        let reason = Error::Refused(format!(
            "id {} is taken by {} at {}, which joined at the same moment",
            self.parameters.space.show(&rival.id),
            rival.host.name,
            rival.host.endpoint
        ));
        tracing::error!(%reason, "stepping down");
        let node = self.clone();
        self.tasks.spawn(async move {
            if let Err(error) = node.leave_because(reason).await {
                tracing::warn!(%error, "cannot step down yet");
            }
        });
    }

    /// Runs one round to its end. Whether the ring's pointers changed meanwhile.
    pub(crate) async fn maintain(&self, round: Round) -> bool {
        let (before, batches) = {
            let mut routing = self.routing();
            (routing.changed(), routing.start_round(round))
        };
        let mut calls = FuturesUnordered::new();
        calls.extend(messages(batches).map(|(host, asks)| self.ask_all(host, asks)));
        while let Some((host, asks, result)) = calls.next().await {
            let more = {
                let mut routing = self.routing();
                match &result {
                    Ok(Response::Round(answers)) => routing.apply(&host, &asks, Ok(answers)),
                    _ if routing.is_lost(host.incarnation) => routing.apply(&host, &asks, Err(Failed)),
                    // Only late so far: the next round asks again.
                    _ => Vec::new(),
                }
            };
            calls.extend(messages(more).map(|(host, asks)| self.ask_all(host, asks)));
        }
        self.routing().changed() != before
    }

    async fn ask_all(
        &self,
        host: Arc<Host>,
        asks: Vec<Ask>,
    ) -> (Arc<Host>, Vec<Ask>, Result<Response, CallError>) {
        let request = Request::Round { host: self.me.clone(), asks: asks.clone() };
        let result = self.control(&host, &request).await;
        (host, asks, result)
    }
}

/// What is asked of each host, cut into messages.
fn messages(batches: Vec<(Arc<Host>, Vec<Ask>)>) -> impl Iterator<Item = (Arc<Host>, Vec<Ask>)> {
    batches.into_iter().flat_map(|(host, asks)| {
        let cut: Vec<_> = asks.chunks(MAX_ASKS).map(|asks| (host.clone(), asks.to_vec())).collect();
        cut
    })
}
