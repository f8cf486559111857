//! Entries, their versions, and the decision what an update does to one.
//!
//! An [`Update`] is decided at the key's owner, on the newest version it issued, by [`Update::decide`]: a pure
//! function of the update, the entry and the owner's clock. So a counter or a conditional write is one message.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// When an entry was written, within its group: the epoch, then a counter that the owner never repeats under it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// The group's epoch.
    pub epoch: u64,
    /// The owner's counter.
    pub counter: u64,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.epoch, self.counter)
    }
}

/// What is stored for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was written.
    pub version: Version,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// When it expires: Unix milliseconds by the owner's clock.
    pub expires_at: Option<u64>,
}

impl Entry {
    /// Whether a reader at `now` (Unix milliseconds) finds a value.
    pub fn is_live(&self, now: u64) -> bool {
        self.value.is_some() && !self.has_expired(now)
    }

    /// Whether it has a value whose time is over.
    pub fn has_expired(&self, now: u64) -> bool {
        self.value.is_some() && self.expires_at.is_some_and(|at| at <= now)
    }
}

/// How long a value is to live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expiry {
    /// For ever; an earlier expiry is forgotten.
    #[default]
    Never,
    /// As long as what it replaces: an earlier expiry stays.
    Keep,
    /// For this long from the moment the owner decides, in milliseconds.
    InMillis(u64),
    /// Until this moment, Unix milliseconds.
    At(u64),
}

impl Expiry {
    /// For this long from the moment the owner decides.
    pub fn after(duration: Duration) -> Expiry {
        Expiry::InMillis(duration.as_millis().try_into().unwrap_or(u64::MAX))
    }

    fn resolve(self, now: u64, earlier: Option<u64>) -> Option<u64> {
        match self {
            Expiry::Never => None,
            Expiry::Keep => earlier,
            Expiry::InMillis(millis) => Some(now.saturating_add(millis)),
            Expiry::At(at) => Some(at),
        }
    }
}

/// What an update does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Stores a value.
    Set {
        /// The value.
        value: Bytes,
        /// How long it is to live.
        expiry: Expiry,
    },
    /// Removes the value.
    Remove,
    /// Adds to the value read as a decimal i64 (absent is 0); the expiry stays.
    Add(i64),
    /// Appends to the value (absent is empty); the expiry stays.
    Append(Bytes),
    /// Changes when the value expires; does nothing to an absent one.
    Expire(Expiry),
}

/// When an update applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// Always.
    #[default]
    Always,
    /// Only if the key has no value.
    Absent,
    /// Only if the key has a value.
    Present,
    /// Only if the key has a value of this version.
    Version(Version),
}

/// A conditional change of one key, decided at its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// What to do.
    pub action: Action,
    /// When to do it.
    pub condition: Condition,
    /// Whether the answer is to carry the value found.
    pub return_previous: bool,
}

/// How an update ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It took effect.
    Applied,
    /// Its condition was not met, or it found nothing to change. Nothing changed.
    NotMet,
    /// The value found is not a decimal i64. Nothing changed.
    NotAnInteger,
    /// The sum would leave the range of i64. Nothing changed.
    Overflow,
    /// The value would exceed this limit, in bytes. Nothing changed.
    TooLarge(u64),
}

/// What [`Update::decide`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How it ends.
    pub outcome: Outcome,
    /// The value and expiry to be written under the next version; `None` when nothing is written. An outcome other
    /// than [`Outcome::Applied`] writes nothing but the tombstone of an expired value.
    pub write: Option<(Option<Bytes>, Option<u64>)>,
    /// The sum after [`Action::Add`], the length after [`Action::Append`].
    pub number: Option<i64>,
}

impl Update {
    /// Decides on `current`, the newest entry of the key, at `now` (Unix milliseconds).
    ///
    /// An expired value counts as absent, and the answer says so. Another owner's clock may disagree, so whatever
    /// writes nothing else writes a tombstone for it.
    pub fn decide(&self, current: Option<&Entry>, now: u64, max_value_bytes: usize) -> Decision {
        let mut decision =
            self.decide_on_live(current.filter(|entry| entry.is_live(now)), now, max_value_bytes);
        if decision.write.is_none() && current.is_some_and(|entry| entry.has_expired(now)) {
            decision.write = Some((None, None));
        }
        decision
    }

    fn decide_on_live(&self, live: Option<&Entry>, now: u64, max_value_bytes: usize) -> Decision {
        let met = match self.condition {
            Condition::Always => true,
            Condition::Absent => live.is_none(),
            Condition::Present => live.is_some(),
            Condition::Version(version) => live.is_some_and(|entry| entry.version == version),
        };
        if !met {
            return Decision::nothing(Outcome::NotMet);
        }
        let found = live.and_then(|entry| entry.value.as_ref());
        let earlier = live.and_then(|entry| entry.expires_at);
        match &self.action {
            Action::Set { value, expiry } => {
                Decision::store(value.clone(), expiry.resolve(now, earlier), None, max_value_bytes)
            }
            Action::Remove if live.is_none() => Decision::nothing(Outcome::NotMet),
            Action::Remove => Decision { outcome: Outcome::Applied, write: Some((None, None)), number: None },
            Action::Add(by) => {
                let Some(start) = found.map_or(Some(0), parse_integer) else {
                    return Decision::nothing(Outcome::NotAnInteger);
                };
                let Some(sum) = start.checked_add(*by) else {
                    return Decision::nothing(Outcome::Overflow);
                };
                Decision::store(sum.to_string().into(), earlier, Some(sum), max_value_bytes)
            }
            Action::Append(tail) => {
                let mut value = Vec::with_capacity(found.map_or(0, Bytes::len) + tail.len());
                value.extend_from_slice(found.map_or(&[], |found| found));
                value.extend_from_slice(tail);
                let length = i64::try_from(value.len()).unwrap_or(i64::MAX);
                Decision::store(value.into(), earlier, Some(length), max_value_bytes)
            }
            Action::Expire(expiry) => match found {
                None => Decision::nothing(Outcome::NotMet),
                Some(value) => {
                    Decision::store(value.clone(), expiry.resolve(now, earlier), None, max_value_bytes)
                }
            },
        }
    }
}

impl Decision {
    fn nothing(outcome: Outcome) -> Decision {
        Decision { outcome, write: None, number: None }
    }

    fn store(value: Bytes, expires_at: Option<u64>, number: Option<i64>, max: usize) -> Decision {
        if value.len() > max {
            return Decision::nothing(Outcome::TooLarge(max as u64));
        }
        Decision { outcome: Outcome::Applied, write: Some((Some(value), expires_at)), number }
    }
}

/// Reads a decimal i64 as Redis does: no blanks, no plus sign, no leading zeros.
fn parse_integer(value: &Bytes) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests;
