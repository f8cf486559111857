//! `chord-lab fingers`: finger tables.

use chord::protocol::ring::Ring;
use clap::Args;

use crate::cli::Setting;
use crate::error::Error;
use crate::experiments::draw::{MAX_DRAWN, draw_fingers};
use crate::network::{Network, paper_limits};
use crate::report::{Cell, Picture, Report, Table};
use crate::ring_picture::RingPicture;

/// Nodes of which `--all` prints the tables, at most.
const MAX_TABLES: usize = 1_000;

/// Whose fingers.
#[derive(Debug, Args)]
pub struct FingersArgs {
    /// Nodes of the ring.
    nodes: usize,
    /// Whose table [default: that of the node with the smallest id].
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Every node's table.
    #[arg(long, conflicts_with = "node")]
    all: bool,
}

impl FingersArgs {
    /// Forms the ring and tells finger tables: where each finger starts, and the first node at or after that.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no or too many nodes, or an unknown name; [`Error::Failed`] if the ring does not settle.
    pub fn run(&self, setting: &Setting) -> Result<Report, Error> {
        let network = Network::named(setting.space, "node_", self.nodes)?;
        let order = network.ring_order();
        let shown = match &self.node {
            Some(name) => vec![network.number(name)?],
            None if self.all && self.nodes > MAX_TABLES => {
                return Err(Error::invalid(format!("--all is for at most {MAX_TABLES} nodes")));
            }
            None if self.all => order,
            None => vec![order[0]],
        };
        let (simulation, _) = network.formed(paper_limits(4), &mut setting.rng())?;
        let mut report = setting.report("fingers");
        report.parameter("nodes", self.nodes);
        let mut table = Table::new("fingers", ["node", "id", "k", "start", "successor", "successor id"]);
        let mut distinct = 0;
        for number in &shown {
            let ring = simulation.host(*number).and_then(|routing| routing.rings().next());
            let ring = ring.expect("every node of the network joined");
            distinct += ring.fingers().peers().len();
            for row in rows(&network, ring) {
                table.row(row.map(Into::into));
            }
        }
        report.tables.push(table);
        report.figure(
            "distinct",
            "distinct fingers a node",
            Cell::Exact(distinct as f64 / shown.len() as f64),
        );
        if self.nodes <= MAX_DRAWN {
            let number = shown[0];
            let title = format!("The fingers of {} among {} nodes", network.nodes()[number].name, self.nodes);
            let mut picture = RingPicture::of(&network, 1, title);
            draw_fingers(&mut picture, &network, &simulation, number, number);
            report.pictures.push(Picture::new("fingers", picture.svg()));
        }
        Ok(report)
    }
}

/// The paper's table, k = 1..m, one row for each run of equal fingers of more than 64 bits.
pub(super) fn rows(network: &Network, ring: &Ring) -> Vec<[String; 6]> {
    let space = network.space();
    let me = ring.me();
    let row = |first: u16, last: u16| {
        let owner = ring.fingers().finger(first - 1).unwrap_or(me);
        let k = if first == last { first.to_string() } else { format!("{first}..{last}") };
        let start = space.show(&ring.fingers().start(first - 1));
        [
            network.name_of(&me.id),
            space.show(&me.id),
            k,
            start,
            network.name_of(&owner.id),
            space.show(&owner.id),
        ]
    };
    if space.bits() <= 64 {
        return (1..=space.bits()).map(|k| row(k, k)).collect();
    }
    ring.fingers().runs().iter().map(|run| row(run.first, run.last)).collect()
}
