//! docs/cli.md names every field of every JSON object, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use std::collections::BTreeSet;

use chord::view::{
    CheckReport, Counters, Explanation, FingerRow, GroupStatus, HopRow, RingRow, Status, VirtualNodeStatus,
};
use serde::Serialize;
use serde_json::Value;

const DOCS: &str = include_str!("../../../docs/cli.md");

/// The fields that the documentation lists for `command`.
fn documented(command: &str) -> BTreeSet<String> {
    let heading = format!("#### JSON of `{command}`\n");
    let (_, section) = DOCS.split_once(&heading).unwrap_or_else(|| panic!("docs/cli.md has no {heading}"));
    let rows = section.lines().take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| Some(row.strip_prefix("| `")?.split_once('`')?.0.to_owned())).collect()
}

/// The fields of `value` by path.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                fields(value, &path, found);
            }
        }
        Value::Array(array) => {
            assert!(!array.is_empty(), "the sample has no element in {path}");
            array.iter().for_each(|value| fields(value, &format!("{path}[]"), found));
        }
        _ => drop(found.insert(path.to_owned())),
    }
}

fn compare(command: &str, sample: &impl Serialize) {
    let mut found = BTreeSet::new();
    fields(&serde_json::to_value(sample).unwrap(), "", &mut found);
    assert_eq!(found, documented(command), "fields of {command}");
}

fn text() -> String {
    "x".to_owned()
}

#[test]
fn every_field_of_a_view_is_documented() {
    let hop = HopRow { id: text(), host: text(), answer: text() };
    compare(
        "explain",
        &Explanation {
            key: text(),
            id: text(),
            owner: text(),
            endpoint: text(),
            node: text(),
            epoch: 1,
            holders: vec![text()],
            exists: true,
            version: Some(text()),
            value_bytes: Some(1),
            time_left_ms: Some(1),
            hops: 1,
            path: vec![hop],
        },
    );
    compare(
        "ring",
        &[RingRow {
            id: text(),
            label: text(),
            host: text(),
            endpoint: text(),
            predecessor: Some(text()),
            successor: text(),
            share: 0.5,
            host_keys: 1,
        }],
    );
    compare(
        "fingers",
        &[FingerRow { node: text(), k: 1, start: text(), end: text(), successor: text(), host: text() }],
    );
    let node = VirtualNodeStatus {
        id: text(),
        label: text(),
        predecessor: Some(text()),
        successor: text(),
        successors: vec![text()],
    };
    compare(
        "status",
        &Status {
            name: text(),
            endpoint: text(),
            incarnation: text(),
            ring: text(),
            ring_id: text(),
            bits: 160,
            hash: text(),
            replicas: 1,
            state: text(),
            virtual_nodes: vec![node],
            groups: vec![GroupStatus { after: text(), upto: text(), epoch: 1, members: vec![text()] }],
            keys: 1,
            bytes: 1,
            transfers: 0,
            records: 1,
            contacts: 1,
            uptime_ms: 1,
            counters: Counters::default(),
        },
    );
    #[derive(Serialize)]
    struct Check {
        safe: bool,
        settled: bool,
        #[serde(flatten)]
        report: CheckReport,
    }
    let (violations, unsettled, unreachable) = (vec![text()], vec![text()], vec![text()]);
    let report = CheckReport { hosts: 1, virtual_nodes: 1, violations, unsettled, unreachable };
    compare("check", &Check { safe: false, settled: false, report });
}

#[test]
fn every_command_of_the_table_is_documented() {
    let (_, section) = DOCS.split_once("## The client port: RESP2").unwrap();
    let (table, _) = section.split_once("### Errors").unwrap();
    for command in chord_kv::commands::COMMANDS {
        let name = command.name.to_uppercase();
        let named = table.split('`').any(|text| text.split(' ').next() == Some(name.as_str()));
        assert!(named, "docs/cli.md does not name {name}");
    }
}
