//! The state of a small ring, compact, and the peers its numbers stand for.

use std::fmt;
use std::sync::Arc;

use chord::protocol::id::{HashKind, Id, IdSpace};
use chord::protocol::invariants::{NodeSnapshot, Snapshot};
use chord::protocol::peer::{Host, HostName, Incarnation, Peer};
use chord::protocol::ring::{Neighbours, Ring};
use chord::protocol::successors::SuccessorLimits;

/// A peer by number: 0 is nobody, else the place on the circle and the life led there.
pub(crate) type Code = u8;
/// Entries of the longest list that is explored.
pub(crate) const MOST: usize = 3;

/// One life at one place: its pointers, what it is about to do, and its messages under way. All zero while nobody
/// lives there and nothing is left of the last who did.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Node {
    /// It answers.
    pub(crate) live: bool,
    pub(crate) predecessor: Code,
    pub(crate) list: [Code; MOST],
    pub(crate) fingers: [Code; MOST],
    /// The next step of its round.
    pub(crate) next: Next,
    /// `rounds::Doubt`: the old predecessor and the notifier.
    pub(crate) doubt: (Code, Code),
    /// It has left: what it told of itself, and who has not got it yet.
    pub(crate) farewell: Farewell,
}

/// What a node does next in its round of stabilization.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) enum Next {
    /// Begin one.
    #[default]
    Idle,
    /// Ask this candidate.
    Ask(Code),
    /// This successor is to be notified: the message is under way.
    Notify(Code),
}

/// A goodbye under way: the same to the predecessor and to the successor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Farewell {
    pub(crate) predecessor: Code,
    pub(crate) list: [Code; MOST],
    /// Addressees the message has not reached: the predecessor, the successor.
    pub(crate) under_way: [bool; 2],
}

impl Farewell {
    pub(crate) fn addressee(&self, which: usize) -> Code {
        if which == 0 { self.predecessor } else { self.list[0] }
    }
}

/// All nodes, by [`Code`] - 1.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct State(pub Box<[Node]>);

impl State {
    pub(crate) fn node(&self, code: Code) -> &Node {
        &self.0[usize::from(code) - 1]
    }

    pub(crate) fn node_mut(&mut self, code: Code) -> &mut Node {
        &mut self.0[usize::from(code) - 1]
    }

    pub(crate) fn is_live(&self, code: Code) -> bool {
        code != 0 && self.node(code).live
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = Code> {
        (1..).zip(&self.0).filter(|(_, node)| node.live).map(|(code, _)| code)
    }

    /// Whether anybody or any message still names this life.
    pub(crate) fn is_named(&self, code: Code) -> bool {
        self.0.iter().any(|node| node.names(code))
    }
}

impl Node {
    fn names(&self, code: Code) -> bool {
        let next = matches!(self.next, Next::Ask(peer) | Next::Notify(peer) if peer == code);
        next || self.predecessor == code
            || self.list.contains(&code)
            || self.fingers.contains(&code)
            || self.doubt.0 == code
            || self.doubt.1 == code
            || self.farewell.predecessor == code
            || self.farewell.list.contains(&code)
    }

    /// Every number in it replaced.
    pub(crate) fn map(&self, to: impl Fn(Code) -> Code) -> Node {
        Node {
            live: self.live,
            predecessor: to(self.predecessor),
            list: self.list.map(&to),
            fingers: self.fingers.map(&to),
            next: match self.next {
                Next::Idle => Next::Idle,
                Next::Ask(peer) => Next::Ask(to(peer)),
                Next::Notify(peer) => Next::Notify(to(peer)),
            },
            doubt: (to(self.doubt.0), to(self.doubt.1)),
            farewell: Farewell {
                predecessor: to(self.farewell.predecessor),
                list: self.farewell.list.map(&to),
                ..self.farewell
            },
        }
    }
}

/// The circle, who can live on it, and how numbers become the engine's own types and back.
pub(crate) struct World {
    pub(crate) space: IdSpace,
    pub(crate) limits: SuccessorLimits,
    /// Places on the circle, evenly spaced if they are a power of two.
    pub(crate) places: u8,
    /// Lives that one place may have at once: one that lives, and earlier ones that are still named.
    pub(crate) lives: u8,
    /// Whether fingers beyond the successor are kept (they are leftovers: nothing here looks one up).
    pub(crate) fingers: bool,
    /// What is done otherwise than the engine does it.
    pub(crate) flaw: Option<Flaw>,
    peers: Vec<Peer>,
}

/// A way to get it wrong, to prove that it would be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The published protocol: a candidate becomes the successor without having been asked.
    AdoptUnasked,
    /// A node without a successor takes whoever notifies it.
    FollowNotifier,
    /// Only the successor's predecessor is a candidate, as in Zave's protocol.
    AskPredecessorOnly,
}

impl World {
    pub(crate) fn new(places: u8, lives: u8, list: usize, fingers: bool, flaw: Option<Flaw>) -> World {
        let bits = u16::try_from(places.next_power_of_two().trailing_zeros()).expect("few bits").max(1);
        let space = IdSpace::new(bits, HashKind::Sha1).expect("a valid circle");
        let limits = SuccessorLimits { hosts: list, max: list };
        let peers = (0..places)
            .flat_map(|place| (0..lives).map(move |life| (place, life)))
            .map(|(place, life)| {
                let name = format!("n{place}");
                let host = Host {
                    endpoint: format!("mem://{name}@{name}:1").parse().expect("a well-formed endpoint"),
                    name: HostName::new(&name).expect("a well-formed name"),
                    incarnation: Incarnation(u128::from(place * lives + life) + 1),
                };
                Peer::new(Id::from_u128(place.into()), Arc::new(host))
            })
            .collect();
        World { space, limits, places, lives, fingers, flaw, peers }
    }

    pub(crate) fn code(&self, place: u8, life: u8) -> Code {
        place * self.lives + life + 1
    }

    pub(crate) fn place(&self, code: Code) -> u8 {
        (code - 1) / self.lives
    }

    pub(crate) fn codes(&self) -> std::ops::RangeInclusive<Code> {
        1..=self.places * self.lives
    }

    pub(crate) fn peer(&self, code: Code) -> &Peer {
        &self.peers[usize::from(code) - 1]
    }

    pub(crate) fn number(&self, peer: &Peer) -> Code {
        peer.host.incarnation.0 as Code
    }

    fn known(&self, code: Code) -> Option<Peer> {
        (code != 0).then(|| self.peer(code).clone())
    }

    fn list(&self, codes: &[Code; MOST]) -> Vec<Peer> {
        codes.iter().filter_map(|code| self.known(*code)).collect()
    }

    fn pack(&self, peers: &[Peer]) -> [Code; MOST] {
        let mut codes = [0; MOST];
        assert!(peers.len() <= MOST, "more peers than a state has room for");
        for (code, peer) in codes.iter_mut().zip(peers) {
            *code = self.number(peer);
        }
        codes
    }

    /// The engine's own ring with the pointers of `code`.
    pub(crate) fn ring(&self, state: &State, code: Code) -> Ring {
        let node = state.node(code);
        let list = self.list(&node.list);
        let fingers =
            if self.fingers { self.list(&node.fingers) } else { list.first().cloned().into_iter().collect() };
        let me = self.peer(code).clone();
        Ring::with_pointers(self.space, me, self.limits, self.known(node.predecessor), &list, &fingers)
    }

    /// Takes the pointers of `ring` into the state.
    pub(crate) fn put(&self, state: &mut State, code: Code, ring: &Ring) {
        let node = state.node_mut(code);
        let predecessor = ring.predecessor().map_or(0, |peer| self.number(peer));
        if predecessor != node.predecessor {
            // `Routing::change`: a doubt is about the present predecessor.
            node.doubt = (0, 0);
        }
        node.predecessor = predecessor;
        node.list = self.pack(ring.successors());
        if self.fingers {
            node.fingers = self.pack(ring.fingers().peers());
        }
    }

    /// What `code` answers about itself to `asker` (`Routing::sanitized`: without other lives of the asker's place).
    pub(crate) fn neighbours(&self, state: &State, code: Code, asker: Code) -> Neighbours {
        let node = state.node(code);
        self.said(node.predecessor, &node.list, asker)
    }

    pub(crate) fn said(&self, predecessor: Code, list: &[Code; MOST], to: Code) -> Neighbours {
        let plausible = |peer: &Peer| peer.id != self.peer(to).id || peer.same_host(self.peer(to));
        Neighbours {
            predecessor: self.known(predecessor).filter(plausible),
            successors: self.list(list).into_iter().filter(plausible).collect(),
        }
    }

    /// The live nodes, for the invariants.
    pub(crate) fn snapshot(&self, state: &State) -> Snapshot {
        let nodes = state
            .live()
            .map(|code| NodeSnapshot {
                me: self.peer(code).clone(),
                predecessor: self.known(state.node(code).predecessor),
                successors: self.list(&state.node(code).list),
                fingers: None,
            })
            .collect();
        Snapshot::new(self.space, nodes).expect("one life at a place")
    }

    /// The one of all states that differ only in how the circle is turned, and in which name a life has, that is
    /// explored for all of them.
    pub(crate) fn representative(&self, state: State) -> State {
        let state = self.rename_lives(state);
        if !self.places.is_power_of_two() {
            return state;
        }
        let turned = (1..self.places).map(|by| {
            let turn = |code: Code| match code {
                0 => 0,
                _ => (code - 1 + by * self.lives) % (self.places * self.lives) + 1,
            };
            let mut other = state.clone();
            for code in self.codes() {
                *other.node_mut(turn(code)) = state.node(code).map(turn);
            }
            other
        });
        turned.chain([state.clone()]).min_by(|a, b| a.0.cmp(&b.0)).expect("at least itself")
    }

    /// With two lives a place: what is known of only one is known of the first.
    fn rename_lives(&self, mut state: State) -> State {
        if self.lives != 2 {
            return state;
        }
        for place in 0..self.places {
            let (first, second) = (self.code(place, 0), self.code(place, 1));
            let unknown = |code| *state.node(code) == Node::default() && !state.is_named(code);
            if unknown(first) && !unknown(second) {
                let swap = |code| if code == second { first } else { code };
                let nodes: Vec<Node> = state.0.iter().map(|node| node.map(swap)).collect();
                state.0.copy_from_slice(&nodes);
                state.0.swap(usize::from(first) - 1, usize::from(second) - 1);
            }
        }
        state
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list: Vec<&Code> = self.list.iter().take_while(|code| **code != 0).collect();
        write!(f, "{}<{:?}", self.predecessor, list)?;
        if self.fingers[0] != 0 {
            write!(f, "+{:?}", self.fingers)?;
        }
        match self.next {
            Next::Idle => {}
            Next::Ask(peer) => write!(f, " ask {peer}")?,
            Next::Notify(peer) => write!(f, " notify {peer}")?,
        }
        if self.doubt != (0, 0) {
            write!(f, " doubt {:?}", self.doubt)?;
        }
        if self.farewell != Farewell::default() {
            let Farewell { predecessor, list, under_way } = self.farewell;
            write!(f, " bye {predecessor}<{list:?} {under_way:?}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (code, node) in (1..).zip(&self.0) {
            if *node != Node::default() {
                write!(f, "{}{code}:{node:?}  ", if node.live { "" } else { "dead " })?;
            }
        }
        Ok(())
    }
}
