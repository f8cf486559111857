//! Counts the keys of the whole ring.

use std::sync::Arc;

use crate::error::Error;
use crate::node::Node;
use crate::node::describe::Walk;
use crate::node::route::Operation;
use crate::protocol::peer::Host;
use crate::transport::Transport;

/// Walks around the ring before a count is given up because keys change hands in each of them.
const WALKS: usize = 3;

impl<T: Transport> Node<T> {
    /// Keys with a value in the whole ring. No number when a piece of the circle was counted nowhere: it would be too small.
    pub(crate) async fn count_keys(&self) -> Result<u64, Error> {
        for _ in 0..WALKS {
            let walk = self.walk_ring().await?;
            // Whoever does not answer holds nothing, if others answer for the whole circle: it has left, say.
            let Some(piece) = walk.orphaned().first().copied() else { return Ok(sum(&walk)) };
            if !walk.unreachable.is_empty() {
                return Err(self.uncounted(&walk.unreachable));
            }
            // Whoever answers for the piece by now had not been handed it when it was asked.
            self.run(&piece.upto, Operation::Locate, self.operation_deadline()).await?;
        }
        Err(Error::Timeout { reason: "keys changed hands while they were counted".into() })
    }

    /// What it means that `silent` did not answer: their keys are out of reach when all of them count as dead.
    fn uncounted(&self, silent: &[Arc<Host>]) -> Error {
        let routing = self.routing();
        if silent.iter().all(|host| routing.is_lost(host.incarnation)) {
            let hosts = silent.iter().map(|host| host.name.clone()).collect();
            return Error::Unavailable { have: 0, need: 1, hosts };
        }
        let names: Vec<&str> = silent.iter().map(|host| host.name.as_str()).collect();
        Error::Timeout { reason: format!("{} did not answer", names.join(", ")) }
    }
}

fn sum(walk: &Walk) -> u64 {
    walk.hosts.iter().map(|host| host.keys).sum()
}
