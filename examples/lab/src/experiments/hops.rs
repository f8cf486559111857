//! `chord-lab hops`: how many hops lookups take.

use chord::protocol::id::Id;
use chord::protocol::lookup::RoutingMode;
use chord::protocol::routing::RoutingLimits;
use chord::protocol::simulate::Simulation;
use chord::protocol::successors::SuccessorLimits;
use clap::Args;

use crate::chart::{Axis, Chart, Look, Scale, Series};
use crate::cli::Setting;
use crate::error::Error;
use crate::network::{MAX_NODES, Network};
use crate::progress::Progress;
use crate::report::{Cell, Report, Table};
use crate::statistics::Sample;

/// Lookups of one experiment, at most.
const MAX_LOOKUPS: usize = 100_000_000;

/// Which lookups.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("routing").args(["naive", "fingers", "contacts"]))]
pub struct HopsArgs {
    /// Nodes of the ring.
    nodes: usize,
    /// Keys that are looked up: data_0, data_1, ...
    keys: usize,
    /// Along successors only.
    #[arg(long)]
    naive: bool,
    /// Along fingers [default].
    #[arg(long)]
    fingers: bool,
    /// Along everything the asker has heard of; the keys are looked up twice, cold and warm.
    #[arg(long)]
    contacts: bool,
    /// Who asks [default: the node with the smallest id].
    #[arg(long, value_name = "NAME")]
    from: Option<String>,
    /// Distinct hosts in a successor list.
    #[arg(long, default_value_t = 1, value_name = "R")]
    successors: usize,
}

impl HopsArgs {
    /// Looks every key up on the ideal ring.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no or too many nodes or keys; [`Error::Failed`] when a lookup finds the wrong owner.
    pub fn run(&self, setting: &Setting) -> Result<Report, Error> {
        if self.keys == 0 || self.keys > MAX_LOOKUPS {
            return Err(Error::invalid(format!("expected 1 to {MAX_LOOKUPS} keys")));
        }
        if self.successors == 0 || self.successors > 1_000 {
            return Err(Error::invalid("expected successor lists of 1 to 1000 hosts"));
        }
        let network = Network::named(setting.space, "node_", self.nodes)?;
        let from = match &self.from {
            Some(name) => network.number(name)?,
            None => network.ring_order()[0],
        };
        let keys: Vec<Id> =
            (0..self.keys).map(|i| setting.space.id_of(format!("data_{i}").as_bytes())).collect();
        let mut simulation = network.ideal(self.limits());
        let mut report = setting.report("hops");
        report.parameter("nodes", self.nodes);
        report.parameter("keys", self.keys);
        report.parameter("routing", self.mode_name());
        report.parameter("from", network.nodes()[from].name.as_str());
        report.parameter("successors", self.successors);

        let mut lookups = Lookups::new(&mut simulation, from, self.mode());
        if self.contacts {
            let cold = lookups.all("cold lookups", &keys)?;
            report.figure("cold_mean_hops", "mean hops, cold", Cell::Exact(cold.hops.mean()));
        }
        let found = lookups.all("lookups", &keys)?;
        let distribution = found.hops.distribution();
        let mut table = Table::new("distribution", ["hops", "lookups", "share"]);
        for (hops, count) in &distribution {
            table.row([(*hops).into(), (*count).into(), Cell::Number(*count as f64 / self.keys as f64, 4)]);
        }
        report.tables.push(table);
        report.figure("mean_hops", "mean hops", Cell::Exact(found.hops.mean()));
        let short = Cell::Exact(found.short_cut.mean());
        report.figure("mean_hops_short_cut", "mean hops when the asker knows its own keys", short);
        report.figure("p99_hops", "99th percentile", found.hops.percentile(99.0));
        let half_log = (self.nodes as f64).log2() / 2.0;
        report.figure("half_log2", "half the logarithm of the nodes", Cell::Number(half_log, 2));
        report.notes.push(
            "A hop is a call to another node, the owner's included; the first mean is without the short cut\n\
             \"am I the owner myself?\", the second with it."
                .into(),
        );
        let points =
            distribution.iter().map(|(hops, count)| (*hops as f64, *count as f64 / self.keys as f64));
        report.chart(&Chart {
            name: "hops",
            title: format!(
                "{} lookups among {} nodes, routing by {}",
                self.keys,
                self.nodes,
                self.mode_name()
            ),
            x: Axis::new("hops", Scale::Linear),
            y: Axis::new("share of lookups", Scale::Linear),
            series: vec![Series::new("lookups", Look::Bars, points)],
        });
        Ok(report)
    }

    fn mode(&self) -> RoutingMode {
        match (self.naive, self.contacts) {
            (true, _) => RoutingMode::Naive,
            (_, true) => RoutingMode::Contacts,
            _ => RoutingMode::Fingers,
        }
    }

    fn mode_name(&self) -> &'static str {
        match self.mode() {
            RoutingMode::Naive => "successors",
            RoutingMode::Fingers => "fingers",
            RoutingMode::Contacts => "contacts",
        }
    }

    fn limits(&self) -> RoutingLimits {
        let successors = SuccessorLimits { hosts: self.successors, max: self.successors };
        let contacts = if self.contacts { MAX_NODES } else { 0 };
        RoutingLimits { successors, contacts, ..RoutingLimits::default() }
    }
}

/// The hops of all lookups, without the owner's short cut and with it.
struct Hops {
    hops: Sample,
    short_cut: Sample,
}

/// Lookups of one asker, each checked against the ideal owner.
struct Lookups<'a> {
    simulation: &'a mut Simulation,
    from: usize,
    mode: RoutingMode,
    /// Ascending.
    owners: Vec<Id>,
}

impl<'a> Lookups<'a> {
    fn new(simulation: &'a mut Simulation, from: usize, mode: RoutingMode) -> Lookups<'a> {
        let rings =
            simulation.live().into_iter().filter_map(|number| simulation.host(number)?.rings().next());
        let mut owners: Vec<Id> = rings.map(|ring| ring.me().id).collect();
        owners.sort_unstable();
        Lookups { simulation, from, mode, owners }
    }

    /// Looks all `keys` up. With contacts, the asker learns whom it has called.
    fn all(&mut self, what: &'static str, keys: &[Id]) -> Result<Hops, Error> {
        let (mut hops, mut short_cut) = (Vec::with_capacity(keys.len()), Vec::with_capacity(keys.len()));
        let mut progress = Progress::new(what, keys.len());
        for id in keys {
            let (long, short) = self.one(id)?;
            hops.push(long as u64);
            short_cut.push(short as u64);
            progress.step();
        }
        Ok(Hops { hops: Sample::new(hops), short_cut: Sample::new(short_cut) })
    }

    /// One lookup: its hops without the short cut, and with it.
    fn one(&mut self, id: &Id) -> Result<(usize, usize), Error> {
        let routing = self.simulation.host(self.from).expect("the asker is there");
        let ring = routing.rings().next().expect("one virtual node a host");
        let own = ring.owns(id) && ring.me().id != *id;
        let is_me = ring.me().id == *id;
        let first =
            if own { ring.find_successor_beyond(id, self.mode) } else { routing.route(id, self.mode) };
        let found = self.simulation.lookup_from(self.from, first, id, self.mode, usize::MAX);
        let at = self.owners.partition_point(|owner| owner < id) % self.owners.len();
        match &found.owner {
            Ok(owner) if owner.id == self.owners[at] => {}
            other => {
                return Err(Error::Failed(format!(
                    "a lookup of {id} ended with {other:?}, not {}",
                    self.owners[at]
                )));
            }
        }
        if self.mode == RoutingMode::Contacts {
            let called: Vec<_> = found.path.iter().map(|hop| hop.peer.clone()).collect();
            self.simulation.host_mut(self.from).expect("the asker is there").learn(&called);
        }
        let path = found.path.len();
        // The owner, though it is the asker, is the last node passed to.
        Ok(if is_me {
            (0, 0)
        } else if own {
            (path + 1, 0)
        } else {
            (path, path)
        })
    }
}
