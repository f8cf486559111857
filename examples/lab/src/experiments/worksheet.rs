//! `chord-lab worksheet`: a ring small enough to be worked out on paper, and the engine's answers.
//!
//! The ring is that of the paper's figures (Stoica et al., ToN 2003, figures 2 to 5): 6 bits, ten nodes, five keys. The
//! questions are our own. Every answer is read off a simulation that runs the engine's code.

use chord::protocol;
use chord::protocol::id::{Id, IdSpace};
use chord::protocol::lookup::RoutingMode;
use chord::protocol::routing::rounds::Round;
use chord::protocol::simulate::Simulation;
use clap::Args;

use crate::cli::Setting;
use crate::error::Error;
use crate::experiments::draw::{draw_fingers, nodes_in_words, steps};
use crate::experiments::network::links;
use crate::network::{Network, Node, paper_limits, settle};
use crate::report::{Picture, Report, Table};
use crate::ring_picture::RingPicture;

const BITS: u16 = 6;
const NODES: [u128; 10] = [1, 8, 14, 21, 32, 38, 42, 48, 51, 56];
const KEYS: [u128; 5] = [10, 24, 30, 38, 54];
const ASKER: u128 = 8;
const SEARCHED: u128 = 54;
const JOINER: u128 = 26;
const BEFORE: u128 = 21;
const FAILING: u128 = 32;
const KEY_LOST: u128 = 30;

/// How much to tell.
#[derive(Debug, Args)]
pub struct WorksheetArgs {
    /// Only the questions, to be handed out.
    #[arg(long, conflicts_with = "answers")]
    questions: bool,
    /// Only the answers.
    #[arg(long)]
    answers: bool,
}

/// The ring while it is worked on.
struct Sheet {
    network: Network,
    simulation: Simulation,
}

/// A question and what the engine says.
struct Exercise {
    question: String,
    answer: String,
    tables: Vec<Table>,
}

impl WorksheetArgs {
    /// Works the exercises. The ring has 6 bits and given ids, whatever `--bits` and `--hash` say.
    ///
    /// # Errors
    /// [`Error::Failed`] if the ring does not settle, or a lookup fails.
    pub fn run(&self, setting: &Setting) -> Result<Report, Error> {
        let mut sheet = Sheet::new(setting)?;
        let mut report = setting.report("worksheet");
        report.parameter("bits", BITS);
        report.pictures.push(Picture::new("worksheet", sheet.picture()?.svg()));
        let exercises =
            [sheet.owners(), sheet.fingers(), sheet.lookup()?, sheet.join(setting)?, sheet.failure(setting)?];
        let mut page =
            format!("A ring of {BITS} bits: nodes {}; keys {}.\n", list("N", &NODES), list("K", &KEYS));
        page.push_str(
            "Ids run from 0 to 63 and wrap around; a key belongs to the first node at or after it.\n",
        );
        for (number, exercise) in exercises.into_iter().enumerate() {
            page.push_str(&format!("\n{}. ", number + 1));
            if !self.answers {
                page.push_str(&format!("{}\n", exercise.question));
            }
            if !self.questions {
                page.push_str(&format!("{}{}\n", if self.answers { "" } else { "\n" }, exercise.answer));
                for table in &exercise.tables {
                    page.push_str(&format!("\n{}\n", table.print()));
                }
            }
            report.tables.extend(exercise.tables);
        }
        report.page = Some(page.trim_end().to_owned());
        Ok(report)
    }
}

impl Sheet {
    fn new(setting: &Setting) -> Result<Sheet, Error> {
        let space = IdSpace::new(BITS, setting.space.hash()).expect("every hash has 6 bits");
        let network = Network::of(space, NODES.map(node).to_vec())?;
        let (simulation, _) = network.formed(paper_limits(3), &mut setting.rng())?;
        Ok(Sheet { network, simulation })
    }

    fn picture(&self) -> Result<RingPicture, Error> {
        let mut picture =
            RingPicture::of(&self.network, 1, "The worksheet's ring: 6 bits, ten nodes, five keys");
        for key in KEYS {
            picture.key(self.network.space(), &format!("K{key}"), &Id::from_u128(key), None);
        }
        let asker = self.number(ASKER);
        draw_fingers(&mut picture, &self.network, &self.simulation, asker, asker);
        picture.words.push(nodes_in_words(&picture));
        Ok(picture)
    }

    fn owners(&self) -> Exercise {
        let mut table = Table::new("owners", ["key", "owner", "because the owner's arc is"]);
        for key in KEYS {
            let id = Id::from_u128(key);
            let owner = NODES.into_iter().map(|node| self.ring(node)).find(|ring| ring.owns(&id));
            let owner = owner.expect("every id has an owner");
            let arc = owner.interval().expect("a settled ring");
            let space = owner.space();
            table.row([
                format!("K{key}").into(),
                self.network.name_of(&owner.me().id).into(),
                format!("{} < id <= {}", space.show(&arc.after), space.show(&arc.upto)).into(),
            ]);
        }
        Exercise {
            question: format!("Which node keeps each of the keys {}?", list("K", &KEYS)),
            answer: "The first node whose id is the key's or comes after it on the circle.".into(),
            tables: vec![table],
        }
    }

    fn fingers(&self) -> Exercise {
        let number = self.number(ASKER);
        let mut picture = RingPicture::of(&self.network, 1, "");
        let table = draw_fingers(&mut picture, &self.network, &self.simulation, number, number);
        let distinct = picture.fingers.len();
        Exercise {
            question: format!(
                "Write down the finger table of N{ASKER}: for k = 1 to {BITS}, where finger k starts, and the first node\n   \
                 at or after that place. How many different nodes are in it?"
            ),
            answer: format!(
                "Finger k starts at {ASKER} + 2^(k-1) modulo 64. {distinct} different nodes are in it."
            ),
            tables: vec![table],
        }
    }

    fn lookup(&self) -> Result<Exercise, Error> {
        let id = Id::from_u128(SEARCHED);
        // One successor, as in the paper's figure, so that the way is the fingers' alone.
        let alone = self.network.ideal(paper_limits(1));
        let mut table = Table::new("lookup", ["hop", "asked", "says"]);
        let mut hops = Vec::new();
        for mode in [RoutingMode::Fingers, RoutingMode::Naive] {
            let found = alone.lookup(self.number(ASKER), &id, mode, usize::MAX);
            if let Err(error) = &found.owner {
                return Err(Error::Failed(format!("the lookup of K{SEARCHED} failed: {error}")));
            }
            hops.push(found.path.len());
            if mode == RoutingMode::Fingers {
                for (hop, (asked, says)) in steps(&self.network, &found).into_iter().enumerate() {
                    table.row([(hop + 1).into(), asked.into(), says.into()]);
                }
            }
        }
        Ok(Exercise {
            question: format!(
                "N{ASKER} looks up K{SEARCHED}. Whom does it ask, in which order, and what does each say? How many calls\n   \
                 would it take along successors only?"
            ),
            answer: format!(
                "N{ASKER} asks the finger that most closely precedes {SEARCHED}; each node asked does the same with its own\n\
                 fingers, until one finds {SEARCHED} between itself and its successor. The owner is called too: {} calls.\n\
                 Along successors it takes {}.",
                hops[0], hops[1]
            ),
            tables: vec![table],
        })
    }

    /// The newcomer joins through the asker; then its predecessor stabilizes, then all do.
    fn join(&mut self, setting: &Setting) -> Result<Exercise, Error> {
        let mut nodes = self.network.nodes().to_vec();
        nodes.push(node(JOINER));
        self.network = Network::of(self.network.space(), nodes)?;
        let (known, before) = (self.number(ASKER), self.number(BEFORE));
        self.simulation
            .join(&[Id::from_u128(JOINER)], known)
            .map_err(|error| Error::Failed(format!("N{JOINER} did not join: {error}")))?;
        let mut pointers = Table::new("join", ["when", "node", "predecessor", "successor"]);
        self.pointers(&mut pointers, "N26 has joined");
        self.simulation.run_round(before, Round::Stabilize);
        self.pointers(&mut pointers, "N21 has stabilized");
        let rounds = settle(&mut self.simulation, &mut setting.rng())?;
        let mut fingers = Table::new("fingers_to_joiner", ["node", "its fingers that are N26 now"]);
        for id in NODES {
            let ring = self.ring(id);
            let ks: Vec<String> = (1..=BITS)
                .filter(|k| ring.fingers().finger(k - 1).is_some_and(|peer| peer.id == Id::from_u128(JOINER)))
                .map(|k| k.to_string())
                .collect();
            if !ks.is_empty() {
                fingers.row([format!("N{id}").into(), ks.join(", ").into()]);
            }
        }
        let joiner = self.ring(JOINER);
        let moved = KEYS.into_iter().filter(|key| joiner.owns(&Id::from_u128(*key))).collect::<Vec<_>>();
        Ok(Exercise {
            question: format!(
                "N{JOINER} joins and knows only N{ASKER}. Who are its neighbours? Who changes which pointer, and when?\n   \
                 Which key moves? Which fingers of others must become N{JOINER}?"
            ),
            answer: format!(
                "N{ASKER} finds the nodes before and after {JOINER}. N{JOINER} takes them for its predecessor and its successor,\n\
                 and notifies its successor, which takes it for its predecessor. N{BEFORE} learns of it when it next\n\
                 stabilizes: it asks N{FAILING} for its predecessor, finds N{JOINER} in between, and makes it its successor.\n\
                 From N{FAILING} to N{JOINER} moves {}, and no other key. Rounds of stabilize and fix_fingers until\n\
                 every pointer was right: {rounds}.",
                list("K", &moved)
            ),
            tables: vec![pointers, fingers],
        })
    }

    /// Adds the links around the newcomer.
    fn pointers(&self, table: &mut Table, when: &str) {
        for id in [BEFORE, JOINER, FAILING] {
            let ring = self.ring(id);
            let predecessor = ring.predecessor().map_or("-".into(), |peer| self.network.name_of(&peer.id));
            let successor = self.network.name_of(&ring.successor().id);
            table.row([when.to_owned(), format!("N{id}"), predecessor, successor].map(Into::into));
        }
    }

    fn failure(&mut self, setting: &Setting) -> Result<Exercise, Error> {
        let mut table = Table::new("failure", ["when", "successor list of N26"]);
        table.row(["before".into(), self.list(JOINER).into()]);
        self.simulation.fail(self.number(FAILING));
        let (asker, joiner) = (self.number(ASKER), self.number(JOINER));
        let found = self.simulation.lookup(asker, &Id::from_u128(KEY_LOST), RoutingMode::Fingers, usize::MAX);
        let owner = found.owner.as_ref().map(|peer| self.network.name_of(&peer.id));
        let owner = owner.map_err(|error| Error::Failed(format!("K{KEY_LOST} was not found: {error}")))?;
        let way = steps(&self.network, &found).into_iter();
        let way: Vec<String> = way.map(|(asked, says)| format!("{asked}: {says}")).collect();
        self.simulation.run_round(joiner, Round::Stabilize);
        table.row(["N26 has stabilized".into(), self.list(JOINER).into()]);
        let rounds = settle(&mut self.simulation, &mut setting.rng())?;
        table.row(["all have settled".into(), self.list(JOINER).into()]);
        Ok(Exercise {
            question: format!(
                "N{FAILING} fails without a word; successor lists have three entries. Where does a lookup of K{KEY_LOST}\n   \
                 from N{ASKER} end before anybody has noticed? Who repairs which pointer?"
            ),
            answer: format!(
                "The lookup meets the silence and goes on with the next successor that was named, {owner}:\n   {}\n\
                 N{JOINER} asks its successor, hears nothing, and takes the next of its list; it notifies that one, which\n\
                 takes it for its predecessor. Rounds until every pointer was right: {rounds}. What N{FAILING} stored is lost\n\
                 unless others have copies: routing heals by itself, data does not.",
                way.join("\n   ")
            ),
            tables: vec![table, links("after_failure", &self.network, &self.simulation)],
        })
    }

    fn list(&self, id: u128) -> String {
        let names = self.ring(id).successors().iter().map(|peer| self.network.name_of(&peer.id));
        names.collect::<Vec<_>>().join(", ")
    }

    fn ring(&self, id: u128) -> &protocol::ring::Ring {
        let routing = self.simulation.host(self.number(id));
        routing.and_then(|routing| routing.rings().next()).expect("it lives, with one virtual node")
    }

    fn number(&self, id: u128) -> usize {
        let id = Id::from_u128(id);
        self.network.nodes().iter().position(|node| node.id == id).expect("a node of the worksheet")
    }
}

fn node(id: u128) -> Node {
    Node { name: format!("N{id}"), id: Id::from_u128(id) }
}

fn list(letter: &str, ids: &[u128]) -> String {
    ids.iter().map(|id| format!("{letter}{id}")).collect::<Vec<_>>().join(", ")
}
