//! How a node ends after a signal: [`farewell`].

use std::collections::BTreeSet;
use std::time::Duration;

use chord::Error;
use chord::view::Status;
use tokio::time::{sleep, timeout};

use crate::cli::Exit;
use crate::commands::Failure;
use crate::node::Node;
use crate::server::Service;

/// How long a node may take to leave after a signal.
const LEAVE_TIME: Duration = Duration::from_secs(30);
/// Pause between two tries to leave, in which a host that was silent is let in again.
const PAUSE: Duration = Duration::from_millis(500);

/// Lets the node leave its ring. After a signal it ends in any case; what was lost by that is said.
pub(super) async fn farewell(service: &Service, node: &Node) -> Result<(), Exit> {
    let reason = match timeout(LEAVE_TIME, leave(service, node)).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(Failure::Engine(Error::LastHost { entries }))) => {
            node.stop().await;
            tracing::warn!(entries, "the ring's last host ends");
            eprintln!("chord-kv: this was the ring's last host; its {entries} entries are gone");
            return Ok(());
        }
        Ok(Err(failure)) => failure.to_string(),
        Err(_) => format!("no other host took it within {LEAVE_TIME:?}"),
    };
    let entries = node.status().await.keys;
    node.stop().await;
    Err(Exit::Failure(format!(
        "ended without handing everything over: {reason}; the {entries} entries that it held are gone"
    )))
}

/// Leaves, and tries on while other hosts are only silent.
///
/// # Errors
/// Those of [`Service::leave`]; [`Error::LastHost`] only when no other host is left.
async fn leave(service: &Service, node: &Node) -> Result<(), Failure> {
    let before = node.status().await;
    let mut told = false;
    loop {
        match service.leave(false).await {
            Err(Failure::Engine(Error::LastHost { entries })) if !is_alone(&before, &node.status().await) => {
                if !told {
                    tracing::warn!(entries, "no other host answers; trying on to leave");
                }
                told = true;
                sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}

/// Whether a node that finds no other host is the last one. Others that leave in order leave the whole circle to it;
/// those that are silent keep their parts, but for one that had joined and served nothing yet.
fn is_alone(before: &Status, now: &Status) -> bool {
    serves_all(now) && !(serves_all(before) && has_neighbour(before))
}

fn has_neighbour(status: &Status) -> bool {
    let own: BTreeSet<&String> = status.virtual_nodes.iter().map(|node| &node.id).collect();
    let mut known =
        status.virtual_nodes.iter().flat_map(|node| node.successors.iter().chain(&node.predecessor));
    known.any(|id| !own.contains(id))
}

/// Whether its intervals make up the whole circle: each begins where one ends.
fn serves_all(status: &Status) -> bool {
    let begins: BTreeSet<&String> = status.groups.iter().map(|group| &group.after).collect();
    let ends: BTreeSet<&String> = status.groups.iter().map(|group| &group.upto).collect();
    !ends.is_empty() && begins == ends
}

#[cfg(test)]
mod tests {
    use chord::view::{Counters, GroupStatus, VirtualNodeStatus};

    use super::*;

    /// A host with the virtual node 10, its `successors` and `predecessor`, that serves `intervals`.
    fn status(successors: &[u64], predecessor: Option<u64>, intervals: &[(u64, u64)]) -> Status {
        let group = |(after, upto): &(u64, u64)| GroupStatus {
            after: after.to_string(),
            upto: upto.to_string(),
            epoch: 1,
            members: vec!["a".into()],
        };
        Status {
            name: "a".into(),
            endpoint: String::new(),
            incarnation: String::new(),
            ring: String::new(),
            ring_id: String::new(),
            bits: 8,
            hash: String::new(),
            replicas: 1,
            state: "ready".into(),
            virtual_nodes: vec![VirtualNodeStatus {
                id: "10".into(),
                label: String::new(),
                predecessor: predecessor.map(|id| id.to_string()),
                successor: successors[0].to_string(),
                successors: successors.iter().map(u64::to_string).collect(),
            }],
            groups: intervals.iter().map(group).collect(),
            keys: 1,
            bytes: 1,
            transfers: 0,
            records: 1,
            contacts: 0,
            uptime_ms: 1,
            counters: Counters::default(),
        }
    }

    const WHOLE: [&[(u64, u64)]; 3] = [&[(0, 0)], &[(10, 10)], &[(10, 20), (20, 200), (200, 10)]];
    const PARTS: [&[(u64, u64)]; 3] = [&[], &[(20, 10)], &[(10, 20), (200, 10)]];

    #[test]
    fn a_node_is_alone_when_it_serves_the_whole_circle() {
        for whole in WHOLE {
            let now = status(&[10], Some(10), whole);
            assert!(is_alone(&now, &now), "{whole:?}");
            for part in PARTS {
                let before = status(&[20, 10], Some(20), part);
                assert!(is_alone(&before, &now), "the other has left in order: {part:?}, {whole:?}");
                assert!(!is_alone(&before, &status(&[10], None, part)), "the other is silent: {part:?}");
            }
        }
    }

    #[test]
    fn a_silent_neighbour_that_serves_nothing_yet_is_company() {
        for whole in WHOLE {
            let now = status(&[10], None, whole);
            assert!(!is_alone(&status(&[20, 10], None, whole), &now), "a successor, {whole:?}");
            assert!(!is_alone(&status(&[10], Some(20), whole), &now), "a predecessor, {whole:?}");
        }
    }
}
