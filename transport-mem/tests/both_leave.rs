//! Both hosts of a ring leave at once, and one of them pauses for so long that it counts as dead meanwhile.

use std::time::Duration;

use chord_transport_mem::Link;
use chord_transport_mem::testkit::Cluster;
use futures::future::join;
use tokio::time::{sleep, timeout};

const KEYS: usize = 4;

/// Whichever takes the other for dead must not go with nothing while the other, awake again, hands over to it.
#[tokio::test(start_paused = true)]
async fn entries_outlive_that_both_hosts_leave_and_their_only_holder_pauses() {
    for seed in 0..60u64 {
        let link = Link::with_latency(Duration::from_millis(5));
        let cluster = Cluster::builder().seed(seed).link(link).start(2).await;
        let holder = cluster.names().swap_remove(seed as usize % 2);
        let mut keys = Vec::new();
        for i in 0.. {
            let key = format!("key{i}");
            if cluster.node(0).explain(&key).await.expect("the ring is settled").owner == holder {
                cluster.node(0).put(&key, "value").await.expect("the ring serves");
                keys.push(key);
            }
            if keys.len() == KEYS {
                break;
            }
        }
        let (one, two) = (cluster.node(0), cluster.node(1));
        cluster.freeze(&holder);
        let pause = async {
            sleep(Duration::from_millis(500 + 40 * seed)).await;
            cluster.thaw(&holder);
        };
        let leaves = async { timeout(Duration::from_secs(120), join(one.leave(), two.leave())).await };
        let (ended, ()) = join(leaves, pause).await;
        let stays = match ended.expect("leaving ends") {
            (Ok(()), Ok(())) => panic!("seed {seed}: both have left, and the entries with them"),
            (Err(_), _) => one,
            (_, Err(_)) => two,
        };
        for key in &keys {
            let read = stays.get(key).await;
            assert!(matches!(read, Ok(Some(_))), "seed {seed}: {read:?}");
        }
    }
}
