//! A value for every id of the circle, kept as few pieces as there are differences.

use std::collections::BTreeMap;

use crate::protocol::id::{Id, Interval};

/// Maps each id to a value. A piece is kept under its last id; it begins behind the piece before it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IntervalMap<V> {
    pieces: BTreeMap<Id, V>,
}

impl<V: Clone + PartialEq> IntervalMap<V> {
    /// The same value everywhere.
    pub fn uniform(value: V) -> Self {
        IntervalMap { pieces: BTreeMap::from([(Id::ZERO, value)]) }
    }

    /// The value at `id`.
    pub fn at(&self, id: &Id) -> &V {
        let (_, value) = self
            .pieces
            .range(id..)
            .next()
            .or_else(|| self.pieces.first_key_value())
            .expect("the map always has a piece");
        value
    }

    /// The pieces in order of their ends.
    pub fn pieces(&self) -> impl Iterator<Item = (Interval, &V)> {
        let mut after = *self.pieces.last_key_value().expect("the map always has a piece").0;
        self.pieces.iter().map(move |(upto, value)| {
            let interval = Interval::new(after, *upto);
            after = *upto;
            (interval, value)
        })
    }

    /// The parts of `interval`, each with its value.
    pub fn within(&self, interval: Interval) -> Vec<(Interval, V)> {
        self.pieces()
            .flat_map(|(piece, value)| {
                piece.intersect(&interval).into_iter().map(move |part| (part, value.clone()))
            })
            .collect()
    }

    /// Changes the value on `interval`, piece by piece, and joins neighbours that are equal afterwards.
    pub fn update(&mut self, interval: Interval, mut change: impl FnMut(Interval, &mut V)) {
        self.cut(interval.after);
        self.cut(interval.upto);
        let mut after = *self.pieces.last_key_value().expect("the map always has a piece").0;
        for (upto, value) in &mut self.pieces {
            if interval.contains(upto) {
                change(Interval::new(after, *upto), value);
            }
            after = *upto;
        }
        self.join_equal();
    }

    /// Changes the value everywhere.
    pub fn update_all(&mut self, change: impl FnMut(Interval, &mut V)) {
        let cut = *self.pieces.first_key_value().expect("the map always has a piece").0;
        self.update(Interval::new(cut, cut), change);
    }

    fn cut(&mut self, at: Id) {
        if !self.pieces.contains_key(&at) {
            let value = self.at(&at).clone();
            self.pieces.insert(at, value);
        }
    }

    fn join_equal(&mut self) {
        let mut ends: Vec<Id> = self.pieces.keys().copied().collect();
        ends.push(ends[0]);
        for pair in ends.windows(2) {
            if self.pieces.len() > 1 && self.pieces.get(&pair[0]) == self.pieces.get(&pair[1]) {
                self.pieces.remove(&pair[0]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(value: u8) -> Id {
        Id::from_u128(value.into())
    }

    proptest! {
        #[test]
        fn it_agrees_with_an_array_of_ids(changes in prop::collection::vec((0u8..16, 0u8..16, 0u8..4), 1..12)) {
            let mut map = IntervalMap::uniform(0u8);
            let mut array = [0u8; 16];
            for (after, upto, value) in changes {
                let interval = Interval::new(id(after), id(upto));
                map.update(interval, |_, old| *old = (*old + value) % 4);
                for (i, old) in array.iter_mut().enumerate() {
                    if interval.contains(&id(i as u8)) {
                        *old = (*old + value) % 4;
                    }
                }
                for (i, expected) in array.iter().enumerate() {
                    prop_assert_eq!(map.at(&id(i as u8)), expected);
                }
                let pieces: Vec<_> = map.pieces().collect();
                for (piece, value) in &pieces {
                    prop_assert!(map.within(*piece) == vec![(*piece, **value)]);
                }
                let differences = (0..16).filter(|i| array[*i] != array[(*i + 1) % 16]).count();
                prop_assert!(pieces.len() <= differences.max(1) + 1);
            }
        }
    }
}
