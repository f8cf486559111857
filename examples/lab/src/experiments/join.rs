//! `chord-lab join`: a ring before and after nodes join.

use std::collections::BTreeMap;

use chord::protocol::ring::Ring;
use chord::protocol::simulate::Simulation;
use clap::Args;
use rand::Rng;

use crate::cli::Setting;
use crate::error::Error;
use crate::experiments::draw::MAX_DRAWN;
use crate::experiments::network::links;
use crate::network::{Network, paper_limits, settle};
use crate::report::{Cell, Picture, Report, Table};
use crate::ring_picture::{RingPicture, shortened};

/// Which ring, and how many join.
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// Nodes at first.
    nodes: usize,
    /// Nodes that join, one after the other: node_added_0, node_added_1, ...
    #[arg(long, default_value_t = 1, value_name = "J")]
    joining: usize,
}

impl JoinArgs {
    /// Forms the ring, lets the others join, and tells what changed.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no or too many nodes; [`Error::Failed`] if the ring does not settle.
    pub fn run(&self, setting: &Setting) -> Result<Report, Error> {
        if self.nodes.saturating_add(self.joining) > MAX_DRAWN {
            return Err(Error::invalid(format!("expected at most {MAX_DRAWN} nodes in all")));
        }
        let mut network = Network::named(setting.space, "node_", self.nodes)?;
        let mut rng = setting.rng();
        let (mut simulation, _) = network.formed(paper_limits(4), &mut rng)?;
        network.extend("node_added_", self.joining)?;
        let before = Pointers::of(&simulation);
        let mut report = setting.report("join");
        report.parameter("nodes", self.nodes);
        report.parameter("joining", self.joining);
        report.tables.push(links("before", &network, &simulation));

        let messages = simulation.messages();
        for (number, node) in network.nodes().iter().enumerate().skip(self.nodes) {
            let known = rng.random_range(0..number);
            simulation
                .join(&[node.id], known)
                .map_err(|error| Error::Failed(format!("{} did not join: {error}", node.name)))?;
        }
        let rounds = settle(&mut simulation, &mut rng)?;
        report.tables.push(links("after", &network, &simulation));
        let after = Pointers::of(&simulation);
        report.tables.push(before.changes(&after, &network));
        report.figure("changed_links", "links that changed", before.changed_links(&after));
        report.figure("changed_fingers", "fingers that changed", before.changed_fingers(&after));
        report.figure("rounds", "rounds until every pointer was ideal again", rounds);
        report.figure("messages", "messages for that", simulation.messages() - messages);
        report.pictures.push(Picture::new("join", self.draw(&network, &before, &after)));
        Ok(report)
    }

    /// The ring with those that joined marked, and the pointers that lead to them now.
    fn draw(&self, network: &Network, before: &Pointers, after: &Pointers) -> String {
        let title = match self.joining {
            1 => format!("One node joins {}", self.nodes),
            joining => format!("{joining} nodes join {}", self.nodes),
        };
        let mut picture = RingPicture::of(network, 1, title);
        for node in &network.nodes()[self.nodes..] {
            let number = picture.number(&node.name);
            picture.nodes[number].marked = true;
        }
        let (mut links, mut fingers) = (Vec::new(), Vec::new());
        for (number, pointer, old, new) in before.changed_runs(after) {
            let name = &network.nodes()[number].name;
            let line = format!("{name}, {pointer}:  {} → {}", shortened(old), shortened(new));
            if pointer.starts_with("finger") { fingers.push(line) } else { links.push(line) }
        }
        picture.words.push(("Links that changed".to_owned(), links));
        picture.words.push(("Fingers that changed".to_owned(), fingers));
        picture.svg()
    }
}

/// Every pointer of every node, by node number: what it is called, and the id it points to.
struct Pointers {
    nodes: BTreeMap<usize, Vec<(String, String)>>,
}

impl Pointers {
    fn of(simulation: &Simulation) -> Pointers {
        let pointers = |ring: &Ring| {
            let space = ring.space();
            let predecessor = ring.predecessor().unwrap_or(ring.me());
            let mut all = vec![
                ("predecessor".to_owned(), space.show(&predecessor.id)),
                ("successor".to_owned(), space.show(&ring.successor().id)),
            ];
            for power in 0..space.bits() {
                let finger = ring.fingers().finger(power).unwrap_or(ring.me());
                all.push((format!("finger {}", power + 1), space.show(&finger.id)));
            }
            all
        };
        let nodes = simulation
            .live()
            .into_iter()
            .filter_map(|number| Some((number, pointers(simulation.host(number)?.rings().next()?))));
        Pointers { nodes: nodes.collect() }
    }

    /// (node, pointer, before, after) of every pointer of an old node that is another now.
    fn changed<'a>(
        &'a self,
        after: &'a Pointers,
    ) -> impl Iterator<Item = (usize, &'a str, &'a str, &'a str)> {
        self.nodes.iter().flat_map(|(number, old)| {
            let new = &after.nodes[number];
            old.iter()
                .zip(new)
                .filter(|(old, new)| old != new)
                .map(|((name, old), (_, new))| (*number, name.as_str(), old.as_str(), new.as_str()))
        })
    }

    fn changed_links(&self, after: &Pointers) -> usize {
        self.changed(after).filter(|change| !change.1.starts_with("finger")).count()
    }

    fn changed_fingers(&self, after: &Pointers) -> usize {
        self.changed(after).filter(|change| change.1.starts_with("finger")).count()
    }

    /// [`Pointers::changed`], but consecutive fingers of a node that changed alike are one.
    fn changed_runs<'a>(&'a self, after: &'a Pointers) -> Vec<(usize, String, &'a str, &'a str)> {
        let mut runs: Vec<(usize, &str, &str, &str, &str)> = Vec::new();
        for (number, pointer, old, new) in self.changed(after) {
            let k = |pointer: &str| pointer.strip_prefix("finger ").and_then(|k| k.parse::<u16>().ok());
            match runs.last_mut() {
                Some((same, _, last, was, is))
                    if (*same, *was, *is) == (number, old, new)
                        && k(pointer).is_some_and(|this| k(last).is_some_and(|last| this == last + 1)) =>
                {
                    *last = pointer;
                }
                _ => runs.push((number, pointer, pointer, old, new)),
            }
        }
        let name = |first: &str, last: &str| match last.strip_prefix("finger ") {
            Some(last) if !first.ends_with(&format!(" {last}")) => format!("{first}..{last}"),
            _ => first.to_owned(),
        };
        runs.into_iter()
            .map(|(number, first, last, old, new)| (number, name(first, last), old, new))
            .collect()
    }

    fn changes(&self, after: &Pointers, network: &Network) -> Table {
        let mut table = Table::new("changes", ["node", "pointer", "before", "after"]);
        for (number, pointer, old, new) in self.changed_runs(after) {
            let name = network.nodes()[number].name.as_str();
            table.row([name, &pointer, old, new].map(Cell::from));
        }
        table
    }
}
