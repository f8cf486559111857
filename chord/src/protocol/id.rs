//! Identifiers, the circle they live on, and all circular arithmetic of the workspace.
//!
//! An [`Id`] is a number below 2^bits, kept as 20 big-endian bytes, so that comparing bytes compares numbers.
//! Every comparison on the circle is made here, through [`Interval`] or the predicates of [`Id`]; no other file
//! compares ids to decide where something lies.
//!
//! Source: Stoica et al., ToN 2003, section IV-A (identifier circle); brackets as in the paper's pseudocode.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha1::Digest as _;

/// Bytes of an [`Id`].
pub const ID_BYTES: usize = 20;

/// A point on the identifier circle: a number of at most 160 bits, big-endian.
///
/// `Debug` and `Display` print 0x-hex without leading zeros; [`IdSpace::show`] prints what users read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Id([u8; ID_BYTES]);

impl Id {
    /// The smallest id.
    pub const ZERO: Id = Id([0; ID_BYTES]);

    /// The id with these big-endian bytes.
    pub const fn from_bytes(bytes: [u8; ID_BYTES]) -> Id {
        Id(bytes)
    }

    /// The big-endian bytes.
    pub const fn as_bytes(&self) -> &[u8; ID_BYTES] {
        &self.0
    }

    /// The id with this value.
    pub const fn from_u128(value: u128) -> Id {
        let mut bytes = [0; ID_BYTES];
        let low = value.to_be_bytes();
        let mut i = 0;
        while i < 16 {
            bytes[4 + i] = low[i];
            i += 1;
        }
        Id(bytes)
    }

    /// The value, when it fits 128 bits.
    pub fn to_u128(&self) -> Option<u128> {
        (self.0[..4] == [0; 4]).then(|| self.low_u128())
    }

    /// The lowest 64 bits.
    pub fn low_u64(&self) -> u64 {
        u64::from_be_bytes(self.0[12..].try_into().expect("eight bytes"))
    }

    /// Bits needed to write the value: 0 for zero, k for 2^(k-1) and what follows up to 2^k.
    pub fn bit_length(&self) -> u16 {
        let leading = match self.high_u32() {
            0 => 32 + self.low_u128().leading_zeros(),
            high => high.leading_zeros(),
        };
        160 - u16::try_from(leading).expect("at most 160 zeros")
    }

    /// Whether this id lies in the open interval (after, before). `(a, a)` is everything but a.
    pub fn in_open(&self, after: &Id, before: &Id) -> bool {
        self != before && Interval::new(*after, *before).contains(self)
    }

    /// Whether this id lies in (after, upto]. `(a, a]` is the whole circle.
    pub fn in_half_open(&self, after: &Id, upto: &Id) -> bool {
        Interval::new(*after, *upto).contains(self)
    }

    fn low_u128(&self) -> u128 {
        u128::from_be_bytes(self.0[4..].try_into().expect("sixteen bytes"))
    }

    fn high_u32(&self) -> u32 {
        u32::from_be_bytes(self.0[..4].try_into().expect("four bytes"))
    }

    fn from_parts(high: u32, low: u128) -> Id {
        let mut id = Id::from_u128(low);
        id.0[..4].copy_from_slice(&high.to_be_bytes());
        id
    }
}

impl Ord for Id {
    /// As numbers; two words instead of twenty bytes, for this is the innermost loop of routing.
    fn cmp(&self, other: &Id) -> Ordering {
        (self.high_u32(), self.low_u128()).cmp(&(other.high_u32(), other.low_u128()))
    }
}

impl PartialOrd for Id {
    fn partial_cmp(&self, other: &Id) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.high_u32() == 0 {
            write!(f, "{:#x}", self.low_u128())
        } else {
            write!(f, "{:#x}{:032x}", self.high_u32(), self.low_u128())
        }
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The interval (after, upto] of the circle; `(a, a]` is the whole circle. There is no empty interval.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Interval {
    /// The end that does not belong to it.
    pub after: Id,
    /// The end that belongs to it.
    pub upto: Id,
}

impl Interval {
    /// (after, upto].
    pub const fn new(after: Id, upto: Id) -> Interval {
        Interval { after, upto }
    }

    /// The whole circle, cut at zero.
    pub const fn whole() -> Interval {
        Interval { after: Id::ZERO, upto: Id::ZERO }
    }

    /// Whether this is the whole circle.
    pub fn is_whole(&self) -> bool {
        self.after == self.upto
    }

    /// Whether `id` lies in it.
    pub fn contains(&self, id: &Id) -> bool {
        if self.after < self.upto {
            self.after < *id && *id <= self.upto
        } else {
            self.after < *id || *id <= self.upto
        }
    }

    /// Whether every id of `other` lies in this interval.
    pub fn covers(&self, other: &Interval) -> bool {
        self.is_whole() || self.intersect(other) == [*other]
    }

    /// The parts that both intervals have in common: none, one or two.
    pub fn intersect(&self, other: &Interval) -> Vec<Interval> {
        if self.is_whole() {
            return if other.is_whole() { vec![*self] } else { vec![*other] };
        }
        if other.is_whole() {
            return vec![*self];
        }
        let mut parts = Vec::new();
        for (a, a_upto) in self.linear() {
            for (b, b_upto) in other.linear() {
                let (low, high) = (a.max(b), a_upto.min(b_upto));
                if low < high {
                    parts.push((low, high));
                }
            }
        }
        parts.sort_unstable();
        join_linear(parts)
    }

    /// The parts of this interval that do not lie in `other`: none, one or two.
    pub fn without(&self, other: &Interval) -> Vec<Interval> {
        if other.is_whole() {
            return Vec::new();
        }
        self.intersect(&Interval::new(other.upto, other.after))
    }

    /// The interval as one or two runs that do not wrap, over positions -1 (before zero) to the largest id.
    fn linear(&self) -> Vec<(Position, Position)> {
        let (after, upto) = (Position::At(self.after), Position::At(self.upto));
        if self.after < self.upto {
            vec![(after, upto)]
        } else {
            let mut runs = vec![(Position::BeforeZero, upto)];
            if self.after < Id([0xff; ID_BYTES]) {
                runs.push((after, Position::End));
            }
            runs
        }
    }
}

/// A cut of the circle laid out as a line that starts before zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Position {
    BeforeZero,
    At(Id),
    End,
}

/// Turns sorted runs of the line back into intervals of the circle, joining the two that meet at zero.
fn join_linear(mut runs: Vec<(Position, Position)>) -> Vec<Interval> {
    let wrap = match (runs.first(), runs.last()) {
        (Some((Position::BeforeZero, upto)), Some((after, Position::End))) => Some((*after, *upto)),
        _ => None,
    };
    if let Some((after, upto)) = wrap {
        runs.pop();
        if let Some(first) = runs.first_mut() {
            *first = (after, upto);
        } else {
            runs.push((after, upto));
        }
    }
    runs.into_iter()
        .map(|(after, upto)| match (after, upto) {
            (Position::At(after), Position::At(upto)) => Interval::new(after, upto),
            (Position::BeforeZero, Position::At(upto)) => Interval::new(Id([0xff; ID_BYTES]), upto),
            (Position::At(after), Position::End) => Interval::new(after, Id([0xff; ID_BYTES])),
            _ => Interval::whole(),
        })
        .collect()
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {}]", self.after, self.upto)
    }
}

impl fmt::Debug for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The hash that turns names and keys into ids. Stable across versions and platforms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HashKind {
    /// SHA-1, 160 bits: the paper's choice and the default.
    #[default]
    Sha1,
    /// BLAKE3, its first 160 bits.
    Blake3,
    /// XXH3-128 in its canonical (big-endian) form, 128 bits. Not safe against chosen keys.
    Xxh3,
    /// MD5, 128 bits: what the coursework used.
    Md5,
}

impl HashKind {
    /// Every hash, in the order of documentation.
    pub const ALL: [HashKind; 4] = [HashKind::Sha1, HashKind::Blake3, HashKind::Xxh3, HashKind::Md5];

    /// The width of the digest in bits, as far as ids can use it.
    pub const fn bits(self) -> u16 {
        match self {
            HashKind::Sha1 | HashKind::Blake3 => 160,
            HashKind::Xxh3 | HashKind::Md5 => 128,
        }
    }

    /// The name used in options and messages.
    pub const fn name(self) -> &'static str {
        match self {
            HashKind::Sha1 => "sha1",
            HashKind::Blake3 => "blake3",
            HashKind::Xxh3 => "xxh3",
            HashKind::Md5 => "md5",
        }
    }

    /// The digest's first 20 bytes, zero-padded on the right.
    fn digest(self, parts: &[&[u8]]) -> [u8; ID_BYTES] {
        let mut out = [0; ID_BYTES];
        match self {
            HashKind::Sha1 => {
                let mut hasher = sha1::Sha1::new();
                parts.iter().for_each(|part| hasher.update(part));
                out.copy_from_slice(&hasher.finalize());
            }
            HashKind::Blake3 => {
                let mut hasher = blake3::Hasher::new();
                parts.iter().for_each(|part| {
                    hasher.update(part);
                });
                out.copy_from_slice(&hasher.finalize().as_bytes()[..ID_BYTES]);
            }
            HashKind::Xxh3 => {
                let mut hasher = xxhash_rust::xxh3::Xxh3::new();
                parts.iter().for_each(|part| hasher.update(part));
                out[..16].copy_from_slice(&hasher.digest128().to_be_bytes());
            }
            HashKind::Md5 => {
                let mut hasher = md5::Md5::new();
                parts.iter().for_each(|part| hasher.update(part));
                out[..16].copy_from_slice(&hasher.finalize());
            }
        }
        out
    }
}

impl std::str::FromStr for HashKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        HashKind::ALL
            .into_iter()
            .find(|hash| hash.name() == text || (text == "xxh3-128" && *hash == HashKind::Xxh3))
            .ok_or_else(|| format!("unknown hash {text:?}: expected sha1, blake3, xxh3 or md5"))
    }
}

impl fmt::Display for HashKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The circle of one ring: how many bits its ids have and which hash makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawIdSpace", into = "RawIdSpace")]
pub struct IdSpace {
    bits: u16,
    hash: HashKind,
}

#[derive(Serialize, Deserialize)]
struct RawIdSpace {
    bits: u16,
    hash: HashKind,
}

/// Why there is no such [`IdSpace`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ids of {bits} bits cannot be made with {hash}: expected 1 to {}", hash.bits())]
pub struct InvalidIdSpace {
    bits: u16,
    hash: HashKind,
}

impl Default for IdSpace {
    fn default() -> Self {
        IdSpace { bits: 160, hash: HashKind::Sha1 }
    }
}

impl IdSpace {
    /// Ids of `bits` bits made with `hash`.
    ///
    /// # Errors
    /// [`InvalidIdSpace`] unless 1 <= bits <= the digest's width.
    pub fn new(bits: u16, hash: HashKind) -> Result<IdSpace, InvalidIdSpace> {
        if (1..=hash.bits()).contains(&bits) {
            Ok(IdSpace { bits, hash })
        } else {
            Err(InvalidIdSpace { bits, hash })
        }
    }

    /// Bits of an id: m in the paper, and the number of fingers.
    pub const fn bits(&self) -> u16 {
        self.bits
    }

    /// The hash.
    pub const fn hash(&self) -> HashKind {
        self.hash
    }

    /// The id of a key: the digest's top `bits` bits.
    pub fn id_of(&self, key: &[u8]) -> Id {
        self.top_bits(self.hash.digest(&[key]))
    }

    /// The id of a host's `index`-th virtual node: H(name) for the first, then H(name, byte 0, decimal index).
    pub fn virtual_node_id(&self, name: &str, index: usize) -> Id {
        if index == 0 {
            return self.id_of(name.as_bytes());
        }
        self.top_bits(self.hash.digest(&[name.as_bytes(), &[0], index.to_string().as_bytes()]))
    }

    /// Whether `id` is below 2^bits.
    pub fn contains(&self, id: &Id) -> bool {
        self.mask(*id) == *id
    }

    /// `id` + 2^`power` on the circle; with the finger's number k = power + 1 this is the paper's `finger[k].start`.
    pub fn add_power(&self, id: &Id, power: u16) -> Id {
        debug_assert!(power < self.bits);
        let (high, low) = if power < 128 { (0, 1u128 << power) } else { (1u32 << (power - 128), 0) };
        self.add(id, &Id::from_parts(high, low))
    }

    /// `a` + `b` on the circle.
    pub fn add(&self, a: &Id, b: &Id) -> Id {
        let (low, carry) = a.low_u128().overflowing_add(b.low_u128());
        let high = a.high_u32().wrapping_add(b.high_u32()).wrapping_add(carry.into());
        self.mask(Id::from_parts(high, low))
    }

    /// How far `to` lies clockwise of `from`: to - from on the circle, zero when they are equal.
    pub fn distance(&self, from: &Id, to: &Id) -> Id {
        let (low, borrow) = to.low_u128().overflowing_sub(from.low_u128());
        let high = to.high_u32().wrapping_sub(from.high_u32()).wrapping_sub(borrow.into());
        self.mask(Id::from_parts(high, low))
    }

    /// The largest id.
    pub fn max_id(&self) -> Id {
        self.mask(Id([0xff; ID_BYTES]))
    }

    /// `id` as users read it: decimal when ids have at most 64 bits, else 0x-hex with all digits.
    pub fn show(&self, id: &Id) -> String {
        if self.bits <= 64 {
            return id.low_u64().to_string();
        }
        let digits: String = id.0.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("0x{}", &digits[digits.len() - usize::from(self.bits.div_ceil(4))..])
    }

    /// Reads an id as [`IdSpace::show`] prints it (0x-hex is understood for every width).
    ///
    /// # Errors
    /// A sentence that says what is wrong with `text`.
    pub fn parse(&self, text: &str) -> Result<Id, String> {
        let invalid = || format!("{text:?} is not an id of {} bits (decimal or 0x-hex)", self.bits);
        let id = match text.strip_prefix("0x") {
            Some(hex) if (1..=40).contains(&hex.len()) && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
                let padded = format!("{hex:0>40}");
                let mut bytes = [0; ID_BYTES];
                for (i, byte) in bytes.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(&padded[2 * i..2 * i + 2], 16).map_err(|_| invalid())?;
                }
                Id(bytes)
            }
            Some(_) => return Err(invalid()),
            None => Id::from_u128(text.parse().map_err(|_| invalid())?),
        };
        if self.contains(&id) { Ok(id) } else { Err(invalid()) }
    }

    fn mask(&self, id: Id) -> Id {
        if self.bits >= 160 {
            id
        } else if self.bits >= 128 {
            Id::from_parts(id.high_u32() & ((1u32 << (self.bits - 128)) - 1), id.low_u128())
        } else {
            Id::from_parts(0, id.low_u128() & ((1u128 << self.bits) - 1))
        }
    }

    fn top_bits(&self, digest: [u8; ID_BYTES]) -> Id {
        let (high, low) = (Id(digest).high_u32(), Id(digest).low_u128());
        match 160 - u32::from(self.bits) {
            0 => Id(digest),
            shift if shift < 32 => {
                Id::from_parts(high >> shift, (low >> shift) | (u128::from(high) << (128 - shift)))
            }
            32 => Id::from_parts(0, (low >> 32) | (u128::from(high) << 96)),
            shift => Id::from_parts(0, ((low >> 32) | (u128::from(high) << 96)) >> (shift - 32)),
        }
    }
}

impl TryFrom<RawIdSpace> for IdSpace {
    type Error = InvalidIdSpace;

    fn try_from(raw: RawIdSpace) -> Result<Self, Self::Error> {
        IdSpace::new(raw.bits, raw.hash)
    }
}

impl From<IdSpace> for RawIdSpace {
    fn from(space: IdSpace) -> Self {
        RawIdSpace { bits: space.bits, hash: space.hash }
    }
}
