//! How a node ends in order: hand over, say goodbye, stop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{MutexGuard, RwLockWriteGuard, watch};
use tokio::time::{Instant, timeout_at};

use crate::error::Error;
use crate::node::deadline::by;
use crate::node::{Node, Phase};
use crate::protocol::group::{Groups, TransferId};
use crate::protocol::id::Id;
use crate::protocol::message::{MAX_LEAVING, Request};
use crate::protocol::peer::Host;
use crate::protocol::placement;
use crate::protocol::routing::{Ask, Farewells, Routing};
use crate::transport::Transport;

/// A leaver gives up and stays when no hand-off has got on for so long.
const LEAVE_PATIENCE: Duration = Duration::from_secs(30);
/// A leaver goes when nobody has asked it for so long ...
const QUIET: Duration = Duration::from_millis(100);
/// ... and at the latest after this.
const MAX_LINGERING: Duration = Duration::from_secs(2);
/// How often a leaver looks for something to hand over, when nothing has changed.
const LEAVE_INTERVAL: Duration = Duration::from_millis(100);

/// Resolves when a leave has ended, and how.
pub(crate) type LeaveEnd = watch::Receiver<Option<Result<(), Error>>>;

impl<T: Transport> Node<T> {
    /// Hands everything over, tells the neighbours and ends. The last host with entries stays. Goes on when it is
    /// dropped; whoever leaves again waits for the same end.
    pub(crate) async fn leave(self: &Arc<Self>) -> Result<(), Error> {
        self.leave_because(Error::Closed("the node has left".into())).await
    }

    /// [`Node::leave`], after which every handle says `reason`.
    pub(crate) async fn leave_because(self: &Arc<Self>, reason: Error) -> Result<(), Error> {
        let (ended, end) = watch::channel(None);
        let begun = {
            let mut latest = self.leave_end();
            let begun = self.move_on(Phase::is_ready, Phase::Leaving);
            if begun {
                *latest = Some(end.clone());
            }
            begun
        };
        let end = if begun {
            self.spawn_vital("leaving", |node| node.run_leave(reason, ended));
            Some(end)
        } else if self.is_leaving() {
            self.leave_end().clone()
        } else {
            None
        };
        let Some(mut end) = end else {
            self.check_open()?;
            return Err(Error::TryAgain { reason: "the node is joining".into() });
        };
        let result = end.wait_for(Option::is_some).await.ok().and_then(|result| result.clone());
        // The task ended with the node.
        result.unwrap_or_else(|| self.check_open())
    }

    /// Leaves, as one of the node's tasks.
    async fn run_leave(self: Arc<Self>, reason: Error, ended: watch::Sender<Option<Result<(), Error>>>) {
        match self.hand_everything_over().await {
            Ok(farewell) => {
                self.say_goodbye(farewell).await;
                self.linger().await;
                tracing::info!(name = %self.me.name, "left the ring");
                // A task of the node cannot wait for the end of all of them.
                tokio::spawn(async move {
                    self.shut_down(reason).await;
                    ended.send_replace(Some(Ok(())));
                });
            }
            Err(error) => {
                self.move_on(Phase::is_leaving, Phase::Ready);
                self.hand_off_due.notify_one();
                ended.send_replace(Some(Err(error)));
            }
        }
    }

    /// Returns with nothing left here, and nothing that could still come: whom to tell.
    async fn hand_everything_over(self: &Arc<Self>) -> Result<Farewells, Error> {
        self.progress.done();
        // How often each piece was offered: one that is refused goes to the next heir.
        let mut offered: BTreeMap<Id, usize> = BTreeMap::new();
        loop {
            let changed = self.groups_changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(farewell) = self.part_with_nothing().await {
                return Ok(farewell);
            }
            if self.is_last_host()
                && !self.somebody_answers().await
                && let Some(farewell) = self.part_as_last().await?
            {
                return Ok(farewell);
            }
            if self.progress.standstill() >= LEAVE_PATIENCE {
                let reason = format!("the hand-over has not got on for {LEAVE_PATIENCE:?}");
                return Err(Error::TryAgain { reason });
            }
            let idle = self.groups().idle();
            for piece in idle {
                let mut heirs = placement::heirs(&self.routing(), &piece);
                let times = offered.entry(piece.upto).or_default();
                let turn = *times % heirs.len().max(1);
                heirs.rotate_left(turn);
                let heir = heirs.into_iter().find(|heir| self.may_be_offered(heir));
                if heir.is_some_and(|heir| self.start_hand_off(piece, heir, true)) {
                    *times += 1;
                }
            }
            let _ = tokio::time::timeout(LEAVE_INTERVAL, changed).await;
            // Changes that are this task's own work leave no pause in which the hand-offs it began could run.
            tokio::task::yield_now().await;
        }
    }

    /// Parts from the ring if everything is handed over and nothing is being learnt: what this host has told a
    /// leaving one that it holds, it must install first, and hand over itself.
    async fn part_with_nothing(&self) -> Option<Farewells> {
        let has_nothing = || {
            let groups = self.groups();
            let nothing = groups.held().is_empty() && groups.transfers() == 0;
            drop(groups);
            nothing && self.dirty().is_empty()
        };
        if !has_nothing() {
            return None;
        }
        let _gate = self.nothing_is_taken().await?;
        has_nothing().then(|| self.part())
    }

    /// Returns with no clearing under way, so that no entry is left of what was handed over, and takes no offer while the
    /// result is held. `None` when a store that hangs, or has much to clear, keeps it waiting.
    async fn nothing_is_taken(&self) -> Option<(MutexGuard<'_, ()>, RwLockWriteGuard<'_, ()>)> {
        let locks = async { (self.clearing.lock().await, self.learning.write().await) };
        timeout_at(self.store_patience(), locks).await.ok()
    }

    /// Whether any other host that this one has heard of is there: it may be about to take its place beside this
    /// one. Those that are not are forgotten.
    async fn somebody_answers(&self) -> bool {
        let others: Vec<Arc<Host>> = {
            let routing = self.routing();
            let (me, mut others) = (self.me.incarnation, Vec::new());
            for peer in routing.contacts().preceding(&Id::ZERO, &Id::ZERO) {
                if peer.host.incarnation != me && !others.contains(&peer.host) {
                    others.push(peer.host.clone());
                }
            }
            others
        };
        for host in others {
            let request = Request::Round { host: self.me.clone(), asks: vec![Ask::Ping] };
            if self.control(&host, &request).await.is_ok() {
                return true;
            }
        }
        false
    }

    /// Parts from a ring that ends with this host: all others have left it the whole circle, and it holds no entries.
    /// `None` when others have come meanwhile, or one that was silent hands something over.
    ///
    /// # Errors
    /// [`Error::LastHost`] when there are entries, or others hold parts of the circle, who are silent: when they are heard
    /// of again nobody could answer for the parts of this host.
    async fn part_as_last(&self) -> Result<Option<Farewells>, Error> {
        // What an offer would bring is not looked for below.
        let Some(_gate) = self.nothing_is_taken().await else { return Ok(None) };
        // Writes wait while this host looks whether there are entries, and for ever if there are none.
        let held = self.try_change_groups(hold_everything);
        let Some(held) = held else { return Ok(None) };
        let counted = self.last_entries(self.store_patience()).await;
        let serves_all = self.groups().serves_all();
        if serves_all && matches!(counted, Ok(0)) {
            let mut routing = self.routing();
            if placement::is_last_host(&routing) {
                return Ok(Some(self.part_from(&mut routing)));
            }
        }
        if let Some(transfer) = held {
            self.change_groups(|groups| groups.release(transfer));
        }
        match counted? {
            0 if serves_all => Ok(None),
            entries => Err(Error::LastHost { entries }),
        }
    }

    /// How many entries there are once every write that was let in is stored.
    async fn last_entries(&self, deadline: Instant) -> Result<u64, Error> {
        let counted = async {
            self.keys.barrier().await;
            self.storage.stats().await
        };
        let counted = by(deadline, Box::pin(counted)).await.flatten();
        counted
            .map(|stock| stock.entries)
            .ok_or_else(|| Error::TryAgain { reason: "the store does not answer".into() })
    }

    fn part(&self) -> Farewells {
        self.part_from(&mut self.routing())
    }

    /// From here on this host is no member of the ring and takes nothing more: its virtual nodes are gone. Returns
    /// whom to tell.
    fn part_from(&self, routing: &mut Routing) -> Farewells {
        self.move_on(Phase::is_leaving, Phase::Parting);
        let farewell = routing.farewell();
        for (_, peer) in &self.virtual_nodes {
            routing.remove(&peer.id);
        }
        farewell
    }

    /// Whether this host's pointers name no other one.
    pub(crate) fn is_last_host(&self) -> bool {
        placement::is_last_host(&self.routing())
    }

    /// Sends those who still come to the new owners, until nobody does: a write that is on its way when the
    /// transport closes would end without an answer.
    async fn linger(&self) {
        let latest = Instant::now() + MAX_LINGERING;
        let redirected = || self.metrics.redirected.load(Ordering::Relaxed);
        let mut seen = redirected();
        loop {
            tokio::time::sleep(QUIET).await;
            let now = redirected();
            if now == seen || Instant::now() >= latest {
                return;
            }
            seen = now;
        }
    }

    /// Tells each neighbouring host which virtual nodes go, and what they point to.
    async fn say_goodbye(&self, farewell: Farewells) {
        let calls = farewell.into_iter().map(|(host, nodes)| async move {
            for nodes in nodes.chunks(MAX_LEAVING) {
                let _ = self.control(&host, &Request::Leave { nodes: nodes.to_vec() }).await;
            }
        });
        futures::future::join_all(calls).await;
    }
}

/// Holds writes back in all that is served, by one hand-off to nobody, if anything is served. `None`, and no change,
/// while another hand-off still lets writes into a part of it, or one to here may bring entries.
fn hold_everything(groups: &mut Groups) -> Option<Option<TransferId>> {
    if groups.served().len() != groups.idle().len() || groups.learns() {
        return None;
    }
    let held = groups.begin_all();
    if let Some(transfer) = held {
        groups.hold(transfer);
    }
    Some(held)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::group::{Group, MAX_BEGUN, Verdict};
    use crate::protocol::id::Interval;

    /// A write that lands there after the entries were counted would be acknowledged, and gone with the host.
    #[test]
    fn the_last_host_parts_with_nothing_while_a_hand_off_lets_writes_in() {
        let mut groups = Groups::genesis(Host::named("a", 1));
        let part = Interval::new(Id::from_u128(1), Id::from_u128(9));
        let (transfer, _) = groups.begin(part).unwrap();
        let before = groups.clone();
        assert_eq!(hold_everything(&mut groups), None);
        assert_eq!(groups, before);
        groups.release(transfer);
        assert!(matches!(hold_everything(&mut groups), Some(Some(_))));
        for id in [5, 50] {
            assert!(matches!(groups.verdict(&Id::from_u128(id)), Verdict::Serve { held: true, .. }));
        }
    }

    /// What it brings would be gone with the host, though its source has left in order.
    #[test]
    fn the_last_host_parts_with_nothing_while_it_learns() {
        let (source, me) = (Host::named("a", 1), Host::named("b", 2));
        let mut groups = Groups::empty(me);
        let transfer = TransferId { source: source.incarnation, number: 1 };
        groups.offer(transfer, &source, &[(Interval::whole(), 1)]).unwrap();
        assert_eq!(hold_everything(&mut groups), None);
        groups.source_failed(source.incarnation);
        assert_eq!(hold_everything(&mut groups), Some(None));
    }

    /// One hand-off moves no more than so many pieces; the one to nobody must hold all.
    #[test]
    fn the_last_host_holds_writes_back_in_however_many_pieces_it_serves() {
        let (source, me) = (Host::named("a", 1), Host::named("b", 2));
        let mut groups = Groups::empty(me.clone());
        let pieces = 2 * MAX_BEGUN as u128;
        for i in 0..pieces {
            let (piece, epoch) = (Interval::new(Id::from_u128(i), Id::from_u128(i + 1)), 1 + i as u64);
            let transfer = TransferId { source: source.incarnation, number: epoch };
            groups.offer(transfer, &source, &[(piece, epoch)]).unwrap();
            assert!(groups.install(transfer, &[(piece, Group::of_one(epoch + 1, me.clone()))]));
        }
        assert!(matches!(hold_everything(&mut groups), Some(Some(_))));
        for id in 1..=pieces {
            assert!(matches!(groups.verdict(&Id::from_u128(id)), Verdict::Serve { held: true, .. }));
        }
    }
}
