//! `chord-lab draw`: the ring as a picture.

use chord::protocol::id::Id;
use chord::protocol::lookup::{RoutingMode, Said};
use chord::protocol::simulate::{Found, Simulation};
use clap::Args;

use crate::cli::Setting;
use crate::error::Error;
use crate::experiments::fingers::rows;
use crate::network::{Network, Node, paper_limits};
use crate::report::{Picture, Report, Table};
use crate::ring_picture::{RingPicture, shortened};

/// Nodes of a picture, at most.
pub(super) const MAX_DRAWN: usize = 2_000;

/// What to draw.
#[derive(Debug, Args)]
pub struct DrawArgs {
    /// Nodes of the ring: node_0, node_1, ...
    nodes: usize,
    /// Draw this node's fingers.
    #[arg(long, value_name = "NODE")]
    fingers: Option<String>,
    /// Draw the lookup of this key, from the node with the fingers or else the one with the smallest id.
    #[arg(long, value_name = "KEY")]
    route: Option<String>,
    /// Let the lookup go along successors only.
    #[arg(long, requires = "route")]
    naive: bool,
    /// Places of each node on the circle; those of node_3 are node_3, node_3/1, node_3/2, ...
    #[arg(long, default_value_t = 1, value_name = "V")]
    virtual_nodes: usize,
}

impl DrawArgs {
    /// Draws the ideal ring. Without a directory to write to, the picture itself is what is printed.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no or too many nodes, two virtual nodes with one id, or an unknown name;
    /// [`Error::Failed`] when the lookup finds no owner.
    pub fn run(&self, setting: &Setting) -> Result<Report, Error> {
        let network = self.network(setting)?;
        let hosts = network.nodes().chunks(self.virtual_nodes);
        let hosts: Vec<Vec<Id>> = hosts.map(|host| host.iter().map(|node| node.id).collect()).collect();
        let simulation = Simulation::ideal(setting.space, paper_limits(1), &hosts);
        let simulation = simulation.map_err(|violation| Error::Failed(violation.to_string()))?;
        let asker = match &self.fingers {
            Some(name) => network.number(name)?,
            None => network.ring_order()[0],
        };

        let mut report = setting.report("draw");
        report.parameter("nodes", self.nodes);
        report.parameter("virtual_nodes", self.virtual_nodes);
        let title = match self.virtual_nodes {
            1 if self.nodes == 1 => "A ring of one node".to_owned(),
            1 => format!("A ring of {} nodes", self.nodes),
            count => format!("{} hosts with {count} virtual nodes each", self.nodes),
        };
        let mut picture = RingPicture::of(&network, self.virtual_nodes, title);
        report.figure("places", "nodes on the ring", network.nodes().len());
        if self.fingers.is_some() {
            let table = draw_fingers(&mut picture, &network, &simulation, asker / self.virtual_nodes, asker);
            report.tables.push(table);
        }
        if let Some(key) = &self.route {
            self.draw_route(&mut picture, &mut report, &network, &simulation, asker, key)?;
        }
        if picture.words.is_empty() {
            picture.words.push(nodes_in_words(&picture));
        }
        let svg = picture.svg();
        report.pictures.push(Picture::new("ring", svg.clone()));
        report.picture_is_page = true;
        Ok(report)
    }

    fn network(&self, setting: &Setting) -> Result<Network, Error> {
        let total = self.nodes.saturating_mul(self.virtual_nodes);
        if total == 0 || total > MAX_DRAWN {
            return Err(Error::invalid(format!("expected 1 to {MAX_DRAWN} nodes to draw")));
        }
        let network = Network::named(setting.space, "node_", self.nodes)?;
        if self.virtual_nodes == 1 {
            return Ok(network);
        }
        let virtual_nodes = network.nodes().iter().flat_map(|node| {
            (0..self.virtual_nodes).map(|i| Node {
                name: if i == 0 { node.name.clone() } else { format!("{}/{i}", node.name) },
                id: setting.space.virtual_node_id(&node.name, i),
            })
        });
        Network::of(setting.space, virtual_nodes.collect())
    }

    fn draw_route(
        &self,
        picture: &mut RingPicture,
        report: &mut Report,
        network: &Network,
        simulation: &Simulation,
        asker: usize,
        key: &str,
    ) -> Result<(), Error> {
        let space = network.space();
        let id = space.id_of(key.as_bytes());
        let mode = if self.naive { RoutingMode::Naive } else { RoutingMode::Fingers };
        let host = asker / self.virtual_nodes;
        let found = simulation.lookup(host, &id, mode, usize::MAX);
        let owner = match &found.owner {
            Ok(owner) => network.name_of(&owner.id),
            Err(error) => return Err(Error::Failed(format!("the lookup of {key:?} failed: {error}"))),
        };
        // A host begins at the one of its virtual nodes that is nearest before the key.
        let own = &network.nodes()[host * self.virtual_nodes..(host + 1) * self.virtual_nodes];
        let from = own.iter().min_by_key(|node| space.distance(&node.id, &id)).expect("a virtual node");
        let path = found.path.iter().map(|hop| network.name_of(&hop.peer.id));
        picture.route =
            std::iter::once(from.name.clone()).chain(path).map(|name| picture.number(&name)).collect();
        picture.key(space, key, &id, Some(&owner));

        let mut table = Table::new("route", ["hop", "node", "id", "says"]);
        let mut lines = Vec::new();
        for (hop, (node, says)) in steps(network, &found).into_iter().enumerate() {
            let at = network.nodes().iter().find(|other| other.name == node);
            let shown = at.map_or_else(String::new, |at| space.show(&at.id));
            lines.push(format!("{}   {node} ({}): {says}", hop + 1, shortened(&shown)));
            table.row([(hop + 1).into(), node.into(), shown.into(), says.into()]);
        }
        if lines.is_empty() {
            lines.push(format!("{owner} owns it itself"));
        }
        let shown = shortened(&space.show(&id)).into_owned();
        lines.insert(0, format!("{} searches {shown}", from.name));
        picture.words.push((format!("Lookup of {}", key.chars().take(28).collect::<String>()), lines));
        report.tables.push(table);
        report.figure("owner", "owner of the key", owner);
        report.figure("hops", "hops", found.path.len());
        Ok(())
    }
}

/// The calls of a lookup: who was asked, and what it said.
pub(super) fn steps(network: &Network, found: &Found) -> Vec<(String, String)> {
    let name = |id: &Id| network.name_of(id);
    let owner = found.owner.as_ref().ok();
    let says = |said: &Said, me: &Id| match said {
        Said::Owner(peer) if peer.id == *me && owner.is_some_and(|owner| owner.id == *me) => {
            "it is mine".to_owned()
        }
        Said::Owner(peer) => format!("{} owns it", name(&peer.id)),
        Said::Closer(Some(peer)) => format!("ask {}", name(&peer.id)),
        Said::Closer(None) => "I know nobody closer".to_owned(),
        Said::Dead => "(no answer)".to_owned(),
    };
    found.path.iter().map(|hop| (name(&hop.peer.id), says(&hop.said, &hop.peer.id))).collect()
}

/// Draws the fingers of the node `number`, which runs on `host`, and tells them.
pub(super) fn draw_fingers(
    picture: &mut RingPicture,
    network: &Network,
    simulation: &Simulation,
    host: usize,
    number: usize,
) -> Table {
    let node = &network.nodes()[number];
    let ring = simulation.host(host).and_then(|routing| routing.ring(&node.id));
    let ring = ring.expect("every node of the network takes part");
    let mut table = Table::new("fingers", ["k", "start", "successor", "successor id"]);
    let mut lines = Vec::new();
    for [_, _, k, start, successor, id] in rows(network, ring) {
        lines.push(format!("k = {k}   from {}:  {successor} ({})", shortened(&start), shortened(&id)));
        table.row([k, start, successor, id].map(Into::into));
    }
    let from = picture.number(&node.name);
    for peer in ring.fingers().peers() {
        let to = picture.number(&network.name_of(&peer.id));
        picture.fingers.push((from, to));
    }
    let shown = picture.nodes[from].id.clone();
    picture.words.push((format!("Fingers of {} ({})", node.name, shortened(&shown)), lines));
    table
}

/// Who owns how much, the largest arcs first.
pub(super) fn nodes_in_words(picture: &RingPicture) -> (String, Vec<String>) {
    let mut places: Vec<_> = picture.nodes.iter().collect();
    places.sort_by(|a, b| b.owns.total_cmp(&a.owns));
    let line = |place: &&crate::ring_picture::Place| {
        format!("{:>6.2} %   {} ({})", 100.0 * place.owns, place.name, shortened(&place.id))
    };
    ("What each owns: the arc before it".to_owned(), places.iter().map(line).collect())
}
