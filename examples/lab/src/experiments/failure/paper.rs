//! Table II of ToN 2003, ring by ring.

use chord::protocol::id::Id;
use chord::protocol::routing::RoutingLimits;
use chord::protocol::simulate::Simulation;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::lookups::{Failures, Style, Tally};
use crate::cli::Setting;
use crate::error::Error;
use crate::network::random_ids;
use crate::parallel;
use crate::report::{Cell, Table};

/// A row of the published table: the share that fails, the mean path, the mean timeouts.
pub type Published = (f64, f64, f64);

/// ToN 2003, table II.
pub const TABLE_II: [Published; 6] = [
    (0.0, 3.84, 0.0),
    (0.1, 4.03, 0.60),
    (0.2, 4.22, 1.17),
    (0.3, 4.44, 2.02),
    (0.4, 4.69, 3.23),
    (0.5, 5.09, 5.10),
];

/// What lookups came to in each of several rings, at each share of the table.
#[derive(Clone, Debug)]
pub struct Rings(Vec<Vec<Tally>>);

impl Rings {
    /// All rings together, at each share.
    pub fn sums(&self) -> Vec<Tally> {
        let mut sums = vec![Tally::default(); TABLE_II.len()];
        for tallies in &self.0 {
            sums.iter_mut().zip(tallies).for_each(|(sum, tally)| sum.add(tally));
        }
        sums
    }

    /// Between which means of `of` nine in ten rings lie, at the share numbered `row`.
    pub fn spread(&self, row: usize, of: fn(&Tally) -> f64) -> (f64, f64) {
        let mut means: Vec<f64> = self.0.iter().map(|tallies| of(&tallies[row])).collect();
        means.sort_unstable_by(f64::total_cmp);
        let cut = means.len() / 20;
        (means[cut], means[means.len() - 1 - cut])
    }

    /// The largest difference of a mean from the published one, of 1.
    pub fn deviation(&self, of: fn(&Tally) -> f64, published: fn(&Published) -> f64) -> f64 {
        let sums = self.sums();
        let rows = TABLE_II.iter().zip(&sums).filter(|(row, _)| published(row) > 0.0);
        rows.map(|(row, tally)| (of(tally) / published(row) - 1.0).abs()).fold(0.0, f64::max)
    }

    /// Beside the published table.
    pub(super) fn table(&self, name: &'static str) -> Table {
        let columns = [
            "failed",
            "path",
            "published",
            "timeouts",
            "published_timeouts",
            "timeouts_low",
            "timeouts_high",
            "second_round",
            "lookups_failed",
        ];
        let mut table = Table::new(name, columns);
        for (row, ((share, path, timeouts), tally)) in TABLE_II.into_iter().zip(self.sums()).enumerate() {
            let (low, high) = self.spread(row, Tally::mean_timeouts);
            table.row([
                Cell::Number(share, 1),
                Cell::Number(tally.mean_path(), 3),
                Cell::Number(path, 2),
                Cell::Number(tally.mean_timeouts(), 3),
                Cell::Number(timeouts, 2),
                Cell::Number(low, 2),
                Cell::Number(high, 2),
                tally.again.into(),
                tally.failed.into(),
            ]);
        }
        table
    }
}

/// A ring of `hosts` for each of `seeds`, with so many lookups at each share: fingers, one virtual node a host.
///
/// # Errors
/// [`Error::Invalid`] for more hosts than the ids have room for.
pub fn table_ii(
    setting: &Setting,
    hosts: usize,
    limits: RoutingLimits,
    style: Style,
    lookups: usize,
    seeds: &[u64],
) -> Result<Rings, Error> {
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
                tally.add(&style.look_up(&simulation, from, &id, &owner));
            }
            tallies.push(tally);
        }
        Ok(tallies)
    };
    Ok(Rings(parallel::map("rings", seeds, ring).into_iter().collect::<Result<_, _>>()?))
}
