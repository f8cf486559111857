//! The hash that turns names and keys into ids: [`HashKind`].

use std::fmt;

use serde::{Deserialize, Serialize};
use sha1::Digest as _;

use super::ID_BYTES;

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
    pub(super) fn digest(self, parts: &[&[u8]]) -> [u8; ID_BYTES] {
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
