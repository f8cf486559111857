//! Keys for a wanted place under XXH3-128, calculated instead of tried.
//!
//! XXH3 multiplies its input, combined with a public secret, word by word, and a factor of zero wipes out the other. A
//! key of 32 bytes is four 8-byte words a, b, c, d; with the default secret and no seed its digest is made of
//!
//! ```text
//! low  = (32 * P1 + M(a, b)) ^ (c + d)      M: two words combined with two of the secret, multiplied, folded
//! high = M(c, d) ^ (a + b)
//! top 64 bits = -avalanche(low * P1 + high * P4 + 32 * P2)
//! ```
//!
//! With a equal to its word of the secret, M(a, b) is zero whatever b is, and b sets `high`, and so the top 64 bits, to
//! whatever is wanted. Keys of equal c + d then agree in `low` too, and so in all 128 bits.
//!
//! Source: the specification of XXH3, <https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>.

const P1: u64 = 0x9E37_79B1_85EB_CA87;
const P2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const P4: u64 = 0x85EB_CA77_C2B2_AE63;
const AVALANCHE: u64 = 0x1656_6791_9E37_79F9;
/// Words 0, 2 and 3 of the default secret.
const SECRET: [u64; 3] = [0xbe4b_a423_396c_feb8, 0xdb97_9083_e96d_d4de, 0x1f67_b3b7_a4a4_4072];
const KEY_BYTES: u64 = 32;

/// A key whose XXH3-128 digest begins with the 64 bits `top`, another one for every `c` and `d`. Those of one sum
/// `c` + `d` have one digest.
pub(super) fn key(top: u64, c: u64, d: u64) -> [u8; 32] {
    let low = KEY_BYTES.wrapping_mul(P1) ^ c.wrapping_add(d);
    let mixed = unavalanche(top.wrapping_neg());
    let rest = mixed.wrapping_sub(low.wrapping_mul(P1)).wrapping_sub(KEY_BYTES.wrapping_mul(P2));
    let high = rest.wrapping_mul(inverse(P4));
    let a = SECRET[0];
    let b = (high ^ folded(c ^ SECRET[1], d ^ SECRET[2])).wrapping_sub(a);
    let mut key = [0; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip([a, b, c, d]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    key
}

fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}

/// Takes back x ^= x >> 37; x *= AVALANCHE; x ^= x >> 32.
fn unavalanche(mut value: u64) -> u64 {
    value ^= value >> 32;
    value = value.wrapping_mul(inverse(AVALANCHE));
    value ^ (value >> 37)
}

/// The inverse of an odd number modulo 2^64, by Newton's method: each step doubles the bits that are right.
fn inverse(odd: u64) -> u64 {
    (0..6).fold(odd, |x, _| x.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(x))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chord::protocol::id::{HashKind, IdSpace};

    #[test]
    fn calculated_keys_land_where_they_are_wanted_and_those_of_one_sum_collide() {
        let space = IdSpace::new(128, HashKind::Xxh3).unwrap();
        for top in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
            let ids: Vec<u128> =
                (0..50).map(|c| space.id_of(&key(top, c, 1_000 - c)).to_u128().unwrap()).collect();
            assert!(ids.iter().all(|id| *id == ids[0] && (*id >> 64) as u64 == top), "{ids:x?}");
            assert_ne!(space.id_of(&key(top, 1, 1)), space.id_of(&key(top, 1, 2)));
        }
    }
}
