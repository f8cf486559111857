//! `chord-lab failure`: many hosts fail at once, and nobody has noticed yet. Table II of ToN 2003, and our defaults.

pub mod lookups;
pub mod paper;

use chord::protocol::id::Id;
use chord::protocol::lookup::RoutingMode;
use chord::protocol::routing::RoutingLimits;
use chord::protocol::successors::SuccessorLimits;
use clap::Args;
use rand::Rng;

use self::lookups::{Failures, Style, Tally, in_rounds};
use self::paper::{Rings, TABLE_II, table_ii};
use crate::chart::{Axis, Chart, Look, Scale, Series};
use crate::cli::Setting;
use crate::error::Error;
use crate::network::paper_limits;
use crate::parallel;
use crate::report::{Cell, Report, Table};
use crate::warm::{self, default_limits, default_virtual_nodes, host_ids};

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
    #[arg(long, default_value_t = 100)]
    rings: usize,
    /// Lookups for each share of failed hosts.
    #[arg(long, default_value_t = 50_000, value_name = "L")]
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
        let whole = RoutingLimits { names_whole_list: true, ..paper_limits(successors) };
        let table = |limits, style| table_ii(setting, hosts, limits, style, lookups, &seeds);
        let paper = table(whole, Style::Iterative)?;
        let recursive = table(whole, Style::Recursive)?;
        let cautious = table(paper_limits(successors), Style::Iterative)?;
        let defaults = self.defaults(setting, default_limits(), &mut rng)?;
        let successors = SuccessorLimits {
            hosts: self.successors,
            max: default_limits().successors.max.max(self.successors),
        };
        let limits = RoutingLimits { successors, ..default_limits() };
        let long = self.defaults(setting, limits, &mut rng)?;
        Ok(self.report(setting, &paper, &recursive, [&cautious.sums(), &defaults, &long]))
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

    fn report(&self, setting: &Setting, paper: &Rings, recursive: &Rings, others: [&[Tally]; 3]) -> Report {
        let [cautious, defaults, long] = others;
        let mut report = setting.report("failure");
        report.parameter("hosts", self.hosts);
        report.parameter("successors", self.successors);
        report.parameter("rings", self.rings);
        report.parameter("lookups", self.lookups);
        report.tables.push(paper.table("paper"));
        report.tables.push(recursive.table("recursive"));
        let others = [("cautious", cautious), ("defaults", defaults), ("defaults_long", long)];
        for (name, tallies) in others {
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
        let path = Cell::Number(paper.deviation(Tally::mean_path, |row| row.1), 3);
        report.figure("path_deviation", "largest difference of a path, of 1", path);
        let timeouts = Cell::Number(paper.deviation(Tally::mean_timeouts, |row| row.2), 3);
        report.figure("timeouts_deviation", "largest difference of timeouts, of 1", timeouts);
        let timeouts = Cell::Number(recursive.deviation(Tally::mean_timeouts, |row| row.2), 3);
        report.figure("timeouts_deviation_recursive", "the same, passed on recursively", timeouts);
        let failed = |tallies: &[Tally]| tallies.iter().map(|tally| tally.failed).sum::<u64>();
        report.figure("failed", "lookups that failed, the paper's parameters", failed(&paper.sums()));
        report.figure("failed_recursive", "the same, passed on recursively", failed(&recursive.sums()));
        report.figure(
            "failed_cautious",
            "the same, and the last quarter of a list not named",
            failed(cautious),
        );
        report.figure("failed_defaults", "the same, our defaults", failed(defaults));
        report.figure(
            "failed_long",
            "the same, our defaults with lists as long as the paper's",
            failed(long),
        );
        report.notes.push(
            "Hosts fail and nobody has noticed: no pointer is corrected between failure and lookup. A path counts\n\
             the nodes that answered, the owner included; a timeout is a call to a dead host.\n\
             paper: one virtual node, fingers, the successor list used whole; the asker calls no dead host twice, as\n\
             in the engine. recursive: the same, but every node passes the lookup on and hears nothing of whom others\n\
             found dead; nor is there a second round. Of single rings nine in ten lie from low to high: the published\n\
             table is one draw. cautious: as paper, but the last quarter of a list names no owner. defaults: the\n\
             engine's defaults, every contact table warm; defaults_long: with lists of as many hosts as the paper's.\n\
             A lookup that ends without an owner is repeated with what it has learnt of the dead; one that never finds\n\
             it is not in the means. Where a list is short, all it names may be dead: of lists of 4 hosts one in 16\n\
             when half have failed; then it takes further rounds, which ask whoever else was named."
                .into(),
        );
        self.draw(&mut report, &paper.sums(), &recursive.sums(), defaults);
        report
    }

    fn draw(&self, report: &mut Report, paper: &[Tally], recursive: &[Tally], defaults: &[Tally]) {
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
                measured("timeouts, passed on recursively", recursive, Tally::mean_timeouts),
                measured("path, our defaults", defaults, Tally::mean_path),
                measured("timeouts, our defaults", defaults, Tally::mean_timeouts),
            ],
        });
    }
}
