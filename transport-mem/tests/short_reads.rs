//! Reads that take no long values from other hosts.

use chord::ShortRead;
use chord_transport_mem::testkit::Cluster;

const MAX_BYTES: usize = 100;

#[tokio::test(start_paused = true)]
async fn a_short_read_tells_how_long_another_hosts_long_value_is_and_has_every_other_value() {
    let cluster = Cluster::of(2).await;
    let node = cluster.named("n0");
    let keys: Vec<String> = (0..40).map(|i| format!("key{i}")).collect();
    let length = |i: usize| [0, 10, MAX_BYTES, MAX_BYTES + 1][i % 4];
    for (i, key) in keys.iter().enumerate().skip(4) {
        node.put(key, vec![b'v'; length(i)]).await.expect("the ring serves");
    }
    let mut long = 0;
    let many = node.get_many_short(&keys, MAX_BYTES).await;
    for (i, (key, found)) in keys.iter().zip(many).enumerate() {
        let is_here = node.explain(key).await.expect("the ring is settled").owner == "n0";
        let expected = match i {
            0..4 => ShortRead::Value(None),
            _ if length(i) > MAX_BYTES && !is_here => ShortRead::Long(length(i)),
            _ => ShortRead::Value(Some(vec![b'v'; length(i)].into())),
        };
        long += usize::from(matches!(expected, ShortRead::Long(_)));
        assert_eq!(found.expect("the ring serves"), expected, "{key} among many");
        let alone = node.get_short(key, MAX_BYTES).await.expect("the ring serves");
        assert_eq!(alone, expected, "{key} alone");
    }
    assert!(long > 0, "the other host owns some of the keys");
}
