//! How many calls to other hosts an operation needs: the paper's bound with fingers, one with a warm contact table,
//! none within a host.

use std::time::Duration;

use chord::{Config, Interval, RoutingMode};
use chord_transport_mem::testkit::{Cluster, ClusterBuilder};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const HOSTS: usize = 100;

/// Rings of this size settle sooner when quiet nodes look more often.
fn quick(config: &mut Config) {
    config.stabilize = Interval::new(Duration::from_millis(100), Duration::from_secs(1));
    config.fix_fingers = Interval::new(Duration::from_millis(200), Duration::from_secs(2));
}

fn hundred(mode: RoutingMode) -> ClusterBuilder {
    Cluster::builder().virtual_nodes(1).configure(move |config| {
        quick(config);
        config.routing = mode;
    })
}

/// The mean number of hops of `count` reads of random keys through random hosts.
async fn mean_hops(cluster: &Cluster, count: usize, rng: &mut SmallRng) -> f64 {
    let mut hops = 0;
    for _ in 0..count {
        let key = format!("{:x}", rng.random::<u64>());
        let through = cluster.node(rng.random_range(0..HOSTS));
        let receipt = through.put(key, "value").await.expect("the ring is settled");
        hops += receipt.hops;
    }
    hops as f64 / count as f64
}

/// ToN 2003, section IV-C: 1/2 log2 N on average. Ours counts the call to the owner too.
#[tokio::test(start_paused = true)]
async fn fingers_alone_need_half_of_log2_n_hops_and_one_to_the_owner() {
    let cluster = hundred(RoutingMode::Fingers).start(HOSTS).await;
    let mean = mean_hops(&cluster, 2000, &mut SmallRng::seed_from_u64(1)).await;
    let bound = 0.5 * (HOSTS as f64).log2() + 1.0;
    println!("fingers: {mean:.3} hops on average, bound {bound:.3}");
    assert!(mean <= bound, "{mean} hops on average, more than {bound}");
    assert!(mean > 1.5, "{mean}: so few hops are no finger routing");
}

#[tokio::test(start_paused = true)]
async fn a_warm_contact_table_needs_one_hop() {
    let cluster = hundred(RoutingMode::Contacts).start(HOSTS).await;
    let mut rng = SmallRng::seed_from_u64(2);
    let cold = mean_hops(&cluster, 2000, &mut rng).await;
    mean_hops(&cluster, 60_000, &mut rng).await;
    let warm = mean_hops(&cluster, 2000, &mut rng).await;
    println!("contacts: {cold:.3} hops on average at first, {warm:.3} once warm");
    assert!(warm <= 1.05, "{warm} hops on average once warm");
    assert!(warm > 0.9, "{warm}: a hundredth of the keys is local, no more");
}

#[tokio::test(start_paused = true)]
async fn between_virtual_nodes_of_one_host_no_message_is_sent() {
    let cluster = Cluster::builder().virtual_nodes(16).start(1).await;
    let node = cluster.node(0);
    for i in 0..500 {
        let key = format!("key{i}");
        assert_eq!(node.put(&key, "value").await.expect("a ring of one works").hops, 0);
        assert_eq!(node.get_record(&key).await.expect("it answers").expect("it is there").hops, 0);
        let lookup = node.lookup(&key).await.expect("it finds itself");
        assert_eq!((lookup.hops, lookup.path.len()), (0, 0), "{lookup:?}");
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let traffic = cluster.network().traffic("n0");
    assert_eq!(traffic.requests_sent, 0, "its maintenance asks nobody either");
}

#[tokio::test(start_paused = true)]
async fn what_a_host_owns_itself_it_answers_without_a_message() {
    let cluster = Cluster::builder().virtual_nodes(4).start(3).await;
    let node = cluster.node(0);
    let mut own = 0;
    for i in 0..300 {
        let key = format!("key{i}");
        let before = cluster.network().traffic("n0").requests_sent;
        let receipt = node.put(&key, "value").await.expect("the ring is settled");
        let sent = cluster.network().traffic("n0").requests_sent - before;
        let owner = node.explain(&key).await.expect("the ring is settled").owner;
        assert_eq!(receipt.hops == 0, owner == "n0", "{key} is {owner}'s");
        assert_eq!(sent, receipt.hops as u64, "{key}");
        own += u64::from(owner == "n0");
    }
    assert!(own > 0, "none of the keys was its own");
}
