//! `chord-lab balance`: what a server more moves, and how even the load is, by three ways to choose servers.
//!
//! Source of the comparison: Karger et al., "Consistent hashing and random trees", STOC 1997.

use chord::protocol::id::Id;
use clap::Args;
use rand::Rng;

use crate::chart::{Axis, Chart, Look, Scale, Series};
use crate::cli::Setting;
use crate::error::Error;
use crate::experiments::mapping::{Circle, modulo};
use crate::network::{MAX_NODES, Network};
use crate::progress::Progress;
use crate::report::{Cell, Report, Table};
use crate::statistics::mean;

/// Servers at first.
const SERVERS: [usize; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000];
/// Keys times trials of one experiment, at most.
const MAX_MAPPED: usize = 50_000_000;

/// How much to measure.
#[derive(Debug, Args)]
pub struct BalanceArgs {
    /// Keys: data_0, data_1, ...
    #[arg(long, default_value_t = 100_000, value_name = "K")]
    keys: usize,
    /// Sets of servers, each with names of its own; what is told is the mean.
    #[arg(long, default_value_t = 20, value_name = "T")]
    trials: usize,
    /// Virtual nodes of the third way.
    #[arg(long, default_value_t = 100, value_name = "V")]
    virtual_nodes: usize,
}

/// One way, one number of servers: the means of the trials.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    /// The share of the keys that moved when one server came.
    moved: f64,
    /// The fullest server's keys over the mean.
    fullest: f64,
}

impl Outcome {
    fn moved(&self) -> f64 {
        self.moved
    }

    fn fullest(&self) -> f64 {
        self.fullest
    }
}

impl BalanceArgs {
    /// Maps all keys, for each number of servers, before and after one more.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no or too many keys, trials or virtual nodes, or more servers than there are ids.
    pub fn run(&self, setting: &Setting) -> Result<Report, Error> {
        if self.keys == 0 || self.trials == 0 || self.keys.saturating_mul(self.trials) > MAX_MAPPED {
            return Err(Error::invalid(format!("expected 1 to {MAX_MAPPED} keys times trials")));
        }
        let most = SERVERS[SERVERS.len() - 1] + 1;
        if self.virtual_nodes == 0 || most.saturating_mul(self.virtual_nodes) > MAX_NODES {
            return Err(Error::invalid(format!("expected 1 to {} virtual nodes", MAX_NODES / most)));
        }
        let space = setting.space;
        let keys: Vec<Id> = (0..self.keys).map(|i| space.id_of(format!("data_{i}").as_bytes())).collect();
        let mut rng = setting.rng();
        let mut progress = Progress::new("sets of servers", self.trials * SERVERS.len());
        let mut trials = Vec::new();
        for _ in 0..self.trials {
            let network = Network::named(space, &format!("server_{:08x}_", rng.random::<u32>()), most)?;
            let mut outcomes = Vec::new();
            for servers in SERVERS {
                outcomes.push([
                    outcome(&keys, servers, |servers, id| modulo(id, servers)),
                    consistent(&keys, &network, servers, 1),
                    consistent(&keys, &network, servers, self.virtual_nodes),
                ]);
                progress.step();
            }
            trials.push(outcomes);
        }
        Ok(self.report(setting, &trials))
    }

    fn report(&self, setting: &Setting, trials: &[Vec<[Outcome; 3]>]) -> Report {
        let mut report = setting.report("balance");
        report.parameter("keys", self.keys);
        report.parameter("trials", self.trials);
        report.parameter("virtual_nodes", self.virtual_nodes);
        let value = |at: usize, way: usize, of: fn(&Outcome) -> f64| {
            mean(trials.iter().map(|outcomes| of(&outcomes[at][way])))
        };
        let columns = [
            "servers",
            "moved mod-n",
            "moved consistent",
            "moved virtual",
            "1/(n+1)",
            "fullest mod-n",
            "fullest consistent",
            "fullest virtual",
        ];
        let mut table = Table::new("balance", columns);
        for (at, servers) in SERVERS.into_iter().enumerate() {
            let number = |way, of| Cell::Number(value(at, way, of), 4);
            let ideal = Cell::Number(1.0 / (servers + 1) as f64, 4);
            let [mod_n, consistent, virtual_nodes] = [0, 1, 2].map(|way| number(way, Outcome::moved));
            let fullest = [0, 1, 2].map(|way| number(way, Outcome::fullest));
            table.row([servers.into(), mod_n, consistent, virtual_nodes, ideal].into_iter().chain(fullest));
        }
        report.tables.push(table);
        report.notes.push(format!(
            "Moved: the share of {} keys that has another server once one is added; no way can move fewer than 1/(n+1)\n\
             and be even. Fullest: the fullest server's keys over the mean. Means of {} sets of servers.",
            self.keys, self.trials
        ));
        let ways = [
            "modulo n".into(),
            "consistent".into(),
            format!("consistent, {} virtual nodes", self.virtual_nodes),
        ];
        let series = |of: fn(&Outcome) -> f64| -> Vec<Series> {
            let points = |way| {
                SERVERS.iter().enumerate().map(move |(at, servers)| (*servers as f64, value(at, way, of)))
            };
            let series = |(way, label): (usize, &String)| Series::new(label, Look::Measured, points(way));
            ways.iter().enumerate().map(series).collect()
        };
        let ideal = SERVERS.map(|servers| (servers as f64, 1.0 / (servers + 1) as f64));
        let mut moves = series(Outcome::moved);
        moves.push(Series::new("1/(n+1)", Look::Expected, ideal));
        let charts = [
            Chart {
                name: "moved",
                title: "Keys that move when one server is added".into(),
                x: Axis::new("servers", Scale::Log10),
                y: Axis::new("share of keys", Scale::Log10),
                series: moves,
            },
            Chart {
                name: "load",
                title: "Load of the fullest server".into(),
                x: Axis::new("servers", Scale::Log10),
                y: Axis::new("times the mean", Scale::Linear),
                series: series(Outcome::fullest),
            },
        ];
        report.panels("balance", &charts);
        report
    }
}

fn consistent(keys: &[Id], network: &Network, servers: usize, virtual_nodes: usize) -> Outcome {
    let circles = [servers, servers + 1].map(|servers| Circle::new(network, servers, virtual_nodes));
    outcome(keys, servers, |now, id| circles[now - servers].owner(id))
}

/// Maps `keys` to `servers` and to one more.
fn outcome(keys: &[Id], servers: usize, mapping: impl Fn(usize, &Id) -> usize) -> Outcome {
    let mut loads = vec![0usize; servers];
    let mut moved = 0usize;
    for id in keys {
        let before = mapping(servers, id);
        loads[before] += 1;
        moved += usize::from(mapping(servers + 1, id) != before);
    }
    let fullest = loads.iter().max().copied().unwrap_or(0);
    Outcome {
        moved: moved as f64 / keys.len() as f64,
        fullest: fullest as f64 * servers as f64 / keys.len() as f64,
    }
}
