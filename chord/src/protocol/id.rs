//! Identifiers, the circle they live on, and all circular arithmetic of the workspace.
//!
//! An [`Id`] is a number below 2^bits, kept as 20 big-endian bytes, so that comparing bytes compares numbers.
//! Every comparison on the circle is made in this module, through [`Interval`] or the predicates of [`Id`]; nobody
//! else compares ids to decide where something lies.
//!
//! Source: Stoica et al., ToN 2003, section IV-A (identifier circle); brackets as in the paper's pseudocode.

mod hash;
mod interval;
mod space;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::hash::HashKind;
pub use self::interval::Interval;
pub use self::space::{IdSpace, InvalidIdSpace};

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
