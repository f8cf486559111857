//! `chord-lab churn`: hosts come and go while others look keys up. Table III of ToN 2003, and the engine's defaults.

pub mod hand_off;
pub mod paper;
pub mod queue;
pub mod scenario;
pub mod search;
pub mod serving;
pub mod tally;
pub mod world;

use std::time::Duration;

use clap::Args;
use rand::Rng;

use self::paper::{Row, table_iii};
use self::scenario::Scenario;
use self::tally::{Class, Tallies};
use self::world::World;
use crate::chart::{Axis, Chart, Look, Scale, Series};
use crate::cli::Setting;
use crate::error::Error;
use crate::parallel;
use crate::report::{Cell, Report, Table};

/// Joins a second, and failures, of the paper's table that are run here.
pub const RATES: [f64; 4] = [0.05, 0.10, 0.20, 0.40];
/// Rings at each of these rates.
const RUNS: usize = 3;
/// What the paper says at the lowest and at the highest rate: path, timeouts, failed lookups of 10,000.
pub const TABLE_III: [(f64, f64, f64, f64); 2] = [(0.05, 3.90, 0.05, 0.0), (0.40, 4.06, 0.46, 15.0)];
/// Who asks: everybody once a second, and few much more often.
const CLASSES: [Class; 4] = [
    Class { askers: None, rate: 1.0 },
    Class { askers: Some(20), rate: 10.0 },
    Class { askers: Some(10), rate: 100.0 },
    Class { askers: Some(4), rate: 1_000.0 },
];
/// More warm contact tables do not fit 16 GiB.
const MAX_HOSTS: usize = 2_000;

/// How many come and go.
#[derive(Debug, Args)]
pub struct ChurnArgs {
    /// Hosts.
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    hosts: usize,
    /// With the engine's defaults: joins a second, and as many leaves.
    #[arg(long, default_value_t = 1.0, value_name = "R")]
    rate: f64,
    /// With the engine's defaults: simulated minutes.
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// With the paper's parameters: simulated minutes of each of three rings at each of four rates.
    #[arg(long, default_value_t = 120.0, value_name = "MINUTES")]
    paper_minutes: f64,
    /// One-way delay of a message of a hand-off, in milliseconds.
    #[arg(long, default_value_t = 25.0, value_name = "MS")]
    delay: f64,
}

impl ChurnArgs {
    /// Runs both.
    ///
    /// # Errors
    /// [`Error::Invalid`] for numbers out of bounds; [`Error::Failed`] when two hosts serve one id, or one answers
    /// that does not hold the record.
    pub fn run(&self, setting: &Setting) -> Result<Report, Error> {
        if !(50..=MAX_HOSTS).contains(&self.hosts) {
            return Err(Error::invalid(format!("expected 50 to {MAX_HOSTS} hosts")));
        }
        if !(1e-6..=1_000.0).contains(&self.rate) || self.rate > self.hosts as f64 / 50.0 {
            return Err(Error::invalid(
                "expected a rate above 0, and at most a fiftieth of the hosts a second",
            ));
        }
        let minutes = |minutes: f64| {
            let range = 0.05..=10_000.0;
            let seconds = range.contains(&minutes).then(|| Duration::from_secs_f64(minutes * 60.0));
            seconds.ok_or_else(|| Error::invalid("expected 0.05 to 10000 minutes"))
        };
        if !(0.0..=10_000.0).contains(&self.delay) {
            return Err(Error::invalid("expected a delay of 0 to 10000 milliseconds"));
        }
        let (time, paper_time) = (minutes(self.minutes)?, minutes(self.paper_minutes)?);
        let mut rng = setting.rng();
        let runs: Vec<(f64, u64)> =
            RATES.iter().flat_map(|rate| [*rate; RUNS]).map(|rate| (rate, rng.random())).collect();
        let rows = parallel::map("runs of table III", &runs, |(rate, seed)| {
            table_iii(setting, self.hosts, *rate, paper_time, *seed)
        });
        let rows = rows.into_iter().collect::<Result<Vec<Row>, Error>>()?;
        let rows: Vec<Row> = rows.chunks(RUNS).map(|runs| Row::sum(runs.iter().copied())).collect();
        let mut scenario = Scenario::defaults(self.hosts, self.rate, time);
        scenario.delay = Duration::from_secs_f64(self.delay / 1_000.0);
        let mut world = World::new(setting, scenario, &CLASSES)?;
        world.run()?;
        Ok(self.report(setting, &rows, &scenario, &world.tallies))
    }

    fn report(&self, setting: &Setting, rows: &[Row], scenario: &Scenario, tallies: &Tallies) -> Report {
        let mut report = setting.report("churn");
        report.parameter("hosts", self.hosts);
        report.parameter("rate", self.rate);
        report.parameter("minutes", self.minutes);
        report.parameter("paper_minutes", self.paper_minutes);
        report.parameter("delay_ms", self.delay);
        report.tables.push(paper_table(rows));
        report.tables.push(classes_table(scenario, tallies));
        let failed = tallies.all_failed() as f64 / tallies.all().max(1) as f64;
        report.figure("lookups", "lookups with the engine's defaults", tallies.all());
        report.figure("without_record", "answers by a host without the record", 0usize);
        report.figure("failed", "lookups that failed", tallies.all_failed());
        report.figure("abandoned", "lookups whose asker left", tallies.abandoned);
        report.figure("failed_share", "their share", Cell::Number(failed, 6));
        report.figure("joins", "hosts that joined", tallies.joins);
        report.figure("refused_joins", "hosts that found no place", tallies.refused_joins);
        report.figure("leaves", "hosts that left", tallies.leaves);
        report.figure("hand_offs", "hand-offs of records", tallies.hand_offs);
        report.figure("declined", "offers that were declined", tallies.declined);
        report.figure("renewed", "hand-offs that began again", tallies.renewed);
        let metered = self.hosts.div_ceil(8) as f64;
        let seconds = tallies.time.as_secs_f64();
        let [stabilize, fix_fingers] = [0, 1].map(|kind| tallies.kbits(kind, metered));
        report.figure("stabilize_kbit", "kbit/s a host: stabilize", Cell::Number(stabilize, 1));
        report.figure("fix_fingers_kbit", "kbit/s a host: fix fingers", Cell::Number(fix_fingers, 1));
        let hand_offs = tallies.hand_off_traffic.bytes as f64 * 8.0 / 1_000.0 / seconds / self.hosts as f64;
        report.figure("hand_off_kbit", "kbit/s a host: records", Cell::Number(hand_offs, 2));
        for (kind, name, label) in [
            (0, "stabilize_rounds", "seconds between a host's rounds of stabilize"),
            (1, "fix_fingers_rounds", "seconds between a host's rounds of fix fingers"),
        ] {
            let every = seconds * metered / tallies.rounds[kind].max(1) as f64;
            report.figure(name, label, Cell::Number(every, 2));
        }
        let calls = tallies.join_calls as f64 / tallies.joins.max(1) as f64;
        report.figure("join_calls", "calls of a host to join", Cell::Number(calls, 0));
        report.notes.push(
            "Table III: fingers, one virtual node, lists of 20 used whole; a node stabilizes every 15 to 45 s and\n\
             fixes one finger at random each time; a newcomer finds its fingers as it joins; leaving is failing without\n\
             a word; one lookup a second in all, which changes nothing and is passed on from node to node, none of which\n\
             hears whom others found dead; three rings at each rate. Published are the ends: path 3.90 to 4.06,\n\
             timeouts 0.05 to 0.46, 0 to 15 failed.\n\
             The defaults: 8 virtual nodes, contacts, stabilize and fix fingers with back-off, leaves in order,\n\
             group records. A lookup that needs one call at most had the right first guess. Changes are joins and\n\
             leaves of any host. That two hosts serve one id, or one answers without the record, ends the run.\n\
             A host learns of others from answers alone. So each change costs an asker about one call to who has\n\
             left, or a wrong guess for each virtual node that came: 99% at once takes some hundred lookups a host\n\
             between two changes, as in EpiChord. One-hop systems (D1HT, OneHop) tell everybody of every change,\n\
             for a few kbit/s, and hold 99% at any rate of lookups. Tables are warm at first: who asks seldom has\n\
             not met all of what changed when the run ends, and stands above the model, which is the steady state."
                .into(),
        );
        draw(&mut report, rows, scenario, tallies);
        report
    }
}

/// The share of first guesses that are right, of a host that makes `between` lookups between two changes: a virtual
/// node that came is known once a lookup has led to it, and a host that left is forgotten once a lookup has asked it.
///
/// A node lives 1/t, where half of the changes are joins of V nodes each; lookups find each of its nodes at V's part
/// of their rate, and each dead host at the rate of all its nodes together.
pub fn right_at_once(between: f64, virtual_nodes: usize) -> f64 {
    let unknown = 1.0 / (1.0 + 2.0 * between / virtual_nodes as f64);
    let stale = 1.0 / (1.0 + 2.0 * between);
    (1.0 - unknown) * (1.0 - stale)
}

fn paper_table(rows: &[Row]) -> Table {
    let columns = ["rate", "lookups", "path", "timeouts", "failed_of_10000"];
    let mut table = Table::new("paper", columns);
    for row in rows {
        table.row([
            Cell::Number(row.rate, 2),
            row.lookups.into(),
            Cell::Number(row.mean_path(), 3),
            Cell::Number(row.mean_timeouts(), 3),
            Cell::Number(row.failed(), 1),
        ]);
    }
    table
}

/// Lookups that an asker of a class makes between two changes of who takes part.
fn between(class: &Class, scenario: &Scenario) -> f64 {
    class.rate / (2.0 * scenario.rate)
}

fn classes_table(scenario: &Scenario, tallies: &Tallies) -> Table {
    let columns = [
        "a_second",
        "between_changes",
        "lookups",
        "failed",
        "hops",
        "at_once",
        "model",
        "wrong_guesses",
        "timeouts",
        "second_round",
        "longest_ms",
    ];
    let mut table = Table::new("defaults", columns);
    for (class, lookups) in CLASSES.iter().zip(&tallies.lookups) {
        let between = between(class, scenario);
        table.row([
            Cell::Number(class.rate, 0),
            Cell::Number(between, 1),
            lookups.answered().into(),
            lookups.failed.into(),
            Cell::Number(lookups.hops().mean(), 3),
            Cell::Number(lookups.at_once(), 4),
            Cell::Number(right_at_once(between, scenario.virtual_nodes), 4),
            Cell::Number(lookups.wrong(), 4),
            Cell::Number(lookups.mean_timeouts(), 4),
            lookups.again.into(),
            Cell::Number(lookups.longest.as_secs_f64() * 1_000.0, 0),
        ]);
    }
    table
}

fn draw(report: &mut Report, rows: &[Row], scenario: &Scenario, tallies: &Tallies) {
    let measured = |label: &str, of: fn(&Row) -> f64| {
        Series::new(label, Look::Measured, rows.iter().map(|row| (row.rate, of(row))))
    };
    let published = |label: &str, of: fn(&(f64, f64, f64, f64)) -> f64| {
        Series::new(label, Look::Expected, TABLE_III.iter().map(|row| (row.0, of(row))))
    };
    report.chart(&Chart {
        name: "churn-paper",
        title: format!("Lookups among {} nodes that join and fail without a word", scenario.hosts),
        x: Axis::new("joins a second, and failures", Scale::Linear),
        y: Axis::new("mean calls a lookup", Scale::Linear),
        series: vec![
            published("path, published (ends)", |row| row.1),
            measured("path", Row::mean_path),
            published("timeouts, published (ends)", |row| row.2),
            measured("timeouts", Row::mean_timeouts),
        ],
    });
    let points = CLASSES
        .iter()
        .zip(&tallies.lookups)
        .map(|(class, lookups)| (between(class, scenario), lookups.at_once()));
    let model = (-2..=14).map(|step| {
        let between = 10f64.powf(f64::from(step) / 4.0);
        (between, right_at_once(between, scenario.virtual_nodes))
    });
    report.chart(&Chart {
        name: "churn-one-hop",
        title: "One hop has its price: who asks often knows everybody".into(),
        x: Axis::new("lookups of a host between two changes of membership", Scale::Log10),
        y: Axis::new("share that needs one call at most", Scale::Linear),
        series: vec![
            Series::new(
                format!("measured, {:.0} s after warm tables", tallies.time.as_secs_f64()),
                Look::Measured,
                points,
            ),
            Series::new("model of the steady state", Look::Expected, model),
        ],
    });
}
