//! The figures of the coursework that the project grew from, to the last digit, through the command line.
//!
//! Its hash was the first byte of MD5, its ring had 8 bits, and its lookups did not look whether the asker owned the
//! key itself.

mod support;

use serde_json::{Value, json};
use support::json as lab_json;

/// The report of `arguments` with the coursework's circle.
fn coursework(arguments: &str) -> Value {
    lab_json(&format!("{arguments} --bits 8 --hash md5"))
}

/// One column of a table.
fn column(report: &Value, table: &str, name: &str) -> Vec<Value> {
    let rows = report["tables"][table].as_array().expect("a table");
    rows.iter().map(|row| row[name].clone()).collect()
}

fn texts(values: &[&str]) -> Vec<Value> {
    values.iter().map(|text| json!(text)).collect()
}

#[test]
fn mean_hops_are_those_of_the_coursework() {
    let figures = [
        ("hops 50 100 --naive", 25.48),
        ("hops 100 100 --naive", 47.43),
        ("hops 50 100", 3.69),
        ("hops 100 100 --fingers", 4.12),
        ("hops 250 1000", 4.939),
    ];
    for (arguments, hops) in figures {
        assert_eq!(coursework(arguments)["figures"]["mean_hops"], json!(hops), "{arguments}");
    }
}

#[test]
fn with_the_owners_short_cut_two_of_them_are_shorter() {
    let short = |arguments| coursework(arguments)["figures"]["mean_hops_short_cut"].clone();
    assert_eq!(short("hops 50 100 --naive"), json!(23.48));
    assert_eq!(short("hops 50 100"), json!(3.45));
}

#[test]
fn the_network_of_ten_is_in_its_order() {
    let report = coursework("network 10");
    let names =
        ["node_3", "node_2", "node_6", "node_4", "node_8", "node_7", "node_0", "node_1", "node_9", "node_5"];
    let ids = ["24", "32", "46", "109", "145", "150", "160", "163", "241", "244"];
    assert_eq!(column(&report, "network", "node"), texts(&names));
    assert_eq!(column(&report, "network", "id"), texts(&ids));
    let turned = |by: usize| {
        let mut ids = ids;
        ids.rotate_left(by);
        texts(&ids)
    };
    assert_eq!(column(&report, "network", "successor"), turned(1));
    assert_eq!(column(&report, "network", "predecessor"), turned(9));
}

#[test]
fn the_finger_table_of_node_3_is_right() {
    let fingers = ["32", "32", "32", "32", "46", "109", "109", "160"];
    for arguments in ["fingers 10", "fingers 10 --node node_3"] {
        let report = coursework(arguments);
        assert_eq!(column(&report, "fingers", "successor id"), texts(&fingers), "{arguments}");
        assert_eq!(column(&report, "fingers", "node"), texts(&["node_3"; 8]));
    }
    assert_eq!(coursework("fingers 10 --all")["tables"]["fingers"].as_array().map(Vec::len), Some(80));
}

#[test]
fn a_node_joins_between_163_and_241_and_every_finger_is_right_after() {
    let report = coursework("join 10");
    let after = report["tables"]["after"].as_array().expect("a table");
    let link = |node: &str, name: &str| {
        let row = after.iter().find(|row| row["node"] == node).expect("the node");
        row[name].clone()
    };
    assert_eq!(link("node_added_0", "id"), json!("218"));
    assert_eq!(link("node_added_0", "successor"), json!("241"));
    assert_eq!(link("node_added_0", "predecessor"), json!("163"));
    assert_eq!(link("node_1", "successor"), json!("218"));
    assert_eq!(link("node_9", "predecessor"), json!("218"));
    assert_eq!(report["figures"]["changed_links"], json!(2));
    // That is every finger whose start lies in (163, 218], and no other: reckoned from the table of all starts.
    let starts = coursework("fingers 10 --all");
    let starts = starts["tables"]["fingers"].as_array().expect("a table");
    let into = starts.iter().filter(|row| {
        let start: u32 = row["start"].as_str().expect("a number").parse().expect("a number");
        (164..=218).contains(&start)
    });
    assert_eq!(report["figures"]["changed_fingers"], json!(into.count()));
    let changes = report["tables"]["changes"].as_array().expect("a table");
    let fingers =
        changes.iter().filter(|row| row["pointer"].as_str().is_some_and(|name| name.starts_with("finger")));
    fingers.for_each(|row| assert_eq!((&row["before"], &row["after"]), (&json!("241"), &json!("218"))));
}

#[test]
fn nine_of_ten_keys_move_modulo_n_and_one_by_consistent_hashing() {
    let moved = |report: &Value| {
        let rows = report["tables"]["mapping"].as_array().expect("a table").clone();
        rows.into_iter()
            .filter(|row| row["moved"] == "moved")
            .map(|row| row["key"].clone())
            .collect::<Vec<_>>()
    };
    let report = coursework("mod-n 50 10 --additional 1");
    assert_eq!(report["figures"]["moved"], json!(9));
    assert_eq!(moved(&report).len(), 9);
    let report = coursework("consistent 50 10 --additional 1");
    assert_eq!(report["figures"]["moved"], json!(1));
    assert_eq!(moved(&report), texts(&["cached_data_3"]));
    assert!(support::text("mod-n 50 10 --bits 8 --hash md5").ends_with("9 out of 10 keys move\n"));
}

#[test]
fn load_has_the_coursework_means_and_deviations() {
    let report = coursework("load 10 --virtual-nodes 2,20 --ids data/seed-vnode-ids.json --keys 1000");
    assert_eq!(column(&report, "load", "ids mean"), [json!(25.6), json!(25.6)]);
    assert_eq!(
        column(&report, "load", "ids deviation"),
        [json!(13.898041428760944), json!(2.1186998109427604)]
    );
    let text = support::text("load 10 --virtual-nodes 2 --ids data/seed-vnode-ids.json --bits 8 --keys 10");
    assert!(text.contains("13.898041428760944"), "{text}");
}
