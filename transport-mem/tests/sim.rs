//! A thousand small lives of a ring, each from one seed: hosts join and leave, alone and at once, over links that
//! delay, reorder and duplicate, while clients read and write. After every step every property of the ring (within
//! Zave's operating assumption) and the safety of groups; in the end the ideal ring, every key where it belongs, and
//! linearizable histories.
//!
//! `CHORD_SIM_SEEDS=5000` runs more seeds, `CHORD_SIM_SEED=17` runs one.

mod scenario;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use scenario::{Summary, simulate};

const SEEDS: u64 = 1000;

#[test]
fn a_thousand_seeds_keep_every_property_and_lose_nothing() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let seeds = match number("CHORD_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..number("CHORD_SIM_SEEDS").unwrap_or(SEEDS) + 1,
    };
    let (failed, total) = run_all(seeds.clone());
    println!("{} seeds: {total:?}", seeds.end - seeds.start);
    let replay: Vec<String> = failed
        .iter()
        .map(|seed| format!("CHORD_SIM_SEED={seed} cargo test -p chord-transport-mem --test sim"))
        .collect();
    assert!(failed.is_empty(), "{} seeds failed. Replay with\n{}", failed.len(), replay.join("\n"));
    if seeds.end - seeds.start >= 100 {
        assert!(total.ring_steps > 100 * total.excused, "too much is outside of the assumption: {total:?}");
        assert!(total.acknowledged > 0 && total.hand_offs > 0, "nothing happened: {total:?}");
    }
}

#[test]
fn one_seed_gives_one_trace_of_the_whole_engine() {
    for seed in [3, 14, 15] {
        let fingerprints = [simulate(seed).fingerprint, simulate(seed).fingerprint];
        assert_eq!(fingerprints[0], fingerprints[1], "seed {seed}");
        assert_ne!(fingerprints[0], simulate(seed + 100).fingerprint);
    }
}

/// Runs the seeds on as many threads as there are processors. Returns those that failed, and what happened in all.
fn run_all(seeds: std::ops::Range<u64>) -> (Vec<u64>, Summary) {
    let next = AtomicU64::new(seeds.start);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let (mut failed, mut total) = (Vec::new(), Summary::default());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return (failed, total);
            }
            match catch_unwind(AssertUnwindSafe(|| simulate(seed))) {
                Ok(summary) => total.add(&summary),
                Err(_) => failed.push(seed),
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all = (Vec::new(), Summary::default());
        for worker in workers {
            let (failed, total) = worker.join().expect("a worker catches what its seeds do");
            all.0.extend(failed);
            all.1.add(&total);
        }
        all.0.sort_unstable();
        all
    })
}
