//! A description as it travels: pointers name their host by its place in one list of hosts. A host with many virtual
//! nodes has a hundred pointers for each, to few hosts.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::NodeDescription;
use crate::protocol::group::Group;
use crate::protocol::id::{Id, Interval};
use crate::protocol::peer::{Host, Peer};
use crate::protocol::ring::Neighbours;

#[derive(Serialize, Deserialize)]
pub(super) struct Description {
    host: Arc<Host>,
    hosts: Vec<Arc<Host>>,
    nodes: Vec<Node>,
    groups: Vec<(Interval, Group)>,
    keys: u64,
    transfers: u32,
    leaving: bool,
}

#[derive(Serialize, Deserialize)]
struct Node {
    label: String,
    me: Pointer,
    predecessor: Option<Pointer>,
    successors: Vec<Pointer>,
    fingers: Vec<Pointer>,
}

/// A virtual node's id, and its host's place in the list.
type Pointer = (Id, u32);

/// The hosts named so far.
#[derive(Default)]
struct Hosts {
    places: BTreeMap<Arc<Host>, u32>,
    list: Vec<Arc<Host>>,
}

impl Hosts {
    fn pack(&mut self, peer: &Peer) -> Pointer {
        let next = self.list.len() as u32;
        let place = *self.places.entry(peer.host.clone()).or_insert(next);
        if place == next {
            self.list.push(peer.host.clone());
        }
        (peer.id, place)
    }

    fn pack_all(&mut self, peers: &[Peer]) -> Vec<Pointer> {
        peers.iter().map(|peer| self.pack(peer)).collect()
    }
}

impl From<super::Description> for Description {
    fn from(description: super::Description) -> Description {
        let mut hosts = Hosts::default();
        let nodes = description
            .nodes
            .into_iter()
            .map(|node| Node {
                label: node.label,
                me: hosts.pack(&node.peer),
                predecessor: node.neighbours.predecessor.as_ref().map(|peer| hosts.pack(peer)),
                successors: hosts.pack_all(&node.neighbours.successors),
                fingers: hosts.pack_all(&node.fingers),
            })
            .collect();
        Description {
            host: description.host,
            hosts: hosts.list,
            nodes,
            groups: description.groups,
            keys: description.keys,
            transfers: description.transfers,
            leaving: description.leaving,
        }
    }
}

/// A pointer leads to a host that is not in the list.
#[derive(Debug, thiserror::Error)]
#[error("a pointer to a host that is not named")]
pub(super) struct NoSuchHost;

impl TryFrom<Description> for super::Description {
    type Error = NoSuchHost;

    fn try_from(packed: Description) -> Result<Self, NoSuchHost> {
        let peer = |(id, place): Pointer| {
            let host = packed.hosts.get(place as usize).ok_or(NoSuchHost)?;
            Ok(Peer::new(id, host.clone()))
        };
        let peers = |pointers: Vec<Pointer>| pointers.into_iter().map(peer).collect::<Result<Vec<Peer>, _>>();
        let node = |node: Node| {
            Ok(NodeDescription {
                label: node.label,
                peer: peer(node.me)?,
                neighbours: Neighbours {
                    predecessor: node.predecessor.map(peer).transpose()?,
                    successors: peers(node.successors)?,
                },
                fingers: peers(node.fingers)?,
            })
        };
        Ok(super::Description {
            host: packed.host,
            nodes: packed.nodes.into_iter().map(node).collect::<Result<_, NoSuchHost>>()?,
            groups: packed.groups,
            keys: packed.keys,
            transfers: packed.transfers,
            leaving: packed.leaving,
        })
    }
}
