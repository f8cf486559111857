//! Walks the ring to the owner of an id, by questions about the ring alone.

use crate::node::Node;
use crate::protocol::id::Id;
use crate::protocol::lookup::{Lookup, Next};
use crate::protocol::message::{Request, Response};
use crate::protocol::peer::Peer;
use crate::protocol::routing::{Answer, Ask, Route, RoutingMode};
use crate::transport::Transport;

impl<T: Transport> Node<T> {
    pub(crate) fn learn_route(&self, route: &Route) {
        let peers: Vec<Peer> = route.peers().cloned().collect();
        self.routing().learn(&peers);
    }

    /// The virtual node that the ring says owns `id`, found by asking the ring; `None` when it cannot be found now.
    pub(crate) async fn ring_owner(&self, id: &Id) -> Option<Peer> {
        let first = self.routing().route(id, RoutingMode::Fingers);
        let lookup = self.walk(id, RoutingMode::Fingers, first).await;
        lookup.1.and_then(|(_, owners)| owners.into_iter().next())
    }

    /// Walks the ring to the owner of `id`, by questions about the ring alone. Returns the walk, and what was
    /// found: the node before the owner, and the owner with its successors.
    pub(crate) async fn walk(
        &self,
        id: &Id,
        mode: RoutingMode,
        first: Route,
    ) -> (Lookup, Option<(Option<Peer>, Vec<Peer>)>) {
        let mut lookup = Lookup::new(*id, mode, first, &self.me, self.config.max_hops);
        loop {
            match lookup.next() {
                Next::Done { predecessor, owners } => return (lookup, Some((predecessor, owners))),
                Next::Failed(_) => return (lookup, None),
                Next::Ask(peer) => {
                    let asks = vec![Ask::FindSuccessor { id: *id, mode: lookup.mode() }];
                    let request = Request::Round { host: self.me.clone(), asks };
                    match self.control(&peer.host, &request).await {
                        Ok(Response::Round(answers)) => match answers.first() {
                            Some(Answer::Route(route)) => {
                                self.learn_route(route);
                                lookup.answered(&peer, route);
                            }
                            _ => lookup.failed(&peer),
                        },
                        _ => lookup.failed(&peer),
                    }
                }
            }
        }
    }
}
