//! The answers to the items of one request: collected as they come, values as far as one answer has room, and what is
//! being installed elsewhere put off until it is passed on.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::protocol::message::{ItemReply, Response, Trail};
use crate::protocol::peer::{Host, Incarnation};
use crate::protocol::wire;

/// One item's answer, with its value.
pub(crate) type ItemAnswer = (ItemReply, Bytes);

/// Who is installing the record of an item, under which epoch: the item is to be passed on.
pub(crate) struct Next {
    pub(crate) owner: Arc<Host>,
    pub(crate) epoch: u64,
}

/// The answers of one request.
pub(crate) struct Answers {
    list: Vec<ItemAnswer>,
    room: Room,
    onward: BTreeMap<(Incarnation, u64), (Arc<Host>, Vec<usize>)>,
}

impl Answers {
    /// For `count` items; `instead` is answered instead of a value for which the `bytes` have no room.
    pub(crate) fn new(count: usize, bytes: u64, instead: fn() -> ItemReply) -> Answers {
        Answers {
            list: vec![(ItemReply::Absent, Bytes::new()); count],
            room: Room { bytes, is_taken: false, instead },
            onward: BTreeMap::new(),
        }
    }

    /// The answer of the item at `position`, or where it is to be passed on.
    pub(crate) fn put(&mut self, position: usize, answer: Result<ItemAnswer, Next>) {
        match answer {
            Ok(answer) => self.list[position] = self.room.take(answer),
            Err(Next { owner, epoch }) => {
                let batch = self.onward.entry((owner.incarnation, epoch));
                batch.or_insert_with(|| (owner, Vec::new())).1.push(position);
            }
        }
    }

    /// What is to be passed on, by the owner and the epoch of the record that it is installing; positions in order.
    pub(crate) fn onward(&mut self) -> impl Iterator<Item = (Arc<Host>, Trail, Vec<usize>)> + use<> {
        std::mem::take(&mut self.onward).into_iter().map(|((_, min_epoch), (owner, mut positions))| {
            positions.sort_unstable();
            (owner, Trail { min_epoch, forwarded: true }, positions)
        })
    }

    pub(crate) fn into_response(self) -> (Response, Bytes) {
        let (replies, values): (Vec<ItemReply>, Vec<Bytes>) = self.list.into_iter().unzip();
        (Response::Items(replies), wire::join_values(values.iter()))
    }
}

/// Room for values in one answer: for as many bytes as the largest value has, which fits a frame, or for one value.
struct Room {
    bytes: u64,
    is_taken: bool,
    instead: fn() -> ItemReply,
}

impl Room {
    /// `answer`, if there is room for its value.
    fn take(&mut self, answer: ItemAnswer) -> ItemAnswer {
        let len = answer.1.len() as u64;
        if self.is_taken && len > self.bytes {
            return ((self.instead)(), Bytes::new());
        }
        self.is_taken |= len > 0;
        self.bytes = self.bytes.saturating_sub(len);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_answer_are_no_longer_together_than_the_longest_but_one_always_fits() {
        let answer = |len| (ItemReply::Absent, Bytes::from(vec![0; len]));
        let lengths = |room: u64, values: &[usize]| {
            let mut room = Room { bytes: room, is_taken: false, instead: || ItemReply::Forgotten };
            values.iter().map(|len| room.take(answer(*len)).1.len()).collect::<Vec<_>>()
        };
        assert_eq!(lengths(100, &[60, 50, 40, 0, 1]), [60, 0, 40, 0, 0]);
        assert_eq!(lengths(100, &[0, 200, 1]), [0, 200, 0]);
    }
}
