//! A look at the whole ring after every step.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use chord::Neighbourhood;
use chord::protocol::interval_map::IntervalMap;
use chord::protocol::invariants::Snapshot;
use chord::protocol::peer::Incarnation;
use chord::transport::{CallOptions, Endpoint, Frame, Incoming, Transport, TransportError};

use crate::testkit::Node;
use crate::testkit::cluster::{Shared, show};

/// What the watch over a cluster has found: see [`ClusterBuilder::watched`](super::ClusterBuilder::watched).
#[derive(Clone, Debug, Default)]
pub struct WatchReport {
    /// Changes of a ring pointer after which the ring's properties were checked.
    pub ring_steps: u64,
    /// Those among them after which Zave's operating assumption did not hold: too many of those whom some member
    /// knew had gone at once.
    pub outside_assumption: u64,
    /// Those among these after which a property of the ring was broken, and those that followed until it held
    /// again. Not held against the ring.
    pub excused: u64,
    /// Changes of a group record after which group safety was checked.
    pub group_steps: u64,
    /// The first property that did not hold, with the ring at that moment.
    pub violation: Option<String>,
}

/// Checks, each time a node of the ring has changed, the properties of the ring and of the groups.
///
/// - Every property of [`Snapshot::safety`], unless it was broken outside of the
///   [operating assumption](Snapshot::operating_assumption).
/// - Always: no id is served by two hosts; whoever serves it does so under a newer epoch than everyone before.
#[derive(Default)]
pub(super) struct Watch {
    seen: Vec<Option<(u64, u64)>>,
    /// For each id, the newest epoch under which it was served, and by whom.
    epochs: Option<IntervalMap<Option<(u64, Incarnation)>>>,
    /// The ring has been broken since a moment outside of the assumption.
    excused: bool,
    report: WatchReport,
}

impl Watch {
    pub(super) fn report(&self) -> &WatchReport {
        &self.report
    }

    /// Looks at `nodes`, if one of them has changed since the last look.
    pub(super) fn step<'a>(&mut self, nodes: impl Iterator<Item = &'a Node> + Clone) {
        if self.report.violation.is_some() {
            return;
        }
        let seen: Vec<Option<(u64, u64)>> = nodes.clone().map(Node::changes).collect();
        let part = |versions: &[Option<(u64, u64)>], part: fn((u64, u64)) -> u64| -> Vec<Option<u64>> {
            versions.iter().map(|version| version.map(part)).collect()
        };
        let ring_changed = part(&seen, |both| both.0) != part(&self.seen, |both| both.0);
        let groups_changed = part(&seen, |both| both.1) != part(&self.seen, |both| both.1);
        if !ring_changed && !groups_changed {
            return;
        }
        self.seen = seen;
        let hosts: Vec<Neighbourhood> = nodes.map(Node::neighbourhood).collect();
        let mut broken = None;
        if ring_changed {
            self.report.ring_steps += 1;
            broken = self.check_ring(&hosts).err();
        }
        if groups_changed {
            self.report.group_steps += 1;
            broken = broken.or(self.check_groups(&hosts).err());
        }
        self.report.violation = broken.map(|broken| format!("{broken}\n{}", show(&hosts)));
    }

    fn check_ring(&mut self, hosts: &[Neighbourhood]) -> Result<(), String> {
        let Some(first) = hosts.first() else { return Ok(()) };
        let nodes = hosts.iter().flat_map(|host| host.nodes.clone()).collect();
        let snapshot = Snapshot::new(first.space, nodes).map_err(|violation| violation.to_string())?;
        let assumed =
            !has_stranded_member(&snapshot) && snapshot.operating_assumption(first.limits.hosts).is_ok();
        let broken = snapshot.safety();
        self.report.outside_assumption += u64::from(!assumed);
        self.excused = broken.is_err() && (self.excused || !assumed);
        self.report.excused += u64::from(self.excused);
        if self.excused { Ok(()) } else { broken.map_err(|violation| violation.to_string()) }
    }

    fn check_groups(&mut self, hosts: &[Neighbourhood]) -> Result<(), String> {
        let served: Vec<_> =
            hosts.iter().flat_map(|host| host.served.iter().map(move |served| (host, served))).collect();
        for (i, (host, (piece, group))) in served.iter().enumerate() {
            let show = |id| host.space.show(&id);
            for (rival, (other, rivals)) in &served[..i] {
                if let Some(both) = piece.intersect(other).first() {
                    return Err(format!(
                        "({}, {}] is served by two hosts: {:?} of {} and {:?} of {}",
                        show(both.after),
                        show(both.upto),
                        group,
                        name(host),
                        rivals,
                        name(rival)
                    ));
                }
            }
            let Some(owner) = group.owner() else { return Err("a group has no owner".to_owned()) };
            if !host.nodes.iter().all(|node| node.me.host.incarnation == owner.incarnation) {
                return Err(format!("{} serves as {}", name(host), owner.name));
            }
            let epochs = self.epochs.get_or_insert_with(|| IntervalMap::uniform(None));
            for (part, newest) in epochs.within(*piece) {
                let known = (group.epoch, owner.incarnation);
                if newest.is_some_and(|newest| newest != known && newest.0 >= group.epoch) {
                    return Err(format!(
                        "({}, {}] was served under {newest:?} before {known:?}",
                        show(part.after),
                        show(part.upto)
                    ));
                }
            }
            epochs.update(*piece, |_, newest| *newest = Some((group.epoch, owner.incarnation)));
        }
        Ok(())
    }
}

/// Whether a member of several has lost every pointer: all whom it knew have gone.
fn has_stranded_member(ring: &Snapshot) -> bool {
    let nodes = ring.nodes();
    nodes.len() > 1 && nodes.iter().any(|node| node.successors.is_empty() && node.predecessor.is_none())
}

fn name(host: &Neighbourhood) -> &str {
    host.nodes.first().map_or("a host without virtual nodes", |node| node.me.host.name.as_str())
}

/// A node's transport that looks at the ring whenever the node turns to it: after everything the node does.
pub(super) struct Watched {
    transport: Arc<dyn Transport>,
    cluster: Weak<Shared>,
}

impl Watched {
    pub(super) fn new(transport: Arc<dyn Transport>, cluster: Weak<Shared>) -> Watched {
        Watched { transport, cluster }
    }

    fn step(&self) {
        if let Some(cluster) = self.cluster.upgrade() {
            cluster.step();
        }
    }
}

#[async_trait]
impl Transport for Watched {
    fn endpoint(&self) -> &Endpoint {
        self.transport.endpoint()
    }

    fn max_frame_bytes(&self) -> usize {
        self.transport.max_frame_bytes()
    }

    async fn call(&self, to: &Endpoint, frame: Frame, options: CallOptions) -> Result<Frame, TransportError> {
        self.step();
        self.transport.call(to, frame, options).await
    }

    async fn accept(&self) -> Option<Incoming> {
        self.step();
        self.transport.accept().await
    }

    async fn close(&self) {
        self.step();
        self.transport.close().await;
    }
}
