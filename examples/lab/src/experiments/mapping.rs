//! `chord-lab mod-n` and `chord-lab consistent`: which keys move when servers are added.
//!
//! Both map the keys `cached_data_0`, `cached_data_1`, ... to the servers `server_0`, `server_1`, ..., before and after
//! `--additional` servers. Source of the comparison: Karger et al., "Consistent hashing and random trees", STOC 1997.

use chord::protocol::id::{Id, IdSpace};
use clap::Args;

use crate::chart::{Axis, Chart, Look, Scale, Series};
use crate::cli::Setting;
use crate::error::Error;
use crate::network::{MAX_NODES, Network};
use crate::progress::Progress;
use crate::report::{Cell, Report, Table};

/// Keys of one experiment, at most.
const MAX_KEYS: usize = 10_000_000;
/// Rows that are printed when more keys move.
const MAX_ROWS: usize = 1_000;

/// Servers by hash modulo their number.
#[derive(Debug, Args)]
pub struct ModNArgs {
    #[command(flatten)]
    scenario: Scenario,
}

/// Servers by consistent hashing.
#[derive(Debug, Args)]
pub struct ConsistentArgs {
    #[command(flatten)]
    scenario: Scenario,
    /// Places of each server on the circle.
    #[arg(long, default_value_t = 1, value_name = "V")]
    virtual_nodes: usize,
}

#[derive(Debug, Args)]
struct Scenario {
    /// Servers at first.
    servers: usize,
    /// Keys: cached_data_0, cached_data_1, ...
    keys: usize,
    /// Servers added.
    #[arg(long, default_value_t = 1, value_name = "A")]
    additional: usize,
}

impl Scenario {
    fn check(&self) -> Result<(), Error> {
        if self.servers == 0 || self.keys == 0 {
            return Err(Error::invalid("expected at least one server and one key"));
        }
        if self.keys > MAX_KEYS {
            return Err(Error::invalid(format!("{} keys are too many: at most {MAX_KEYS}", self.keys)));
        }
        if self.servers.saturating_add(self.additional) > MAX_NODES {
            return Err(Error::invalid(format!("too many servers: at most {MAX_NODES}")));
        }
        Ok(())
    }

    fn report(
        &self,
        mut report: Report,
        name: &dyn Fn(usize) -> String,
        mapping: impl Fn(usize, &Id) -> usize,
        space: IdSpace,
    ) -> Report {
        report.parameter("servers", self.servers);
        report.parameter("keys", self.keys);
        report.parameter("additional", self.additional);
        let after = self.servers + self.additional;
        let columns = [
            "key".into(),
            "id".into(),
            format!("of {}", self.servers),
            format!("of {after}"),
            "moved".into(),
        ];
        let mut table = Table::new("mapping", columns);
        let mut moved = 0usize;
        let mut loads = [vec![0u64; self.servers], vec![0u64; after]];
        let mut progress = Progress::new("keys", self.keys);
        for i in 0..self.keys {
            let key = format!("cached_data_{i}");
            let id = space.id_of(key.as_bytes());
            let (old, new) = (mapping(self.servers, &id), mapping(after, &id));
            moved += usize::from(old != new);
            loads[0][old] += 1;
            loads[1][new] += 1;
            progress.step();
            if i < MAX_ROWS {
                let mark = if old == new { Cell::Empty } else { "moved".into() };
                table.row([key.into(), space.show(&id).into(), name(old).into(), name(new).into(), mark]);
            }
        }
        if self.keys > MAX_ROWS {
            report.notes.push(format!("the first {MAX_ROWS} of {} keys are listed", self.keys));
        }
        report.tables.push(table);
        report.figure("moved", "keys that move", moved);
        report.figure("moved_share", "their share", Cell::Exact(moved as f64 / self.keys as f64));
        report.notes.push(format!("{moved} out of {} keys move", self.keys));
        report.chart(&self.chart(report.experiment, moved, &loads));
        report
    }

    /// The keys of each server, before and after.
    fn chart(&self, experiment: &'static str, moved: usize, loads: &[Vec<u64>; 2]) -> Chart {
        let ranked = |loads: &Vec<u64>| -> Vec<(f64, f64)> {
            let mut sorted = loads.clone();
            sorted.sort_unstable();
            sorted.iter().enumerate().map(|(rank, keys)| ((rank + 1) as f64, *keys as f64)).collect()
        };
        let way =
            if experiment == "mod-n" { "modulo the number of servers" } else { "by consistent hashing" };
        let label = |servers: usize| format!("among {servers} servers");
        Chart {
            name: experiment,
            title: format!("{moved} out of {} keys move: {way}", self.keys),
            x: Axis::new("servers, the emptiest first", Scale::Linear),
            y: Axis::new("keys on the server", Scale::Linear),
            series: vec![
                Series::new(label(self.servers), Look::Measured, ranked(&loads[0])),
                Series::new(label(self.servers + self.additional), Look::Measured, ranked(&loads[1])),
            ],
        }
    }
}

impl ModNArgs {
    /// Maps every key with and without the additional servers.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no or too many servers or keys.
    pub fn run(&self, setting: &Setting) -> Result<Report, Error> {
        self.scenario.check()?;
        let name = |server: usize| format!("server_{server}");
        Ok(self.scenario.report(setting.report("mod-n"), &name, |n, id| modulo(id, n), setting.space))
    }
}

impl ConsistentArgs {
    /// Maps every key with and without the additional servers.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no or too many servers, virtual nodes or keys, or more than there are ids.
    pub fn run(&self, setting: &Setting) -> Result<Report, Error> {
        self.scenario.check()?;
        let total = self.scenario.servers + self.scenario.additional;
        if self.virtual_nodes == 0 || total.saturating_mul(self.virtual_nodes) > MAX_NODES {
            return Err(Error::invalid(format!("expected 1 to {MAX_NODES} virtual nodes in all")));
        }
        let network = Network::named(setting.space, "server_", total)?;
        let before = Circle::new(&network, self.scenario.servers, self.virtual_nodes);
        let after = Circle::new(&network, total, self.virtual_nodes);
        let owner =
            |servers: usize, id: &Id| if servers == total { after.owner(id) } else { before.owner(id) };
        let name = |server: usize| network.nodes()[server].name.clone();
        let mut report = self.scenario.report(setting.report("consistent"), &name, owner, setting.space);
        report.parameter("virtual_nodes", self.virtual_nodes);
        Ok(report)
    }
}

/// The places of servers on the circle.
#[derive(Clone, Debug)]
pub struct Circle {
    /// Ascending.
    places: Vec<(Id, usize)>,
}

impl Circle {
    /// The first `servers` nodes of `network`, each at `virtual_nodes` places. A place that is taken is given up.
    pub fn new(network: &Network, servers: usize, virtual_nodes: usize) -> Circle {
        let space = network.space();
        let places = network.nodes()[..servers].iter().enumerate().flat_map(|(server, node)| {
            (0..virtual_nodes).map(move |i| (space.virtual_node_id(&node.name, i), server))
        });
        Circle::of(places)
    }

    /// Servers at these places; of two at one place the lower number has it.
    pub fn of(places: impl IntoIterator<Item = (Id, usize)>) -> Circle {
        let mut places: Vec<(Id, usize)> = places.into_iter().collect();
        places.sort_unstable();
        places.dedup_by_key(|place| place.0);
        Circle { places }
    }

    /// Places and the servers at them, in ring order.
    pub fn places(&self) -> &[(Id, usize)] {
        &self.places
    }

    /// The server at `id`, or else at the next place clockwise.
    pub fn owner(&self, id: &Id) -> usize {
        let at = self.places.partition_point(|(place, _)| place < id);
        self.places[at % self.places.len()].1
    }
}

/// `id` modulo `n`.
pub fn modulo(id: &Id, n: usize) -> usize {
    let step = |rest: u128, byte: &u8| (rest * 256 + u128::from(*byte)) % n as u128;
    id.as_bytes().iter().fold(0, step) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modulo_takes_the_whole_id() {
        assert_eq!(modulo(&Id::from_u128(250), 50), 0);
        assert_eq!(modulo(&Id::from_u128(u128::MAX), 1_000), (u128::MAX % 1_000) as usize);
        assert_eq!(modulo(&Id::from_bytes([0xff; 20]), 2), 1);
    }

    #[test]
    fn the_last_arc_belongs_to_the_first_place() {
        let circle = Circle::of([(Id::from_u128(10), 0), (Id::from_u128(200), 1)]);
        assert_eq!([5u128, 10, 11, 200, 201].map(|id| circle.owner(&Id::from_u128(id))), [0, 0, 1, 1, 0]);
    }
}
