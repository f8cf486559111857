//! Keys for one host's arc: how long it takes to find them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chord::protocol::id::{HashKind, IdSpace};
use rand::Rng;

use super::forge;

/// Keys that are searched by trying.
const WANTED: usize = 128;
/// Keys that are calculated, for the arc and for one id.
const CALCULATED: u64 = 10_000;

/// How an attack went.
pub(super) struct Attack {
    pub(super) hash: HashKind,
    pub(super) calculated: bool,
    /// Keys found.
    pub(super) keys: usize,
    /// Keys tried for each that was found.
    pub(super) tries: f64,
    /// Time for each that was found.
    pub(super) time: Duration,
}

/// Tries keys until some lie on an arc of 1/2^`arc_bits` of the circle.
pub(super) fn try_keys(hash: HashKind, arc_bits: u32, rng: &mut impl Rng) -> Attack {
    let space = IdSpace::new(64, hash).expect("every hash has 64 bits");
    let arc = rng.random::<u64>() >> (64 - arc_bits);
    let began = Instant::now();
    let (mut keys, mut tries) = (0, 0u64);
    while keys < WANTED {
        let id = space.id_of(format!("key_{tries}").as_bytes()).low_u64();
        keys += usize::from(id >> (64 - arc_bits) == arc);
        tries += 1;
    }
    let time = began.elapsed() / WANTED as u32;
    Attack { hash, calculated: false, keys, tries: tries as f64 / WANTED as f64, time }
}

/// Calculates keys of XXH3 for an arc, one hash each to make sure.
pub(super) fn calculate_keys(arc_bits: u32, rng: &mut impl Rng) -> Attack {
    let space = IdSpace::new(64, HashKind::Xxh3).expect("64 bits");
    let arc = rng.random::<u64>() >> (64 - arc_bits);
    let began = Instant::now();
    let on_arc = (0..CALCULATED).filter(|number| {
        let top = (arc << (64 - arc_bits)) | *number;
        space.id_of(&forge::key(top, rng.random(), rng.random())).low_u64() >> (64 - arc_bits) == arc
    });
    let keys = on_arc.count();
    let found = keys.max(1) as u32;
    let time = began.elapsed() / found;
    let tries = CALCULATED as f64 / f64::from(found);
    Attack { hash: HashKind::Xxh3, calculated: true, keys, tries, time }
}

/// How many different keys of XXH3, calculated to have one id of 128 bits, have it.
pub(super) fn colliding_keys(rng: &mut impl Rng) -> usize {
    let space = IdSpace::new(128, HashKind::Xxh3).expect("128 bits");
    let (top, sum) = (rng.random(), rng.random::<u64>());
    let keys: BTreeSet<[u8; 32]> = (0..CALCULATED).map(|c| forge::key(top, c, sum.wrapping_sub(c))).collect();
    let ids: BTreeSet<_> = keys.iter().map(|key| space.id_of(key)).collect();
    if ids.len() == 1 { keys.len() } else { 0 }
}

/// The cheapest known way to two keys with one digest. Cited, not measured, but for XXH3.
pub(super) fn collision(hash: HashKind) -> &'static str {
    match hash {
        HashKind::Sha1 => "2^61.2 hashes (Leurent, Peyrin 2020)",
        HashKind::Blake3 => "none known below 2^80 (any hash cut to 160 bits)",
        HashKind::Xxh3 => "calculated, see above",
        HashKind::Md5 => "2^18 hashes (Xie, Liu, Feng 2013)",
    }
}
