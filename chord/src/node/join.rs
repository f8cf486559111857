//! How a node begins: as the first host of a new ring, or by joining one.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use tokio::time::Instant;

use crate::config::{Config, Expected};
use crate::error::Error;
use crate::node::call::{Unanswered, exchange, millis_until};
use crate::node::stock::expect_empty;
use crate::node::store::Store;
use crate::node::{Guard, Identity, Node, Phase};
use crate::protocol::group::Groups;
use crate::protocol::id::IdSpace;
use crate::protocol::message::{Parameters, Request, Response};
use crate::protocol::peer::{Host, Incarnation, Peer};
use crate::protocol::ring::Ring;
use crate::protocol::routing::rounds::Round;
use crate::protocol::routing::{Answer, Ask, Route, Routing, RoutingLimits, RoutingMode};
use crate::protocol::successors::SuccessorLimits;
use crate::protocol::wire::{self, Header};
use crate::storage::Storage;
use crate::transport::{Endpoint, Lane, Transport};

/// How long one known endpoint is given to answer.
const HELLO_DEADLINE: Duration = Duration::from_secs(2);
/// The pause before a join is tried again; it doubles up to a second.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
/// How often a virtual node tries to find its place before the join fails: with the pauses about half a minute.
const MAX_TRIES: u32 = 32;

impl<T: Transport> Node<T> {
    /// The first host of a new ring.
    pub(crate) async fn create(
        transport: T,
        config: Config,
        storage: Arc<dyn Storage>,
    ) -> Result<Guard<T>, Error> {
        config.validate()?;
        config.fits_frames(transport.max_frame_bytes())?;
        let storage = Store::new(storage);
        expect_empty(&storage, &config).await?;
        let mut identity = Identity::new(&config, &transport)?;
        let space =
            IdSpace::new(config.bits, config.hash).map_err(|error| Error::Invalid(error.to_string()))?;
        let parameters = Parameters {
            genesis: identity.random.random(),
            ring_name: config.ring_name.clone(),
            space,
            replicas: config.replicas as u16,
            max_key_bytes: config.max_key_bytes as u64,
            max_value_bytes: config.max_value_bytes as u64,
        };
        let host = identity.host.clone();
        let ids = config.virtual_node_ids(&space);
        let routing = Routing::create(space, host.clone(), limits(&config), &ids);
        let groups = Groups::genesis(host);
        let node = Node::new(transport, config, parameters, identity, groups, routing, storage);
        let guard = Guard { node: Arc::new(node) };
        let node = &guard.node;
        node.start_serving();
        node.start_maintenance();
        node.become_ready()?;
        tracing::info!(name = %node.me.name, endpoint = %node.me.endpoint, ring = %node.parameters.ring_name,
            "created a ring");
        Ok(guard)
    }

    /// A host of an existing ring, reached through `known`.
    pub(crate) async fn join(
        transport: T,
        known: &[Endpoint],
        mut config: Config,
        storage: Arc<dyn Storage>,
    ) -> Result<Guard<T>, Error> {
        config.validate()?;
        let storage = Store::new(storage);
        expect_empty(&storage, &config).await?;
        let identity = Identity::new(&config, &transport)?;
        let (contact, peers, parameters) = first_contact(&transport, known, &identity.host).await?;
        adopt(&mut config, &parameters)?;
        config.fits_frames(transport.max_frame_bytes())?;
        let host = identity.host.clone();
        let routing = Routing::new(parameters.space, host.clone(), limits(&config));
        let groups = Groups::empty(host);
        let node = Node::new(transport, config, parameters, identity, groups, routing, storage);
        let guard = Guard { node: Arc::new(node) };
        let node = &guard.node;
        node.start_serving();
        match node.take_places(known, &contact, peers).await {
            Ok(()) => {}
            Err(error) => {
                node.shut_down(Error::Closed(format!("the join failed: {error}"))).await;
                return Err(error);
            }
        }
        node.start_maintenance();
        node.become_ready()?;
        tracing::info!(name = %node.me.name, endpoint = %node.me.endpoint, ring = %node.parameters.ring_name,
            "joined");
        Ok(guard)
    }

    /// Unless the node has ended meanwhile.
    fn become_ready(&self) -> Result<(), Error> {
        self.move_on(Phase::is_joining, Phase::Ready);
        self.check_open()
    }

    /// Every virtual node finds its place, one after the other; then their successors are told, so that the ring
    /// knows of this host: its only other host would not take itself for the last one any more.
    async fn take_places(
        &self,
        known: &[Endpoint],
        contact: &Arc<Host>,
        mut peers: Vec<Peer>,
    ) -> Result<(), Error> {
        self.routing().learn(&peers);
        for (label, me) in &self.virtual_nodes {
            let mut pause = FIRST_PAUSE;
            let mut tries = 0;
            while !self.take_place(me, Route::Closer(peers.clone()), label).await? {
                tries += 1;
                if tries >= MAX_TRIES {
                    return Err(Error::Unreachable(format!(
                        "virtual node {label} found no place in the ring of {}",
                        contact.name
                    )));
                }
                tokio::time::sleep(self.jittered(pause)).await;
                pause = (2 * pause).min(Duration::from_secs(1));
                peers = self.more_contacts(known, peers).await;
            }
        }
        self.maintain(Round::Stabilize).await;
        if self.is_last_host() && self.parts_empty_handed().await {
            return Err(Error::Unreachable("the ring ended while this host joined it".into()));
        }
        self.ring_changed.notify_one();
        Ok(())
    }

    /// Takes no offers from here on, unless others have handed something over before they left: then this host is the
    /// ring.
    async fn parts_empty_handed(&self) -> bool {
        let _gate = self.learning.write().await;
        let holds = {
            let groups = self.groups();
            !groups.held().is_empty() || groups.learns()
        };
        !holds && self.move_on(Phase::is_joining, Phase::Parting)
    }

    /// Whom to ask for a place next: the first contact may have left meanwhile.
    async fn more_contacts(&self, known: &[Endpoint], mut peers: Vec<Peer>) -> Vec<Peer> {
        if let Ok((_, fresh, parameters)) = first_contact(&self.transport, known, &self.me).await
            && parameters == self.parameters
        {
            peers = fresh;
        }
        let routing = self.routing();
        for (_, me) in &self.virtual_nodes {
            let route = routing.route(&me.id, RoutingMode::Contacts);
            let others = route.peers().filter(|peer| !peer.same_host(me) && !peers.contains(peer));
            let others: Vec<Peer> = others.cloned().collect();
            peers.extend(others);
        }
        peers
    }

    /// A virtual node that has lost every pointer, because all whom it knew have gone, joins anew.
    pub(crate) async fn rejoin_stranded(&self) {
        for (label, me) in &self.virtual_nodes {
            let Some(first) = self.way_back(me) else { continue };
            tracing::info!(label, "knows nobody any more: joining anew");
            if let Err(error) = self.take_place(me, first, label).await {
                tracing::warn!(label, %error, "cannot join anew");
            }
        }
    }

    /// Where a virtual node that knows nobody finds its way back: with the others of this host, or with whom this
    /// host has heard of. `None` when it needs none, or when there is nobody.
    fn way_back(&self, me: &Peer) -> Option<Route> {
        let routing = self.routing();
        if !routing.ring(&me.id)?.is_alone() {
            return None;
        }
        let mut others = routing.clone();
        others.remove(&me.id);
        let heard_of = others.contacts().preceding(&me.id, &me.id).filter(|peer| !peer.same_host(me));
        let heard_of: Vec<Peer> = heard_of.take(self.config.successor_hosts).cloned().collect();
        if others.rings().any(|ring| !ring.is_alone()) || heard_of.is_empty() {
            return (others.rings().len() > 0).then(|| others.route(&me.id, RoutingMode::Fingers));
        }
        Some(Route::Closer(heard_of))
    }

    /// Zave's Join for one virtual node: look its id up, ask the node before it for its successors. `false` when
    /// the ring changed meanwhile and it must be tried again.
    async fn take_place(&self, me: &Peer, first: Route, label: &str) -> Result<bool, Error> {
        let mode = RoutingMode::Fingers;
        let (_, found) = self.walk(&me.id, mode, first).await;
        let Some((predecessor, owners)) = found else { return Ok(false) };
        if let Some(holder) = owners.iter().find(|peer| peer.id == me.id) {
            self.check_taken(me, holder, label).await?;
            return Ok(false);
        }
        let Some(predecessor) = predecessor.filter(|peer| peer.id != me.id) else { return Ok(false) };
        let list = if predecessor.same_host(me) {
            self.routing().ring(&predecessor.id).map(Ring::neighbours)
        } else {
            let asks = vec![Ask::Neighbours { of: predecessor.id }];
            match self.control(&predecessor.host, &Request::Round { host: self.me.clone(), asks }).await {
                Ok(Response::Round(answers)) => match answers.into_iter().next() {
                    Some(Answer::Neighbours(neighbours)) => Some(neighbours),
                    _ => None,
                },
                _ => None,
            }
        };
        let Some(neighbours) = list else { return Ok(false) };
        if let Some(holder) = neighbours.successors.iter().find(|peer| peer.id == me.id) {
            self.check_taken(me, holder, label).await?;
            return Ok(false);
        }
        let limits = limits(&self.config).successors;
        let joined =
            Ring::joined(self.parameters.space, me.clone(), limits, predecessor, &neighbours.successors);
        let Some(ring) = joined else { return Ok(false) };
        self.routing().learn(&neighbours.successors);
        self.routing().add(ring);
        Ok(true)
    }

    /// Refuses the join when `holder` is alive under its recorded incarnation. Otherwise that life is over, and the
    /// ring is about to notice.
    async fn check_taken(&self, me: &Peer, holder: &Peer, label: &str) -> Result<(), Error> {
        if holder.same_host(me) {
            return Ok(());
        }
        let asks = vec![Ask::Neighbours { of: holder.id }];
        let request = Request::Round { host: self.me.clone(), asks };
        match self.control(&holder.host, &request).await {
            Ok(Response::Round(answers)) if matches!(answers.first(), Some(Answer::Neighbours(_))) => {
                Err(Error::Refused(format!(
                    "id {} of virtual node {label} is taken by {} at {}",
                    self.parameters.space.show(&me.id),
                    holder.host.name,
                    holder.host.endpoint
                )))
            }
            _ => {
                self.warn_neighbours(holder).await;
                Ok(())
            }
        }
    }

    /// Makes the hosts around a dead life of this host look at it: they greet this one and find the other gone.
    async fn warn_neighbours(&self, dead: &Peer) {
        let known: Vec<Arc<Host>> = {
            let routing = self.routing();
            let route = routing.route(&dead.id, RoutingMode::Contacts);
            route.peers().map(|peer| peer.host.clone()).collect()
        };
        for host in known.iter().filter(|host| host.incarnation != dead.host.incarnation) {
            let _ = self.control(host, &Request::Hello { host: self.me.clone() }).await;
        }
    }
}

/// Asks the known endpoints in turn for the ring's parameters.
async fn first_contact(
    transport: &impl Transport,
    known: &[Endpoint],
    me: &Arc<Host>,
) -> Result<(Arc<Host>, Vec<Peer>, Parameters), Error> {
    if known.is_empty() {
        return Err(Error::Invalid("no known endpoint was given".into()));
    }
    let mut failures = Vec::new();
    for endpoint in known {
        if (endpoint.scheme(), endpoint.address()) == (me.endpoint.scheme(), me.endpoint.address()) {
            failures.push(format!("{endpoint} is this host itself"));
            continue;
        }
        let deadline = Instant::now() + HELLO_DEADLINE;
        let header = Header {
            ring_tag: 0,
            from: me.incarnation,
            to: Incarnation(0),
            remaining_ms: millis_until(deadline),
        };
        let frame = wire::encode_request(header, &Request::Hello { host: me.clone() }, Bytes::new())
            .map_err(|error| Error::Invalid(error.to_string()))?;
        match exchange(transport, endpoint, frame, Lane::Control, deadline).await {
            Ok((Response::Welcome { host, nodes, parameters }, _)) if !nodes.is_empty() => {
                return Ok((host, nodes, parameters));
            }
            Ok((Response::Welcome { .. }, _)) => {
                failures.push(format!("{endpoint} has not joined a ring itself yet"));
            }
            Ok((Response::Refused(reason), _)) => return Err(Error::Refused(reason)),
            Ok(_) => failures.push(format!("{endpoint} answered nonsense")),
            Err(Unanswered::Transport(error)) => failures.push(error.to_string()),
            Err(Unanswered::Wire(error)) => failures.push(format!("{endpoint}: {error}")),
        }
    }
    Err(Error::Unreachable(failures.join("; ")))
}

/// Takes the ring's parameters over, or refuses them where the configuration insists on others.
fn adopt(config: &mut Config, parameters: &Parameters) -> Result<(), Error> {
    let Parameters { space, replicas, .. } = parameters;
    if *replicas != 1 {
        return Err(Error::Refused(format!("the ring keeps {replicas} copies; this version keeps 1")));
    }
    let differences = differences(&config.expected, parameters);
    if !differences.is_empty() {
        return Err(Error::Refused(differences.join("; ")));
    }
    config.ring_name.clone_from(&parameters.ring_name);
    config.bits = space.bits();
    config.hash = space.hash();
    config.max_key_bytes = usize::try_from(parameters.max_key_bytes).unwrap_or(usize::MAX);
    config.max_value_bytes = usize::try_from(parameters.max_value_bytes).unwrap_or(usize::MAX);
    config.validate()
}

/// Where the ring is not as expected, in words.
fn differences(expected: &Expected, ring: &Parameters) -> Vec<String> {
    fn differs<V: PartialEq + Display>(what: &str, expected: Option<&V>, ring: &V) -> Option<String> {
        let other = expected.filter(|expected| *expected != ring)?;
        Some(format!("the ring's {what} is {ring}, not {other}"))
    }
    let (bits, hash) = (ring.space.bits(), ring.space.hash());
    let found = [
        differs("name", expected.ring_name.as_ref(), &ring.ring_name),
        differs("number of bits", expected.bits.as_ref(), &bits),
        differs("hash", expected.hash.as_ref(), &hash),
    ];
    found.into_iter().flatten().collect()
}

pub(crate) fn limits(config: &Config) -> RoutingLimits {
    RoutingLimits {
        successors: SuccessorLimits { hosts: config.successor_hosts, max: config.max_successors },
        contacts: config.contacts,
        max_hops: config.max_hops,
        ..RoutingLimits::default()
    }
}
