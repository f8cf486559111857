//! Who the hosts are, and the engine's own group records that the numbers of a state stand for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use chord::protocol::group::{Group, Groups, TransferId, Verdict};
use chord::protocol::id::{Id, Interval};
use chord::protocol::peer::{Host, HostName, Incarnation};

use crate::model::{Code, Epochs, HOSTS, MOST_IDS, State, name};

/// What one set of group records says of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Serve { epoch: u8, copying: Option<u8>, held: bool },
    Fenced,
    Moved,
    Learning,
    Unknown,
}

/// Group records that occur, with what is asked of them most.
pub(crate) struct Known {
    pub(crate) groups: Groups,
    pub(crate) views: [View; MOST_IDS],
}

/// Who the hosts are, where the ids lie, and all group records that occurred.
pub(crate) struct World {
    pub(crate) ids: u8,
    pub(crate) hosts: [Arc<Host>; HOSTS],
    table: RefCell<Table>,
}

#[derive(Default)]
struct Table {
    numbers: HashMap<Groups, u32>,
    known: Vec<Arc<Known>>,
}

impl World {
    pub(crate) fn new(ids: u8) -> World {
        let host = |code: usize| {
            let name = name(code as Code);
            Arc::new(Host {
                endpoint: format!("mem://{name}@{name}:1").parse().expect("a well-formed endpoint"),
                name: HostName::new(name).expect("a well-formed name"),
                incarnation: Incarnation(code as u128 + 1),
            })
        };
        World { ids, hosts: std::array::from_fn(host), table: RefCell::default() }
    }

    pub(crate) fn codes(&self) -> std::ops::Range<Code> {
        0..HOSTS as Code
    }

    pub(crate) fn host(&self, code: Code) -> &Arc<Host> {
        &self.hosts[usize::from(code)]
    }

    fn id(&self, id: u8) -> Id {
        Id::from_u128(u128::from(id))
    }

    /// The part of the circle that ends with `id` and has no other id of this world.
    pub(crate) fn piece(&self, id: u8) -> Interval {
        Interval::new(self.id((id + self.ids - 1) % self.ids), self.id(id))
    }

    /// The ids of `ids` as one interval: one of them, or all.
    pub(crate) fn interval(&self, ids: u8) -> Interval {
        (0..self.ids).find(|id| ids == 1 << id).map_or_else(Interval::whole, |id| self.piece(id))
    }

    /// The ids that `interval` contains, as bits.
    pub(crate) fn ids_in(&self, interval: &Interval) -> u8 {
        (0..self.ids).filter(|id| interval.contains(&self.id(*id))).fold(0, |ids, id| ids | 1 << id)
    }

    pub(crate) fn transfer(&self, from: Code, number: u8) -> TransferId {
        TransferId { source: self.host(from).incarnation, number: number.into() }
    }

    pub(crate) fn epochs(&self, pieces: &[(Interval, u64)]) -> Epochs {
        let mut epochs = Epochs::default();
        for (interval, epoch) in pieces {
            for id in (0..self.ids).filter(|id| interval.contains(&self.id(*id))) {
                epochs[usize::from(id)] = *epoch as u8;
            }
        }
        epochs
    }

    pub(crate) fn pieces(&self, epochs: &Epochs) -> Vec<(Interval, u64)> {
        let named = (0..self.ids).zip(epochs).filter(|(_, epoch)| **epoch > 0);
        named.map(|(id, epoch)| (self.piece(id), u64::from(*epoch))).collect()
    }

    pub(crate) fn records(&self, epochs: &Epochs, owner: Code) -> Vec<(Interval, Group)> {
        let record = |epoch| Group::of_one(epoch, self.host(owner).clone());
        self.pieces(epochs).into_iter().map(|(piece, epoch)| (piece, record(epoch))).collect()
    }

    /// The group records of a host.
    pub(crate) fn known(&self, state: &State, host: Code) -> Arc<Known> {
        self.table.borrow().known[state.node(host).groups as usize].clone()
    }

    pub(crate) fn view(&self, state: &State, host: Code, id: u8) -> View {
        self.table.borrow().known[state.node(host).groups as usize].views[usize::from(id)]
    }

    /// Whether an entry may be collected ([`Verdict::lets_collect`]).
    pub(crate) fn lets_collect(&self, state: &State, host: Code, id: u8, tombstone: bool) -> bool {
        self.known(state, host).groups.verdict(&self.id(id)).lets_collect(tombstone)
    }

    pub(crate) fn is_learning(&self, state: &State, host: Code, transfer: TransferId, id: u8) -> bool {
        self.known(state, host).groups.is_learning(transfer, &self.id(id))
    }

    pub(crate) fn still_holds(&self, state: &State, host: Code, id: u8, epoch: u8) -> bool {
        self.known(state, host).groups.still_holds(&self.id(id), epoch.into())
    }

    /// `Node::change_groups`.
    pub(crate) fn change<R>(
        &self,
        state: &mut State,
        host: Code,
        change: impl FnOnce(&mut Groups) -> R,
    ) -> R {
        let mut groups = self.known(state, host).groups.clone();
        let result = change(&mut groups);
        state.node_mut(host).groups = self.number(groups);
        result
    }

    /// The number of these records.
    pub(crate) fn number(&self, groups: Groups) -> u32 {
        let Table { numbers, known } = &mut *self.table.borrow_mut();
        if let Some(number) = numbers.get(&groups) {
            return *number;
        }
        let number = known.len() as u32;
        let view = |id: usize| match groups.verdict(&Id::from_u128(id as u128)) {
            Verdict::Serve { epoch, copying, held } => {
                View::Serve { epoch: epoch as u8, copying: copying.map(|by| by.number as u8), held }
            }
            Verdict::Fenced(_) => View::Fenced,
            Verdict::Moved(_) => View::Moved,
            Verdict::Learning(_) => View::Learning,
            Verdict::Unknown => View::Unknown,
        };
        known.push(Arc::new(Known { views: std::array::from_fn(view), groups: groups.clone() }));
        numbers.insert(groups, number);
        number
    }
}
