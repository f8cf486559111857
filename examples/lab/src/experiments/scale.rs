//! `chord-lab scale`: hops, state, traffic, time and memory from 16 nodes to a million.
//!
//! Fingers and one successor, as in figure 10 of ToN 2003. A ring is linked ideally; then its nodes run the engine's
//! own rounds of maintenance, which must find nothing to change: the pointers are what the engine would have made.

use std::time::{Duration, Instant};

use chord::protocol::id::Id;
use chord::protocol::lookup::RoutingMode;
use chord::protocol::peer::Peer;
use chord::protocol::routing::rounds::Round;
use chord::protocol::simulate::{Simulation, index_of};
use clap::Args;
use rand::Rng;

use crate::chart::{Axis, Chart, Look, Scale, Series};
use crate::cli::Setting;
use crate::error::Error;
use crate::memory;
use crate::network::{MAX_NODES, paper_limits, random_id, random_ids};
use crate::parallel;
use crate::progress::Progress;
use crate::report::{Cell, Report, Table};
use crate::statistics::Sample;
use crate::traffic::Traffic;

/// Rings of one size, at most.
const MAX_RINGS: usize = 64;
/// Lookups that one thread takes at a time.
const CHUNK: usize = 500;
/// Nodes whose traffic is measured.
const METERED: usize = 2_000;
/// Lookups, at most.
const MAX_LOOKUPS: usize = 100_000_000;

/// How far to go.
#[derive(Debug, Args)]
pub struct ScaleArgs {
    /// The largest ring; sizes are the powers of two up to it, from 16, and itself.
    #[arg(long, default_value_t = 1 << 20, value_name = "N")]
    max_nodes: usize,
    /// Lookups for each size.
    #[arg(long, default_value_t = 100_000, value_name = "L")]
    lookups: usize,
    /// In larger rings so many nodes, at random, run the rounds of maintenance instead of all.
    #[arg(long, default_value_t = 1 << 17, value_name = "N")]
    check: usize,
    /// Small rings differ from each other: of each size there are as many as have so many nodes together.
    #[arg(long, default_value_t = 1 << 14, value_name = "N")]
    together: usize,
}

/// What was found for one size.
struct Size {
    nodes: usize,
    rings: usize,
    hops: Sample,
    /// Distinct fingers and successors of all nodes.
    entries: usize,
    checked: usize,
    stabilize: Traffic,
    fix_fingers: Traffic,
    metered: usize,
    building: Duration,
    maintaining: Duration,
    looking_up: Duration,
    resident: Option<u64>,
}

impl ScaleArgs {
    /// Goes through the sizes.
    ///
    /// # Errors
    /// [`Error::Invalid`] for sizes out of bounds; [`Error::Failed`] when maintenance changes a pointer of an ideal
    /// ring, or a lookup finds the wrong owner.
    pub fn run(&self, setting: &Setting) -> Result<Report, Error> {
        if !(16..=MAX_NODES).contains(&self.max_nodes) {
            return Err(Error::invalid(format!("expected rings of 16 to {MAX_NODES} nodes")));
        }
        if self.lookups == 0 || self.lookups > MAX_LOOKUPS || self.check == 0 {
            return Err(Error::invalid(format!("expected 1 to {MAX_LOOKUPS} lookups and a node to check")));
        }
        let mut rng = setting.rng();
        let powers = (4..).map(|power| 1usize << power).take_while(|nodes| *nodes < self.max_nodes);
        let mut sizes = Vec::new();
        for nodes in powers.chain([self.max_nodes]) {
            sizes.push(self.size(setting, nodes, &mut rng)?);
        }
        Ok(self.report(setting, &sizes))
    }

    fn size(&self, setting: &Setting, nodes: usize, rng: &mut impl Rng) -> Result<Size, Error> {
        let rings = (self.together / nodes).clamp(1, MAX_RINGS);
        let mut size = Size {
            nodes,
            rings,
            hops: Sample::default(),
            entries: 0,
            checked: 0,
            stabilize: Traffic::default(),
            fix_fingers: Traffic::default(),
            metered: 0,
            building: Duration::ZERO,
            maintaining: Duration::ZERO,
            looking_up: Duration::ZERO,
            resident: None,
        };
        let mut hops = Vec::with_capacity(self.lookups);
        for ring in 0..rings {
            let lookups = self.lookups / rings + usize::from(ring < self.lookups % rings);
            hops.extend(self.ring(setting, &mut size, lookups, rng)?);
        }
        size.hops = Sample::new(hops);
        Ok(size)
    }

    /// One ring: built, maintained, and looked up in. Returns the hops.
    fn ring(
        &self,
        setting: &Setting,
        size: &mut Size,
        lookups: usize,
        rng: &mut impl Rng,
    ) -> Result<Vec<u64>, Error> {
        let began = Instant::now();
        let mut ids = random_ids(setting.space, size.nodes, rng)?;
        let hosts: Vec<Vec<Id>> = ids.iter().map(|id| vec![*id]).collect();
        let simulation = Simulation::ideal(setting.space, paper_limits(1), &hosts);
        let mut simulation = simulation.map_err(|violation| Error::Failed(violation.to_string()))?;
        drop(hosts);
        size.building += began.elapsed();

        let began = Instant::now();
        self.maintain(&mut simulation, size, rng)?;
        size.maintaining += began.elapsed();
        size.resident = memory::resident();
        size.entries += pointers(&simulation);

        ids.sort_unstable();
        let wanted: Vec<(usize, Id)> =
            (0..lookups).map(|_| (rng.random_range(0..size.nodes), random_id(setting.space, rng))).collect();
        let chunks: Vec<&[(usize, Id)]> = wanted.chunks(CHUNK).collect();
        let began = Instant::now();
        let found = parallel::map("lookups", &chunks, |chunk| look_up(&simulation, &ids, chunk));
        size.looking_up += began.elapsed();
        Ok(found.into_iter().collect::<Result<Vec<_>, Error>>()?.concat())
    }

    /// The engine's own rounds on all nodes, or on as many as are to be checked: they must change nothing.
    fn maintain(
        &self,
        simulation: &mut Simulation,
        size: &mut Size,
        rng: &mut impl Rng,
    ) -> Result<(), Error> {
        let before = changes(simulation, size.nodes);
        let numbers = rand::seq::index::sample(rng, size.nodes, size.nodes.min(self.check));
        let metered = numbers.len().min(METERED.saturating_sub(size.metered));
        let mut progress = Progress::new("rounds of maintenance", numbers.len());
        for (i, number) in numbers.iter().enumerate() {
            if i < metered {
                // Who has heard from its predecessor does not ask for it: so it is in a settled ring.
                let ring = simulation.host(number).and_then(|routing| routing.rings().next());
                let before = ring.and_then(|ring| ring.predecessor()).map(|peer| index_of(&peer.host));
                before.into_iter().for_each(|before| simulation.run_round(before, Round::Stabilize));
            }
            for (kind, traffic) in
                [(Round::Stabilize, &mut size.stabilize), (Round::FixFingers, &mut size.fix_fingers)]
            {
                let routing = simulation.host_mut(number).expect("nobody fails");
                let (host, batches) = (routing.host().clone(), routing.start_round(kind));
                simulation.finish_round(number, batches, |call| {
                    if i < metered {
                        traffic.round(&host, call);
                    }
                });
            }
            progress.step();
        }
        size.metered += metered;
        size.checked += numbers.len();
        let changed = changes(simulation, size.nodes) - before;
        if changed > 0 {
            let nodes = size.nodes;
            return Err(Error::Failed(format!("maintenance changed {changed} pointers of {nodes} nodes")));
        }
        Ok(())
    }

    fn report(&self, setting: &Setting, sizes: &[Size]) -> Report {
        let mut report = setting.report("scale");
        report.parameter("max_nodes", self.max_nodes);
        report.parameter("lookups", self.lookups);
        report.parameter("check", self.check);
        report.parameter("together", self.together);
        report.tables.push(hops_table(sizes));
        report.tables.push(cost_table(sizes));
        report.tables.push(machine_table(sizes));
        let largest = sizes.last().expect("there is a size");
        let off = |size: &&Size| (size.path() - size.half_log()).abs();
        let deviation = sizes.iter().filter(|size| size.nodes >= 1 << 7).map(|size| off(&size));
        report.figure("nodes", "nodes of the largest ring", largest.nodes);
        report.figure("path", "mean path in it (hops - 1)", Cell::Number(largest.path(), 3));
        report.figure("half_log2", "half the logarithm of its nodes", Cell::Number(largest.half_log(), 3));
        let label = "largest difference of the two from 2^7 nodes on";
        report.figure("deviation", label, Cell::Number(deviation.fold(0.0, f64::max), 3));
        report.figure("lookups_per_second", "lookups a second in it", Cell::Number(largest.speed(), 0));
        let bytes = largest.resident.map(|bytes| bytes as f64 / largest.nodes as f64);
        let bytes = bytes.map_or(Cell::Empty, |bytes| Cell::Number(bytes, 0));
        report.figure("bytes_per_node", "bytes of memory a node in it", bytes);
        let peak = memory::peak().map_or(Cell::Empty, |bytes| Cell::Number(bytes as f64 / 1_048_576.0, 0));
        report.figure("peak_mib", "memory of the run, MiB", peak);
        let seconds = |size: &Size| size.building + size.maintaining + size.looking_up;
        let total: Duration = sizes.iter().map(seconds).sum();
        report.figure("seconds", "seconds of the run", Cell::Number(total.as_secs_f64(), 1));
        report.notes.push(
            "Hops count the call to the owner; the paper's path (figure 10) does not: it is hops - 1.\n\
             Every checked node ran a round of Stabilize and one of FixFingers, which changed no pointer of any\n\
             node. Traffic is what these rounds send and are answered, encoded by the engine."
                .into(),
        );
        self.draw(&mut report, sizes);
        report
    }

    fn draw(&self, report: &mut Report, sizes: &[Size]) {
        let at = |value: &dyn Fn(&Size) -> f64| -> Vec<(f64, f64)> {
            sizes.iter().map(|size| (size.nodes as f64, value(size))).collect()
        };
        let nodes = || Axis::new("nodes", Scale::Log2);
        report.chart(&Chart {
            name: "scale-hops",
            title: format!("A lookup among N nodes takes half the logarithm of N ({} each)", self.lookups),
            x: nodes(),
            y: Axis::new("nodes on the way to the owner", Scale::Linear),
            series: vec![
                Series::new("1/2 log2 N", Look::Expected, at(&Size::half_log)),
                Series::new("mean", Look::Measured, at(&Size::path)),
                Series::new(
                    "99th percentile",
                    Look::Measured,
                    at(&|size| size.hops.percentile(99.0).saturating_sub(1) as f64),
                ),
            ],
        });
        let largest = sizes.last().expect("there is a size");
        let shares = |size: &Size| -> Vec<(f64, f64)> {
            let all = size.hops.len() as f64;
            let share = |(hops, count): (u64, usize)| (hops as f64 - 1.0, count as f64 / all);
            size.hops.distribution().into_iter().filter(|(hops, _)| *hops > 0).map(share).collect()
        };
        report.chart(&Chart {
            name: "scale-distribution",
            title: format!("Where the lookups among {} nodes end", largest.nodes),
            x: Axis::new("nodes on the way to the owner", Scale::Linear),
            y: Axis::new("share of lookups", Scale::Linear),
            series: vec![Series::new("lookups", Look::Bars, shares(largest))],
        });
        report.chart(&Chart {
            name: "scale-cost",
            title: "What a node keeps and sends grows with the logarithm of the ring".into(),
            x: nodes(),
            y: Axis::new("bytes", Scale::Linear),
            series: vec![
                Series::new(
                    "a round of FixFingers",
                    Look::Measured,
                    at(&|size| size.fix_fingers.bytes as f64 / size.metered as f64),
                ),
                Series::new(
                    "a round of Stabilize",
                    Look::Measured,
                    at(&|size| size.stabilize.bytes as f64 / size.metered as f64),
                ),
                Series::new("pointers kept", Look::Measured, at(&Size::state_bytes)),
            ],
        });
    }
}

impl Size {
    /// The paper's path length: the owner left out.
    fn path(&self) -> f64 {
        self.hops.mean() - 1.0 + self.own()
    }

    /// The share of lookups that ask nobody, whose path is 0 and not -1.
    fn own(&self) -> f64 {
        let own = self.hops.distribution().first().filter(|(hops, _)| *hops == 0).map_or(0, |own| own.1);
        own as f64 / self.hops.len() as f64
    }

    fn half_log(&self) -> f64 {
        (self.nodes as f64).log2() / 2.0
    }

    fn entries(&self) -> f64 {
        self.entries as f64 / (self.nodes * self.rings) as f64
    }

    fn state_bytes(&self) -> f64 {
        self.entries() * size_of::<Peer>() as f64
    }

    fn speed(&self) -> f64 {
        self.hops.len() as f64 / self.looking_up.as_secs_f64()
    }
}

fn hops_table(sizes: &[Size]) -> Table {
    let columns = ["nodes", "rings", "hops", "path", "half_log2", "difference", "p1", "p50", "p99", "most"];
    let mut table = Table::new("hops", columns);
    for size in sizes {
        let path = |percent| size.hops.percentile(percent).saturating_sub(1);
        table.row([
            size.nodes.into(),
            size.rings.into(),
            Cell::Number(size.hops.mean(), 3),
            Cell::Number(size.path(), 3),
            Cell::Number(size.half_log(), 1),
            Cell::Number(size.path() - size.half_log(), 3),
            path(1.0).into(),
            path(50.0).into(),
            path(99.0).into(),
            path(100.0).into(),
        ]);
    }
    table
}

fn cost_table(sizes: &[Size]) -> Table {
    let columns = [
        "nodes",
        "pointers",
        "pointer_bytes",
        "stabilize_calls",
        "stabilize_bytes",
        "fix_fingers_calls",
        "fix_fingers_bytes",
    ];
    let mut table = Table::new("cost", columns);
    for size in sizes {
        let mean = |total: u64| total as f64 / size.metered as f64;
        table.row([
            size.nodes.into(),
            Cell::Number(size.entries(), 2),
            Cell::Number(size.state_bytes(), 0),
            Cell::Number(mean(size.stabilize.calls), 2),
            Cell::Number(mean(size.stabilize.bytes), 0),
            Cell::Number(mean(size.fix_fingers.calls), 2),
            Cell::Number(mean(size.fix_fingers.bytes), 0),
        ]);
    }
    table
}

fn machine_table(sizes: &[Size]) -> Table {
    let columns = ["nodes", "checked", "build_s", "maintain_s", "look_up_s", "lookups_per_s", "resident_mib"];
    let mut table = Table::new("machine", columns);
    for size in sizes {
        table.row([
            size.nodes.into(),
            size.checked.into(),
            Cell::Number(size.building.as_secs_f64(), 2),
            Cell::Number(size.maintaining.as_secs_f64(), 2),
            Cell::Number(size.looking_up.as_secs_f64(), 2),
            Cell::Number(size.speed(), 0),
            size.resident.map_or(Cell::Empty, |bytes| Cell::Number(bytes as f64 / 1_048_576.0, 0)),
        ]);
    }
    table
}

/// Every pointer change there ever was, of all nodes.
fn changes(simulation: &Simulation, nodes: usize) -> u64 {
    (0..nodes).filter_map(|number| simulation.host(number)).map(|routing| routing.changed()).sum()
}

/// Distinct fingers and successors of all nodes. The first finger is the successor, and counted once.
fn pointers(simulation: &Simulation) -> usize {
    let rings = (0..).map_while(|number| simulation.host(number)).flat_map(|routing| routing.rings());
    rings.map(|ring| ring.fingers().peers().len() + ring.successors().len().saturating_sub(1)).sum()
}

fn look_up(simulation: &Simulation, owners: &[Id], wanted: &[(usize, Id)]) -> Result<Vec<u64>, Error> {
    let one = |(from, id): &(usize, Id)| {
        let found = simulation.lookup(*from, id, RoutingMode::Fingers, usize::MAX);
        let owner = owners[owners.partition_point(|owner| owner < id) % owners.len()];
        match found.owner {
            Ok(peer) if peer.id == owner => Ok(found.path.len() as u64),
            other => Err(Error::Failed(format!("a lookup of {id} ended with {other:?}, not {owner}"))),
        }
    };
    wanted.iter().map(one).collect()
}
