//! `chord-lab hash compare`: speed, spread, avalanche and adversarial placement.

use std::hint::black_box;
use std::time::{Duration, Instant};

use chord::protocol::id::{HashKind, IdSpace};
use clap::Args;

use super::adversary::{self, Attack};
use super::quality::{self, ARCS, Avalanche, COMPARED_BITS, Spread};
use crate::chart::{Axis, Chart, Look, Scale, Series};
use crate::cli::Setting;
use crate::error::Error;
use crate::progress::Progress;
use crate::report::{Cell, Report, Table};
use crate::statistics::Sample;

/// Keys, at most.
const MAX_KEYS: usize = 10_000_000;
/// How long one speed is measured, and how often: the best time counts.
const MEASURING: Duration = Duration::from_millis(40);
const REPETITIONS: usize = 5;
/// Width of the bins that loads of arcs are drawn in.
const BIN: u64 = 10;

/// How to compare.
#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// With compare: keys that are spread over 1024 arcs.
    #[arg(long, default_value_t = 1_000_000, value_name = "K")]
    keys: usize,
    /// With compare: keys are sought for an arc of 1/2^B of the circle, B from 1 to 24.
    #[arg(long, default_value_t = 16, value_name = "B", value_parser = clap::value_parser!(u32).range(1..=24))]
    arc_bits: u32,
    /// With compare: leave out times, which differ from run to run.
    #[arg(long)]
    untimed: bool,
}

/// One hash.
struct Measured {
    hash: HashKind,
    /// Seconds for a key of 16 bytes and for 1 MiB.
    speed: Option<(f64, f64)>,
    spread: Spread,
    avalanche: Avalanche,
}

impl CompareArgs {
    /// Compares all hashes, whatever `--hash` and `--bits` say.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no or too many keys.
    pub(super) fn run(&self, setting: &Setting) -> Result<Report, Error> {
        if self.keys == 0 || self.keys > MAX_KEYS {
            return Err(Error::invalid(format!("expected 1 to {MAX_KEYS} keys")));
        }
        let mut rng = setting.rng();
        let keys = quality::keys(self.keys, &mut rng);
        let mut progress = Progress::new("hashes", HashKind::ALL.len());
        let (mut measured, mut attacks) = (Vec::new(), Vec::new());
        for hash in HashKind::ALL {
            measured.push(Measured {
                hash,
                speed: (!self.untimed).then(|| (seconds(hash, 16), seconds(hash, 1 << 20))),
                spread: quality::spread(hash, &keys),
                avalanche: quality::avalanche(hash, &mut rng),
            });
            attacks.push(adversary::try_keys(hash, self.arc_bits, &mut rng));
            progress.step();
        }
        attacks.push(adversary::calculate_keys(self.arc_bits, &mut rng));
        let mut report = Report::new("hash-compare");
        report.parameter("keys", self.keys);
        report.parameter("arc_bits", self.arc_bits);
        report.parameter("seed", setting.seed);
        if !self.untimed {
            report.tables.push(speed_table(&measured));
        }
        report.tables.push(quality_table(&measured));
        report.tables.push(self.attack_table(&attacks));
        report.figure(
            "colliding",
            "different keys calculated to have one id of 128 bits under xxh3",
            adversary::colliding_keys(&mut rng),
        );
        report.notes.push(format!(
            "Speed is that of making an id, best of {REPETITIONS} runs on this machine. Spread: {} keys on {ARCS} equal arcs, p is\n\
             the chance of a random hash to be as uneven. Avalanche: {COMPARED_BITS} output bits under a flip of each input bit;\n\
             0.5 is expected. Attack: keys for one host's arc, 1/2^{arc} of the circle. Tries are measured, and no hash\n\
             without a secret can make them more than 2^{arc} on average; what a cryptographic hash prevents is to do\n\
             without tries, which xxh3 does not. Costs of collisions are cited, but that of xxh3.",
            self.keys,
            arc = self.arc_bits
        ));
        self.draw(&mut report, &measured, &attacks);
        Ok(report)
    }

    fn attack_table(&self, attacks: &[Attack]) -> Table {
        let mut columns = vec!["hash", "keys are", "found", "tries a key"];
        if !self.untimed {
            columns.push("µs a key");
        }
        columns.push("two keys of one digest cost");
        let mut table = Table::new("attack", columns);
        for attack in attacks {
            let way = if attack.calculated { "calculated" } else { "tried" };
            let mut row: Vec<Cell> = vec![
                attack.hash.name().into(),
                way.into(),
                attack.keys.into(),
                Cell::Number(attack.tries, 0),
            ];
            if !self.untimed {
                row.push(Cell::Number(attack.time.as_secs_f64() * 1e6, 2));
            }
            row.push(adversary::collision(attack.hash).into());
            table.row(row);
        }
        table
    }

    fn draw(&self, report: &mut Report, measured: &[Measured], attacks: &[Attack]) {
        let hashes = || Axis::named("", HashKind::ALL.map(HashKind::name));
        let speeds: Vec<(f64, f64)> = measured.iter().filter_map(|one| one.speed).collect();
        let bars = |of: &dyn Fn(&(f64, f64)) -> f64| {
            let points = speeds.iter().enumerate().map(|(at, speed)| (at as f64, of(speed)));
            vec![Series::new("", Look::Bars, points.collect::<Vec<_>>())]
        };
        if !self.untimed {
            let chart = |title: &str, y: &str, series| Chart {
                name: "speed",
                title: title.into(),
                x: hashes(),
                y: Axis::new(y, Scale::Linear),
                series,
            };
            let small = chart("The id of a key of 16 bytes", "ns", bars(&|speed| speed.0 * 1e9));
            let large = chart("A key of 1 MiB", "GB/s", bars(&|speed| f64::from(1 << 20) / speed.1 / 1e9));
            report.panels("hash-speed", &[small, large]);
        }
        report.panels("hash-quality", &[self.spread_chart(measured), avalanche_chart(measured)]);
        let names = attacks
            .iter()
            .map(|attack| format!("{}{}", attack.hash, if attack.calculated { ", calculated" } else { "" }));
        report.chart(&Chart {
            name: "hash-attack",
            title: "Keys that must be tried for one on a chosen host's arc".into(),
            x: Axis::named("", names),
            y: Axis::new(format!("tries, for an arc of 1/2^{}", self.arc_bits), Scale::Log10),
            series: vec![Series::new(
                "",
                Look::Bars,
                attacks.iter().enumerate().map(|(at, attack)| (at as f64, attack.tries)),
            )],
        });
    }

    fn spread_chart(&self, measured: &[Measured]) -> Chart {
        let mean = self.keys as f64 / ARCS as f64;
        let binned = |loads: &[u64]| {
            let bins = Sample::new(loads.iter().map(|load| load / BIN)).distribution();
            bins.into_iter().map(|(bin, count)| ((bin * BIN) as f64 + BIN as f64 / 2.0, count as f64))
        };
        let mut series: Vec<Series> = measured
            .iter()
            .map(|one| Series::new(one.hash.name(), Look::Measured, binned(&one.spread.loads)))
            .collect();
        // Loads are binomial, and with so many keys as good as normal.
        let deviation = (mean * (1.0 - 1.0 / ARCS as f64)).sqrt();
        let expected = normal(mean, deviation, ARCS as f64 * BIN as f64);
        series.push(Series::new("a random hash", Look::Expected, expected));
        Chart {
            name: "spread",
            title: format!("{} keys on {ARCS} equal arcs", self.keys),
            x: Axis::within("keys on an arc", Scale::Linear),
            y: Axis::new("arcs", Scale::Linear),
            series,
        }
    }
}

/// Bits that change when one bit of a key does.
fn avalanche_chart(measured: &[Measured]) -> Chart {
    let shares = |changed: &[u64]| -> Vec<(f64, f64)> {
        let all = changed.iter().sum::<u64>() as f64;
        let drawn = changed.iter().enumerate().filter(|(_, count)| **count > 0);
        drawn.map(|(bits, count)| (bits as f64, *count as f64 / all)).collect()
    };
    let mut series: Vec<Series> = measured
        .iter()
        .map(|one| Series::new(one.hash.name(), Look::Measured, shares(&one.avalanche.changed)))
        .collect();
    let bits = COMPARED_BITS as f64;
    series.push(Series::new("a random hash", Look::Expected, normal(bits / 2.0, bits.sqrt() / 2.0, 1.0)));
    Chart {
        name: "avalanche",
        title: format!("One bit of the key changes: so do how many of {COMPARED_BITS}?"),
        x: Axis::within("bits that change", Scale::Linear),
        y: Axis::new("share of flips", Scale::Linear),
        series,
    }
}

fn speed_table(measured: &[Measured]) -> Table {
    let mut table = Table::new("speed", ["hash", "ns a 16-byte key", "GB/s on 1 MiB"]);
    for one in measured {
        if let Some((small, large)) = one.speed {
            let speed = f64::from(1 << 20) / large / 1e9;
            table.row([one.hash.name().into(), Cell::Number(small * 1e9, 1), Cell::Number(speed, 2)]);
        }
    }
    table
}

fn quality_table(measured: &[Measured]) -> Table {
    let columns = [
        "hash",
        "chi-square",
        "p",
        "flip mean",
        "least by output",
        "most by output",
        "least by input",
        "most by input",
    ];
    let mut table = Table::new("quality", columns);
    for one in measured {
        let avalanche = &one.avalanche;
        let shares =
            [avalanche.by_output.0, avalanche.by_output.1, avalanche.by_input.0, avalanche.by_input.1];
        let head = [
            one.hash.name().into(),
            Cell::Number(one.spread.chi_square, 1),
            Cell::Number(one.spread.p, 3),
            Cell::Number(avalanche.mean, 5),
        ];
        table.row(head.into_iter().chain(shares.map(|share| Cell::Number(share, 4))));
    }
    table
}

/// The seconds that the id of a key of `bytes` bytes takes.
fn seconds(hash: HashKind, bytes: usize) -> f64 {
    let space = IdSpace::new(hash.bits(), hash).expect("its own width");
    let mut key = vec![0x5a_u8; bytes];
    let mut best = f64::INFINITY;
    for _ in 0..REPETITIONS {
        let began = Instant::now();
        let mut count = 0u64;
        while began.elapsed() < MEASURING {
            // The clock is read once for some 64 KiB or 256 keys.
            for _ in 0..(65_536 / bytes).clamp(1, 256) {
                key[0] = key[0].wrapping_add(1);
                black_box(space.id_of(black_box(&key)));
                count += 1;
            }
        }
        best = best.min(began.elapsed().as_secs_f64() / count as f64);
    }
    best
}

/// The normal distribution within four deviations, `area` under it.
fn normal(mean: f64, deviation: f64, area: f64) -> Vec<(f64, f64)> {
    let at = |step: i32| {
        let z = f64::from(step) / 10.0;
        let density = (-z * z / 2.0).exp() / (deviation * std::f64::consts::TAU.sqrt());
        (mean + z * deviation, area * density)
    };
    (-40..=40).map(at).collect()
}
