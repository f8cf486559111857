//! `chord-lab failure`: many hosts fail at once, and nobody has noticed yet. Table II of ToN 2003, and our defaults.

pub mod lookups;

use chord::protocol::id::Id;
use chord::protocol::lookup::RoutingMode;
use chord::protocol::routing::RoutingLimits;
use chord::protocol::simulate::Simulation;
use chord::protocol::successors::SuccessorLimits;
use clap::Args;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::lookups::{Failures, Tally, in_rounds};
use crate::chart::{Axis, Chart, Look, Scale, Series};
use crate::cli::Setting;
use crate::error::Error;
use crate::network::{paper_limits, random_ids};
use crate::parallel;
use crate::report::{Cell, Report, Table};
use crate::warm::{self, default_limits, default_virtual_nodes, host_ids};

/// ToN 2003, table II: the share that fails, the mean path, the mean timeouts.
pub const TABLE_II: [(f64, f64, f64); 6] = [
    (0.0, 3.84, 0.0),
    (0.1, 4.03, 0.60),
    (0.2, 4.22, 1.17),
    (0.3, 4.44, 2.02),
    (0.4, 4.69, 3.23),
    (0.5, 5.09, 5.10),
];
/// Lookups that one thread takes at a time.
const CHUNK: usize = 250;
/// More warm contact tables do not fit 16 GiB.
const MAX_HOSTS: usize = 2_000;
const MAX_LOOKUPS: usize = 10_000_000;

/// How large the rings are.
#[derive(Debug, Args)]
pub struct FailureArgs {
    /// Hosts.
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    hosts: usize,
    /// Entries of a successor list with the paper's parameters.
    #[arg(long, default_value_t = 20, value_name = "R")]
    successors: usize,
    /// Rings with the paper's parameters.
    #[arg(long, default_value_t = 20)]
    rings: usize,
    /// Lookups for each share of failed hosts.
    #[arg(long, default_value_t = 20_000, value_name = "L")]
    lookups: usize,
}

impl FailureArgs {
    /// Lets larger and larger shares of the hosts fail.
    ///
    /// # Errors
    /// [`Error::Invalid`] for sizes out of bounds.
    pub fn run(&self, setting: &Setting) -> Result<Report, Error> {
        if !(10..=MAX_HOSTS).contains(&self.hosts) {
            return Err(Error::invalid(format!("expected 10 to {MAX_HOSTS} hosts")));
        }
        if self.rings == 0 || self.rings > 1_000 || !(self.rings..=MAX_LOOKUPS).contains(&self.lookups) {
            return Err(Error::invalid(format!("expected 1 to 1000 rings and up to {MAX_LOOKUPS} lookups")));
        }
        if self.successors == 0 || self.successors > 1_000 {
            return Err(Error::invalid("expected successor lists of 1 to 1000 hosts"));
        }
        let mut rng = setting.rng();
        let seeds: Vec<u64> = (0..self.rings).map(|_| rng.random()).collect();
        let (hosts, successors, lookups) = (self.hosts, self.successors, self.lookups / self.rings);
        let paper = table_ii(setting, hosts, successors, true, lookups, &seeds)?;
        let cautious = table_ii(setting, hosts, successors, false, lookups, &seeds)?;
        let defaults = self.defaults(setting, default_limits(), &mut rng)?;
        let successors = SuccessorLimits {
            hosts: self.successors,
            max: default_limits().successors.max.max(self.successors),
        };
        let limits = RoutingLimits { successors, ..default_limits() };
        let long = self.defaults(setting, limits, &mut rng)?;
        Ok(self.report(setting, [&paper, &cautious, &defaults, &long]))
    }

    /// The engine's defaults: one ring, every host's contact table warm.
    fn defaults(
        &self,
        setting: &Setting,
        limits: RoutingLimits,
        rng: &mut impl Rng,
    ) -> Result<Vec<Tally>, Error> {
        let virtual_nodes = default_virtual_nodes();
        let hosts: Vec<Vec<Id>> = (0..self.hosts)
            .map(|host| host_ids(setting.space, &format!("host-{host}"), virtual_nodes))
            .collect();
        let mut simulation = warm::warm(setting.space, limits, &hosts)?;
        let mut failures = Failures::new(&hosts, rng);
        let mut tallies = Vec::new();
        for (share, ..) in TABLE_II {
            failures.fail(&mut simulation, share);
            let wanted: Vec<(usize, Id)> = (0..self.lookups).map(|_| failures.lookup(setting, rng)).collect();
            let chunks: Vec<&[(usize, Id)]> = wanted.chunks(CHUNK).collect();
            let done = parallel::map("lookups", &chunks, |chunk| {
                let mut tally = Tally::default();
                for (from, id) in *chunk {
                    let mode = RoutingMode::Contacts;
                    tally.add(&in_rounds(&simulation, *from, id, &failures.owner(id), mode));
                }
                tally
            });
            let mut sum = Tally::default();
            done.iter().for_each(|tally| sum.add(tally));
            tallies.push(sum);
        }
        Ok(tallies)
    }

    fn report(&self, setting: &Setting, tallies: [&[Tally]; 4]) -> Report {
        let [paper, cautious, defaults, long] = tallies;
        let mut report = setting.report("failure");
        report.parameter("hosts", self.hosts);
        report.parameter("successors", self.successors);
        report.parameter("rings", self.rings);
        report.parameter("lookups", self.lookups);
        let columns = ["failed", "path", "published", "timeouts", "published_timeouts", "lookups_failed"];
        let mut table = Table::new("paper", columns);
        for ((share, path, timeouts), tally) in TABLE_II.into_iter().zip(paper) {
            table.row([
                Cell::Number(share, 1),
                Cell::Number(tally.mean_path(), 3),
                Cell::Number(path, 2),
                Cell::Number(tally.mean_timeouts(), 3),
                Cell::Number(timeouts, 2),
                tally.failed.into(),
            ]);
        }
        report.tables.push(table);
        for (name, tallies) in [("cautious", cautious), ("defaults", defaults), ("defaults_long", long)] {
            let columns = ["failed", "path", "timeouts", "second_round", "lookups_failed"];
            let mut table = Table::new(name, columns);
            for ((share, ..), tally) in TABLE_II.into_iter().zip(tallies) {
                table.row([
                    Cell::Number(share, 1),
                    Cell::Number(tally.mean_path(), 3),
                    Cell::Number(tally.mean_timeouts(), 3),
                    tally.again.into(),
                    tally.failed.into(),
                ]);
            }
            report.tables.push(table);
        }
        let off = |of: fn(&Tally) -> f64, published: fn(&(f64, f64, f64)) -> f64| {
            let ratios = TABLE_II.iter().zip(paper).filter(|(row, _)| published(row) > 0.0);
            ratios.map(|(row, tally)| (of(tally) / published(row) - 1.0).abs()).fold(0.0, f64::max)
        };
        let path = off(Tally::mean_path, |row| row.1);
        report.figure("path_deviation", "largest difference of a path, of 1", Cell::Number(path, 3));
        let timeouts = off(Tally::mean_timeouts, |row| row.2);
        report.figure(
            "timeouts_deviation",
            "largest difference of timeouts, of 1",
            Cell::Number(timeouts, 3),
        );
        let failed = |tallies: &[Tally]| tallies.iter().map(|tally| tally.failed).sum::<u64>();
        report.figure("failed", "lookups that failed, the paper's parameters", failed(paper));
        report.figure("failed_cautious", "the same, last quarter of a list not named", failed(cautious));
        report.figure("failed_defaults", "the same, our defaults", failed(defaults));
        report.figure(
            "failed_long",
            "the same, our defaults with lists as long as the paper's",
            failed(long),
        );
        report.notes.push(
            "Hosts fail and nobody has noticed: no pointer is corrected between failure and lookup. A path counts\n\
             the nodes that answered, the owner included; a timeout is a call to a dead host.\n\
             paper: one virtual node, fingers, the successor list used whole. cautious: the same, but the last\n\
             quarter of a list names no owner, as in the engine. defaults: the engine's defaults, every contact\n\
             table warm; defaults_long: with lists of as many hosts as the paper's. A lookup that ends without an\n\
             owner is repeated with what it has learnt of the dead; one that never finds it is not in the means.\n\
             Where a list is short, all it names may be dead: of lists of 4 hosts one in 16 when half have failed;\n\
             then it takes further rounds, which ask whoever else was named."
                .into(),
        );
        self.draw(&mut report, paper, defaults);
        report
    }

    fn draw(&self, report: &mut Report, paper: &[Tally], defaults: &[Tally]) {
        let measured = |label: &str, tallies: &[Tally], of: fn(&Tally) -> f64| {
            let points = TABLE_II.iter().zip(tallies).map(|(row, tally)| (row.0, of(tally)));
            Series::new(label, Look::Measured, points)
        };
        let published = |label: &str, of: fn(&(f64, f64, f64)) -> f64| {
            Series::new(label, Look::Expected, TABLE_II.iter().map(|row| (row.0, of(row))))
        };
        report.chart(&Chart {
            name: "failure",
            title: format!("{} hosts, a share of them dead at once and nobody has noticed", self.hosts),
            x: Axis::new("share of hosts that failed", Scale::Linear),
            y: Axis::new("mean calls a lookup", Scale::Linear),
            series: vec![
                published("path, published", |row| row.1),
                measured("path, the paper's parameters", paper, Tally::mean_path),
                published("timeouts, published", |row| row.2),
                measured("timeouts, the paper's parameters", paper, Tally::mean_timeouts),
                measured("path, our defaults", defaults, Tally::mean_path),
                measured("timeouts, our defaults", defaults, Tally::mean_timeouts),
            ],
        });
    }
}

/// The paper's table over a ring for each of `seeds`, with so many lookups in each: fingers, one virtual node, lists of
/// `successors` hosts, used `whole` or, as in the engine, without their last quarter.
///
/// # Errors
/// [`Error::Invalid`] for more hosts than the ids have room for.
pub fn table_ii(
    setting: &Setting,
    hosts: usize,
    successors: usize,
    whole: bool,
    lookups: usize,
    seeds: &[u64],
) -> Result<Vec<Tally>, Error> {
    let limits = RoutingLimits { names_whole_list: whole, ..paper_limits(successors) };
    let ring = |seed: &u64| -> Result<Vec<Tally>, Error> {
        let mut rng = StdRng::seed_from_u64(*seed);
        let ids = random_ids(setting.space, hosts, &mut rng)?;
        let hosts: Vec<Vec<Id>> = ids.iter().map(|id| vec![*id]).collect();
        let simulation = Simulation::ideal(setting.space, limits, &hosts);
        let mut simulation = simulation.map_err(|violation| Error::Failed(violation.to_string()))?;
        let mut failures = Failures::new(&hosts, &mut rng);
        let mut tallies = Vec::new();
        for (share, ..) in TABLE_II {
            failures.fail(&mut simulation, share);
            let mut tally = Tally::default();
            for _ in 0..lookups {
                let (from, id) = failures.lookup(setting, &mut rng);
                let owner = failures.owner(&id);
                tally.add(&in_rounds(&simulation, from, &id, &owner, RoutingMode::Fingers));
            }
            tallies.push(tally);
        }
        Ok(tallies)
    };
    let mut sums = vec![Tally::default(); TABLE_II.len()];
    for tallies in parallel::map("rings", seeds, ring) {
        sums.iter_mut().zip(tallies?).for_each(|(sum, tally)| sum.add(&tally));
    }
    Ok(sums)
}
