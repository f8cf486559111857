//! How a node is set up: [`Config`].

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::Error;
use crate::protocol::id::{HashKind, Id, IdSpace};
use crate::protocol::peer::HostName;
use crate::protocol::routing::RoutingMode;
use crate::protocol::wire::MAX_MESSAGE_BYTES;

/// Everything that can be chosen about a node. The defaults suit a ring of one to a thousand hosts.
///
/// The fields under "ring" are fixed by the ring's creator; a joiner takes `ring_name`, `bits`, `hash` and limits over
/// from the ring, unless they are not what it expects ([`Config::expected`]).
#[derive(Clone, Debug)]
pub struct Config {
    /// The host's name, 1 to 63 of `[A-Za-z0-9_-]`, unique in the ring. Its virtual nodes' ids are made of it.
    pub name: String,

    /// Ring: a name for people to read in logs and status. It does not identify the ring; its genesis id does.
    pub ring_name: String,
    /// Ring: bits of an id, 1 to 160 and at most the hash's width. Small values are for teaching: with n virtual
    /// nodes choose at least 2 log2 n + 20 bits, or two hosts will claim one id.
    pub bits: u16,
    /// Ring: the hash that turns names and keys into ids.
    pub hash: HashKind,
    /// Ring: hosts that hold each key. Only 1 is accepted so far: what a dead host owned is unavailable.
    pub replicas: usize,
    /// Ring: longest key accepted, in bytes.
    pub max_key_bytes: usize,
    /// Ring: longest value accepted, in bytes. With the longest key (64 KiB at least) and 64 KiB for the rest of the
    /// message it must fit into a frame of the transport, or the node does not start.
    pub max_value_bytes: usize,
    /// What a joiner expects of the ring; it takes no part in one that differs. Nothing by default.
    pub expected: Expected,

    /// The host's places on the circle. More of them spread load more evenly and cost maintenance in proportion. With
    /// the default, 8, the fullest hundredth of the hosts has twice the mean load, and maintenance costs a host of a
    /// thousand 9 kB a second; with 16 it is 1.7 times and 19 kB, with 4 it is 2.6 times and 4 kB (docs/lab.md, load).
    pub virtual_nodes: VirtualNodes,
    /// Successor lists are long enough for this many distinct other hosts: so many neighbouring hosts but one may
    /// fail at once without breaking the ring. Each costs a few bytes per stabilisation.
    pub successor_hosts: usize,
    /// Most entries in a successor list, however few distinct hosts they span.
    pub max_successors: usize,
    /// How often to stabilise: `floor` after a change, backing off to `ceiling` while rounds find nothing new.
    pub stabilize: Interval,
    /// How often to fix fingers, likewise.
    pub fix_fingers: Interval,

    /// When an operation ends with an error at the latest. A day at most, as all durations here.
    pub operation_deadline: Duration,
    /// The shortest deadline of a maintenance call. A peer that has answered before is given twice its usual round
    /// trip and four times the deviation from it, at least this and at most two seconds; when it misses two in a row
    /// it is taken for dead.
    pub min_call_deadline: Duration,
    /// How requests find their owner. `Contacts` (the default) goes straight to the believed owner.
    pub routing: RoutingMode,
    /// Virtual nodes remembered beside ring neighbours and fingers.
    pub contacts: usize,
    /// Hops after which a lookup gives up.
    pub max_hops: usize,
    /// Operations of other hosts served at once; past that they are answered `Overloaded`. Maintenance and hand-offs
    /// do not count.
    pub max_serving: usize,
    /// Bytes of the messages of other hosts worked on at once; past that they are answered `Overloaded`. Room for the
    /// largest message is the least: a value or chunk of the greatest length, and 8 MiB for the rest. Values that are
    /// long in being stored, or wait while their keys change hands, keep their room.
    pub max_serving_bytes: usize,
    /// Operations of this handle in flight at once; past that they end with [`Error::Overloaded`].
    pub max_operations: usize,
    /// Bytes of one chunk of range sync, but for an entry that is larger by itself. At most 7 MiB, and 64 KiB less than
    /// a frame of the transport.
    pub chunk_bytes: usize,
    /// Most bytes a second that one hand-off may send, until writes wait for its end; `None` for no bound.
    pub sync_bytes_per_second: Option<u64>,

    /// Where time and randomness come from.
    pub env: Env,
}

/// What a joiner expects of the ring's parameters. What is `None` is taken over as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The ring's name.
    pub ring_name: Option<String>,
    /// Bits of an id.
    pub bits: Option<u16>,
    /// The hash that makes ids.
    pub hash: Option<HashKind>,
}

/// How often a round of maintenance runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The pause after a round that changed something.
    pub floor: Duration,
    /// The longest pause; each quiet round doubles it up to here.
    pub ceiling: Duration,
}

impl Interval {
    /// From `floor` to `ceiling`.
    pub const fn new(floor: Duration, ceiling: Duration) -> Interval {
        Interval { floor, ceiling }
    }

    /// The pause after the one of `pause`: the floor after a change, else twice as long, up to the ceiling.
    pub fn next_pause(&self, pause: Duration, changed: bool) -> Duration {
        if changed { self.floor } else { (2 * pause).min(self.ceiling) }
    }
}

/// The places a host takes on the circle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VirtualNodes {
    /// This many, with ids hashed from the host's name and their number.
    Count(usize),
    /// These ids, each with a label for people to read. For teaching and tests.
    Explicit(Vec<(String, Id)>),
}

/// Where a node takes wall-clock time and randomness from, so that a simulation can give both.
#[derive(Clone)]
pub struct Env {
    /// Unix time in milliseconds. Only expiry depends on it.
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Seed of the node's random numbers; `None` takes it from the operating system. Two nodes, or two lives of
    /// one, must not share a seed: incarnations are drawn from it.
    pub seed: Option<u64>,
}

impl Default for Env {
    fn default() -> Self {
        Env { clock: Arc::new(system_millis), seed: None }
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl Default for Config {
    fn default() -> Self {
        let millis = Duration::from_millis;
        Config {
            name: String::new(),
            ring_name: "chord".to_owned(),
            bits: 160,
            hash: HashKind::Sha1,
            replicas: 1,
            max_key_bytes: 64 << 10,
            max_value_bytes: 16 << 20,
            expected: Expected::default(),
            virtual_nodes: VirtualNodes::Count(8),
            successor_hosts: 4,
            max_successors: 64,
            stabilize: Interval::new(millis(250), millis(5_000)),
            fix_fingers: Interval::new(millis(500), millis(10_000)),
            operation_deadline: millis(5_000),
            min_call_deadline: millis(500),
            routing: RoutingMode::Contacts,
            contacts: 65_536,
            max_hops: 64,
            max_serving: 16_384,
            max_serving_bytes: 1 << 30,
            max_operations: 16_384,
            chunk_bytes: 256 << 10,
            sync_bytes_per_second: None,
            env: Env::default(),
        }
    }
}

impl Config {
    /// The defaults under the host name `name`.
    pub fn named(name: impl Into<String>) -> Config {
        Config { name: name.into(), ..Config::default() }
    }

    /// Checks every field and how they fit together.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the first field that does not fit, and why.
    pub fn validate(&self) -> Result<(), Error> {
        let invalid = |text: String| Err(Error::Invalid(text));
        HostName::new(&self.name).map_err(|error| Error::Invalid(error.to_string()))?;
        let space = IdSpace::new(self.bits, self.hash).map_err(|error| Error::Invalid(error.to_string()))?;
        if self.ring_name.is_empty() || self.ring_name.len() > 63 {
            return invalid("ring_name must have 1 to 63 bytes".into());
        }
        if self.replicas != 1 {
            return invalid(format!(
                "replicas = {} is not there yet: this version keeps one copy of each key (replicas = 1)",
                self.replicas
            ));
        }
        match &self.virtual_nodes {
            VirtualNodes::Count(0) => return invalid("virtual_nodes must be at least 1".into()),
            VirtualNodes::Count(n) if *n > MAX_VIRTUAL_NODES => {
                return invalid(format!("virtual_nodes must be at most {MAX_VIRTUAL_NODES}"));
            }
            VirtualNodes::Count(_) => {}
            VirtualNodes::Explicit(nodes) => {
                if nodes.is_empty() || nodes.len() > MAX_VIRTUAL_NODES {
                    return invalid(format!("expected 1 to {MAX_VIRTUAL_NODES} virtual nodes"));
                }
                if let Some((label, id)) = nodes.iter().find(|(_, id)| !space.contains(id)) {
                    return invalid(format!(
                        "virtual node {label}: id {id} has more than {} bits",
                        self.bits
                    ));
                }
            }
        }
        let ids = self.virtual_node_ids(&space);
        if let Some(id) = ids.iter().enumerate().find_map(|(i, id)| ids[..i].contains(id).then_some(id)) {
            return invalid(format!(
                "two virtual nodes of {} would have id {}: choose more bits, fewer virtual nodes or explicit ids",
                self.name,
                space.show(id)
            ));
        }
        for (name, interval) in [("stabilize", self.stabilize), ("fix_fingers", self.fix_fingers)] {
            if interval.floor.is_zero()
                || interval.floor > interval.ceiling
                || interval.ceiling > MAX_DURATION
            {
                return invalid(format!("{name}: expected 0 < floor <= ceiling <= {MAX_DURATION:?}"));
            }
        }
        let positive = [
            ("max_key_bytes", self.max_key_bytes),
            ("max_value_bytes", self.max_value_bytes),
            ("successor_hosts", self.successor_hosts),
            ("max_hops", self.max_hops),
            ("max_serving", self.max_serving),
            ("max_operations", self.max_operations),
            ("chunk_bytes", self.chunk_bytes),
        ];
        if let Some((name, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return invalid(format!("{name} must be at least 1"));
        }
        if self.max_successors < self.successor_hosts {
            return invalid("max_successors must be at least successor_hosts".into());
        }
        for (name, at_once) in [("max_serving", self.max_serving), ("max_operations", self.max_operations)] {
            if at_once > MAX_AT_ONCE {
                return invalid(format!("{name} can be at most {MAX_AT_ONCE}"));
            }
        }
        if self.max_hops > MAX_HOPS {
            return invalid(format!("max_hops can be at most {MAX_HOPS}"));
        }
        for (name, deadline) in
            [("operation_deadline", self.operation_deadline), ("min_call_deadline", self.min_call_deadline)]
        {
            if deadline.is_zero() || deadline > MAX_DURATION {
                return invalid(format!("{name} must be longer than zero and at most {MAX_DURATION:?}"));
            }
        }
        if self.max_key_bytes > MAX_KEY_BYTES || self.max_value_bytes > MAX_VALUE_BYTES {
            return invalid(format!(
                "keys can have at most {MAX_KEY_BYTES} bytes, values at most {MAX_VALUE_BYTES}"
            ));
        }
        if self.chunk_bytes > MAX_CHUNK_BYTES {
            return invalid(format!("chunk_bytes can be at most {MAX_CHUNK_BYTES}"));
        }
        let largest = self.max_value_bytes.max(self.chunk_bytes) + MAX_MESSAGE_BYTES;
        if self.max_serving_bytes < largest {
            return invalid(format!(
                "max_serving_bytes must be at least {largest}, for a message with the longest value or chunk"
            ));
        }
        Ok(())
    }

    /// Checks that the largest messages fit into frames of `max_frame_bytes`.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the field that does not fit.
    pub(crate) fn fits_frames(&self, max_frame_bytes: usize) -> Result<(), Error> {
        let entry = self.max_value_bytes.saturating_add(self.max_key_bytes.max(64 << 10));
        for (name, bytes) in [("max_value_bytes", entry), ("chunk_bytes", self.chunk_bytes)] {
            if bytes.saturating_add(MESSAGE_BYTES) > max_frame_bytes {
                return Err(Error::Invalid(format!(
                    "{name} is too large: the message would have up to {} bytes, and the transport's frames have at \
                     most {max_frame_bytes}",
                    bytes.saturating_add(MESSAGE_BYTES)
                )));
            }
        }
        Ok(())
    }

    /// The ids of the host's virtual nodes in `space`, in order.
    pub(crate) fn virtual_node_ids(&self, space: &IdSpace) -> Vec<Id> {
        match &self.virtual_nodes {
            VirtualNodes::Count(n) => (0..*n).map(|i| space.virtual_node_id(&self.name, i)).collect(),
            VirtualNodes::Explicit(nodes) => nodes.iter().map(|(_, id)| *id).collect(),
        }
    }
}

/// Most virtual nodes of one host.
pub const MAX_VIRTUAL_NODES: usize = 1024;
/// The largest `max_key_bytes`.
pub const MAX_KEY_BYTES: usize = 1 << 20;
/// The largest `max_value_bytes`.
pub const MAX_VALUE_BYTES: usize = 512 << 20;
/// The largest `chunk_bytes`: keys of that many bytes still fit into one message.
pub const MAX_CHUNK_BYTES: usize = 7 << 20;
/// The longest deadline or pause: a day.
const MAX_DURATION: Duration = Duration::from_secs(86_400);
/// The largest `max_serving` and `max_operations`.
const MAX_AT_ONCE: usize = 1 << 24;
/// The largest `max_hops`.
const MAX_HOPS: usize = 1 << 16;
/// What a message may need beside keys and values.
const MESSAGE_BYTES: usize = 64 << 10;

#[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn system_millis() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of these ended in a panic where it was used first.
    #[test]
    fn what_cannot_be_added_to_the_clock_or_counted_is_refused_by_name() {
        let ever = Duration::MAX;
        let fits = Config::named("a");
        assert!(fits.validate().is_ok());
        let refused = [
            ("operation_deadline", Config { operation_deadline: ever, ..fits.clone() }),
            ("min_call_deadline", Config { min_call_deadline: ever, ..fits.clone() }),
            ("stabilize", Config { stabilize: Interval::new(ever, ever), ..fits.clone() }),
            ("fix_fingers", Config { fix_fingers: Interval::new(ever, ever), ..fits.clone() }),
            ("max_serving", Config { max_serving: usize::MAX, ..fits.clone() }),
            ("max_operations", Config { max_operations: usize::MAX, ..fits.clone() }),
            ("max_hops", Config { max_hops: usize::MAX, ..fits.clone() }),
        ];
        for (name, config) in refused {
            let result = config.validate();
            assert!(
                matches!(&result, Err(Error::Invalid(reason)) if reason.starts_with(name)),
                "{name}: {result:?}"
            );
        }
    }

    #[test]
    fn pauses_double_up_to_the_ceiling_and_fall_to_the_floor_after_a_change() {
        let interval = Interval::new(Duration::from_millis(100), Duration::from_millis(500));
        let mut pause = interval.floor;
        let mut seen = Vec::new();
        for changed in [false, false, false, true, false] {
            pause = interval.next_pause(pause, changed);
            seen.push(pause.as_millis());
        }
        assert_eq!(seen, [200, 400, 500, 100, 200]);
    }
}
