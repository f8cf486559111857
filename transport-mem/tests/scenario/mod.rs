//! One life of a ring, drawn from a seed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chord::Error;
use chord::protocol::id::Interval;
use chord::transport::Transport;
use chord_transport_mem::Link;
use chord_transport_mem::testkit::{Client, Cluster, Outcome};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

mod lossy;

use lossy::Lossy;

/// Virtual time after which a seed counts as stuck.
const PATIENCE: Duration = Duration::from_secs(1200);
const CLIENTS: u64 = 3;
const KEYS: usize = 16;

/// What happened, for the report and to see that something did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) fingerprint: u64,
    pub(crate) ring_steps: u64,
    pub(crate) outside_assumption: u64,
    pub(crate) excused: u64,
    pub(crate) group_steps: u64,
    pub(crate) joins: u64,
    pub(crate) leaves: u64,
    pub(crate) hand_offs: u64,
    pub(crate) acknowledged: u64,
    pub(crate) read: u64,
    pub(crate) unknown: u64,
    pub(crate) refused: u64,
    pub(crate) virtual_millis: u64,
}

impl Summary {
    pub(crate) fn add(&mut self, other: &Summary) {
        self.ring_steps += other.ring_steps;
        self.outside_assumption += other.outside_assumption;
        self.excused += other.excused;
        self.group_steps += other.group_steps;
        self.joins += other.joins;
        self.leaves += other.leaves;
        self.hand_offs += other.hand_offs;
        self.acknowledged += other.acknowledged;
        self.read += other.read;
        self.unknown += other.unknown;
        self.refused += other.refused;
        self.virtual_millis += other.virtual_millis;
    }
}

/// Runs one seed to its end.
///
/// # Panics
/// When anything is not as it should be.
pub(crate) fn simulate(seed: u64) -> Summary {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O");
    runtime.block_on(async {
        match timeout(PATIENCE, Life::draw(seed).run()).await {
            Ok(summary) => summary,
            Err(_) => panic!("seed {seed} is stuck"),
        }
    })
}

/// The shape of one life.
struct Life {
    rng: SmallRng,
    seed: u64,
    link: Link,
    loss: f64,
    virtual_nodes: usize,
    first_hosts: usize,
    max_hosts: usize,
    events: usize,
    think: Duration,
}

impl Life {
    fn draw(seed: u64) -> Life {
        let mut rng = SmallRng::seed_from_u64(seed);
        let link = link(&mut rng);
        let max_hosts = rng.random_range(2..=8);
        Life {
            seed,
            link,
            loss: if rng.random_bool(0.2) { 0.01 } else { 0.0 },
            virtual_nodes: rng.random_range(1..=4),
            first_hosts: rng.random_range(1..=max_hosts.min(4)),
            max_hosts,
            events: rng.random_range(4..=8),
            think: Duration::from_millis(rng.random_range(5..60)),
            rng,
        }
    }

    async fn run(mut self) -> Summary {
        let started = Instant::now();
        let (seed, loss) = (self.seed, self.loss);
        let cluster = Cluster::builder()
            .seed(seed)
            .link(self.link)
            .virtual_nodes(self.virtual_nodes)
            .configure(|config| config.chunk_bytes = 256)
            .wrap_transport(move |name, transport| Lossy::wrap(transport, loss, seed, name))
            .watched()
            .start(0)
            .await;
        cluster.network().record();
        let mut summary = Summary::default();
        let mut names = (0..).map(|i| format!("h{i}"));
        let mut fresh = || names.next().expect("there is no end of names");
        for _ in 0..self.first_hosts {
            join(&cluster, fresh()).await;
            summary.joins += 1;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(load(cluster.clone(), client, seed, self.think, stop.clone()));
        }
        for _ in 0..self.events {
            let alive = cluster.names();
            let leaver = self.rng.random_range(0..alive.len());
            let other = (leaver + 1) % alive.len();
            let room = self.max_hosts.saturating_sub(alive.len());
            match self.rng.random_range(0..10) {
                0..=2 if room > 0 => {
                    join(&cluster, fresh()).await;
                    summary.joins += 1;
                }
                3..=5 if alive.len() > 1 => {
                    leave(&cluster, &alive[leaver]).await;
                    summary.leaves += 1;
                }
                6 if room > 1 => {
                    tokio::join!(join(&cluster, fresh()), join(&cluster, fresh()));
                    summary.joins += 2;
                }
                7 if alive.len() > 2 => {
                    tokio::join!(leave(&cluster, &alive[leaver]), leave(&cluster, &alive[other]));
                    summary.leaves += 2;
                }
                8 | 9 if alive.len() > 1 => {
                    tokio::join!(join(&cluster, fresh()), leave(&cluster, &alive[leaver]));
                    summary.joins += 1;
                    summary.leaves += 1;
                }
                _ => {}
            }
            cluster.assert_safe();
            let longest = [50, 500, 3000][self.rng.random_range(0..3)];
            sleep(Duration::from_millis(self.rng.random_range(0..longest))).await;
        }
        stop.store(true, Ordering::Relaxed);
        while let Some(client) = clients.join_next().await {
            client.expect("a client never panics");
        }
        cluster.settle().await;
        every_key_is_read(&cluster).await;
        every_key_is_where_it_belongs(&cluster).await;
        if let Err(anomaly) = cluster.history().check() {
            panic!("seed {seed}: {anomaly}\n{}", cluster.show());
        }
        cluster.assert_safe();
        self.sum_up(&cluster, &mut summary);
        summary.virtual_millis = started.elapsed().as_millis() as u64;
        summary
    }

    fn sum_up(&self, cluster: &Cluster, summary: &mut Summary) {
        let report = cluster.watch_report();
        summary.ring_steps = report.ring_steps;
        summary.outside_assumption = report.outside_assumption;
        summary.excused = report.excused;
        summary.group_steps = report.group_steps;
        summary.fingerprint = cluster.network().fingerprint().expect("the network records");
        let served = cluster.neighbourhoods().into_iter().flat_map(|host| host.served);
        summary.hand_offs = served.map(|(_, group)| group.epoch - 1).sum();
        for operation in cluster.history().operations() {
            match operation.ended {
                Some((_, Outcome::Written)) => summary.acknowledged += 1,
                Some((_, Outcome::Read(_))) => summary.read += 1,
                Some((_, Outcome::NotExecuted(_))) => summary.refused += 1,
                Some((_, Outcome::Unknown)) | None => summary.unknown += 1,
            }
        }
    }
}

/// Links of every kind: perfect, steady, uneven, disorderly, repetitive.
fn link(rng: &mut SmallRng) -> Link {
    let millis = Duration::from_millis;
    let mut link = Link::default();
    let kind = rng.random_range(0..5);
    if kind >= 1 {
        link.latency = millis(rng.random_range(1..30));
    }
    if kind >= 2 {
        link.jitter = millis(rng.random_range(1..40));
    }
    if kind >= 3 {
        link.reordering = rng.random_range(0.0..0.3);
    }
    if kind >= 4 {
        link.duplication = rng.random_range(0.0..0.2);
    }
    link
}

async fn join(cluster: &Cluster, name: String) {
    if let Err(error) = cluster.join(&name).await {
        panic!("{name} cannot join: {error}\n{}", cluster.show());
    }
}

async fn leave(cluster: &Cluster, name: &str) {
    if let Err(error) = cluster.leave(name).await {
        panic!("{name} cannot leave: {error}\n{}", cluster.show());
    }
}

fn key(i: usize) -> String {
    format!("key{i}")
}

/// Reads and writes through random hosts until it is told to stop.
async fn load(cluster: Cluster, client: u64, seed: u64, think: Duration, stop: Arc<AtomicBool>) {
    let mut rng = SmallRng::seed_from_u64(seed ^ (client + 1) << 32);
    let mut written = 0;
    while !stop.load(Ordering::Relaxed) {
        let nodes = cluster.nodes();
        let through = cluster.history().client(nodes[rng.random_range(0..nodes.len())].clone());
        drop(nodes);
        let key = key(rng.random_range(0..KEYS));
        // What went wrong is in the history, which is judged in the end.
        match rng.random_range(0..10) {
            0..=4 => drop(through.get(&key).await),
            9 => drop(through.delete(&key).await),
            _ => {
                written += 1;
                drop(through.put(&key, format!("{client}.{written}")).await);
            }
        }
        sleep(think.mul_f64(rng.random_range(0.0..2.0))).await;
    }
}

async fn every_key_is_read(cluster: &Cluster) {
    for i in 0..KEYS {
        let client = cluster.client(i % cluster.names().len());
        read(&client, &key(i)).await;
    }
}

/// Reads once the network lets it.
async fn read(client: &Client, key: &str) {
    for _ in 0..10 {
        match client.get(key).await {
            Ok(_) => return,
            Err(Error::Timeout { .. }) => {}
            Err(error) => panic!("{key} in a settled ring: {error}"),
        }
    }
    panic!("{key} cannot be read in a settled ring");
}

/// Each host's store holds exactly what the host serves, once what it held before is swept away.
async fn every_key_is_where_it_belongs(cluster: &Cluster) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(misplaced) = placement(cluster).await {
        assert!(Instant::now() < deadline, "{misplaced}\n{}", cluster.show());
        sleep(Duration::from_millis(100)).await;
    }
}

async fn placement(cluster: &Cluster) -> Result<(), String> {
    let mut holders: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
    for (name, host) in cluster.names().iter().zip(cluster.neighbourhoods()) {
        let page = cluster.storage(name).scan(Interval::whole(), None, usize::MAX).await;
        for stored in page.expect("memory does not fail").entries {
            if !host.served.iter().any(|(piece, _)| piece.contains(&stored.id)) {
                return Err(format!("{name} holds {:?}, which it does not serve", stored.key));
            }
            holders.entry(stored.key.to_vec()).or_default().push(name.clone());
        }
    }
    match holders.iter().find(|(_, holders)| holders.len() > 1) {
        Some((key, holders)) => Err(format!("{} is held by {holders:?}", String::from_utf8_lossy(key))),
        None => Ok(()),
    }
}

/// The transport below, for [`Lossy`].
type Below = Arc<dyn Transport>;
