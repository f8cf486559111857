//! `chord-lab beside`: Chord's hops, measured, beside what other structures need, as their papers say.

use chord::protocol::id::Id;
use chord::protocol::lookup::RoutingMode;
use clap::{Args, ValueEnum};
use rand::Rng;

use crate::chart::{Axis, Chart, Look, Scale, Series};
use crate::cli::Setting;
use crate::error::Error;
use crate::network::{Network, paper_limits};
use crate::progress::Progress;
use crate::report::{Cell, Report, Table};
use crate::statistics::Sample;

/// Lookups for each size of ring.
const LOOKUPS: usize = 5_000;

/// Beside what, and how far.
#[derive(Debug, Args)]
pub struct BesideArgs {
    /// The other structure.
    structure: Structure,
    /// The largest ring has 2^P nodes.
    #[arg(long, default_value_t = 14, value_name = "P", value_parser = clap::value_parser!(u32).range(5..=20))]
    max_power: u32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Structure {
    /// Pages read, from the root to a leaf (Bayer and McCreight, 1972).
    BTree,
    /// Hops on a torus of d dimensions (Ratnasamy et al., 2001).
    Can,
    /// Steps by the xor metric, b bits each (Maymounkov and Mazières, 2002).
    Kademlia,
}

/// How many steps a structure takes to find one of so many.
struct Curve {
    label: &'static str,
    steps: fn(f64) -> f64,
}

impl Structure {
    fn name(self) -> &'static str {
        match self {
            Structure::BTree => "a B-tree",
            Structure::Can => "CAN",
            Structure::Kademlia => "Kademlia",
        }
    }

    /// As published: means for CAN, the worst case for the others.
    fn curves(self) -> [Curve; 3] {
        let curve = |label, steps| Curve { label, steps };
        match self {
            Structure::BTree => [
                curve("B-tree, 2 ways a page", |n| n.log2().ceil()),
                curve("B-tree, 16 ways", |n| n.log(16.0).ceil()),
                curve("B-tree, 256 ways", |n| n.log(256.0).ceil()),
            ],
            Structure::Can => [
                curve("CAN, 2 dimensions", |n| can(2.0, n)),
                curve("CAN, 4 dimensions", |n| can(4.0, n)),
                curve("CAN, 8 dimensions", |n| can(8.0, n)),
            ],
            Structure::Kademlia => [
                curve("Kademlia, at most, a bit a step", f64::log2),
                curve("Kademlia, at most, 2 bits", |n| n.log(4.0)),
                curve("Kademlia, at most, 5 bits", |n| n.log(32.0)),
            ],
        }
    }
}

/// The mean path in d dimensions: d/4 N^(1/d).
fn can(d: f64, n: f64) -> f64 {
    d / 4.0 * n.powf(1.0 / d)
}

impl BesideArgs {
    /// Measures Chord's mean hops along fingers in ideal rings of 2^4 .. 2^P nodes.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there are fewer ids than nodes; [`Error::Failed`] when a lookup finds no owner.
    pub fn run(&self, setting: &Setting) -> Result<Report, Error> {
        let curves = self.structure.curves();
        let mut report = setting.report("beside");
        report.parameter("structure", self.structure.name());
        let columns = ["nodes", "Chord"].into_iter().chain(curves.iter().map(|curve| curve.label));
        let mut table = Table::new("steps", columns);
        let mut measured = Vec::new();
        let mut progress = Progress::new("rings", self.max_power as usize - 3);
        for power in 4..=self.max_power {
            let nodes = 1usize << power;
            let hops = mean_hops(setting, nodes)?;
            let size = nodes as f64;
            let row = curves.iter().map(|curve| Cell::Number((curve.steps)(size), 2));
            table.row([nodes.into(), Cell::Number(hops, 2)].into_iter().chain(row));
            measured.push((size, hops));
            progress.step();
        }
        let mut series = vec![Series::new("Chord, fingers only, measured", Look::Measured, measured.clone())];
        for curve in &curves {
            let points = measured.iter().map(|(nodes, _)| (*nodes, (curve.steps)(*nodes)));
            series.push(Series::new(curve.label, Look::Expected, points));
        }
        report.tables.push(table);
        report.chart(&Chart {
            name: match self.structure {
                Structure::BTree => "beside-b-tree",
                Structure::Can => "beside-can",
                Structure::Kademlia => "beside-kademlia",
            },
            title: format!("Steps to find one of N: Chord beside {}", self.structure.name()),
            x: Axis::new("N", Scale::Log2),
            y: Axis::new("steps", Scale::Linear),
            series,
        });
        report.notes.push(
            "Chord: measured, hops to the owner included. The others: formulas of their papers.".into(),
        );
        Ok(report)
    }
}

/// The mean hops of random lookups by random askers.
fn mean_hops(setting: &Setting, nodes: usize) -> Result<f64, Error> {
    let ring = Network::named(setting.space, "node_", nodes)?.ideal(paper_limits(1));
    let mut rng = setting.rng();
    let mut hops = Vec::with_capacity(LOOKUPS);
    for _ in 0..LOOKUPS {
        let from = rng.random_range(0..nodes);
        let id: Id = setting.space.id_of(&rng.random::<[u8; 16]>());
        let found = ring.lookup(from, &id, RoutingMode::Fingers, usize::MAX);
        if let Err(error) = &found.owner {
            return Err(Error::Failed(format!("a lookup among {nodes} nodes failed: {error}")));
        }
        hops.push(found.path.len() as u64);
    }
    Ok(Sample::new(hops).mean())
}
