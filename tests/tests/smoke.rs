//! The shortest way through the engine: one node, two nodes, a join under load, a leave.

use std::time::Duration;

use chord::{Chord, Config, Endpoint, Error};
use chord_transport_mem::{Link, MemTransport, Network};

type Node = Chord<MemTransport>;

fn config(name: &str) -> Config {
    Config { virtual_nodes: chord::VirtualNodes::Count(2), ..Config::named(name) }
}

async fn settled(node: &Node, hosts: usize) {
    let mut last = None;
    for _ in 0..600 {
        let report = node.check().await.expect("the node is open");
        assert!(report.is_safe(), "{report:#?}");
        if report.is_settled() && report.hosts == hosts {
            return;
        }
        last = Some(report);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the ring does not settle: {last:#?}");
}

async fn ring(network: &Network, names: &[&str]) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    let mut known: Vec<Endpoint> = Vec::new();
    for name in names {
        let transport = network.listen(name);
        let node = if known.is_empty() {
            Chord::create(transport, config(name)).await
        } else {
            Chord::join(transport, &known, config(name)).await
        };
        let node = node.expect("the node starts");
        known.push(node.endpoint().clone());
        nodes.push(node);
    }
    nodes
}

#[tokio::test(start_paused = true)]
async fn a_ring_of_one_works() {
    let network = Network::new(1);
    let nodes = ring(&network, &["a"]).await;
    nodes[0].put("k", "v").await.expect("put");
    assert_eq!(nodes[0].get("k").await.expect("get").as_deref(), Some(&b"v"[..]));
    assert!(nodes[0].delete("k").await.expect("delete").existed);
    assert_eq!(nodes[0].get("k").await.expect("get"), None);
    settled(&nodes[0], 1).await;
    nodes[0].leave().await.expect("an empty ring can be left");
    assert!(matches!(nodes[0].get("k").await, Err(Error::Closed(_))));
}

#[tokio::test(start_paused = true)]
async fn keys_survive_joins_and_leaves() {
    let network = Network::new(2);
    network.set_default_link(Link::with_latency(Duration::from_millis(1)));
    let mut nodes = ring(&network, &["a", "b"]).await;
    for i in 0..500 {
        nodes[i % 2].put(format!("key{i}"), format!("value{i}")).await.expect("put");
    }
    settled(&nodes[0], 2).await;
    let known = vec![nodes[0].endpoint().clone()];
    for name in ["c", "d", "e"] {
        let node = Chord::join(network.listen(name), &known, config(name)).await.expect("joins");
        nodes.push(node);
    }
    settled(&nodes[0], 5).await;
    for node in &nodes {
        assert!(node.status().await.keys > 0, "{:#?}", node.status().await);
        for i in 0..500 {
            let value = node.get(format!("key{i}")).await.expect("get");
            assert_eq!(value.as_deref(), Some(format!("value{i}").as_bytes()));
        }
    }
    while nodes.len() > 1 {
        let leaver = nodes.remove(0);
        leaver.leave().await.expect("leaves");
        for i in 0..500 {
            let value = nodes[0].get(format!("key{i}")).await.expect("get");
            assert_eq!(value.as_deref(), Some(format!("value{i}").as_bytes()));
        }
    }
    assert!(matches!(nodes[0].leave().await, Err(Error::LastHost { entries: 500 })));
}
