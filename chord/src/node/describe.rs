//! Tells about this node and, by asking every host, about the ring.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use tokio::time::Instant;

use crate::chord::Neighbourhood;
use crate::error::Error;
use crate::node::Node;
use crate::node::deadline::by;
use crate::node::route::{Done, Operation};
use crate::protocol::group::Group;
use crate::protocol::id::{Id, Interval};
use crate::protocol::invariants::{NodeSnapshot, Snapshot, Violation};
use crate::protocol::lookup::{Lookup, Said};
use crate::protocol::message::{Description, NodeDescription, Request, Response};
use crate::protocol::peer::{Host, Incarnation, Peer};
use crate::protocol::routing::RoutingMode;
use crate::transport::{Lane, Transport};
use crate::view::{
    CheckReport, Explanation, FingerRow, GroupStatus, HopRow, LookupReport, RingRow, Status,
    VirtualNodeStatus,
};

/// Hosts asked at once.
const CONCURRENT: usize = 32;
/// Walks after which a broken property is believed: one walk is no snapshot, and sees a change half done.
const WALKS: usize = 3;
/// A walk around the ring ends after so many deadlines of an operation.
const WALK_DEADLINES: u32 = 6;

/// The whole ring, as far as its hosts answered.
pub(crate) struct Walk {
    pub(crate) hosts: Vec<Description>,
    pub(crate) unreachable: Vec<Arc<Host>>,
}

impl Walk {
    /// The pieces of the circle that no host answers for.
    pub(crate) fn orphaned(&self) -> Vec<Interval> {
        let mut orphaned = vec![Interval::whole()];
        for (interval, _) in self.hosts.iter().flat_map(|host| &host.groups) {
            orphaned = orphaned.iter().flat_map(|piece| piece.without(interval)).collect();
        }
        orphaned
    }
}

impl<T: Transport> Node<T> {
    /// Everything about this host, for others.
    ///
    /// # Errors
    /// [`Error::Timeout`] when the store has not told by `deadline` what it holds.
    pub(crate) async fn describe(&self, deadline: Instant) -> Result<Description, Error> {
        let before = (self.changes(), self.groups().served());
        let stock = self.stock(deadline).await?;
        let nodes = self
            .routing()
            .rings()
            .map(|ring| NodeDescription {
                label: self.label(&ring.me().id),
                peer: ring.me().clone(),
                neighbours: ring.neighbours(),
                fingers: ring.fingers().peers().to_vec(),
            })
            .collect();
        let changed = self.changes() != before.0;
        let groups = self.groups();
        let mut served = groups.served();
        if changed {
            // What was installed meanwhile may not be counted among the keys.
            served.retain(|(piece, group)| {
                let holds =
                    |(known, by): &(Interval, Arc<Group>)| by == group && piece.without(known).is_empty();
                before.1.iter().any(holds)
            });
        }
        Ok(Description {
            host: self.me.clone(),
            nodes,
            groups: served.into_iter().map(|(interval, group)| (interval, (*group).clone())).collect(),
            keys: stock.entries,
            transfers: u32::try_from(groups.transfers()).unwrap_or(u32::MAX),
            leaving: self.is_leaving(),
        })
    }

    /// What this host holds right now, for who looks at all hosts of a ring at once.
    pub(crate) fn neighbourhood(&self) -> Neighbourhood {
        let limits = self.routing().limits().successors;
        let mut seen = Neighbourhood {
            space: self.parameters.space,
            limits,
            nodes: Vec::new(),
            served: Vec::new(),
            transfers: 0,
        };
        if self.check_open().is_ok() {
            seen.nodes = self.routing().rings().map(NodeSnapshot::from).collect();
            let groups = self.groups();
            seen.transfers = groups.transfers();
            seen.served = groups.served();
        }
        seen
    }

    /// Everything about this host, for people. Of a store that does not answer, what it last told.
    pub(crate) async fn status(&self) -> Status {
        let stock = self.stock(self.operation_deadline()).await.unwrap_or_else(|_| *self.last_stock());
        let show = |id: &Id| self.parameters.space.show(id);
        let (virtual_nodes, contacts) = {
            let routing = self.routing();
            let rings = routing.rings().map(|ring| VirtualNodeStatus {
                id: show(&ring.me().id),
                label: self.label(&ring.me().id),
                predecessor: ring.predecessor().map(|peer| show(&peer.id)),
                successor: show(&ring.successor().id),
                successors: ring.successors().iter().map(|peer| show(&peer.id)).collect(),
            });
            (rings.collect(), routing.contacts().len())
        };
        let (groups, transfers, records) = {
            let groups = self.groups();
            let rows = groups.served().into_iter().map(|(interval, group)| GroupStatus {
                after: show(&interval.after),
                upto: show(&interval.upto),
                epoch: group.epoch,
                members: group.members.iter().map(|host| host.name.to_string()).collect(),
            });
            (rows.collect(), groups.transfers(), groups.records())
        };
        let parameters = &self.parameters;
        Status {
            name: self.me.name.to_string(),
            endpoint: self.me.endpoint.to_string(),
            incarnation: self.me.incarnation.to_string(),
            ring: parameters.ring_name.clone(),
            ring_id: format!("{:032x}", parameters.genesis),
            bits: parameters.space.bits(),
            hash: parameters.space.hash().to_string(),
            replicas: parameters.replicas.into(),
            state: self.phase.borrow().name().to_owned(),
            virtual_nodes,
            groups,
            keys: stock.entries,
            bytes: stock.bytes,
            transfers,
            records,
            contacts,
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            counters: self.metrics.snapshot(),
        }
    }

    /// This host's finger tables in the paper's form.
    pub(crate) fn finger_rows(&self) -> Vec<FingerRow> {
        let space = self.parameters.space;
        let routing = self.routing();
        let mut rows = Vec::new();
        for ring in routing.rings() {
            for power in 0..space.bits() {
                let successor = ring.fingers().finger(power).unwrap_or_else(|| ring.me());
                let end = if power + 1 < space.bits() {
                    space.add_power(&ring.me().id, power + 1)
                } else {
                    ring.me().id
                };
                rows.push(FingerRow {
                    node: space.show(&ring.me().id),
                    k: power + 1,
                    start: space.show(&ring.fingers().start(power)),
                    end: space.show(&end),
                    successor: space.show(&successor.id),
                    host: successor.host.name.to_string(),
                });
            }
        }
        rows
    }

    /// Asks every host that any host points to. Those that have not answered when the walk's time is over count as
    /// unreachable.
    pub(crate) async fn walk_ring(&self) -> Result<Walk, Error> {
        self.check_open()?;
        let end = Instant::now() + WALK_DEADLINES * self.config.operation_deadline;
        let own = self.describe(self.operation_deadline()).await?;
        let mut walk = Walk { hosts: Vec::new(), unreachable: Vec::new() };
        let mut known: BTreeMap<Incarnation, Arc<Host>> = BTreeMap::new();
        let mut next = new_hosts(&own, &mut known, &self.me);
        walk.hosts.push(own);
        while !next.is_empty() {
            if Instant::now() >= end {
                walk.unreachable.append(&mut next);
                break;
            }
            let answers: Vec<_> = stream::iter(std::mem::take(&mut next))
                .map(|host| async move {
                    let deadline = end.min(Instant::now() + self.config.operation_deadline / 2);
                    let answer = self.call(&host, &Request::Describe, Bytes::new(), Lane::Request, deadline);
                    (host.clone(), answer.await)
                })
                .buffer_unordered(CONCURRENT)
                .collect()
                .await;
            for (host, answer) in answers {
                match answer {
                    Ok((Response::Description(description), _)) => {
                        next.extend(new_hosts(&description, &mut known, &self.me));
                        walk.hosts.push(*description);
                    }
                    _ => walk.unreachable.push(host),
                }
            }
        }
        Ok(walk)
    }

    /// Every virtual node of the ring, in order of ids.
    pub(crate) async fn ring_rows(&self) -> Result<Vec<RingRow>, Error> {
        let walk = self.walk_ring().await?;
        let space = self.parameters.space;
        let circle = as_fraction(&space.max_id());
        let mut rows: Vec<(Id, RingRow)> = Vec::new();
        for host in &walk.hosts {
            for node in &host.nodes {
                let id = node.peer.id;
                let predecessor = node.neighbours.predecessor.as_ref();
                let share =
                    predecessor.map_or(1.0, |before| as_fraction(&space.distance(&before.id, &id)) / circle);
                let row = RingRow {
                    id: space.show(&id),
                    label: node.label.clone(),
                    host: host.host.name.to_string(),
                    endpoint: host.host.endpoint.to_string(),
                    predecessor: predecessor.map(|peer| space.show(&peer.id)),
                    successor: space.show(&node.neighbours.successors.first().map_or(id, |peer| peer.id)),
                    share: share.min(1.0),
                    host_keys: host.keys,
                };
                rows.push((id, row));
            }
        }
        rows.sort_by_key(|(id, _)| *id);
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }

    /// Walks the ring and checks it. A property counts as broken when it was in each of several walks.
    pub(crate) async fn check(&self) -> Result<CheckReport, Error> {
        let mut report = self.check_walk(&self.walk_ring().await?);
        for _ in 1..WALKS {
            if report.is_safe() {
                break;
            }
            tokio::time::sleep(self.jittered(self.config.stabilize.floor)).await;
            let again = self.check_walk(&self.walk_ring().await?);
            let violations = std::mem::take(&mut report.violations);
            report = again;
            report.violations.retain(|violation| violations.contains(violation));
        }
        Ok(report)
    }

    fn check_walk(&self, walk: &Walk) -> CheckReport {
        let mut report = CheckReport {
            hosts: walk.hosts.len(),
            virtual_nodes: walk.hosts.iter().map(|host| host.nodes.len()).sum(),
            unreachable: walk.unreachable.iter().map(|host| host.name.to_string()).collect(),
            ..CheckReport::default()
        };
        let nodes = walk
            .hosts
            .iter()
            .flat_map(|host| &host.nodes)
            .map(|node| NodeSnapshot {
                me: node.peer.clone(),
                predecessor: node.neighbours.predecessor.clone(),
                successors: node.neighbours.successors.clone(),
                fingers: Some(node.fingers.clone()),
            })
            .collect();
        match Snapshot::new(self.parameters.space, nodes) {
            Err(violation) => report.violations.push(violation.to_string()),
            Ok(snapshot) => {
                report.violations.extend(broken(&snapshot));
                let limits = crate::node::join::limits(&self.config).successors;
                let ideals = [
                    snapshot.ideal_successors(limits),
                    snapshot.ideal_predecessors(),
                    snapshot.ideal_fingers(),
                ];
                report
                    .unsettled
                    .extend(ideals.into_iter().filter_map(|ideal| Some(ideal.err()?.to_string())));
            }
        }
        self.check_groups(walk, &mut report);
        report
    }

    /// No id has two hosts that serve it; in the end each is served by its ring's owner.
    fn check_groups(&self, walk: &Walk, report: &mut CheckReport) {
        let mut served: Vec<(Interval, &Group, &Description)> = Vec::new();
        for host in &walk.hosts {
            served.extend(host.groups.iter().map(|(interval, group)| (*interval, group, host)));
            if host.transfers > 0 {
                report.unsettled.push(format!("{}: {} hand-offs under way", host.host.name, host.transfers));
            }
            if host.leaving {
                report.unsettled.push(format!("{} is leaving", host.host.name));
            }
        }
        let show = |interval: &Interval| {
            let space = self.parameters.space;
            format!("({}, {}]", space.show(&interval.after), space.show(&interval.upto))
        };
        for (i, (interval, _, host)) in served.iter().enumerate() {
            for (other, _, rival) in &served[..i] {
                for both in interval.intersect(other) {
                    report.violations.push(format!(
                        "two hosts serve {}: {} and {}",
                        show(&both),
                        rival.host.name,
                        host.host.name
                    ));
                }
            }
        }
        let orphaned = walk.orphaned();
        report.unsettled.extend(orphaned.iter().map(|piece| format!("nobody serves {}", show(piece))));
        for host in &walk.hosts {
            for node in &host.nodes {
                let Some(before) = &node.neighbours.predecessor else { continue };
                let mut missing = vec![Interval::new(before.id, node.peer.id)];
                for (interval, _) in &host.groups {
                    missing = missing.iter().flat_map(|piece| piece.without(interval)).collect();
                }
                report.unsettled.extend(
                    missing
                        .iter()
                        .map(|piece| format!("{} does not serve {} yet", host.host.name, show(piece))),
                );
            }
        }
    }

    /// Who the ring says owns a key, and the way there.
    pub(crate) async fn lookup(&self, key: &[u8]) -> Result<LookupReport, Error> {
        self.check_open()?;
        let id = self.parameters.space.id_of(key);
        let mode = self.config.routing;
        let first = self.routing().route(&id, mode);
        let walk = Box::pin(self.walk(&id, mode, first));
        let Some((lookup, found)) = by(self.operation_deadline(), walk).await else {
            return Err(Error::Timeout { reason: "the lookup was on its way".into() });
        };
        let Some(owner) = found.and_then(|(_, owners)| owners.into_iter().next()) else {
            return Err(Error::TryAgain { reason: "the lookup found no owner".into() });
        };
        Ok(LookupReport {
            id: self.parameters.space.show(&id),
            node: self.parameters.space.show(&owner.id),
            host: owner.host.name.to_string(),
            hops: lookup.hops() + self.last_hop(&owner, &lookup),
            path: self.hop_rows(&lookup),
        })
    }

    /// Everything about a key.
    pub(crate) async fn explain(&self, key: &[u8]) -> Result<Explanation, Error> {
        let space = self.parameters.space;
        let id = space.id_of(key);
        let deadline = self.operation_deadline();
        let (located, hops) = self.run(&id, Operation::Locate, deadline).await?;
        let Done::Located(owner, epoch) = located else {
            return Err(Error::TryAgain { reason: "the answer is nonsense".into() });
        };
        let (entry, _) = self.read(&id, key, deadline).await?;
        let first = self.routing().route(&id, RoutingMode::Fingers);
        let walk = by(deadline, Box::pin(self.walk(&id, RoutingMode::Fingers, first))).await;
        let (path, found) = match walk {
            Some((lookup, found)) => (self.hop_rows(&lookup), found),
            None => (Vec::new(), None),
        };
        let node = found.and_then(|(_, owners)| owners.into_iter().next());
        let now = self.now();
        Ok(Explanation {
            key: String::from_utf8_lossy(key).into_owned(),
            id: space.show(&id),
            owner: owner.name.to_string(),
            endpoint: owner.endpoint.to_string(),
            node: node.map_or_else(|| "unknown".to_owned(), |peer| space.show(&peer.id)),
            epoch,
            holders: vec![owner.name.to_string()],
            exists: entry.is_some(),
            version: entry.as_ref().map(|entry| entry.version.to_string()),
            value_bytes: entry.as_ref().and_then(|entry| entry.value.as_ref()).map(|v| v.len() as u64),
            time_left_ms: entry.and_then(|entry| entry.expires_at).map(|at| at.saturating_sub(now)),
            hops,
            path,
        })
    }

    /// One more call reaches the owner itself, unless it was asked on the way or is this host.
    fn last_hop(&self, owner: &Peer, lookup: &Lookup) -> usize {
        let reached = owner.host.incarnation == self.me.incarnation
            || lookup.path().iter().any(|hop| hop.peer.same_host(owner));
        usize::from(!reached)
    }

    fn hop_rows(&self, lookup: &Lookup) -> Vec<HopRow> {
        let rows = lookup.path().iter().map(|hop| HopRow {
            id: self.parameters.space.show(&hop.peer.id),
            host: hop.peer.host.name.to_string(),
            answer: match hop.said {
                Said::Owner(_) => "owner".to_owned(),
                Said::Closer(_) => "closer".to_owned(),
                Said::Dead => "dead".to_owned(),
            },
        });
        rows.collect()
    }

    fn label(&self, id: &Id) -> String {
        let known = self.virtual_nodes.iter().find(|(_, peer)| peer.id == *id);
        known.map_or_else(|| self.me.name.to_string(), |(label, _)| label.clone())
    }
}

/// The safety properties that do not hold. How many principals there are is no matter of safety in a small ring.
fn broken(snapshot: &Snapshot) -> Vec<String> {
    type Property = fn(&Snapshot) -> Result<(), Violation>;
    let properties: [Property; 6] = [
        Snapshot::ordered_successor_lists,
        Snapshot::no_duplicates,
        Snapshot::at_least_one_ring,
        Snapshot::at_most_one_ring,
        Snapshot::ordered_ring,
        Snapshot::connected_appendages,
    ];
    properties.iter().filter_map(|property| Some(property(snapshot).err()?.to_string())).collect()
}

/// The hosts that a description names for the first time.
fn new_hosts(
    description: &Description,
    known: &mut BTreeMap<Incarnation, Arc<Host>>,
    me: &Arc<Host>,
) -> Vec<Arc<Host>> {
    known.insert(me.incarnation, me.clone());
    known.insert(description.host.incarnation, description.host.clone());
    let peers = description
        .nodes
        .iter()
        .flat_map(|node| node.neighbours.predecessor.iter().chain(&node.neighbours.successors));
    let mut new = Vec::new();
    for peer in peers {
        if known.insert(peer.host.incarnation, peer.host.clone()).is_none() {
            new.push(peer.host.clone());
        }
    }
    new
}

fn as_fraction(id: &Id) -> f64 {
    id.as_bytes().iter().fold(0.0, |value, byte| value * 256.0 + f64::from(*byte))
}
