//! The command line: what can be asked ([`Cli`]), and how answers are given.

use std::path::PathBuf;

use chord::protocol::id::{HashKind, IdSpace};
use clap::{Args, Parser, Subcommand};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::error::Error;
use crate::experiments::{
    advise, balance, beside, churn, draw, failure, fingers, hash, hops, join, load, mapping, network, scale,
    worksheet,
};
use crate::report::{Report, check_directory};

/// See how Chord works and what it costs: experiments on the engine's own protocol code.
#[derive(Debug, Parser)]
#[command(name = "chord-lab", version, max_term_width = 110, after_help = EXAMPLES)]
pub struct Cli {
    /// What to find out.
    #[command(subcommand)]
    pub command: Command,
    /// What all experiments share.
    #[command(flatten)]
    pub common: Common,
}

const EXAMPLES: &str = "\
Examples:
  chord-lab network 10 --bits 8 --hash md5        a small ring: who is where, who follows whom
  chord-lab hops 100 100 --naive --bits 8 --hash md5
  chord-lab hops 4096 10000 --out figures         tables as CSV, figures as JSON, pictures as SVG
  chord-lab draw 20 --fingers node_3 --route hello > ring.svg

One seed gives one result. Exit status: 0 success; 1 something that must hold did not; 2 a mistake in the command line.";

/// What all experiments share.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    pub json: bool,
    /// Write the JSON, every table as CSV and every picture as SVG to this directory; it is made if need be.
    #[arg(long, global = true, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Where all chance comes from.
    #[arg(long, global = true, default_value_t = 1)]
    pub seed: u64,
    /// Bits of an id, 1 to 160 and at most the hash's width [default: all the hash has, at most 160].
    #[arg(long, global = true, value_name = "M")]
    pub bits: Option<u16>,
    /// The hash that makes ids of names and keys: sha1, blake3, xxh3 or md5.
    #[arg(long, global = true, default_value = "sha1", value_name = "H")]
    pub hash: HashKind,
}

/// What an experiment is given beside its own arguments.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The circle.
    pub space: IdSpace,
    /// Where all chance comes from.
    pub seed: u64,
}

impl Setting {
    /// The experiment's random numbers, from the beginning.
    pub fn rng(&self) -> StdRng {
        StdRng::seed_from_u64(self.seed)
    }

    /// A report that names the circle and the seed among its parameters.
    pub fn report(&self, experiment: &'static str) -> Report {
        let mut report = Report::new(experiment);
        report.parameter("bits", self.space.bits());
        report.parameter("hash", self.space.hash().name());
        report.parameter("seed", self.seed);
        report
    }
}

/// The experiments.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The ids of texts; `hash compare`: the hashes side by side.
    Hash(hash::HashArgs),
    /// Servers chosen by hash modulo their number: which keys move when servers are added.
    ModN(mapping::ModNArgs),
    /// Servers chosen by consistent hashing: which keys move when servers are added.
    Consistent(mapping::ConsistentArgs),
    /// What one more server moves, and how even the load is, by three ways to choose servers.
    Balance(balance::BalanceArgs),
    /// The table of a ring: every node, its neighbours and what it owns.
    Network(network::NetworkArgs),
    /// Finger tables.
    Fingers(fingers::FingersArgs),
    /// How many hops lookups take.
    Hops(hops::HopsArgs),
    /// A ring before and after nodes join: which links and fingers changed.
    Join(join::JoinArgs),
    /// How evenly ids and keys are spread over hosts, and what more virtual nodes cost.
    Load(load::LoadArgs),
    /// Chord's hops beside what a B-tree, CAN or Kademlia needs.
    Beside(beside::BesideArgs),
    /// Hops, state, traffic, time and memory from 16 nodes to a million.
    Scale(scale::ScaleArgs),
    /// Many hosts fail at once: which lookups still find their owner, and how (table II of the paper).
    Failure(failure::FailureArgs),
    /// Hosts come and go while others look keys up (table III of the paper, and the engine's defaults).
    Churn(churn::ChurnArgs),
    /// Which settings suit a ring of so many hosts, and the traffic they cost.
    Advise(advise::AdviseArgs),
    /// The ring as a picture: nodes, what they own, fingers, the path of a lookup.
    Draw(draw::DrawArgs),
    /// Exercises on a ring of 6 bits, with the engine's answers step by step.
    Worksheet(worksheet::WorksheetArgs),
}

impl Command {
    fn run(&self, setting: &Setting) -> Result<Report, Error> {
        match self {
            Command::Hash(arguments) => arguments.run(setting),
            Command::ModN(arguments) => arguments.run(setting),
            Command::Consistent(arguments) => arguments.run(setting),
            Command::Balance(arguments) => arguments.run(setting),
            Command::Network(arguments) => arguments.run(setting),
            Command::Fingers(arguments) => arguments.run(setting),
            Command::Hops(arguments) => arguments.run(setting),
            Command::Join(arguments) => arguments.run(setting),
            Command::Load(arguments) => arguments.run(setting),
            Command::Beside(arguments) => arguments.run(setting),
            Command::Draw(arguments) => arguments.run(setting),
            Command::Worksheet(arguments) => arguments.run(setting),
            Command::Scale(arguments) => arguments.run(setting),
            Command::Failure(arguments) => arguments.run(setting),
            Command::Churn(arguments) => arguments.run(setting),
            Command::Advise(arguments) => arguments.run(setting),
        }
    }
}

impl Cli {
    /// Runs the experiment, writes its files, prints its report.
    ///
    /// # Errors
    /// [`Error`] by whose it is to mend; then nothing is printed and no file is written.
    pub fn run(&self) -> Result<(), Error> {
        let report = self.report()?;
        let written = match &self.common.out {
            Some(directory) => report.write(directory)?,
            None => Vec::new(),
        };
        let text = if self.common.json {
            serde_json::to_string_pretty(&report.json()).expect("a report is plain data")
        } else {
            let picture = report.printed_picture().filter(|_| self.common.out.is_none());
            picture.map_or_else(|| report.text(), str::to_owned)
        };
        print_line(&text)?;
        for path in written {
            eprintln!("wrote {}", path.display());
        }
        Ok(())
    }

    /// Runs the experiment.
    ///
    /// # Errors
    /// [`Error`] by whose it is to mend.
    pub fn report(&self) -> Result<Report, Error> {
        let bits = self.common.bits.unwrap_or(self.common.hash.bits());
        let space =
            IdSpace::new(bits, self.common.hash).map_err(|error| Error::invalid(error.to_string()))?;
        if let Some(directory) = &self.common.out {
            check_directory(directory)?;
        }
        self.command.run(&Setting { space, seed: self.common.seed })
    }
}

/// Prints a line; that nobody reads any more, as behind `head`, is no error.
fn print_line(text: &str) -> Result<(), Error> {
    use std::io::Write;
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::Failed(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}
