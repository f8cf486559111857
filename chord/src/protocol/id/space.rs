//! The circle of one ring, with its arithmetic: [`IdSpace`].

use serde::{Deserialize, Serialize};

use super::{HashKind, ID_BYTES, Id};

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

    pub(super) fn mask(&self, id: Id) -> Id {
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
