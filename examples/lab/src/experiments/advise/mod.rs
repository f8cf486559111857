//! `chord-lab advise`: which settings suit a ring, and what they cost, by a model that a simulation checks.

pub mod model;

use std::time::Duration;

use chord::protocol::routing::RoutingLimits;
use chord::protocol::successors::SuccessorLimits;
use clap::Args;

use self::model::{Advice, load_percentile};
use crate::chart::{Axis, Chart, Look, Scale, Series};
use crate::cli::Setting;
use crate::error::Error;
use crate::experiments::churn::scenario::Scenario;
use crate::experiments::churn::tally::Class;
use crate::experiments::churn::world::World;
use crate::report::{Cell, Report, Table};
use crate::warm::default_limits;

/// Rings of so many hosts are simulated unasked.
const SMALL: usize = 100;
/// Rings of more are not: their warm contact tables do not fit 16 GiB.
const MAX_CHECKED: usize = 2_000;
/// Simulated time, in seconds: at least, and at most.
const CHECKED: (f64, f64) = (60.0, 1_800.0);
/// Joins after which the ring's settling is watched.
const WATCHED: usize = 3;

/// Which ring.
#[derive(Debug, Args)]
pub struct AdviseArgs {
    /// Hosts.
    #[arg(long, value_name = "N")]
    hosts: usize,
    /// Joins an hour, and as many leaves.
    #[arg(long, value_name = "PER_HOUR")]
    churn: f64,
    /// The usual round trip between hosts, in milliseconds.
    #[arg(long, default_value_t = 50.0, value_name = "MS")]
    rtt: f64,
    /// Check the model by a simulation, which may take minutes; small rings are always checked.
    #[arg(long)]
    check: bool,
}

/// What the simulation measured.
struct Checked {
    stabilize: f64,
    fix_fingers: f64,
    settling: f64,
}

impl AdviseArgs {
    /// Advises, and checks.
    ///
    /// # Errors
    /// [`Error::Invalid`] for numbers out of bounds; [`Error::Failed`] when the simulation breaks what must hold.
    pub fn run(&self, setting: &Setting) -> Result<Report, Error> {
        if !(2..=1_000_000).contains(&self.hosts) {
            return Err(Error::invalid("expected 2 to 1000000 hosts"));
        }
        if !(1e-3..=1e9).contains(&self.churn) || self.churn / 3_600.0 > self.hosts as f64 / 50.0 {
            return Err(Error::invalid(
                "expected a churn of at least 0.001 an hour, and at most a fiftieth of the hosts a second",
            ));
        }
        if !(0.0..=10_000.0).contains(&self.rtt) {
            return Err(Error::invalid("expected a round trip of 0 to 10000 milliseconds"));
        }
        if self.check && !(50..=MAX_CHECKED).contains(&self.hosts) {
            return Err(Error::invalid(format!("rings of 50 to {MAX_CHECKED} hosts can be checked")));
        }
        let advice = Advice::new(self.hosts, self.churn, self.round_trip());
        let checked = if self.check || (50..=SMALL).contains(&self.hosts) {
            Some(self.simulate(setting, &advice)?)
        } else {
            None
        };
        Ok(self.report(setting, &advice, checked.as_ref()))
    }

    fn round_trip(&self) -> Duration {
        Duration::from_secs_f64(self.rtt / 1_000.0)
    }

    fn simulate(&self, setting: &Setting, advice: &Advice) -> Result<Checked, Error> {
        let successors = SuccessorLimits { hosts: advice.successors, ..default_limits().successors };
        // Time for some changes, and for some rounds at the ceilings.
        let rounds = 6.0 * advice.fix_fingers.ceiling.as_secs_f64();
        let time = (60.0 / advice.rate).max(rounds).clamp(CHECKED.0, CHECKED.1);
        let scenario = Scenario {
            virtual_nodes: advice.virtual_nodes,
            limits: RoutingLimits { successors, ..default_limits() },
            delay: self.round_trip() / 2,
            ceilings: [advice.stabilize.ceiling, advice.fix_fingers.ceiling],
            ..Scenario::defaults(self.hosts, advice.rate, Duration::from_secs_f64(time))
        };
        let mut world = World::new(setting, scenario, &[Class { askers: None, rate: 0.1 }])?;
        world.run()?;
        let metered = self.hosts.div_ceil(8) as f64;
        let [stabilize, fix_fingers] = [0, 1].map(|kind| world.tallies.kbits(kind, metered));

        let quiet = Scenario { rate: 1e-9, ..scenario };
        let mut world = World::new(setting, quiet, &[])?;
        let mut settling = 0.0;
        for _ in 0..WATCHED {
            let patience = Duration::from_secs_f64(10.0 * advice.settling() + 60.0);
            let took = world.settling_time(patience)?;
            let took = took.ok_or_else(|| Error::Failed("the ring did not settle after a join".into()))?;
            settling += took.as_secs_f64() / WATCHED as f64;
        }
        Ok(Checked { stabilize, fix_fingers, settling })
    }

    fn report(&self, setting: &Setting, advice: &Advice, checked: Option<&Checked>) -> Report {
        let mut report = setting.report("advise");
        report.parameter("hosts", self.hosts);
        report.parameter("churn", self.churn);
        report.parameter("rtt_ms", self.rtt);
        report.tables.push(settings(advice));
        report.tables.push(expectations(advice, checked));
        report.figure("virtual_nodes", "virtual_nodes", advice.virtual_nodes);
        report.figure("successor_hosts", "successor_hosts", advice.successors);
        let millis = |duration: Duration| Cell::Number(duration.as_secs_f64() * 1_000.0, 0);
        report.figure("stabilize_ms", "stabilize ceiling, ms", millis(advice.stabilize.ceiling));
        report.figure("fix_fingers_ms", "fix_fingers ceiling, ms", millis(advice.fix_fingers.ceiling));
        report.figure("settling_s", "seconds to settle after a join", Cell::Number(advice.settling(), 1));
        let (stabilize, fix_fingers) = advice.kbits();
        report.figure("kbit", "kbit/s of a host for both", Cell::Number(stabilize + fix_fingers, 2));
        report.notes.push(
            "Model: load p99/mean = (1 - 1/9V + 2.326/(3 sqrt V))^3; stabilize ceiling = 0.005 N/R, fix_fingers\n\
             ceiling = 0.01 N/R, within bounds; lists lost a year = N V q^r year/(S + 2 s), q = R (S + 2 s)/N, if every\n\
             leave is a failure; changes seen = 4 R (1 - exp(-V (L + 1)/N)) and 2 R (1 - exp(-V D/N)) a second,\n\
             D = log2 NV - 0.67; rounds: pauses double from the floor to the ceiling between changes; bytes: messages as the engine encodes\n\
             them; settling = max(0.75 L S, 1.5 F). N hosts, R joins and as many leaves a second, V virtual nodes,\n\
             r hosts and L entries in a list, S and F the ceilings."
                .into(),
        );
        if checked.is_none() {
            report
                .notes
                .push("Not checked by a simulation: ask for it with --check (50 to 2000 hosts).".into());
        }
        self.draw(&mut report, advice, checked);
        report
    }

    fn draw(&self, report: &mut Report, advice: &Advice, checked: Option<&Checked>) {
        let rates: Vec<f64> = (0..=20)
            .map(|step| 10f64.powf(f64::from(step) / 4.0))
            .filter(|per_hour| per_hour / 3_600.0 <= self.hosts as f64 / 50.0)
            .collect();
        let line = |of: fn((f64, f64)) -> f64| -> Vec<(f64, f64)> {
            let at = |per_hour: &f64| {
                let advice = Advice { rate: per_hour / 3_600.0, ..*advice };
                (*per_hour, of(advice.kbits()))
            };
            rates.iter().map(at).collect()
        };
        let mut series = vec![
            Series::new("fix fingers, model", Look::Expected, line(|kbits| kbits.1)),
            Series::new("stabilize, model", Look::Expected, line(|kbits| kbits.0)),
        ];
        if let Some(checked) = checked {
            let point = |value| [(self.churn, value)];
            series.push(Series::new("fix fingers, simulated", Look::Measured, point(checked.fix_fingers)));
            series.push(Series::new("stabilize, simulated", Look::Measured, point(checked.stabilize)));
        }
        report.chart(&Chart {
            name: "advise",
            title: format!("What {} hosts with these settings pay for coming and going", self.hosts),
            x: Axis::new("joins an hour, and leaves", Scale::Log10),
            y: Axis::new("kbit/s of a host", Scale::Log10),
            series,
        });
    }
}

fn settings(advice: &Advice) -> Table {
    let mut table = Table::new("settings", ["setting", "value", "because"]);
    let seconds = |duration: Duration| Cell::from(format!("{:.2} s", duration.as_secs_f64()));
    let load = load_percentile(advice.virtual_nodes);
    table.row([
        "virtual_nodes".into(),
        advice.virtual_nodes.into(),
        format!("the 99th percentile of the load is {load:.2} times the mean").into(),
    ]);
    let lost = advice.lists_lost(advice.successors);
    let half = (2.0 * (advice.hosts * advice.virtual_nodes as f64).log2()).ceil();
    table.row([
        "successor_hosts".into(),
        advice.successors.into(),
        format!("{lost:.1e} lists lost a year; {half} to outlive half of all hosts").into(),
    ]);
    table.row([
        "stabilize.ceiling".into(),
        seconds(advice.stabilize.ceiling),
        "a neighbour has changed since the last round in one of 100 cases at most".into(),
    ]);
    table.row([
        "fix_fingers.ceiling".into(),
        seconds(advice.fix_fingers.ceiling),
        "a finger is dead in one of 100 cases at most".into(),
    ]);
    table
}

fn expectations(advice: &Advice, checked: Option<&Checked>) -> Table {
    let mut table = Table::new("costs", ["cost", "model", "simulated", "deviation"]);
    let (stabilize, fix_fingers) = advice.kbits();
    let rows = [
        ("stabilize, kbit/s a host", stabilize, checked.map(|checked| checked.stabilize)),
        ("fix fingers, kbit/s a host", fix_fingers, checked.map(|checked| checked.fix_fingers)),
        ("settling after a join, s", advice.settling(), checked.map(|checked| checked.settling)),
    ];
    for (cost, model, simulated) in rows {
        let deviation = simulated.map(|simulated| Cell::Number(model / simulated - 1.0, 2));
        table.row([
            cost.into(),
            Cell::Number(model, 2),
            simulated.map_or(Cell::Empty, |simulated| Cell::Number(simulated, 2)),
            deviation.unwrap_or(Cell::Empty),
        ]);
    }
    table
}
