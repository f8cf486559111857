//! The protocol, pure: no runtime, no clock, no randomness, no lock, no input or output.
//!
//! Every method here is the size of one transition: a reply comes in, one state changes, and what to ask next comes
//! out. Time and chance are arguments. So the same code runs in the engine, in a simulation of tens of thousands of
//! hosts without a runtime ([`simulate`]), and under an exhaustive explorer (`tests/explore_ring.rs`,
//! `tests/explore_groups.rs`).
//!
//! # The circle
//! An [`id::Id`] is a number below 2^m on a circle; [`id::IdSpace`] makes ids of names and keys. Intervals are written
//! with brackets, and `(a, a]` is the whole circle. A host (one process, [`peer::Host`]) runs several virtual nodes
//! ([`peer::Peer`]), each with its own place. Source: Stoica et al., ToN 2003, section IV.
//!
//! # The ring
//! [`ring::Ring`] is one virtual node's predecessor, [`successors::SuccessorList`] and [`fingers::FingerTable`], with the
//! transitions of Zave's corrected protocol: join, stabilize from successor, stabilize from predecessor, rectify, fail,
//! leave. [`routing::Routing`] is one host's virtual nodes together: rounds of maintenance as a state machine, one
//! message to a peer host in a step, none between virtual nodes of one host. What must hold is in [`invariants`], one
//! function a property. Source: Zave, TSE 2017 (arXiv 1610.01140).
//!
//! # Finding
//! [`lookup::Lookup`] is the iterative search as an explicit stepper, with alternates around dead hops, a hop limit and
//! the path. [`contacts::Contacts`] remembers every virtual node heard of, so that the usual request goes straight to its
//! owner; fingers bound the worst case at O(log N). Source: ToN 2003, figure 5; Gupta et al., 2003, for one hop.
//!
//! # Who may answer
//! The ring only proposes who should hold a key. Who may answer for it says a group record with an epoch
//! ([`group::Groups`], one for each interval of the circle, kept in an [`interval_map::IntervalMap`]). Records descend from
//! the ring's creation; each epoch has one successor, by a decision of its own members. Source: Lamport et al.,
//! "Vertical Paxos", 2009; Muthitacharoen et al., "Etna", 2005.
//!
//! Where the ring says that records belong is in [`placement`]; how an operation finds who answers, in [`search`].
//!
//! # Data and messages
//! [`entry::Update::decide`] says what an update does to an entry; versions are (epoch, counter) and only grow.
//! [`message`] is what hosts say, [`wire`] the only place that knows how it is encoded.
//!
//! # Where this leaves the papers
//! - Maintenance is Zave's, not the published pseudocode: that one is not correct.
//! - Successor lists are measured in distinct hosts, not in nodes, since virtual nodes of a host fail together.
//! - Lookups are iterative, and a request is its own question: the believed owner is asked to execute it.
//! - Fingers are kept as runs (about log2 N of them), and `fix_fingers` verifies each run with one question.
//! - Ownership of data is not `(predecessor, self]` but the group record, so two nodes that disagree about the ring
//!   never both answer for a key.
//! - A leaver tells its neighbours (Zave models leaving as failing).
//!
//! # What is left out
//! Groups of several hosts with prepared ballots, confirm rounds and recovery after a crash; merging two rings after a
//! partition. The record, its epochs and the messages are made for the first.

pub mod contacts;
pub mod entry;
pub mod fingers;
pub mod group;
pub mod id;
pub mod interval_map;
pub mod invariants;
pub mod lookup;
pub mod message;
pub mod peer;
pub mod placement;
pub mod ring;
pub mod routing;
pub mod search;
pub mod simulate;
pub mod successors;
pub mod wire;
