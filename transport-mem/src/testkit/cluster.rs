//! The hosts of a ring, by name: [`Cluster`].

use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chord::storage::Storage;
use chord::transport::Transport;
use chord::view::CheckReport;
use chord::{Chord, Endpoint, Error, Neighbourhood};
use tokio::time::{Instant, sleep};

use crate::testkit::watch::{Watch, Watched};
use crate::testkit::{Client, ClusterBuilder, History, WatchReport};
use crate::{Link, Network};

/// A node of a cluster.
pub type Node = Chord<Arc<dyn Transport>>;

/// How long a ring may take to settle.
const SETTLING: Duration = Duration::from_secs(180);
/// Between looks at a ring that settles.
const SETTLING_PAUSE: Duration = Duration::from_millis(100);

/// A ring in this process. Clones are the same cluster; every method takes `&self`, so that things can happen at
/// once. When the last clone is dropped its nodes end, except those that someone still holds.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    network: Network,
    setup: ClusterBuilder,
    history: History,
    /// Never held across an await.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In the order in which they joined.
    members: Vec<Member>,
    /// Whether there has been a first host.
    founded: bool,
    lives: u64,
    watch: Watch,
}

struct Member {
    name: String,
    node: Node,
    storage: Arc<dyn Storage>,
}

impl Cluster {
    /// A settled ring of the hosts `n0`, `n1`, ... on a perfect network.
    pub async fn of(hosts: usize) -> Cluster {
        Cluster::builder().start(hosts).await
    }

    /// A cluster to be set up. Must be called within a runtime, whose clock the cluster follows.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::new()
    }

    pub(super) fn empty(setup: ClusterBuilder) -> Cluster {
        let network = Network::new(setup.seed);
        network.set_default_link(setup.link);
        let state = Mutex::new(State::default());
        Cluster { shared: Arc::new(Shared { network, setup, history: History::new(), state }) }
    }

    /// Starts the host `name`: it creates the ring if it is the first, else it joins through the others. A host
    /// that has ended may come again, as another life with an empty store.
    ///
    /// # Errors
    /// What [`Chord::join`] says.
    ///
    /// # Panics
    /// When `name` is no host name, or lives.
    pub async fn join(&self, name: &str) -> Result<Node, Error> {
        let shared = &self.shared;
        let (life, first, known) = {
            let mut state = shared.state();
            state.lives += 1;
            let mut known: Vec<Endpoint> =
                state.members.iter().map(|member| member.node.endpoint().clone()).collect();
            if !known.is_empty() {
                let start = state.lives as usize % known.len();
                known.rotate_left(start);
            }
            (state.lives, !std::mem::replace(&mut state.founded, true), known)
        };
        let config = shared.setup.config(name, life);
        let mut transport: Arc<dyn Transport> = Arc::new(shared.network.listen(name));
        if shared.setup.watched {
            transport = Arc::new(Watched::new(transport, Arc::downgrade(shared)));
        }
        let transport = shared.setup.transport(name, transport);
        let storage = shared.setup.store(name);
        let node = if first {
            Chord::create_with(transport, config, storage.clone()).await?
        } else {
            Chord::join_with(transport, &known, config, storage.clone()).await?
        };
        shared.state().members.push(Member { name: name.to_owned(), node: node.clone(), storage });
        Ok(node)
    }

    /// Lets the host `name` leave in order; it is gone when this returns `Ok`.
    ///
    /// # Errors
    /// What [`Chord::leave`] says; the host stays then.
    ///
    /// # Panics
    /// When there is no such host.
    pub async fn leave(&self, name: &str) -> Result<(), Error> {
        self.named(name).leave().await?;
        self.forget(name);
        Ok(())
    }

    /// Kills the host `name` with all it holds; its peers are told by the loss of their connections.
    ///
    /// # Panics
    /// When there is no such host.
    pub async fn crash(&self, name: &str) {
        let node = self.named(name);
        self.shared.network.crash(name);
        node.stop().await;
        self.forget(name);
    }

    /// Kills the host `name` if it lives, and starts it again, as another life with an empty store.
    ///
    /// # Errors
    /// What [`Chord::join`] says.
    pub async fn restart(&self, name: &str) -> Result<Node, Error> {
        if self.names().iter().any(|known| known == name) {
            self.crash(name).await;
        }
        self.join(name).await
    }

    /// Cuts the network into these groups of hosts; see [`Network::partition`].
    pub fn partition(&self, groups: &[&[&str]]) {
        self.shared.network.partition(groups);
    }

    /// Ends every partition.
    pub fn heal(&self) {
        self.shared.network.heal();
    }

    /// Stops the host `name` as SIGSTOP does; see [`Network::freeze`]. Whether there is such a host.
    pub fn freeze(&self, name: &str) -> bool {
        self.shared.network.freeze(name)
    }

    /// Lets a frozen host go on. Whether there is such a host.
    pub fn thaw(&self, name: &str) -> bool {
        self.shared.network.thaw(name)
    }

    /// Changes the link between any two hosts from now on.
    pub fn set_link(&self, link: Link) {
        self.shared.network.set_default_link(link);
    }

    /// The network, for what has no method here.
    pub fn network(&self) -> &Network {
        &self.shared.network
    }

    /// The `i`-th living host, in the order in which they joined.
    ///
    /// # Panics
    /// When there are no more than `i`.
    pub fn node(&self, i: usize) -> Node {
        self.shared.state().members[i].node.clone()
    }

    /// The living host `name`.
    ///
    /// # Panics
    /// When there is none.
    pub fn named(&self, name: &str) -> Node {
        self.of_member(name, |member| member.node.clone())
    }

    /// The store of the living host `name`.
    ///
    /// # Panics
    /// When there is no such host.
    pub fn storage(&self, name: &str) -> Arc<dyn Storage> {
        self.of_member(name, |member| member.storage.clone())
    }

    /// The living hosts, in the order in which they joined.
    pub fn nodes(&self) -> Vec<Node> {
        self.shared.state().members.iter().map(|member| member.node.clone()).collect()
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        self.shared.state().members.iter().map(|member| member.name.clone()).collect()
    }

    /// A client of the `i`-th living host whose operations are recorded in [`Cluster::history`].
    ///
    /// # Panics
    /// When there are no more than `i`.
    pub fn client(&self, i: usize) -> Client {
        self.shared.history.client(self.node(i))
    }

    /// What the clients did.
    pub fn history(&self) -> &History {
        &self.shared.history
    }

    /// All hosts' pointers and records at this instant.
    pub fn neighbourhoods(&self) -> Vec<Neighbourhood> {
        self.shared.state().members.iter().map(|member| member.node.neighbourhood()).collect()
    }

    /// What the first host finds when it walks the ring: [`Chord::check`].
    ///
    /// # Panics
    /// When there is no host.
    pub async fn check(&self) -> CheckReport {
        self.node(0).check().await.expect("a host of the cluster is open")
    }

    /// Waits until the ring consists of all living hosts, with ideal links and fingers, every record at the ring's
    /// owner and no hand-off under way.
    ///
    /// # Panics
    /// When that takes longer than three minutes, or when a watched cluster was unsafe at any moment.
    pub async fn settle(&self) {
        let deadline = Instant::now() + SETTLING;
        loop {
            self.assert_safe();
            let hosts = self.names().len();
            if hosts == 0 {
                return;
            }
            let report = self.check().await;
            if report.is_settled() && report.hosts == hosts {
                return;
            }
            let ring = self.show();
            assert!(Instant::now() < deadline, "the ring of {hosts} does not settle: {report:#?}\n{ring}");
            sleep(SETTLING_PAUSE).await;
        }
    }

    /// What the watch over every step has found.
    ///
    /// # Panics
    /// Unless the cluster is [watched](ClusterBuilder::watched).
    pub fn watch_report(&self) -> WatchReport {
        assert!(self.shared.setup.watched, "the cluster was not built to be watched");
        self.shared.step();
        self.shared.state().watch.report().clone()
    }

    /// Panics if the watch has found a property broken. Does nothing when the cluster is not watched.
    pub fn assert_safe(&self) {
        if self.shared.setup.watched
            && let Some(violation) = self.watch_report().violation
        {
            panic!("{violation}");
        }
    }

    /// Every virtual node with its pointers, and every record: text for people.
    pub fn show(&self) -> String {
        show(&self.neighbourhoods())
    }

    fn of_member<R>(&self, name: &str, read: impl Fn(&Member) -> R) -> R {
        let state = self.shared.state();
        match state.members.iter().find(|member| member.name == name) {
            Some(member) => read(member),
            None => panic!("no host {name} lives"),
        }
    }

    fn forget(&self, name: &str) {
        let gone = {
            let mut state = self.shared.state();
            let at = state.members.iter().position(|member| member.name == name);
            at.map(|at| state.members.remove(at))
        };
        // Dropped outside of the lock: the last handle ends the node.
        drop(gone);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at all hosts, if one of them has changed.
    pub(super) fn step(&self) {
        let mut state = self.state();
        let State { members, watch, .. } = &mut *state;
        watch.step(members.iter().map(|member| &member.node));
    }
}

/// Every virtual node of `hosts` in order of ids, and what each host serves.
pub(super) fn show(hosts: &[Neighbourhood]) -> String {
    let mut text = String::new();
    let mut nodes: Vec<_> = hosts.iter().flat_map(|host| &host.nodes).collect();
    nodes.sort_by_key(|node| node.me.id);
    for node in nodes {
        let before = node.predecessor.as_ref().map_or_else(|| "-".to_owned(), short);
        let after: Vec<String> = node.successors.iter().map(short).collect();
        let _ = writeln!(text, "{} after {before}, before {}", short(&node.me), after.join(" "));
    }
    for host in hosts {
        let Some(node) = host.nodes.first() else { continue };
        let pieces: Vec<String> = host
            .served
            .iter()
            .map(|(piece, group)| {
                let ends = [piece.after, piece.upto].map(|id| host.space.show(&id));
                format!("({:.6}, {:.6}] of epoch {}", ends[0], ends[1], group.epoch)
            })
            .collect();
        let transfers = host.transfers;
        let _ = writeln!(
            text,
            "{} serves {}; {transfers} hand-offs under way",
            node.me.host.name,
            pieces.join(", ")
        );
    }
    text
}

fn short(peer: &chord::protocol::peer::Peer) -> String {
    format!("{:.6}@{}/{:?}", peer.id.to_string(), peer.host.name, peer.host.incarnation)
}
