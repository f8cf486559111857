//! A small harness for paired figures: both sides are measured in turns in one run, so that what else the machine
//! does falls on both, and the ratio is taken within each turn.

use std::future::Future;
use std::time::{Duration, Instant};

/// How a benchmark was called: `cargo bench -p chord-tests --bench NAME -- [--json] [--rounds N]`.
pub(crate) struct Arguments {
    /// `cargo test --benches` runs a benchmark without `--bench`: only a short check that it works.
    pub(crate) full: bool,
    /// One JSON object for each figure instead of a table.
    pub(crate) json: bool,
    /// Turns of each side.
    pub(crate) rounds: usize,
}

impl Arguments {
    /// Those of this process, with `rounds` turns unless it was told otherwise.
    pub(crate) fn parse(rounds: usize) -> Arguments {
        let arguments: Vec<String> = std::env::args().collect();
        let full = arguments.iter().any(|argument| argument == "--bench");
        let told = arguments.iter().skip_while(|argument| *argument != "--rounds").nth(1);
        let told = told.map(|count| count.parse().expect("--rounds takes a number"));
        let rounds = told.unwrap_or(if full { rounds } else { 2 }).max(1);
        Arguments { full, json: arguments.iter().any(|argument| argument == "--json"), rounds }
    }
}

/// Which way is better.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    /// Latencies.
    Lower,
    /// Rates.
    Higher,
}

/// What was hoped for.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// At most this many times the limit's cost.
    Cost(f64),
    /// At most this much, in the figure's unit.
    AtMost(f64),
    /// None was set.
    None,
}

/// One figure: ours and the limit's, a sample for each turn.
pub(crate) struct Figure {
    name: String,
    unit: &'static str,
    better: Better,
    limit_name: &'static str,
    goal: Goal,
    ours: Vec<f64>,
    limit: Vec<f64>,
}

impl Figure {
    /// A figure without samples.
    pub(crate) fn new(
        name: impl Into<String>,
        unit: &'static str,
        better: Better,
        limit_name: &'static str,
        goal: Goal,
    ) -> Figure {
        Figure { name: name.into(), unit, better, limit_name, goal, ours: Vec::new(), limit: Vec::new() }
    }

    /// Adds what one turn gave.
    pub(crate) fn add(&mut self, ours: f64, limit: f64) {
        self.ours.push(ours);
        self.limit.push(limit);
    }

    /// How many times the limit's cost ours is: the median over the turns.
    fn cost(&self) -> f64 {
        median(self.ours.iter().zip(&self.limit).map(|(ours, limit)| self.ratio(*ours, *limit)))
    }

    fn ratio(&self, ours: f64, limit: f64) -> f64 {
        if self.better == Better::Lower { ours / limit } else { limit / ours }
    }

    fn best(&self, samples: &[f64]) -> f64 {
        let samples = samples.iter().copied();
        match self.better {
            Better::Lower => samples.fold(f64::INFINITY, f64::min),
            Better::Higher => samples.fold(0.0, f64::max),
        }
    }

    fn verdict(&self) -> String {
        let (met, goal) = match self.goal {
            Goal::Cost(most) => (self.cost() <= most, format!("<= {most:.2}x")),
            Goal::AtMost(most) => {
                (median(self.ours.iter().copied()) <= most, format!("<= {most} {}", self.unit))
            }
            Goal::None => return String::new(),
        };
        format!("{goal}: {}", if met { "met" } else { "missed" })
    }
}

/// Prints all figures of a run.
pub(crate) fn print(figures: &[Figure], arguments: &Arguments) {
    if !arguments.json {
        println!(
            "{:<44} {:>6} {:>10} {:>10} {:>10} {:>10} {:>6} {:>6}  limit; goal",
            "median and best of the turns", "unit", "ours", "limit", "best", "best limit", "cost", "best"
        );
    }
    for figure in figures {
        let (ours, limit) = (median(figure.ours.iter().copied()), median(figure.limit.iter().copied()));
        let (best, best_limit) = (figure.best(&figure.ours), figure.best(&figure.limit));
        let (cost, best_cost) = (figure.cost(), figure.ratio(best, best_limit));
        if arguments.json {
            let line = serde_json::json!({
                "name": figure.name, "unit": figure.unit, "limit": figure.limit_name, "ours_median": ours,
                "limit_median": limit, "ours_best": best, "limit_best": best_limit, "cost_median": cost,
                "cost_best": best_cost, "rounds": figure.ours.len(), "goal": figure.verdict(),
            });
            println!("{line}");
        } else {
            println!(
                "{:<44} {:>6} {} {} {} {} {:>6.2} {:>6.2}  {}{}{}",
                figure.name,
                figure.unit,
                short(ours),
                short(limit),
                short(best),
                short(best_limit),
                cost,
                best_cost,
                figure.limit_name,
                if figure.verdict().is_empty() { "" } else { "; " },
                figure.verdict()
            );
        }
    }
}

fn short(value: f64) -> String {
    if value >= 10_000.0 { format!("{:>9.1}k", value / 1e3) } else { format!("{value:>10.2}") }
}

/// The median of `samples`; NaN of none.
pub(crate) fn median(samples: impl Iterator<Item = f64>) -> f64 {
    let mut samples: Vec<f64> = samples.collect();
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A runtime of one thread.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts")
}

/// Awaits `operation` `count` times, one after another; the median in microseconds.
pub(crate) async fn one_by_one<F: Future<Output = ()>>(
    count: usize,
    mut operation: impl FnMut() -> F,
) -> f64 {
    let mut took: Vec<Duration> = Vec::with_capacity(count);
    for _ in 0..count {
        let started = Instant::now();
        operation().await;
        took.push(started.elapsed());
    }
    median(took.into_iter().map(|took| took.as_secs_f64() * 1e6))
}
