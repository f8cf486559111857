//! Intervals of the circle: [`Interval`].

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ID_BYTES, Id};

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
