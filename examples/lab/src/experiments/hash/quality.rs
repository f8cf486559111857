//! How evenly a hash spreads keys, and how well it mixes their bits.

use chord::protocol::id::{HashKind, Id, IdSpace};
use rand::Rng;

/// Equal arcs that keys are counted on.
pub(super) const ARCS: usize = 1_024;
/// Random keys of which every bit is flipped.
const FLIPPED_KEYS: usize = 1_000;
/// Bytes of such a key.
const FLIPPED_BYTES: usize = 16;
/// Bits of the digest that are compared: what all hashes have.
pub(super) const COMPARED_BITS: usize = 128;

/// Keys on each arc.
pub(super) struct Spread {
    pub(super) loads: Vec<u64>,
    pub(super) chi_square: f64,
    /// The probability of as much or more with a random hash.
    pub(super) p: f64,
}

/// What one flipped input bit does to the digest.
pub(super) struct Avalanche {
    /// How many flips changed so many bits, by that number.
    pub(super) changed: Vec<u64>,
    /// The mean share of bits that change.
    pub(super) mean: f64,
    /// Of the output bit that changes least and of that which changes most.
    pub(super) by_output: (f64, f64),
    /// Of the input bit that changes least and of that which changes most.
    pub(super) by_input: (f64, f64),
}

/// Keys as applications make them: numbered, dated, with long common beginnings, and random ones.
pub(super) fn keys(count: usize, rng: &mut impl Rng) -> Vec<String> {
    let key = |i: usize| match i % 4 {
        0 => format!("user:{i}:profile"),
        1 => format!("session:{:016x}", rng.random::<u64>()),
        2 => format!("https://example.org/articles/{}/{i}.html", 1990 + i % 37),
        _ => format!("sensor-{:04}/{:02}:{:02}:{:02}.{i}", i % 1_000, i / 3_600 % 24, i / 60 % 60, i % 60),
    };
    (0..count).map(key).collect()
}

/// Counts `keys` on the arcs. Chi-square against an even spread.
pub(super) fn spread(hash: HashKind, keys: &[String]) -> Spread {
    let space = IdSpace::new(ARCS.ilog2() as u16, hash).expect("every hash has as many bits");
    let mut loads = vec![0u64; ARCS];
    for key in keys {
        loads[space.id_of(key.as_bytes()).low_u64() as usize] += 1;
    }
    let expected = keys.len() as f64 / ARCS as f64;
    let chi_square = loads.iter().map(|load| (*load as f64 - expected).powi(2) / expected).sum();
    Spread { loads, chi_square, p: chi_square_tail(chi_square, (ARCS - 1) as f64) }
}

/// Flips every bit of random keys.
pub(super) fn avalanche(hash: HashKind, rng: &mut impl Rng) -> Avalanche {
    let space = IdSpace::new(COMPARED_BITS as u16, hash).expect("every hash has 128 bits");
    let bits = |id: Id| id.to_u128().expect("128 bits");
    let mut changed = vec![0u64; COMPARED_BITS + 1];
    let mut by_output = vec![0u64; COMPARED_BITS];
    let mut by_input = vec![0u64; 8 * FLIPPED_BYTES];
    for _ in 0..FLIPPED_KEYS {
        let mut key: [u8; FLIPPED_BYTES] = rng.random();
        let before = bits(space.id_of(&key));
        for (bit, flips) in by_input.iter_mut().enumerate() {
            key[bit / 8] ^= 1 << (bit % 8);
            let difference = before ^ bits(space.id_of(&key));
            key[bit / 8] ^= 1 << (bit % 8);
            changed[difference.count_ones() as usize] += 1;
            *flips += u64::from(difference.count_ones());
            by_output.iter_mut().enumerate().for_each(|(at, count)| *count += (difference >> at & 1) as u64);
        }
    }
    let (inputs, outputs) = (by_input.len() * FLIPPED_KEYS, COMPARED_BITS * FLIPPED_KEYS);
    let range = |counts: &[u64], of: usize| {
        let share = |count: Option<&u64>| count.copied().unwrap_or(0) as f64 / of as f64;
        (share(counts.iter().min()), share(counts.iter().max()))
    };
    Avalanche {
        changed,
        mean: by_output.iter().sum::<u64>() as f64 / (inputs * COMPARED_BITS) as f64,
        by_output: range(&by_output, inputs),
        by_input: range(&by_input, outputs),
    }
}

/// The probability of chi-square at or beyond `value`, by Wilson and Hilferty's cube root (PNAS 1931): its cube root
/// is nearly normal, to some four decimals for as many degrees of freedom as here.
fn chi_square_tail(value: f64, degrees: f64) -> f64 {
    let variance = 2.0 / (9.0 * degrees);
    normal_tail(((value / degrees).cbrt() - (1.0 - variance)) / variance.sqrt())
}

/// The probability that a standard normal value exceeds `z`; error below 10^-7. Source: Abramowitz and Stegun,
/// Handbook of Mathematical Functions, 26.2.17.
fn normal_tail(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let coefficients = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let polynomial = coefficients.iter().rev().fold(0.0, |sum, coefficient| (sum + coefficient) * t);
    let tail = (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt() * polynomial;
    if z < 0.0 { 1.0 - tail } else { tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_those_of_the_tables() {
        for (z, tail) in [(0.0, 0.5), (1.0, 0.158_655), (1.96, 0.024_998), (-1.0, 0.841_345)] {
            assert!((normal_tail(z) - tail).abs() < 1e-5, "{z}");
        }
        // The 95th and 5th percentile of chi-square with 100 degrees of freedom.
        assert!((chi_square_tail(124.342, 100.0) - 0.05).abs() < 5e-4);
        assert!((chi_square_tail(77.929, 100.0) - 0.95).abs() < 5e-4);
    }

    #[test]
    fn an_uneven_spread_is_noticed() {
        let keys: Vec<String> = (0..10_000).map(|i| format!("{}", i % 5_000)).collect();
        assert!(spread(HashKind::Sha1, &keys).p < 1e-6, "every key twice");
    }
}
