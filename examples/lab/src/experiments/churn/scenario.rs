//! What is simulated: [`Scenario`].

use std::time::Duration;

use chord::Config;
use chord::protocol::routing::RoutingLimits;

use crate::warm::{default_limits, default_virtual_nodes};

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Hosts at first.
    pub hosts: usize,
    /// Virtual nodes of each.
    pub virtual_nodes: usize,
    /// The bounds of what each knows.
    pub limits: RoutingLimits,
    /// Joins a second, and leaves.
    pub rate: f64,
    /// How long.
    pub time: Duration,
    /// How long a message of a hand-off is under way.
    pub delay: Duration,
    /// The longest pauses of stabilization and of fixing fingers.
    pub ceilings: [Duration; 2],
}

impl Scenario {
    /// The engine's defaults, at `rate` joins and as many leaves a second among `hosts`.
    pub fn defaults(hosts: usize, rate: f64, time: Duration) -> Scenario {
        let config = Config::default();
        Scenario {
            hosts,
            virtual_nodes: default_virtual_nodes(),
            limits: default_limits(),
            rate,
            time,
            delay: Duration::from_millis(25),
            ceilings: [config.stabilize.ceiling, config.fix_fingers.ceiling],
        }
    }
}
