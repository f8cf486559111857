//! `chord-lab network`: the table of a ring.

use chord::protocol::simulate::Simulation;
use clap::Args;

use crate::cli::Setting;
use crate::error::Error;
use crate::experiments::draw::{MAX_DRAWN, nodes_in_words};
use crate::network::{Network, paper_limits, share};
use crate::report::{Picture, Report, Table};
use crate::ring_picture::RingPicture;

/// Which ring.
#[derive(Debug, Args)]
pub struct NetworkArgs {
    /// Nodes: node_0, node_1, ...; a name whose id is taken is passed over.
    nodes: usize,
}

impl NetworkArgs {
    /// Forms the ring and tells its nodes in ring order.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no or too many nodes; [`Error::Failed`] if the ring does not settle.
    pub fn run(&self, setting: &Setting) -> Result<Report, Error> {
        let network = Network::named(setting.space, "node_", self.nodes)?;
        let (simulation, rounds) = network.formed(paper_limits(4), &mut setting.rng())?;
        let mut report = setting.report("network");
        report.parameter("nodes", self.nodes);
        report.tables.push(links("network", &network, &simulation));
        report.figure("rounds", "rounds until every pointer was ideal", rounds);
        report.figure("messages", "messages to form it", simulation.messages());
        if self.nodes <= MAX_DRAWN {
            let mut picture = RingPicture::of(&network, 1, format!("A ring of {} nodes", self.nodes));
            picture.words.push(nodes_in_words(&picture));
            report.pictures.push(Picture::new("network", picture.svg()));
        }
        Ok(report)
    }
}

/// Every node that is there: its id, neighbours and part of the circle.
pub(super) fn links(name: &'static str, network: &Network, simulation: &Simulation) -> Table {
    let space = network.space();
    let mut table = Table::new(name, ["node", "id", "predecessor", "successor", "share"]);
    for number in network.ring_order() {
        let Some(ring) = simulation.host(number).and_then(|routing| routing.rings().next()) else { continue };
        let me = ring.me().id;
        let predecessor = ring.predecessor().map_or(me, |peer| peer.id);
        table.row([
            network.nodes()[number].name.as_str().into(),
            space.show(&me).into(),
            space.show(&predecessor).into(),
            space.show(&ring.successor().id).into(),
            format!("{:.2} %", 100.0 * share(&space, &predecessor, &me)).into(),
        ]);
    }
    table
}
