//! The ring of the coursework that this project grew out of forms over every transport, to the last link.

use chord::protocol::id::HashKind;
use chord::{Config, VirtualNodes};
use chord_tests::ring::{Node, Wires, quick, settled, start};

/// Names and ids of the ten nodes, in ring order.
const NETWORK: [(&str, u32); 10] = [
    ("node_3", 24),
    ("node_2", 32),
    ("node_6", 46),
    ("node_4", 109),
    ("node_8", 145),
    ("node_7", 150),
    ("node_0", 160),
    ("node_1", 163),
    ("node_9", 241),
    ("node_5", 244),
];
const FINGERS_OF_NODE_3: [u32; 8] = [32, 32, 32, 32, 46, 109, 109, 160];

fn config(name: &str) -> Config {
    Config { bits: 8, hash: HashKind::Md5, virtual_nodes: VirtualNodes::Count(1), ..quick(name) }
}

async fn network(node: &Node) -> Vec<(String, String, Option<String>, String)> {
    let rows = node.ring().await.expect("the node is open");
    rows.into_iter().map(|row| (row.host, row.id, row.predecessor, row.successor)).collect()
}

fn expected(nodes: &[(&str, u32)]) -> Vec<(String, String, Option<String>, String)> {
    let n = nodes.len();
    let row = |i: usize| {
        let (name, id) = nodes[i];
        let (before, after) = (nodes[(i + n - 1) % n].1, nodes[(i + 1) % n].1);
        (name.to_owned(), id.to_string(), Some(before.to_string()), after.to_string())
    };
    (0..n).map(row).collect()
}

async fn the_coursework_ring_forms(wires: Wires) {
    let mut nodes: Vec<Node> = Vec::new();
    for i in 0..10 {
        let known: Vec<_> = nodes.iter().take(1).map(|node| node.endpoint().clone()).collect();
        nodes.push(start(&wires, &known, config(&format!("node_{i}"))).await);
    }
    settled(&nodes[0], 10).await;
    assert_eq!(network(&nodes[0]).await, expected(&NETWORK));
    let fingers: Vec<String> = nodes[3].fingers().into_iter().map(|row| row.successor).collect();
    assert_eq!(fingers, FINGERS_OF_NODE_3.map(|id| id.to_string()));

    let known = [nodes[0].endpoint().clone()];
    nodes.push(start(&wires, &known, config("node_added_0")).await);
    settled(&nodes[0], 11).await;
    let mut after = NETWORK.to_vec();
    after.insert(8, ("node_added_0", 218));
    assert_eq!(network(&nodes[0]).await, expected(&after));
    for node in &nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn over_memory() {
    the_coursework_ring_forms(Wires::mem()).await;
}

#[tokio::test]
async fn over_zeromq() {
    the_coursework_ring_forms(Wires::zmq()).await;
}

#[tokio::test]
async fn over_quic() {
    the_coursework_ring_forms(Wires::quic()).await;
}
