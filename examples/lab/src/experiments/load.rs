//! `chord-lab load`: how evenly ids and keys are spread over hosts, and what more virtual nodes cost.
//!
//! Source of the experiment: Stoica et al., ToN 2003, section VI-B, figures 8 and 9.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chord::protocol::id::{Id, IdSpace};
use chord::protocol::simulate::Simulation;
use chord::{Config, VirtualNodes};
use clap::Args;

use crate::chart::{Axis, Chart, Look, Scale, Series};
use crate::cli::Setting;
use crate::error::Error;
use crate::experiments::mapping::Circle;
use crate::network::{MAX_NODES, share};
use crate::progress::Progress;
use crate::report::{Cell, Report, Table};
use crate::statistics::Sample;
use crate::upkeep::{Upkeep, bare_limits, upkeep};

/// Keys of one experiment, at most.
const MAX_KEYS: usize = 10_000_000;
/// Hosts of the ring whose maintenance is measured, at most: beyond, a virtual node has one finger more for each
/// doubling.
const UPKEEP_HOSTS: usize = 1_000;
/// Hosts whose maintenance is measured.
const SAMPLE: usize = 20;
/// Up to so many bits, ids owned are counted; beyond, they are shares of the circle in so many parts.
const COUNTED_BITS: u16 = 30;
const PARTS: f64 = (1u64 << 40) as f64;

/// Which hosts, with how many places on the circle.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Hosts: host_0, host_1, ...
    hosts: usize,
    /// Virtual nodes of each host, one or several numbers.
    #[arg(
        long,
        value_delimiter = ',',
        default_values_t = [1, 2, 4, 8, 16, 20, 32, 64],
        value_name = "V"
    )]
    virtual_nodes: Vec<usize>,
    /// Keys: data_0, data_1, ...
    #[arg(long, default_value_t = 1_000_000, value_name = "K")]
    keys: usize,
    /// A JSON list of ids, of which each host takes the next V, instead of hashed ones.
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
}

/// What was found for one number of virtual nodes.
struct Row {
    virtual_nodes: usize,
    places: usize,
    ids: Sample,
    keys: Sample,
    upkeep: Upkeep,
}

impl LoadArgs {
    /// Counts what each host owns, and what it sends to maintain its places.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no or too many hosts, virtual nodes or keys, more than there are ids, or a file that does
    /// not hold them.
    pub fn run(&self, setting: &Setting) -> Result<Report, Error> {
        let space = setting.space;
        let given = self.check(space)?;
        let mut keys: Vec<Id> = (0..self.keys).map(|i| space.id_of(format!("data_{i}").as_bytes())).collect();
        keys.sort_unstable();
        let mut rng = setting.rng();
        let mut rows = Vec::new();
        let mut progress = Progress::new("numbers of virtual nodes", self.virtual_nodes.len());
        for virtual_nodes in &self.virtual_nodes {
            let circle = self.circle(space, given.as_deref(), *virtual_nodes);
            let hosts = self.hosts.min(UPKEEP_HOSTS);
            let mut simulation = Simulation::ideal(space, bare_limits(), &places_of(&circle, hosts))
                .expect("a circle has each place once");
            rows.push(Row {
                virtual_nodes: *virtual_nodes,
                places: circle.places().len(),
                ids: Sample::new(self.ids_owned(space, &circle)),
                keys: Sample::new(self.keys_owned(&circle, &keys)),
                upkeep: upkeep(&mut simulation, &Config::default(), SAMPLE, &mut rng),
            });
            progress.step();
        }
        Ok(self.report(setting, &rows))
    }

    /// The ids of the file, if there is one.
    fn check(&self, space: IdSpace) -> Result<Option<Vec<Id>>, Error> {
        if self.hosts == 0 || self.keys == 0 || self.keys > MAX_KEYS {
            return Err(Error::invalid(format!("expected at least one host, and 1 to {MAX_KEYS} keys")));
        }
        let most = self.virtual_nodes.iter().copied().max().unwrap_or(0);
        let total = self.hosts.saturating_mul(most);
        if self.virtual_nodes.contains(&0) || total > MAX_NODES {
            return Err(Error::invalid(format!("expected 1 to {MAX_NODES} virtual nodes in all")));
        }
        if space.bits() < 64 && total as u64 > 1 << space.bits() {
            return Err(Error::invalid(format!(
                "{total} virtual nodes are more than the {} ids of {} bits",
                1u64 << space.bits(),
                space.bits()
            )));
        }
        let Some(path) = &self.ids else { return Ok(None) };
        let ids = read_ids(path, space)?;
        if ids.len() < total {
            let text = format!("{} ids are too few: {} hosts with {most} each", ids.len(), self.hosts);
            return Err(Error::file(path, text));
        }
        Ok(Some(ids))
    }

    fn circle(&self, space: IdSpace, given: Option<&[Id]>, virtual_nodes: usize) -> Circle {
        match given {
            Some(ids) => Circle::of(
                ids[..self.hosts * virtual_nodes]
                    .chunks(virtual_nodes)
                    .enumerate()
                    .flat_map(|(host, ids)| ids.iter().map(move |id| (*id, host))),
            ),
            None => Circle::of((0..self.hosts).flat_map(|host| {
                let name = format!("host_{host}");
                (0..virtual_nodes).map(move |i| (space.virtual_node_id(&name, i), host))
            })),
        }
    }

    /// The ids of each host, or its parts of the circle.
    fn ids_owned(&self, space: IdSpace, circle: &Circle) -> Vec<u64> {
        let units = units(space);
        let mut owned = vec![0; self.hosts];
        let places = circle.places();
        for (at, (id, host)) in places.iter().enumerate() {
            let (before, _) = places[at.checked_sub(1).unwrap_or(places.len() - 1)];
            owned[*host] += (share(&space, &before, id) * units).round() as u64;
        }
        owned
    }

    /// The keys of each host. Keys are in ascending order.
    fn keys_owned(&self, circle: &Circle, keys: &[Id]) -> Vec<u64> {
        let mut owned = vec![0; self.hosts];
        keys.iter().for_each(|key| owned[circle.owner(key)] += 1);
        owned
    }

    fn report(&self, setting: &Setting, rows: &[Row]) -> Report {
        let mut report = setting.report("load");
        report.parameter("hosts", self.hosts);
        report.parameter("keys", self.keys);
        report.parameter("virtual_nodes", self.virtual_nodes.clone());
        let counted = setting.space.bits() <= COUNTED_BITS;
        // Beyond, the mean host has 1.
        let unit = if counted { 1.0 } else { units(setting.space) / self.hosts as f64 };
        let number = |value: f64| if counted { Cell::Exact(value) } else { Cell::Number(value / unit, 4) };
        let columns = [
            "virtual nodes",
            "ids mean",
            "ids deviation",
            "ids p1",
            "ids p99",
            "keys mean",
            "keys deviation",
            "keys p1",
            "keys p99",
            "p99/mean",
            "calls/s",
            "bytes/s",
        ];
        let mut table = Table::new("load", columns);
        for row in rows {
            table.row([
                row.virtual_nodes.into(),
                number(row.ids.mean()),
                number(row.ids.standard_deviation()),
                number(row.ids.percentile(1.0) as f64),
                number(row.ids.percentile(99.0) as f64),
                Cell::Number(row.keys.mean(), 2),
                Cell::Number(row.keys.standard_deviation(), 2),
                row.keys.percentile(1.0).into(),
                row.keys.percentile(99.0).into(),
                Cell::Number(row.uneven(), 2),
                Cell::Number(row.upkeep.calls, 2),
                Cell::Number(row.upkeep.bytes, 0),
            ]);
        }
        report.tables.push(table);
        let given_up = rows.iter().map(|row| self.hosts * row.virtual_nodes - row.places).sum::<usize>();
        report.figure("given_up", "places given up because another host had them", given_up);
        let ids = if counted { "Ids are counted" } else { "Ids are shares of the circle, their mean 1" };
        report.notes.push(format!(
            "{ids}; deviations are those of a sample; percentiles are over hosts.\n\
             Calls and bytes are what a host of {} sends for maintenance, and is answered, while nothing changes,\n\
             with the engine's default intervals and successor lists; what a transport adds is not in them.",
            self.hosts.min(UPKEEP_HOSTS)
        ));
        self.draw(&mut report, rows);
        report
    }

    fn draw(&self, report: &mut Report, rows: &[Row]) {
        let at = |value: &dyn Fn(&Row) -> f64| -> Vec<(f64, f64)> {
            let mut points: Vec<_> = rows.iter().map(|row| (row.virtual_nodes as f64, value(row))).collect();
            points.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
            points
        };
        let nodes = || Axis::new("virtual nodes a host", Scale::Doubling);
        let mean = |percent: f64| move |row: &Row| row.keys.percentile(percent) as f64 / row.keys.mean();
        let most = |value: &dyn Fn(&Row) -> f64| rows.iter().map(value).fold(0.0, f64::max);
        let default = |up_to: f64| {
            let line = default_virtual_nodes().into_iter().flat_map(|v| [(v, 0.0), (v, up_to)]);
            Series::new("the engine's default", Look::Expected, line)
        };
        let load = Chart {
            name: "load",
            title: format!("Keys a host, {} hosts, {} keys", self.hosts, self.keys),
            x: nodes(),
            y: Axis::new("times the mean", Scale::Linear),
            series: vec![
                Series::new("99th percentile", Look::Measured, at(&mean(99.0))),
                Series::new("1st percentile", Look::Measured, at(&mean(1.0))),
                default(most(&mean(99.0))),
            ],
        };
        let cost = Chart {
            name: "upkeep",
            title: format!("What that costs a host of {}", self.hosts.min(UPKEEP_HOSTS)),
            x: nodes(),
            y: Axis::new("bytes a second for maintenance", Scale::Linear),
            series: vec![
                Series::new("sent and answered", Look::Measured, at(&|row| row.upkeep.bytes)),
                default(most(&|row| row.upkeep.bytes)),
            ],
        };
        report.panels("load", &[load, cost]);
    }
}

impl Row {
    fn uneven(&self) -> f64 {
        self.keys.percentile(99.0) as f64 / self.keys.mean()
    }
}

/// The engine's default, as a place on an axis.
fn default_virtual_nodes() -> Option<f64> {
    match Config::default().virtual_nodes {
        VirtualNodes::Count(count) => Some(count as f64),
        VirtualNodes::Explicit(_) => None,
    }
}

/// In how many parts the circle is measured: its ids where they can be counted.
fn units(space: IdSpace) -> f64 {
    if space.bits() <= COUNTED_BITS { f64::from(space.bits()).exp2() } else { PARTS }
}

/// The places of the first `hosts` hosts.
fn places_of(circle: &Circle, hosts: usize) -> Vec<Vec<Id>> {
    let mut places = vec![Vec::new(); hosts];
    for (id, host) in circle.places().iter().filter(|(_, host)| *host < hosts) {
        places[*host].push(*id);
    }
    places
}

/// The distinct ids of a JSON list: numbers, or strings as [`IdSpace::parse`] takes them.
fn read_ids(path: &Path, space: IdSpace) -> Result<Vec<Id>, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::file(path, error))?;
    let list: Vec<serde_json::Value> =
        serde_json::from_str(&text).map_err(|error| Error::file(path, format!("no JSON list: {error}")))?;
    let mut seen = BTreeSet::new();
    let mut ids = Vec::with_capacity(list.len());
    for value in list {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let id = space.parse(&text).map_err(|error| Error::file(path, error))?;
        if !seen.insert(id) {
            return Err(Error::file(path, format!("id {text} stands there twice")));
        }
        ids.push(id);
    }
    Ok(ids)
}
